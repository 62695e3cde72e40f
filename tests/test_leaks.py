"""Nothing leaks: after a bad import, a failed send, an unsubscribe and a crash of ours, logs and engine rows hold no one."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

from crm.config import Settings
from crm.database import make_engine
from tests.mailing.mail_server import running
from tests.product import Product, created, product, wait_for

MARKERS = ("Zarzamora", "zarzamora", "Quetzalcuate", "asuntosecreto", "cuerposecreto", "rvc_")
SCOPES = ("contacts:write", "segments:write", "materials:write", "campaigns:write", "campaigns:send")


@pytest.mark.slow
def test_leaves_no_trace_of_anyone_in_logs_or_engine_rows(settings: Settings, tmp_path: Path) -> None:
    told = (
        {}
        if settings.uses_sqlite
        else {"CRM_DATABASE_URL": str(settings.database_url).replace("+psycopg", ""), "CRM_SECRET_KEY": "x" * 32}
    )
    with running() as server, product(tmp_path / "data", CRM_SMTP_URL=server.url, **told) as leaking:
        server.on_rcpt = lambda address: "550 5.1.1 unknown: " + address if "quetzalcuate" in address else None
        key = leaking.key(*SCOPES)
        _import_badly(leaking, tmp_path)
        leaking.start()
        with leaking.api(key) as client:
            send = wait_for(client, _send(client), "done")
            assert (send["counts"]["sent"], send["counts"]["failed"]) == (1, 1)
            link = re.findall(rf"{leaking.url}/p/baja/[\w-]+", server.accepted[0].text())[0]
            token = link.rpartition("/")[2]
            assert httpx.post(link, data={"List-Unsubscribe": "One-Click"}).status_code == 200
            assert httpx.get(link).status_code == 200
            _break(leaking, settings)
            assert client.get("campaigns/1").status_code == 500
            assert client.get("tags", params={"q": "zarzamora"}).status_code in {500, 503}
        leaking.stop()
        written = leaking.log.read_text() + _engine_rows(leaking, settings)
    assert "send_moved" in written
    found = [marker for marker in (*MARKERS, token, key, key.split("_", 2)[2]) if marker in written]
    assert found == []
    assert "@example" not in written.replace("votochilango@example.org", "")


def _import_badly(leaking: Product, tmp_path: Path) -> None:
    sheet = tmp_path / "lista.csv"
    rows = ["Nombre,Primer apellido,Correo,Ciudad,Etiquetas", "Zarzamora,Uno,zarzamora(at)example.org,Chicago,x"]
    rows += ["Zarzamora,Dos,zarzamora@example.org,Chicago,taller", "Quetzalcuate,Tres,quetzalcuate@example.org,Chicago,taller"]
    sheet.write_text("\n".join(rows), encoding="utf-8")
    words = ("contacts", "import", str(sheet), "--consent", "electoral_information", "--evidence", "Registro sintético", "--json")
    told = leaking.command(*words)
    assert '"created": 2' in told
    assert '"refused": 1' in told


def _send(client: httpx.Client) -> int:
    rule = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}
    segment = created(client.post("segments", json={"name": "Taller", "rule": rule}))["id"]
    blocks = [{"type": "text", "body": "cuerposecreto para {{ nombre }}"}]
    campaign = {
        "name": "Zarzamora",
        "template": "notice",
        "purpose": "electoral_information",
        "audience": {"include": [segment], "exclude": []},
        "variants": [{"language": "es", "subject": "asuntosecreto", "blocks": blocks}],
    }
    number = created(client.post("campaigns", json=campaign))["id"]
    return int(created(client.post(f"campaigns/{number}/sends", json={"when": {"mode": "now"}}))["id"])


def _break(leaking: Product, settings: Settings) -> None:
    """Spoil a row and take a table away under the running product, so that requests crash for real."""
    url = f"sqlite:///{leaking.data_dir / 'app.db'}" if settings.uses_sqlite else settings.sqlalchemy_url
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text("""UPDATE campaign_variant SET blocks = '[{"type": "zarzamora"}]'"""))
        connection.execute(sa.text("ALTER TABLE tag RENAME TO tag_gone"))
    engine.dispose()


def _engine_rows(leaking: Product, settings: Settings) -> str:
    """Every row of the job engine, as text."""
    if settings.uses_sqlite:
        with closing(sqlite3.connect(leaking.data_dir / "jobs.db")) as connection:
            return "\n".join(connection.iterdump())
    engine = make_engine(settings.sqlalchemy_url)
    with engine.connect() as connection:
        names = sa.inspect(connection).get_table_names(schema="dbos")
        assert names
        rows = [str(connection.execute(sa.text(f'SELECT * FROM dbos."{name}"')).all()) for name in names]  # noqa: S608  # names come from the inspector
    engine.dispose()
    return "\n".join(rows)
