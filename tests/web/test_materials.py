"""Materiales and Plantillas: uploads that are told what is wrong, files given with shut headers, and who received what."""

from io import BytesIO

import pytest
import sqlalchemy as sa
from PIL import Image
from starlette.testclient import TestClient

from crm import clock
from crm.config import Settings
from crm.database import Database
from crm.mailing import sends, templates
from crm.mailing.schemas import SendIn
from crm.outreach import materials
from crm.people.models import Contact
from crm.staff.models import Role
from tests.mailing.factories import NOW, TEXT, begun, campaign, move, way
from tests.mailing.mail_server import running
from tests.web.conftest import Visitor, csrf_of

FORM = {
    "tipo": "infographic",
    "titulo": "Cómo saco mi credencial",
    "edicion": "2027",
    "idioma": "es",
    "vigencia": "2027-06-06",
    "alternativo": "Tres pasos para tramitar la credencial.",
    "completo": "1. Cita.\r\n2. Documentos.",
    "enlace": "",
}


def png() -> bytes:
    drawn = BytesIO()
    Image.new("RGB", (900, 500), "#5a2a82").save(drawn, "PNG")
    return drawn.getvalue()


def upload(client: TestClient, body: bytes | None = None, **changes: str) -> "tuple[int, str, str]":
    """Post the form of a new material; the status, the page and where it ended."""
    files = {"archivo": ("credencial.png", body, "image/png")} if body is not None else {"archivo": ("", b"", "")}
    answer = client.post("/materiales/nuevo", data={**FORM, **changes, **csrf_of(client)}, files=files)
    return answer.status_code, answer.text, answer.url.path


