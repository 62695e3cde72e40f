"""Ajustes, Avisos de privacidad: who publishes, what comes back when it is wrong, and what others see."""

from datetime import timedelta

from starlette.testclient import TestClient

from crm import clock
from crm.staff.models import Role
from tests.web.conftest import Visitor, csrf_of

HERE = "/ajustes/avisos"


def told(**others: str) -> dict[str, str]:
    return {
        "version": "2027-1", "desde": clock.today().isoformat(), "simplificado": "Aviso breve.", "ingles": "",
        "integral": "Responsable\nX", "enlace": "",
    } | others  # fmt: skip


def test_a_version_is_published_and_read_by_anybody(visit: Visitor, anybody: TestClient) -> None:
    privacy = visit(Role.PRIVACY)
    assert "No hay aviso de privacidad en vigor" in privacy.get(HERE).text
    answer = privacy.post(HERE, data=told() | csrf_of(privacy))
    assert "quedó publicado" in answer.text
    assert "En vigor" in answer.text
    page = anybody.get("/p/aviso/2027-1").text
    assert "Aviso breve." in page
    assert "Aviso integral" in page


def test_a_version_is_looked_at_before_it_is_published(visit: Visitor, anybody: TestClient) -> None:
    privacy = visit(Role.PRIVACY)
    shown = privacy.post(HERE, data=told(simplificado="Aviso breve.\n\nDos <b>partes</b>.", deed="preview") | csrf_of(privacy))
    assert shown.status_code == 200
    assert "Vista previa" in shown.text
    assert "Dos &lt;b&gt;partes&lt;/b&gt;." in shown.text
    assert anybody.get("/p/aviso/2027-1").status_code == 404
    assert "No hay aviso de privacidad en vigor" in privacy.get(HERE).text
    wrong = privacy.post(HERE, data=told(simplificado="", deed="preview") | csrf_of(privacy))
    assert wrong.status_code == 422
    assert "nada se publicó" in wrong.text


def test_what_is_wrong_comes_back_with_all_that_was_typed(visit: Visitor) -> None:
    privacy = visit(Role.PRIVACY)
    answer = privacy.post(
        HERE, data=told(version="a/b", desde="ayer", simplificado="Un <b>texto</b> [por llenar]") | csrf_of(privacy)
    )
    assert answer.status_code == 422
    assert "Un &lt;b&gt;texto&lt;/b&gt; [por llenar]" in answer.text
    assert "Esa fecha no existe" in answer.text
    again = privacy.post(HERE, data=told(version="a/b", simplificado="[por llenar]") | csrf_of(privacy))
    assert "Quedó algo por escribir: [por llenar]" in again.text
    assert "Escriba el nombre de la versión" in again.text


def test_a_version_to_come_is_withdrawn(visit: Visitor) -> None:
    privacy = visit(Role.PRIVACY)
    day = (clock.today() + timedelta(days=9)).isoformat()
    assert "Por venir" in privacy.post(HERE, data=told(desde=day) | csrf_of(privacy)).text
    assert "se retiró" in privacy.post(f"{HERE}/retirar", data={"version": "2027-1"} | csrf_of(privacy)).text


def test_others_read_and_do_not_publish(visit: Visitor) -> None:
    reader = visit(Role.COORDINATION)
    assert "Los avisos los publica una cuenta con el perfil de Privacidad" in reader.get(HERE).text
    assert reader.post(HERE, data=told() | csrf_of(reader)).status_code == 403
