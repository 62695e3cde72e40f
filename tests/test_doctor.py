"""`crm doctor`: what is wrong, in words, with the mend; also when the database cannot be opened."""

import json
import shutil
from datetime import date, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from crm import clock, doctor, files
from crm.config import Settings
from crm.database import JOURNAL_FILE
from crm.doctor import Finding, State
from crm.files import StoredFile
from crm.keys import KEYS_FILE, load_keys
from crm.mailing.models import DeliveryState, Send
from crm.people import consent
from crm.people.installation import open_database
from crm.people.models import SuppressionReason
from tests.commands import crm
from tests.conftest import Server, migrate
from tests.mailing.factories import begun, network
from tests.mailing.mail_server import DROP, MailServer, running
from tests.test_restore import ordered


def findings(settings: Settings, **told: bool) -> dict[str, Finding]:
    found = doctor.examine(settings, **told)
    assert all(one.mend for one in found if one.state is not State.GOOD), "what is wrong has a mend"
    assert all(not one.mend for one in found if one.state is State.GOOD)
    return {one.what: one for one in found}


def bad(settings: Settings) -> set[str]:
    return {what for what, one in findings(settings).items() if one.state is State.BAD}


def test_finds_nothing_wrong_with_a_sound_installation(settings: Settings) -> None:
    database = open_database(settings)
    with database.session() as session:
        files.store(session, b"una imagen", "image/png")
    with running() as server:
        told = settings.model_copy(update={"smtp_url": server.url})
        found = findings(told, deep=True)
        assert server.accepted == [], "nothing is sent"
    database.dispose()
    assert {one.state for one in found.values()} <= {State.GOOD, State.ATTENTION}
    assert found["Servidor de correo"].state is State.GOOD
    assert found["Envíos"].state is State.ATTENTION, "no worker lives"


def test_tells_what_is_wrong_inside(settings: Settings) -> None:
    database = open_database(settings)
    with database.session() as session:
        files.store(session, b"una imagen", "image/png")
        session.execute(sa.update(StoredFile).values(body=b"otra"))
        network(session, 3)
        late = session.get_one(Send, ordered(session, settings))
        late.starts_at = clock.now() - timedelta(hours=1)
    with database.session() as session:
        consent.suppress(session, "ana@example.org", SuppressionReason.UNSUBSCRIBED, happened_on=date(2026, 11, 20), proof="x")
        send = begun(session, settings, name="Otra")
        session.execute(sa.text("UPDATE delivery SET state = :state"), {"state": DeliveryState.IN_DOUBT})
        assert send.id
    database.dispose()
    (settings.data_dir / JOURNAL_FILE).unlink()
    found = findings(settings.model_copy(update={"smtp_url": "smtp://127.0.0.1:1", "base_url": "http://red.example.org"}))
    wrong = {what for what, one in found.items() if one.state is State.BAD}
    assert wrong == {"Archivos guardados", "Envíos", "Envíos a su hora", "Servidor de correo", "Dirección pública"}
    assert found["Correos sin confirmar"].words.startswith("3")
    assert "faltan en suppressions.jsonl" in found["Lista de exclusión"].words
    load_keys(settings.data_dir / "otra")
    shutil.copy(settings.data_dir / "otra" / KEYS_FILE, settings.data_dir)
    assert "Claves de esta base" in bad(settings)
    (settings.data_dir / KEYS_FILE).unlink()
    assert "Claves de esta base" in bad(settings)
    assert not (settings.data_dir / KEYS_FILE).exists(), "a doctor makes no keys"


def test_speaks_of_a_schema_that_is_not_this_release(settings: Settings, server: Server, worker: str) -> None:
    url = server.create(f"crm_older_{worker}", None)
    migrate(url, "0006")
    settings.data_dir.mkdir(exist_ok=True)
    older = settings.model_copy(update={"database_url": url})
    assert findings(older)["Base de datos"].state is State.ATTENTION
    engine = sa.create_engine(older.sqlalchemy_url)
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    engine.dispose()
    assert "más nueva" in findings(older)["Base de datos"].words
    server.drop(f"crm_older_{worker}")


def test_a_mail_server_that_hangs_up_is_told(settings: Settings) -> None:
    with running(MailServer(on_mail=lambda _: DROP)) as server:
        reached = settings.model_copy(update={"smtp_url": f"smtp://yo:clave@127.0.0.1:{server.port}?tls=none"})
        found = findings(reached)
    assert found["Servidor de correo"].state is State.BAD, "it offers no sign-in"


@pytest.mark.once
def test_speaks_when_the_database_cannot_be_opened(tmp_path: Path) -> None:
    broken = {"CRM_DATA_DIR": str(tmp_path)}
    (tmp_path / "app.db").write_text("esto no es una base de datos")
    told, as_json = crm(broken, "doctor", "doctor --json")
    assert (told.code, as_json.code) == (1, 1)
    assert "no se pudo abrir" in told.out
    assert "→" in told.out
    assert {one["state"] for one in json.loads(as_json.out)} == {"bien", "atención", "mal"}
    assert "Base de datos" in bad(Settings(data_dir=tmp_path, database_url="postgresql://x@127.0.0.1:1/x", secret_key="x"))
    assert bad(Settings(data_dir=tmp_path / "nueva")) == set()
    assert not (tmp_path / "nueva").exists(), "looking changes nothing"
