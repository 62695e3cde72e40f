"""The commands as they are typed, in processes of their own."""

import json
import os
import pty
import subprocess
import time
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from crm import clock
from crm.cli import WHERE, app
from crm.config import Settings
from crm.database import Database
from crm.history import ActorKind, Change
from crm.keys import KEYS_FILE
from crm.mailing.models import Send, SendState
from crm.people import consent
from crm.people.models import PurposeRule, SuppressionReason
from crm.staff import accounts, clients
from crm.staff.models import Account, StaffSession
from tests.commands import crm
from tests.mailing.factories import campaign, network
from tests.people.factories import address_of, contact
from tests.product import CRM, free_port

PASSWORD = "una frase larga de prueba"
OTHER = "otra frase larga de prueba"
pytestmark = pytest.mark.slow


def environment(settings: Settings, **changes: str) -> dict[str, str]:
    told = {"CRM_DATA_DIR": str(settings.data_dir), "CRM_DATABASE_URL": str(settings.database_url)}
    return told | {"CRM_SECRET_KEY": "a secret of the tests", "CRM_DEMO": "0", "CRM_PORT": str(free_port())} | changes


# --- keys of the installation -------------------------------------------------------------------------------------------------


def test_every_command_is_refused_when_the_keys_are_lost(settings: Settings, database: Database) -> None:
    with database.session() as session:
        contact(session, 0)
    assert crm(environment(settings), "users list")[0].code == 0
    (settings.data_dir / KEYS_FILE).unlink()
    commands = (
        "run",
        "web",
        "worker",
        "demo",
        "users list",
        "campaigns send 1",
        "suppressions add a@example.org --reason bounced --proof x",
    )
    for said in crm(environment(settings), *commands):
        assert said.code == 1
        assert "keys.json" in said.err
    assert not (settings.data_dir / KEYS_FILE).exists()


# --- the demo and where it listens ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["run", "web"])
def test_refuses_to_show_the_demo_beyond_this_machine(settings: Settings, database: Database, how: str) -> None:
    if how == "web":
        with database.session() as session:
            accounts.create(session, "demo@example.org", "Demo", "reading", PASSWORD, is_demo=True)
    said = crm(environment(settings, CRM_DEMO="1", CRM_HOST="0.0.0.0"), how)[0]  # noqa: S104  # what is refused
    assert (said.code, "solo escucha en este equipo" in said.err) == (1, True)
    with database.session(write=False) as session:
        assert len(accounts.find(session)) == (how == "web"), "nothing was made before it was refused"


# --- who may come in ----------------------------------------------------------------------------------------------------------


def test_lists_and_revokes_keys(settings: Settings, database: Database) -> None:
    with database.session() as session:
        for name, days in (("Sitio", 365), ("Tablero", 1)):
            clients.create(session, name, "Ana", ["contacts:write"], days)
    revoked, twice, listed, told, unknown = crm(
        environment(settings), "clients revoke 1", "clients revoke 1", "clients list", "clients list --json", "clients revoke 99"
    )
    assert (revoked.code, twice.code, unknown.code) == (0, 0, 1)
    assert "No encontramos ese cliente" in unknown.err
    assert [line.split()[:2] for line in listed.out.splitlines()] == [["1", "Sitio"], ["2", "Tablero"]]
    assert [row["state"] for row in json.loads(told.out)] == ["revoked", "active"]
    assert "rvc_" not in told.out


