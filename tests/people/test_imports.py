"""Spreadsheets taken in: every row accounted for, twice the same, cut and resumed, nobody revived."""

import csv
import io
import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm.config import Settings
from crm.database import Base, Database
from crm.errors import SENTENCES, Conflict, CrmError, InvalidInput, NotFound
from crm.history import Actor, ActorKind, Change
from crm.people import consent, imports, mending, taking_in
from crm.people.imports import Basis, RowResult
from crm.people.models import (
    Consent,
    Contact,
    EmailAddress,
    Import,
    ImportRow,
    ImportState,
    Purpose,
    RowStatus,
    SuppressionReason,
    Tag,
)
from tests.people.test_spreadsheets import workbook

HEADER = ["Nombre", "Primer apellido", "Segundo apellido", "Correo", "Ciudad", "País", "Etiquetas", "Sector"]
BASIS = Basis([Purpose.ELECTORAL_INFORMATION], "Hoja de registro del taller", date(2027, 1, 15), "2026-1")
CREATED, UPDATED, UNCHANGED, REFUSED = RowStatus.CREATED, RowStatus.UPDATED, RowStatus.UNCHANGED, RowStatus.REFUSED


def sheet(rows: Sequence[Sequence[str]], header: Sequence[str] = HEADER) -> bytes:
    written = io.StringIO(newline="")
    csv.writer(written).writerows([header, *rows])
    return written.getvalue().encode()


def people(count: int, start: int = 0) -> list[list[str]]:
    return [
        [f"Ana {number}", "Núñez", "López", f"ana{number}@example.org", "Los Ángeles", "US", "taller", "academia"]
        for number in range(start, start + count)
    ]


def take_in(database: Database, body: bytes, *, basis: Basis | None = None, file_name: str = "red.csv") -> Import:
    with database.session() as session:
        begun = imports.begin(session, body, file_name, basis=basis)
    return imports.run(database, begun.id, body)


def results(session: Session, import_id: int, status: RowStatus | None = None) -> list[RowResult]:
    return imports.results(session, import_id, status=status, limit=200)[0]


def statuses(rows: Sequence[RowResult]) -> list[RowStatus]:
    return [row.status for row in rows]


def count(session: Session, model: type[Base]) -> int:
    return session.scalar(sa.select(sa.func.count()).select_from(model)) or 0


# --- check -----------------------------------------------------------------------------------------------------------------


DIRTY = sheet(
    [
        *people(2),
        ["Ana 0", "Núñez", "", "ana0@example.org", "", "", "boletín", ""],
        ["Luz", "Ortega", "", "luz arroba", "", "", "", ""],
        ["Beatriz", "Salinas", "", "ana1@example.org", "", "", "", ""],
        ["", "", "", "", "Chicago", "US", "", ""],
        ["Rosa", "Gil", "", "rosa@example.org", "", "", "", "astrología"],
        ["Ana 1", "Núñez", "López", "ana1@example.org", "Los Ángeles", "US", "taller", "academia"],
    ]
)


def test_checks_row_by_row_without_writing(database: Database) -> None:
    checked = imports.check(database, DIRTY, "red.csv", basis=BASIS)
    assert [(row.number, row.status, row.code, row.column) for row in checked.rows] == [
        (5, REFUSED, "address_invalid", "Correo"),
        (6, REFUSED, "address_of_other_person", "Correo"),
        (7, REFUSED, "row_without_person", "Nombre"),
        (8, REFUSED, "sector_unknown", "Sector"),
    ]
    assert checked.counts == {"created": 2, "updated": 1, "unchanged": 1, "refused": 4}
    assert checked.columns.matched["emails"] == "Correo"
    assert all(row.sentence for row in checked.rows)
    assert checked.coded == 4
    assert {row.contact_id for row in checked.rows} == {None}
    with database.session(write=False) as session:
        assert [count(session, model) for model in (Contact, EmailAddress, Consent, Import, ImportRow, Change)] == [0] * 6


def test_imports_as_it_was_checked(database: Database) -> None:
    checked = imports.check(database, DIRTY, "red.csv", basis=BASIS)
    done = take_in(database, DIRTY, basis=BASIS)
    assert (done.state, done.rows_done, done.counts) == (ImportState.DONE, 8, checked.counts)
    with database.session(write=False) as session:
        told = [
            (row.number, row.status, row.code, row.field, row.column, row.sentence) for row in results(session, done.id) if row.code
        ]
    assert told == [(row.number, row.status, row.code, row.field, row.column, row.sentence) for row in checked.rows]


