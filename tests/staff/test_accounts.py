"""Accounts of the staff."""

import pytest
from sqlalchemy.orm import Session

from crm import history
from crm.database import Database
from crm.errors import Conflict, InvalidInput, NotFound
from crm.staff import accounts, sign_in
from crm.staff.models import Role

PASSWORD = "una frase larga de prueba"


def test_creates_an_account_with_a_casefolded_address_and_no_readable_password(session: Session) -> None:
    account = accounts.create(session, " Ana@Example.ORG ", "  Ana   Núñez ", "editing", PASSWORD)
    assert (account.email, account.name, account.role) == ("ana@example.org", "Ana Núñez", Role.EDITING)
    assert account.password_hash.startswith("$argon2id$")
    assert accounts.by_email(session, "ANA@example.org") is account
    assert accounts.find(session) == [account]
    (change,) = history.changes_of(session, "account", account.id)
    assert "password" not in str(change.fields)


@pytest.mark.parametrize(
    ("email", "name", "role", "password", "code"),
    [
        ("no es correo", "Ana", "editing", PASSWORD, "address_invalid"),
        ("ana@example.org", " ", "editing", PASSWORD, "field_required"),
        ("ana@example.org", "a" * 201, "editing", PASSWORD, "field_too_long"),
        ("ana@example.org", "Ana", "owner", PASSWORD, "role_unknown"),
        ("ana@example.org", "Ana", "editing", "once letras", "password_too_short"),
        ("ana@example.org", "Ana", "editing", "x" * 1001, "field_too_long"),
    ],
)
def test_refuses_an_account_that_is_not_well_formed(
    session: Session, email: str, name: str, role: str, password: str, code: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        accounts.create(session, email, name, role, password)
    assert refused.value.code == code
    assert refused.value.sentence


def test_refuses_a_second_account_with_the_same_address(session: Session) -> None:
    accounts.create(session, "ana@example.org", "Ana", "reading", PASSWORD)
    with pytest.raises(Conflict, match="account_exists"):
        accounts.create(session, "Ana@EXAMPLE.org", "Otra", "reading", PASSWORD)


def test_disables_an_account_and_ends_its_sessions(database: Database) -> None:
    with database.session() as session:
        accounts.create(session, "ana@example.org", "Ana", "reading", PASSWORD)
    opened, token = sign_in.sign_in(database, "ana@example.org", PASSWORD, "203.0.113.7")
    with database.session() as session:
        account = accounts.disable(session, opened.account_id)
        first = account.disabled_at
        accounts.disable(session, account.id)
        assert account.disabled_at == first
        assert sign_in.session_of(session, token) is None
    assert not accounts.password_is_right(account, PASSWORD)


def test_changes_role_and_password(database: Database) -> None:
    with database.session() as session:
        accounts.create(session, "ana@example.org", "Ana", "reading", PASSWORD)
    opened, token = sign_in.sign_in(database, "ana@example.org", PASSWORD, "203.0.113.7")
    with database.session() as session:
        account = accounts.change_role(session, opened.account_id, "privacy")
        accounts.change_password(session, account.id, "otra frase larga")
        assert account.role is Role.PRIVACY
        assert sign_in.session_of(session, token) is None
    assert accounts.password_is_right(account, "otra frase larga")


def test_tells_nothing_of_an_account_that_does_not_exist(session: Session) -> None:
    with pytest.raises(NotFound, match="account_not_found"):
        accounts.get(session, 7)
    assert accounts.by_email(session, "no es correo") is None
    assert not accounts.password_is_right(None, PASSWORD)
