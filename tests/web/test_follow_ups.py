"""Work around people: notes, tasks, actions on a selection, and several addresses taken out at once, by the pages."""

import html
import re
from datetime import date, timedelta

import sqlalchemy as sa
from starlette.testclient import TestClient

from crm import clock
from crm.database import Database
from crm.history import Change, ChangePersonal
from crm.people.models import BulkAction, BulkActionPerson, BulkKind, Contact, EmailAddress, Suppression, Tag, Task, contact_tag
from crm.staff.models import Account, Role
from tests.web.conftest import Visitor, csrf_of

LATE = (clock.today() - timedelta(days=2)).isoformat()


def people_tagged(database: Database, name: str) -> int:
    with database.session(write=False) as session:
        asked = (
            sa.select(sa.func.count()).select_from(contact_tag).join(Tag, Tag.id == contact_tag.c.tag_id).where(Tag.name == name)
        )
        return session.scalar(asked) or 0


def post(client: TestClient, path: str, **data: str) -> str:
    answer = client.post(path, data=data | csrf_of(client))
    assert answer.status_code < 500
    return answer.text


def test_a_note_is_kept_taken_away_and_put_back(visit: Visitor, network: None) -> None:
    editor = visit(Role.EDITING)
    assert "Prefiere que le llamen por la tarde" in post(editor, "/personas/7/notas", nota="Prefiere que le llamen por la tarde")
    assert "Se quitó una nota" in post(editor, "/notas/1/quitar")
    assert "Prefiere que le llamen por la tarde" in post(editor, "/notas/1/reponer")
    refused = post(editor, "/personas/7/notas", nota="CURP NULA900101MDFXXX09")
    assert "la Red no las guarda" in refused
    assert "NULA900101MDFXXX09" in refused, "the form keeps its text"


def test_a_task_that_is_late_waits_on_the_first_page_until_it_is_done(visit: Visitor, network: None) -> None:
    editor = visit(Role.EDITING)
    post(editor, "/personas/7/tareas", tarea="Mandar el tríptico", para=LATE, quien="1")
    assert "Tarea: Mandar el tríptico" in editor.get("/").text
    assert "Venció el" in editor.get("/tareas").text
    assert "Quedó hecha" in post(editor, "/tareas/1/hecha")
    assert "Mandar el tríptico" not in editor.get("/").text
    post(editor, "/tareas/1/reabrir")
    assert "Se quitó" in post(editor, "/tareas/1/quitar")
    wrong = post(editor, "/tareas", tarea="Escribir", para="mañana", quien="99")
    assert "Esa fecha no existe" in wrong
    assert "Escribir</textarea>" in wrong


def test_what_was_settled_is_shown_to_who_may_bring_it_back_and_of_nobody_blocked(
    visit: Visitor, network: None, database: Database
) -> None:
    editor, reader = visit(Role.EDITING), visit(Role.READING)
    post(editor, "/personas/7/tareas", tarea="Escribir a otra@example.org", para="", quien="")
    post(editor, "/tareas/1/quitar")
    assert "«Escribir a otra@example.org»" in editor.get("/tareas?quitada=1").text
    assert "Escribir a" not in reader.get("/tareas?quitada=1").text
    post(editor, "/tareas/1/reabrir")
    post(editor, "/tareas/1/hecha")
    assert "Escribir a" not in reader.get("/tareas?hecha=1").text
    with database.session() as session:
        session.get_one(Contact, 7).blocked_at = clock.now()
    for name in ("hecha", "quitada"):
        page = editor.get(f"/tareas?{name}=1")
        assert page.status_code == 200
        assert "Escribir a" not in page.text


def test_a_task_for_many_people_is_counted_and_paged_to_the_last(visit: Visitor, network: None, database: Database) -> None:
    editor, days = visit(Role.EDITING), [LATE, None, clock.today().isoformat()]
    with database.session() as session:
        session.add_all(
            Task(contact_id=one, text=f"Llamar {one}", due_on=date.fromisoformat(day) if (day := days[one % 3]) else None)
            for one in range(1, 211)
        )
    page, seen = editor.get("/tareas").text, list[int]()
    assert '<data class="number" value="210"><b>210</b></data>' in page
    while following := re.search(r'id="page-after" href="([^"]+)"', page):
        seen += map(int, re.findall(r"Llamar (\d+)</b>", page))
        page = editor.get(html.unescape(following[1])).text
    seen += map(int, re.findall(r"Llamar (\d+)</b>", page))
    assert [number % 3 for number in seen] == [0] * 70 + [2] * 70 + [1] * 70, "late ones, today's, those without a day"
    assert sorted(seen) == list(range(1, 211))
    first = html.unescape(editor.get("/").text)
    assert "Y 132 tareas más para hoy o ya vencidas" in first
    with database.session() as session:
        session.execute(sa.update(Task).values(done_at=clock.now()))
    done = editor.get("/tareas?ver=hechas").text
    assert "<b>210</b>" in done
    following = re.search(r'id="page-after" href="([^"]+)"', done)
    assert following
    assert "ver=hechas" in following[1]
    assert "Llamar 160<" in editor.get(html.unescape(following[1])).text