def test_uploads_a_material_and_shows_it_whole(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    status, page, path = upload(client, png())
    assert (status, path) == (200, "/materiales/1")
    for told in ("Tres pasos para tramitar", "1. Cita.\n2. Documentos.", "6 jun 2027", "edición 2027", "Todavía no ha salido"):
        assert told in page
    gallery = client.get("/materiales").text
    assert "Cómo saco mi credencial" in gallery
    assert "Falta el texto" not in gallery
    assert "Cómo saco" in client.get("/materiales?q=como saco&tipo=infographic&idioma=es").text
    assert "Ningún material" in client.get("/materiales?tipo=video").text


def test_gives_files_that_may_do_nothing(visit: Visitor) -> None:
    client = visit(Role.EDITING)
    upload(client, png())
    for name, disposition in (("archivo", "attachment"), ("miniatura", "inline"), ("imagen", "inline")):
        answer = client.get(f"/materiales/1/{name}")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("image/")
        assert answer.headers["content-disposition"].startswith(disposition)
        assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "private" in answer.headers["cache-control"]
    assert client.get("/materiales/9/archivo").status_code == 404


@pytest.mark.parametrize(
    ("body", "changes", "sentence"),
    [
        (None, {}, "Elija el archivo"),
        (b"no es imagen", {}, "no se admite"),
        (png(), {"titulo": " "}, "necesario"),
        (png(), {"vigencia": "2027-02-31"}, "no existe"),
        (png(), {"edicion": "x" * 61}, "hasta 60"),
        (png(), {"tipo": "document"}, "se sube en PDF"),
        (None, {"tipo": "video"}, "enlace del video"),
        (None, {"tipo": "video", "enlace": "http://ejemplo.mx/v"}, "https://"),
        (png(), {"tipo": "cartel"}, "necesario"),
    ],
)
def test_refuses_what_is_wrong_and_keeps_the_texts(
    visit: Visitor, database: Database, body: bytes | None, changes: dict[str, str], sentence: str
) -> None:
    status, page, _ = upload(visit(Role.EDITING), body, **changes)
    assert status == 422
    assert sentence in page
    assert "Tres pasos para tramitar" in page
    assert ("Vuelva a elegir el archivo" in page) == (body is not None)
    with database.session(write=False) as session:
        assert materials.find(session)[0] == []


def test_says_what_is_missing_and_what_has_expired(visit: Visitor) -> None:
    client = visit(Role.EDITING)
    _, page, _ = upload(client, png(), alternativo="", completo="", vigencia="2020-01-31")
    assert "No se puede enviar todavía" in page
    assert "Venció el 31 ene 2020" in page
    gallery = client.get("/materiales").text
    assert "Falta el texto alternativo" in gallery
    assert "Venció el" in gallery


def test_edits_the_texts_of_a_material(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    upload(client, png(), vigencia="", completo="")
    shown = client.get("/materiales/1/editar").text
    assert 'value="Cómo saco mi credencial"' in shown
    assert 'name="tipo"' not in shown
    told = FORM | {"titulo": "Otro título", "edicion": "", "publico": "1"}
    page = client.post("/materiales/1/editar", data=told | csrf_of(client)).text
    assert "Otro título" in page
    assert "/p/materiales/" in page
    with database.session(write=False) as session:
        stored = materials.get(session, 1)
        assert (stored.edition, stored.full_text, stored.is_public) == (None, "1. Cita.\n2. Documentos.", True)
        name = stored.public_name
    assert client.get(f"/p/materiales/{name}").status_code == 200
    wrong = client.post("/materiales/1/editar", data=told | {"titulo": "", "edicion": "tercera"} | csrf_of(client))
    assert wrong.status_code == 422
    assert 'value="tercera"' in wrong.text
    client.post("/materiales/1/editar", data=FORM | csrf_of(client))
    assert client.get(f"/p/materiales/{name}").status_code == 404


def test_tells_where_it_is_used_and_who_received_it(visit: Visitor, database: Database, settings: Settings) -> None:
    client = visit(Role.EDITING)
    upload(client, png())
    with running() as server:
        with database.session() as session:
            begun(session, settings, 3)
            draft = campaign(session, TEXT, {"type": "image", "material": 1}, name="Credencial de mayo")
            send_id = sends.order(session, draft.id, SendIn(when=NOW, again=True), settings).id
            sends.start(session, send_id, settings)
        move(database, send_id, way(settings, server))
    page = client.get("/materiales/1").text
    assert "Credencial de mayo" in page
    assert '<a href="/materiales/1/personas"><strong class="number">3</strong> personas' in page
    assert f'href="/materiales/1/personas?envio={send_id}"' in page
    for query in ("", f"?envio={send_id}"):
        people = client.get(f"/materiales/1/personas{query}").text
        assert "3 personas lo recibieron" in people
        assert people.count('class="row" href="/personas/') == 3
        assert "ya no se muestra" not in people
    with database.session() as session:
        session.execute(sa.update(Contact).where(Contact.id == 1).values(blocked_at=clock.now()))
    people = client.get("/materiales/1/personas").text
    assert "3 personas lo recibieron" in people
    assert "1 persona ya no se muestra: sus datos están bloqueados." in people
    assert people.count('class="row" href="/personas/') == 2
    assert client.get("/materiales/1/personas?envio=99").status_code == 404
    coordinator = visit(Role.COORDINATION)
    assert 'href="/exportar?material=1"' in coordinator.get("/materiales/1/personas").text
    for query in ("material=1", f"material=1&de_envio={send_id}"):
        assert "Exportar 2 personas" in coordinator.get(f"/exportar?{query}").text
    assert client.get("/materiales/9/personas").status_code == 404


def test_shows_every_template_as_a_person_would_get_it(visit: Visitor, network: None) -> None:
    client = visit(Role.EDITING)
    page = client.get("/materiales/plantillas").text
    assert page.count("<iframe") == len(templates.all_templates())
    assert 'href="/campanas/nueva?plantilla=invitation"' in page
    assert 'value="invitation" checked' in client.get("/campanas/nueva?plantilla=invitation").text
    assert client.get("/campanas/nueva?plantilla=ninguna").status_code == 200
    seen = client.get("/materiales/plantillas/newsletter/vista?contacto=1")
    assert seen.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert client.get("/materiales/plantillas/ninguna/vista").status_code == 404


def test_shows_templates_with_examples_while_nobody_is_in_the_network(visit: Visitor) -> None:
    client = visit(Role.READING)
    assert "Ver como" not in client.get("/materiales/plantillas").text
    seen = client.get("/materiales/plantillas/infographic/vista").text
    assert "{{" not in seen
    assert "infografía" in seen