def test_manages_accounts(settings: Settings, database: Database) -> None:
    with database.session() as session:
        ana = accounts.create(session, "ana@example.org", "Ana", "reading", PASSWORD)
        accounts.create(session, "luz@example.org", "Luz", "administration", PASSWORD)
        accounts.create(session, "zoe@example.org", "Zoé", "administration", PASSWORD)
        for token in "ab":
            session.add(StaffSession(token_hash=token, csrf_token="x", account_id=ana.id, seen_at=clock.now()))
    role, wrong, password, short, disabled, last, listed, told, unknown = crm(
        environment(settings),
        "users role Ana@example.org coordination",
        "users role ana@example.org emperatriz",
        ("users password ana@example.org --password-stdin", OTHER + "\n"),
        ("users password ana@example.org --password-stdin", "corta\n"),
        "users disable luz@example.org",
        "users disable zoe@example.org",
        "users list",
        "users list --json",
        "users disable nadie@example.org",
    )
    assert [one.code for one in (role, wrong, password, short, disabled, last, unknown)] == [0, 1, 0, 1, 0, 1, 1]
    assert "única cuenta de administración" in last.err
    assert "No encontramos esa cuenta" in unknown.err
    assert [line.split()[0] for line in listed.out.splitlines()] == ["ana@example.org", "luz@example.org", "zoe@example.org"]
    assert "(desactivada)" in listed.out.splitlines()[1]
    assert [(row["role"], row["disabled"]) for row in json.loads(told.out)] == [
        ("coordination", False),
        ("administration", True),
        ("administration", False),
    ]
    with database.session(write=False) as session:
        assert accounts.password_is_right(session.get_one(Account, ana.id), OTHER)
        assert session.scalars(sa.select(StaffSession)).all() == [], "who was signed in is signed out"


def test_only_the_privacy_role_decides_on_consent(settings: Settings, database: Database) -> None:
    with database.session() as session:
        for role in ("privacy", "administration"):
            accounts.create(session, f"{role}@example.org", role, role, PASSWORD)
    rule = "consent|rule|newsletter|--legacy|yes|--ground|Oficio 12, 3 de noviembre|--password-stdin|--by|"
    wrong, other, empty, right = crm(
        environment(settings),
        (rule + "privacy@example.org", OTHER + "\n"),
        (rule + "administration@example.org", PASSWORD + "\n"),
        (rule.replace("Oficio 12, 3 de noviembre", " ") + "privacy@example.org", PASSWORD + "\n"),
        (rule + "privacy@example.org", PASSWORD + "\n"),
    )
    assert [one.code for one in (wrong, other, empty, right)] == [1, 1, 1, 0]
    assert "perfil" in other.err
    assert "fundamento" in empty.err
    with database.session(write=False) as session:
        stored = session.scalars(sa.select(PurposeRule)).one()
        change = session.scalars(sa.select(Change).where(Change.entity == "purpose_rule")).one()
        privacy = accounts.by_email(session, "privacy@example.org")
        assert consent.legacy_may_receive(session, stored.purpose)
    assert (stored.purpose, stored.ground) == ("newsletter", "Oficio 12, 3 de noviembre")
    assert privacy is not None
    assert (change.actor_kind, change.actor_id) == (ActorKind.ACCOUNT, privacy.id)


# --- people -------------------------------------------------------------------------------------------------------------------


def test_lists_the_places_to_review_without_names(settings: Settings, database: Database) -> None:
    with database.session() as session:
        contact(session, 0, city="Springfield", country="US")
        contact(session, 1, city="Villa Inventada", country=None)
    listed, told, first = crm(environment(settings), "contacts review", "contacts review --json", "contacts review --limit 1")
    assert "«Springfield»: Springfield, Misuri, US |" in listed.out
    assert "«Villa Inventada»: no conocemos esa ciudad" in listed.out
    assert "Ana" not in listed.out + told.out
    rows = json.loads(told.out)
    assert [(row["typed"], bool(row["candidates"])) for row in rows["items"]] == [("Springfield", True), ("Villa Inventada", False)]
    assert rows["next"] is None
    assert "--cursor" in first.out


# --- a campaign -----------------------------------------------------------------------------------------------------------------


def ready(database: Database) -> int:
    """A campaign for three people, one of whom left."""
    with database.session() as session:
        network(session, 3)
        told = {"happened_on": date(2026, 11, 20), "proof": "Llamada"}
        consent.suppress(session, address_of(0), SuppressionReason.UNSUBSCRIBED, **told)  # type: ignore[arg-type]
        return campaign(session).id