def test_all_of_a_filter_are_tagged_and_untagged_again(visit: Visitor, network: None, database: Database) -> None:
    editor = visit(Role.EDITING)
    page = editor.get("/lotes/nuevo?todas=1&pais=US").text
    many = re.search(r"Etiquetar a ([\d,]+) personas", page)
    assert many
    told = {"seleccion": "todas=1&pais=US", "que": "etiquetar", "valor": "Consulado 2027"}
    assert "La lista cambió mientras decidía" in post(editor, "/lotes/nuevo", cuantas="1", **told)
    assert people_tagged(database, "Consulado 2027") == 0
    count = many[1].replace(",", "")
    done = post(editor, "/lotes/nuevo", cuantas=count, **told)
    assert f"Se puso la etiqueta «Consulado 2027» a {many[1]} personas." in done
    assert people_tagged(database, "Consulado 2027") == int(count)
    assert '<a href="/lotes/1/personas">Ver a quiénes</a>' in done
    listed = editor.get("/lotes/1/personas").text
    assert "Se puso la etiqueta «Consulado 2027»" in listed
    assert f"{many[1]} personas ·" in listed
    with database.session(write=False) as session:
        tagged = set(session.scalars(sa.select(BulkActionPerson.contact_id)))
    assert set(map(int, re.findall(r'href="/personas/(\d+)"', listed))) <= tagged
    assert f"Se deshizo en {many[1]} personas." in post(editor, "/lotes/1/deshacer")
    assert people_tagged(database, "Consulado 2027") == 0


def test_the_people_of_an_undone_action_tell_who_stayed_as_they_were(visit: Visitor, network: None, database: Database) -> None:
    editor = visit(Role.EDITING)
    post(editor, "/lotes/nuevo", seleccion="id=3&id=5", cuantas="2", que="tarea", valor="Llamar")
    assert "Cambió después" not in editor.get("/lotes/1/personas").text
    with database.session() as session:
        session.execute(sa.update(Task).where(Task.contact_id == 5).values(done_at=clock.now()))
    assert "1 cambió después y se quedó como está" in post(editor, "/lotes/1/deshacer")
    page = editor.get("/lotes/1/personas").text
    assert "Se deshizo en 1 persona. 1 cambió después y se quedó como está." in page
    assert "Cambió después" not in page[page.index('href="/personas/3"') :].partition("</li>")[0]
    assert "Cambió después" in page[page.index('href="/personas/5"') :].partition("</li>")[0]


def test_only_those_marked_are_meant_and_only_privacy_blocks(visit: Visitor, network: None, database: Database) -> None:
    editor = visit(Role.COORDINATION)
    told = {"seleccion": "id=3&id=5&id=999999", "cuantas": "2", "valor": ""}
    assert "Nadie está marcado" in editor.get("/lotes/nuevo").text
    assert "No tiene" not in post(editor, "/lotes/nuevo", que="nota", **told | {"valor": "Vino"})
    refused = editor.post("/lotes/nuevo", data={**told, "que": "bloquear"} | csrf_of(editor))
    assert refused.status_code == 403
    assert editor.post("/lotes/nuevo", data={**told, "que": "inventada"} | csrf_of(editor)).status_code == 422
    assert blocked(database) == 0
    privacy = visit(Role.PRIVACY)
    page = privacy.get("/lotes/nuevo?id=3&id=5").text
    assert "Bloquear a 2 personas" in page
    assert "Poner una etiqueta" not in page
    assert privacy.post("/lotes/nuevo", data={**told, "que": "etiquetar", "valor": "x"} | csrf_of(privacy)).status_code == 403
    assert "Se bloquearon los datos a 2 personas" in post(privacy, "/lotes/nuevo", que="bloquear", **told)
    assert blocked(database) == 2
    assert "2 personas ya no se muestran: sus datos están bloqueados." in editor.get("/lotes/2/personas").text
    assert 'href="/personas/3"' not in editor.get("/lotes/2/personas").text
    assert editor.get("/lotes/99/personas").status_code == 404
    assert editor.post("/lotes/2/deshacer", data=csrf_of(editor)).status_code == 403
    post(privacy, "/lotes/2/deshacer")
    assert blocked(database) == 0


