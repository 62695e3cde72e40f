"""Privacy notices: which version is in force, what cannot be published, and that what was shown stays."""

from datetime import date, timedelta

import pytest
from sqlalchemy.orm import Session

from crm import clock
from crm.errors import Conflict, InvalidInput
from crm.people import privacy_notices
from crm.people.models import Language, PrivacyNotice

TOLD = {"version": "2027-1", "text": "Aviso breve.", "text_en": "", "full_text": "", "url": ""}


def publish(session: Session, **others: object) -> PrivacyNotice:
    return privacy_notices.publish(session, **{"valid_from": clock.today(), **TOLD, **others})  # type: ignore[arg-type]


def codes(error: pytest.ExceptionInfo[InvalidInput]) -> set[tuple[str | None, str]]:
    return {(part.field, part.code) for part in error.value.parts}


def test_the_newest_version_whose_day_has_come_is_in_force(session: Session) -> None:
    publish(session, version="a")
    publish(session, version="b")
    publish(session, version="c", valid_from=clock.today() + timedelta(days=1))
    newest = privacy_notices.newest(session)
    assert newest is not None
    assert newest.version == "b"
    assert [one.version for one in privacy_notices.find(session)] == ["c", "b", "a"]


def test_all_that_is_wrong_is_told_at_once_and_nothing_is_kept(session: Session) -> None:
    publish(session)
    with pytest.raises(InvalidInput) as error:
        publish(session, text="", full_text="Responsable\n[Nombre]", url="http://x", valid_from=clock.today() - timedelta(days=1))
    assert codes(error) == {
        ("version", "notice_version_taken"),
        ("text", "notice_text_required"),
        ("full_text", "notice_unfilled"),
        ("url", "link_invalid"),
        ("valid_from", "notice_day_past"),
    }
    assert len(privacy_notices.find(session)) == 1


@pytest.mark.parametrize(
    "version", ["", "a/b", "x" * 41, "a?b", "a\nb", " \t", "..", ".", "\u200b", "2027-1\u200b", "a  b", "a\u202eb"]
)
def test_a_version_that_no_address_can_hold_is_refused(session: Session, version: str) -> None:
    with pytest.raises(InvalidInput) as error:
        publish(session, version=version)
    assert codes(error) == {("version", "notice_version_invalid")}


def test_only_a_version_that_nobody_was_shown_is_withdrawn(session: Session) -> None:
    publish(session, version="a")
    publish(session, version="b", valid_from=clock.today() + timedelta(days=3))
    privacy_notices.withdraw(session, "b")
    with pytest.raises(Conflict, match="notice_in_force"):
        privacy_notices.withdraw(session, "a")
    assert [one.version for one in privacy_notices.find(session)] == ["a"]


def test_who_reads_english_is_shown_it_where_there_is_one(session: Session) -> None:
    both = publish(session, version="a", text_en="Short notice.")
    spanish = publish(session, version="b")
    assert privacy_notices.text_in(both, Language.ENGLISH) == ("Short notice.", Language.ENGLISH)
    assert privacy_notices.text_in(spanish, Language.ENGLISH) == ("Aviso breve.", Language.SPANISH)


def test_the_text_to_begin_with_is_not_published_as_it_is(session: Session) -> None:
    with pytest.raises(InvalidInput, match="invalid_input"):
        publish(session, full_text=privacy_notices.FULL_TEXT)


def test_a_notice_without_a_date_gives_way_to_any_with_one(session: Session) -> None:
    session.add(PrivacyNotice(version="vieja", text="Antes"))
    publish(session)
    newest = privacy_notices.newest(session)
    assert newest is not None
    assert newest.version == "2027-1"
    assert date.fromisoformat(str(newest.valid_from)) == clock.today()