def test_checks_after_an_import_that_nothing_would_change(database: Database) -> None:
    take_in(database, DIRTY, basis=BASIS)
    checked = imports.check(database, DIRTY, "red.csv", basis=BASIS)
    assert checked.counts == {"created": 0, "updated": 0, "unchanged": 4, "refused": 4}


def test_tells_beforehand_who_could_not_be_written_to(database: Database) -> None:
    body = sheet([*people(1), ["Rosa", "Gil", "", "", "Chicago", "US", "", ""]])
    (told,) = imports.check(database, body, "red.csv").rows
    assert (told.number, told.status, told.code, told.field) == (3, CREATED, "email_missing", "emails")
    take_in(database, body)
    assert imports.check(database, body, "red.csv").rows == []


def test_checks_whom_a_row_to_review_speaks_of_unless_only_the_check_made_the_person(database: Database) -> None:
    vague = ["Rosa", "Gil", "", "rosa@example.org", "Ciudad que no existe", "", "", ""]
    body = sheet([vague, vague])
    assert {row.contact_id for row in imports.check(database, body, "red.csv").rows} == {None}
    take_in(database, body)
    with database.session(write=False) as session:
        known = session.scalars(sa.select(EmailAddress.contact_id)).one()
    assert {row.contact_id for row in imports.check(database, body, "red.csv").rows} <= {known}


def test_keeps_few_of_many_rows_to_review_and_counts_all(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "ROWS_KEPT", 3)
    monkeypatch.setattr(imports, "BATCH", 2)
    bad = [["Luz", "Ortega", "", f"luz{number} arroba", "", "", "", ""] for number in range(5)]
    checked = imports.check(database, sheet([*people(4), *bad]), "red.csv")
    assert [row.number for row in checked.rows] == [6, 7, 8]
    assert (checked.coded, checked.counts) == (5, {"created": 4, "updated": 0, "unchanged": 0, "refused": 5})