def test_the_text_of_a_note_for_many_goes_with_its_undoing(visit: Visitor, network: None, database: Database) -> None:
    editor = visit(Role.EDITING)
    told = {"seleccion": "id=3&id=5", "cuantas": "2", "que": "nota", "valor": "Su vecina avisó de su mudanza"}
    assert "Se anotó «Su vecina avisó de su mudanza» a 2 personas" in post(editor, "/lotes/nuevo", **told)
    page = post(editor, "/lotes/1/deshacer")
    assert "vecina" not in page
    assert "Se escribió una nota a 2 personas" in page
    with database.session(write=False) as session:
        assert session.get_one(BulkAction, 1).value == ""
        logged = session.scalars(
            sa.select(ChangePersonal.fields).join(Change, Change.id == ChangePersonal.change_id).where(Change.root == "bulk_action")
        )
        assert "vecina" not in str(logged.all())


def blocked(database: Database) -> int:
    chosen = sa.and_(Contact.id.in_((3, 5)), Contact.blocked_at.is_not(None))
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count(Contact.id)).where(chosen)) or 0


def test_pasted_addresses_leave_once_their_number_is_typed(visit: Visitor, network: None, database: Database) -> None:
    editor = visit(Role.EDITING)
    told = {
        "direcciones": "Una <nueva@example.org>\notra@example.org; no@@example",
        "motivo": "baja", "fecha": LATE, "prueba": "Llamada del lunes",
    }  # fmt: skip
    review = post(editor, "/lotes/bajas", **told)
    assert "Escriba 2 para confirmar" in review
    assert "No es una dirección de correo" in review
    before = left(database)
    assert "el número de direcciones, para confirmar" in post(editor, "/lotes/bajas", paso="hacer", numero="3", **told)
    assert left(database) == before
    done = post(editor, "/lotes/bajas", paso="hacer", numero="2", **told)
    assert "2 direcciones quedaron fuera" in done
    assert "No está en la Red" in done
    missed = done[done.index("No se entendió: nadie de aquí quedó fuera") :]
    assert "no@<wbr>@example" in missed, "a request to leave is not forgotten since it was written badly"
    assert "otra<wbr>@example<wbr>.org" in done
    assert "otra<wbr>@" not in missed
    assert left(database) == before + 2
    assert "Todas estaban fuera ya" in post(editor, "/lotes/bajas", **told)
    with database.session(write=False) as session:
        one = session.execute(sa.select(EmailAddress.contact_id, EmailAddress.address).order_by(EmailAddress.id)).first()
    assert one
    told["direcciones"] = one.address
    theirs = post(editor, "/lotes/bajas", paso="hacer", numero="1", **told)
    assert f'<a href="/personas/{one.contact_id}">' in theirs
    assert "Ya estaba fuera: no hay" in post(editor, "/lotes/bajas", **told)
    assert 'href="/lotes/bajas"' in editor.get("/contactos").text.partition('class="card contacts"')[0], "above the list"
    nothing = post(editor, "/lotes/bajas", **told | {"direcciones": "nadie", "prueba": ""})
    assert "No hay ninguna dirección" in nothing
    assert "Escriba cómo consta" in nothing


def left(database: Database) -> int:
    with database.session(write=False) as session:
        return session.scalar(sa.select(sa.func.count(Suppression.id))) or 0


def test_every_bulk_action_is_found_again(visit: Visitor, database: Database) -> None:
    client = visit(Role.EDITING)
    with database.session() as session:
        author = session.scalars(sa.select(Account.id)).one()
        row = {"kind": BulkKind.ADD_TAG, "people": 1, "account_id": author, "at": clock.now()}
        session.execute(sa.insert(BulkAction), [row | {"value": f"Etiqueta {number}"} for number in range(120)])
    seen: set[str] = set()
    address = "/lotes"
    while address:
        text = client.get(address).text
        seen |= set(re.findall(r"Etiqueta (\d+)", text))
        following = re.search(r'id="page-after" href="([^"]+)"', text)
        address = html.unescape(following[1]) if following else ""
    assert len(seen) == 120
