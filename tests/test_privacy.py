"""All that is held on a person: every table that hangs on a contact is told, now and when another comes."""

import json

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

from crm import clock, privacy
from crm.config import Settings
from crm.database import Base
from crm.errors import NotFound
from crm.people import bulk_actions, consent, notes, tasks
from crm.people.models import BulkKind, Contact, SuppressionReason
from crm.staff import accounts
from crm.staff.models import Role
from tests.mailing import factories


def test_every_row_of_a_person_is_told_and_no_other(session: Session, settings: Settings) -> None:
    own_id = accounts.create(session, "laura@example.org", "Laura", Role.EDITING, "una frase larga de prueba").id
    factories.begun(session, settings, 3)
    first, second, _ = session.scalars(sa.select(Contact.id).order_by(Contact.id)).all()
    notes.write(session, first, "Prefiere la tarde", own_id)
    tasks.add(session, "Llamar", due_on=None, account_id=own_id, made_by_id=own_id, contact_id=first)
    bulk_actions.carry_out(session, BulkKind.ADD_TAG, "consulado", [first, second], own_id)
    consent.suppress(
        session, "persona0@example.org", SuppressionReason.UNSUBSCRIBED, happened_on=clock.now().date(), proof="Llamada"
    )
    session.flush()
    held = privacy.everything(session, first)
    assert {
        "contact",
        "email_address",
        "contact_tag",
        "consent",
        "delivery",
        "note",
        "task",
        "bulk_action_person",
        "suppression",
    } <= set(held)
    assert held["delivery"][0]["campaign"] == "Prueba"
    assert {row["tag"] for row in held["contact_tag"]} == {"taller", "consulado"}
    assert held["change"][-1]["why"].startswith("Acción en lote")
    whole = json.dumps(held)
    assert factories.marker(0) in whole
    assert factories.marker(1) not in whole
    with pytest.raises(NotFound, match="contact_not_found"):
        privacy.everything(session, 999)


def test_who_is_blocked_is_told_too(session: Session) -> None:
    number = factories.network(session, 1)[0]
    session.get_one(Contact, number).blocked_at = clock.now()
    session.flush()
    assert privacy.everything(session, number)["contact"][0]["id"] == number


def test_no_table_that_points_at_a_person_is_forgotten() -> None:
    pointing = {
        table.name for table in Base.metadata.sorted_tables for key in table.foreign_keys if key.column.table.name == "contact"
    }
    assert pointing <= privacy.tables_of_a_person()