def at_terminal(settings: Settings, typed: str, *words: str) -> tuple[int, str]:
    """A command typed at a terminal: its exit code and all that the terminal showed."""
    ours, theirs = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    process = subprocess.Popen(
        [CRM, *words], env=kept | environment(settings), stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    os.write(ours, typed.encode())
    shown, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, shown.decode()


def test_shows_at_a_terminal_what_will_leave_and_asks_for_the_number(settings: Settings, database: Database) -> None:
    campaign_id = ready(database)
    code, shown = at_terminal(settings, "3\n", "campaigns", "send", str(campaign_id))
    assert (code, "llegaría a 2 personas y usted confirmó 3" in " ".join(shown.split())) == (1, True)
    code, shown = at_terminal(settings, "2\n", "campaigns", "send", str(campaign_id))
    assert code == 0, shown
    told = ("Prueba", "Tu credencial, {{ nombre }}", settings.mail_from, "Llega a 2 personas", "en 2 ciudades de 2 países", "baja")
    assert [one for one in told if one not in shown] == []
    with database.session(write=False) as session:
        send = session.scalars(sa.select(Send)).one()
    assert (send.confirmed_count, round((send.starts_at - send.created_at).total_seconds())) == (2, 60)


def test_orders_at_once_when_no_one_is_at_a_terminal_and_only_once(settings: Settings, database: Database) -> None:
    campaign_id = ready(database)
    first, twice, again, negative = crm(
        environment(settings),
        f"campaigns send {campaign_id} --confirm 2",
        f"campaigns send {campaign_id}",
        f"campaigns send {campaign_id} --again --json",
        f"campaigns send {campaign_id} --confirm -1",
    )
    assert [one.code for one in (first, twice, again, negative)] == [0, 1, 0, 2]
    assert "ya tiene un envío" in twice.err
    assert json.loads(again.out)["confirmed_count"] == 2
    with database.session(write=False) as session:
        started = [(send.starts_at - send.created_at).total_seconds() for send in session.scalars(sa.select(Send))]
    assert all(seconds < 5 for seconds in started)


@pytest.mark.parametrize(("state", "code"), [(SendState.DONE, 0), (SendState.CANCELLED, 1), (SendState.PAUSED, 1)])
def test_waiting_tells_whether_the_send_ended_well(settings: Settings, database: Database, state: SendState, code: int) -> None:
    campaign_id = ready(database)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
    command: list[str | Path] = [CRM, "campaigns", "send", str(campaign_id), "--wait"]
    process = subprocess.Popen(command, env=kept | environment(settings), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        send_id = _ordered(database, process)
        with database.session() as session:
            session.execute(sa.update(Send).where(Send.id == send_id).values(state=state))
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == code


def _ordered(database: Database, process: subprocess.Popen[bytes]) -> int:
    for _ in range(300):
        with database.session(write=False) as session:
            found: int | None = session.scalar(sa.select(Send.id))
        if found is not None:
            return found
        assert process.poll() is None
        time.sleep(0.1)
    raise AssertionError("nothing was ordered")


def test_a_folder_that_is_new_needs_nothing(tmp_path: Path) -> None:
    said = crm({"CRM_DATA_DIR": str(tmp_path / "new")}, "users list", "clients list")
    assert [(one.code, one.out) for one in said] == [(0, "Aún no hay cuentas.\n"), (0, "Ningún sistema tiene clave.\n")]


@pytest.mark.parametrize("name", WHERE)
def test_every_command_says_what_it_is_for(name: str) -> None:
    """Also that its module, which is read only when it is called, is there."""
    shown = CliRunner().invoke(app, [name, "--help"])
    assert shown.exit_code == 0, shown.output
    assert f" {name} [OPTIONS]" in shown.output


def test_people_are_exported_once_and_never_over_another_file(settings: Settings, database: Database, tmp_path: Path) -> None:
    with database.session() as session:
        network(session, 3)
    path = tmp_path / "red.csv"
    export = f"contacts|export|{path}|--reason|Para el archivo"
    done, again, unknown = crm(environment(settings), export, export, f"contacts export {tmp_path / 'red.doc'}")
    assert (done.code, again.code, unknown.code) == (0, 2, 2)
    assert len(path.read_text(encoding="utf-8-sig").splitlines()) == 4
    assert path.stat().st_mode & 0o777 == 0o600
    with database.session(write=False) as session:
        noted = session.scalars(sa.select(Change).where(Change.entity == "export")).one()
        assert noted.fields["rows"] == [None, 3]