def test_checks_while_others_write_and_leaves_no_copy(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(imports, "BATCH", 2)
    take = taking_in.take_in_many
    seen: list[int] = []

    def taking(*told: Any, **named: Any) -> Any:
        taken = take(*told, **named)
        with database.session() as session:
            session.add(Tag(name="Otra", key=f"otra {len(seen)}"))
        copies = list(settings.data_dir.glob("rehearsal-*/*"))
        assert all(path.stat().st_mode & 0o077 == 0 for path in copies)
        seen.append(len(copies))
        return taken

    monkeypatch.setattr(imports, "take_in_many", taking)
    imports.check(database, sheet(people(6)), "red.csv")
    assert len(seen) == 3
    assert all(seen) == settings.uses_sqlite
    assert list(settings.data_dir.glob("rehearsal-*")) == []
    with database.session(write=False) as session:
        assert (count(session, Tag), count(session, Contact)) == (3, 0)


def test_leaves_no_copy_after_a_check_that_broke(database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_told: Any, **_named: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(imports, "take_in_many", broken)
    with pytest.raises(MemoryError):
        imports.check(database, DIRTY, "red.csv")
    assert list(settings.data_dir.glob("rehearsal-*")) == []


def test_removes_the_copy_of_a_check_that_was_killed_a_day_ago(database: Database, settings: Settings) -> None:
    old, young = (settings.data_dir / f"rehearsal-{name}" for name in ("old", "young"))
    for folder in (old, young):
        folder.mkdir()
        (folder / "copy.db").write_bytes(b"x")
    os.utime(old, (0, 0))
    imports.check(database, DIRTY, "red.csv")
    assert young.exists()
    assert old.exists() != settings.uses_sqlite


# --- import ----------------------------------------------------------------------------------------------------------------


def test_changes_nothing_the_second_time(database: Database) -> None:
    body = sheet(people(1_500))
    assert take_in(database, body, basis=BASIS).counts["created"] == 1_500
    with database.session(write=False) as session:
        before = [count(session, model) for model in (Contact, EmailAddress, Consent)]
        changes = session.scalar(sa.select(sa.func.count()).where(Change.entity != "import"))
    again = take_in(database, body, basis=BASIS)
    assert again.counts == {"created": 0, "updated": 0, "unchanged": 1_500, "refused": 0}
    with database.session(write=False) as session:
        assert [count(session, model) for model in (Contact, EmailAddress, Consent)] == before == [1_500] * 3
        assert session.scalar(sa.select(sa.func.count()).where(Change.entity != "import")) == changes


def test_reads_a_workbook_as_it_reads_text(database: Database) -> None:
    header = ["Nombre", "Apellidos", "Correo", "Teléfono"]
    body = workbook([header, ["Ana", "Núñez", "ana@example.org", 5555550100], ["Luz", ("=B2", "Núñez"), "luz@example.org", None]])
    done = take_in(database, body, file_name="red.xlsx")
    with database.session(write=False) as session:
        found = session.execute(sa.select(Contact.given_names, Contact.first_surname, Contact.phone).order_by(Contact.id)).all()
    assert [tuple(row) for row in found] == [("Ana", "Núñez", "5555550100"), ("Luz", "Núñez", None)]
    assert take_in(database, body, file_name="red.xlsx").counts["unchanged"] == done.counts["created"] == 2


def test_goes_on_after_the_last_whole_batch(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 10)
    body = sheet(people(35))
    with database.session() as session:
        begun = imports.begin(session, body, "red.csv", basis=BASIS)

    def stop(done: int) -> None:
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imports.run(database, begun.id, body, progress=stop)
    with database.session() as session:
        assert imports.begin(session, body, "red.csv", basis=BASIS).id == begun.id
        assert (imports.get(session, begun.id).rows_done, count(session, Contact)) == (20, 20)
    seen: list[int] = []
    done = imports.run(database, begun.id, body, progress=seen.append)
    assert (done.state, done.rows_done, seen) == (ImportState.DONE, 35, [30, 35])
    with database.session(write=False) as session:
        assert statuses(results(session, begun.id)) == [CREATED] * 35
        assert (count(session, Contact), count(session, Consent)) == (35, 35)


def test_undoes_the_batch_in_which_it_fails(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 10)
    body = sheet(people(35))
    with database.session() as session:
        begun = imports.begin(session, body, "red.csv")
    calls: list[int] = []

    def fail_in_the_third(_connection: object, _cursor: object, statement: str, *_others: object) -> None:
        if statement.startswith("INSERT INTO import_row"):
            calls.append(1)
            if len(calls) == 3:
                raise KeyboardInterrupt

    sa.event.listen(database.engine, "before_cursor_execute", fail_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        imports.run(database, begun.id, body)
    sa.event.remove(database.engine, "before_cursor_execute", fail_in_the_third)
    with database.session(write=False) as session:
        assert (imports.get(session, begun.id).rows_done, count(session, Contact), count(session, ImportRow)) == (20, 20, 20)
    assert imports.run(database, begun.id, body).counts == {"created": 35, "updated": 0, "unchanged": 0, "refused": 0}


def test_lets_only_one_of_two_runs_take_a_batch(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(imports, "BATCH", 10)
    body = sheet(people(30))
    with database.session() as session:
        begun = imports.begin(session, body, "red.csv")

    def run_another(done: int) -> None:
        if done == 10:
            imports.run(database, begun.id, body)

    with pytest.raises(Conflict, match="import_running"):
        imports.run(database, begun.id, body, progress=run_another)
    with database.session(write=False) as session:
        assert (count(session, Contact), count(session, ImportRow)) == (30, 30)


def test_runs_a_finished_import_without_effect(database: Database) -> None:
    done = take_in(database, sheet(people(3)))
    assert imports.run(database, done.id, sheet(people(3))).finished_at == done.finished_at


def test_refuses_to_go_on_with_another_file(database: Database) -> None:
    with database.session() as session:
        begun = imports.begin(session, sheet(people(3)), "red.csv")
    with pytest.raises(Conflict, match="import_file_changed"):
        imports.run(database, begun.id, sheet(people(4)))
    with pytest.raises(NotFound, match="import_not_found"):
        imports.run(database, begun.id + 1, sheet(people(4)))


def test_refuses_a_file_whole_before_its_first_row(database: Database) -> None:
    with pytest.raises(InvalidInput, match="sheet_malformed"), database.session() as session:
        imports.begin(session, sheet(people(3)) + b'"Ana\n', "red.csv")
    with database.session(write=False) as session:
        assert (count(session, Import), count(session, Contact)) == (0, 0)


def test_tells_one_person_of_two_batches_as_of_one(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = people(1)[0]
    body = sheet([rows, *people(3, 1), [*rows[:4], "Chicago", "US", "boletín", "cultura"]])
    whole = imports.check(database, body, "red.csv")
    monkeypatch.setattr(imports, "BATCH", 2)
    assert imports.check(database, body, "red.csv") == whole
    done = take_in(database, body)
    assert done.counts == whole.counts
    with database.session(write=False) as session:
        assert statuses(results(session, done.id)) == [CREATED] * 4 + [UPDATED]
    assert take_in(database, body).counts["unchanged"] == 5


# --- consent ---------------------------------------------------------------------------------------------------------------


def test_records_the_basis_of_the_file_for_everyone(database: Database) -> None:
    done = take_in(database, sheet(people(2)), basis=BASIS)
    assert (done.purposes, done.evidence, done.agreed_on) == (["electoral_information"], BASIS.evidence, BASIS.agreed_on)
    with database.session(write=False) as session:
        for said in session.scalars(sa.select(Consent)):
            assert (said.purpose, said.source, said.import_id) == (Purpose.ELECTORAL_INFORMATION, "import", done.id)
            assert (said.evidence, said.given_on, said.notice_version) == (BASIS.evidence, BASIS.agreed_on, "2026-1")
        assert count(session, Consent) == 2


def test_leaves_people_legacy_without_a_basis(database: Database) -> None:
    take_in(database, sheet(people(2)))
    with database.session(write=False) as session:
        assert count(session, Consent) == 0


def test_asks_how_the_consent_is_known(session: Session) -> None:
    with pytest.raises(InvalidInput, match="evidence_required"):
        imports.begin(session, sheet(people(1)), "red.csv", basis=Basis([Purpose.NEWSLETTER], " "))


def test_begins_anew_with_another_basis(database: Database) -> None:
    body = sheet(people(2))
    with database.session() as session:
        assert imports.begin(session, body, "a.csv").id != imports.begin(session, body, "a.csv", basis=BASIS).id


@pytest.mark.parametrize("basis", [None, BASIS])
def test_revives_nobody_who_left(database: Database, basis: Basis | None) -> None:
    with database.session() as session:
        consent.suppress(
            session,
            "ana0@example.org",
            SuppressionReason.UNSUBSCRIBED,
            happened_on=date(2027, 1, 20),
            proof="Correo del 20 de enero",
        )
    done = take_in(database, sheet(people(2)), basis=basis)
    with database.session(write=False) as session:
        first, second = results(session, done.id)
        assert first.code == "suppressed"
        assert second.code is None
        reached = session.scalars(
            sa.select(EmailAddress.address)
            .join(Contact, Contact.id == EmailAddress.contact_id)
            .where(consent.skip_reason(session, Purpose.ELECTORAL_INFORMATION).is_(None))
        ).all()
    assert reached == (["ana1@example.org"] if basis else [])


def test_refuses_a_row_that_grants_again_what_was_revoked(database: Database) -> None:
    body = sheet(people(1))
    take_in(database, body, basis=BASIS)
    with database.session() as session:
        consent.suppress(
            session,
            "ana0@example.org",
            SuppressionReason.UNSUBSCRIBED,
            happened_on=date(2027, 1, 20),
            proof="Correo del 20 de enero",
        )
    assert take_in(database, body, basis=BASIS).counts == {"created": 0, "updated": 0, "unchanged": 0, "refused": 1}


# --- what became of it -----------------------------------------------------------------------------------------------------


def test_keeps_the_values_of_what_it_refused(database: Database) -> None:
    body = sheet([["Luz", "Ortega", "", "luz arroba", "", "", "", "", "nota"]], [*HEADER, "Notas"])
    done = take_in(database, body)
    with database.session(write=False) as session:
        assert results(session, done.id, REFUSED)[0].values == {
            "Nombre": "Luz", "Primer apellido": "Ortega", "Correo": "luz arroba", "Notas": "nota",
        }  # fmt: skip


def test_mends_a_row_of_an_import_that_no_page_checked(database: Database) -> None:
    taken = take_in(database, sheet([["Luz", "Ortega", "", "luz arroba", "", "", "", ""]]), basis=BASIS)
    with database.session() as session:
        cells = {cell.label: cell.index for cell in mending.cells_of(session, taken.id, 2)}
        told = mending.mend(session, taken.id, 2, {cells["Correo"]: "luz@example.org"})
        assert told.status is CREATED
        assert imports.get(session, taken.id).counts[REFUSED] == 0
        assert session.scalar(sa.select(Consent.evidence)) == BASIS.evidence


def test_keeps_nothing_of_a_row_refused_because_the_person_left(database: Database) -> None:
    with database.session() as session:
        told: dict[str, Any] = {"happened_on": date(2027, 1, 20), "proof": "Solicitud"}
        consent.suppress(session, "ana0@example.org", SuppressionReason.ERASED, **told)
    done = take_in(database, sheet(people(1)), basis=BASIS)
    with database.session(write=False) as session:
        row = results(session, done.id, REFUSED)[0]
        stored = session.scalars(sa.select(ImportRow)).one()
    assert (row.code, row.column, row.values, stored.values) == ("suppressed", "Correo", None, None)


@pytest.mark.parametrize("is_check", [True, False])
def test_reads_the_whole_file_before_it_asks_the_database(database: Database, is_check: bool) -> None:
    asked: list[str] = []
    sa.event.listen(database.engine, "before_cursor_execute", lambda *told: asked.append(told[2]))
    broken = sheet(people(3000)) + b'"Luz","una comilla que no cierra\n'
    with pytest.raises(InvalidInput, match="sheet_malformed"), database.session() as session:
        if is_check:
            imports.check(database, broken, "red.csv")
        else:
            imports.begin(session, broken, "red.csv")
    assert asked == []


def test_pages_the_results_by_status(database: Database) -> None:
    done = take_in(database, sheet([*people(7), ["", "", "", "sin arroba", "", "", "", ""]]))
    with database.session(write=False) as session:
        first, cursor = imports.results(session, done.id, status=CREATED, limit=5)
        rest, end = imports.results(session, done.id, status=CREATED, limit=5, cursor=cursor)
        assert [row.number for row in first + rest] == list(range(2, 9))
        assert end is None


def test_tells_the_limit_of_a_value_that_is_too_long(database: Database) -> None:
    done = take_in(database, sheet([["Ana", "5" * 41]], ["Nombre", "Teléfono"]))
    with database.session(write=False) as session:
        row = results(session, done.id)[0]
    assert (row.column, row.sentence) == ("Teléfono", "Este dato es demasiado largo: admite hasta 40 caracteres.")


def test_logs_who_imported(database: Database) -> None:
    body = sheet(people(1))
    with database.session() as session:
        begun = imports.begin(session, body, "red.csv")
    imports.run(database, begun.id, body, actor=Actor(ActorKind.ACCOUNT, 7))
    with database.session(write=False) as session:
        change = session.scalars(sa.select(Change).where(Change.entity == "contact")).one()
    assert (change.actor_id, change.why) == (7, f"Importación {begun.id}")


def test_keeps_no_path_in_the_name_of_the_file(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "red.csv"
    path.write_bytes(sheet(people(1)))
    with database.session() as session:
        assert imports.begin(session, path, str(path)).file_name == "red.csv"


def test_tells_all_that_there_is_to_say_of_a_row(database: Database) -> None:
    header = ["Nombre completo", "Correo", "Ciudad", "Trato", "Idioma", "Sector", "Teléfono"]
    body = sheet(
        [
            ["Ana Paz", "", "Springfield", "su señoría", "", "", ""],
            ["Eva Sol", "eva@example.org", "", "", "klingon", "astronomía", "5.5E+09"],
        ],
        header,
    )
    checked = imports.check(database, body, "red.csv").rows
    done = take_in(database, body)
    with database.session(write=False) as session:
        for entered, refused in (checked, results(session, done.id)):
            assert [(one.code, one.column) for one in entered.remarks] == [
                ("treatment_unknown", "Trato"),
                ("city_ambiguous", "Ciudad"),
                ("email_missing", "Correo"),
            ]
            assert [(one.code, one.column) for one in refused.remarks] == [
                ("language_unknown", "Idioma"),
                ("sector_unknown", "Sector"),
                ("phone_in_exponent", "Teléfono"),
            ]
            assert all(one.sentence in (refused.sentence or "") for one in refused.remarks)


def test_has_a_sentence_for_every_code_of_a_row() -> None:
    assert all(CrmError(code, limit=1).sentence for code in imports._FIELDS if code in SENTENCES)
    assert imports._FIELDS.keys() <= SENTENCES.keys()
