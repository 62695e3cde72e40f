"""The main job through the API as design.md section 6 writes it: from people to mails, each accounted for.

Everything goes through the doors: the server as it runs, a key as `crm clients add` makes it, a real mail server. Only the
job engine is left out: what it would call is called here.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from PIL import Image
from starlette.testclient import TestClient

from crm import clock
from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.mailing import sends
from crm.mailing.drain import Way
from crm.mailing.sending import drain
from crm.people.models import Contact
from crm.server import build
from crm.staff import accounts
from crm.staff.models import Role
from tests.api.conftest import make_key
from tests.mailing.mail_server import MailServer, running

SCOPES = ("contacts:write", "segments:write", "materials:write", "campaigns:write", "campaigns:send")
RULE = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}
COUNTS = ["pending", "sent", "deferred", "failed", "in_doubt", "skipped"]


def person(number: int, **changes: Any) -> dict[str, Any]:
    """One item of the batch, word for word but for its name and address."""
    told = {
        "given_names": f"Ana{number:03}",
        "first_surname": "Núñez",
        "second_surname": None,
        "emails": [f"ana{number}@example.org"],
        "city": "Los Ángeles",
        "country": "US",
        "language": "es",
        "tags": ["taller"],
        "leader_sectors": ["academia"],
        "consents": [
            {"purpose": "electoral_information", "channel": "email", "state": "granted", "evidence": "Hoja de registro del taller"}
        ],
    }
    return told | changes


def picture() -> bytes:
    body = BytesIO()
    Image.effect_noise((500, 500), 90).convert("RGB").save(body, "PNG")
    return body.getvalue()


@pytest.fixture
def tool(database: Database, settings: Settings) -> TestClient:
    headers = {"Authorization": f"Bearer {make_key(database, *SCOPES)}"}
    return TestClient(build(database, settings), base_url="http://127.0.0.1:8000/api/v1/", headers=headers)


def posted(tool: TestClient, path: str, body: Any, status: int = 201) -> Any:
    answer = tool.post(path, json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def write_campaign(tool: TestClient) -> int:
    """Segment, material and campaign as the contract writes them; returns the campaign's id."""
    segment = posted(tool, "segments", {"name": "Taller", "rule": RULE})["id"]
    told = {"kind": "infographic", "title": "Mi credencial", "alt_text": "Tres pasos", "full_text": "1. Cita.", "language": "es"}
    material = tool.post("materials", files={"file": ("infografia.png", picture(), "image/png")}, data=told)
    assert material.status_code == 201, material.text
    blocks = [{"type": "text", "body": "Hola, {{ nombre }}:"}, {"type": "image", "material": material.json()["id"]}]
    campaign = {
        "name": "Credencial",
        "template": "infographic",
        "purpose": "electoral_information",
        "audience": {"include": [segment], "exclude": []},
        "variants": [{"language": "es", "subject": "Tu credencial, {{ nombre }}", "blocks": blocks}],
    }
    made: int = posted(tool, "campaigns", campaign)["id"]
    return made


def work(database: Database, settings: Settings, server: MailServer, send_id: int) -> None:
    """What the worker does with a send that is due."""
    with database.session() as session:
        sends.start(session, send_id, settings)
    address = RelayAddress(host="127.0.0.1", port=server.port, tls="none", per_minute=None)
    drain(database, send_id, Way(settings, address))


def test_walks_from_people_to_accounted_mails(tool: TestClient, database: Database, settings: Settings) -> None:
    people = [person(number) for number in range(30)]
    people += [person(30, consents=[]), person(31, emails=[]), {"emails": ["nada"]}]
    told = posted(tool, "contacts/batch", {"items": people}, 200)["items"]
    assert [item["status"] for item in told] == ["created"] * 32 + ["refused"]
    assert told[-1]["error"] == "address_invalid"
    assert [item["status"] for item in posted(tool, "contacts/batch", {"items": people}, 200)["items"][:30]] == ["unchanged"] * 30

    preview = posted(tool, "segments/preview", {"rule": RULE}, 200)
    assert (preview["count"], len(preview["sample"])) == (32, 5)
    assert "taller" in preview["sentence"]

    campaign = write_campaign(tool)
    review = tool.get(f"campaigns/{campaign}/review").json()
    assert (review["recipients"], review["skipped"]) == (30, {"no_consent": 1, "no_address": 1})
    send = posted(tool, f"campaigns/{campaign}/sends", {"when": {"mode": "now"}})
    assert (send["state"], send["counts"]["pending"]) == ("scheduled", 30)

    with running() as server:
        work(database, settings, server, send["id"])
    done = tool.get(f"sends/{send['id']}").json()
    assert (done["state"], done["reason"]) == ("done", None)
    assert [done["counts"][state] for state in COUNTS] == [0, 30, 0, 0, 0, 2]
    assert server.recipients == {f"ana{number}@example.org": 1 for number in range(30)}
    _check_mails(server)
    _check_deliveries(tool, send["id"], server)


def _check_mails(server: MailServer) -> None:
    for accepted in server.accepted:
        name = f"Ana{int(accepted.recipient.removeprefix('ana').partition('@')[0]):03}"
        assert accepted.mail["subject"] == f"Tu credencial, {name}"
        assert f"Hola, {name}:" in accepted.text("plain")
        assert f"Hola, {name}:" in accepted.text("html")
        pictures = [part for part in accepted.mail.walk() if part.get_content_maintype() == "image"]
        assert [f'src="cid:{str(part["Content-ID"]).strip("<>")}"' in accepted.text("html") for part in pictures] == [True]
        assert accepted.mail["list-unsubscribe-post"] == "List-Unsubscribe=One-Click"


def _check_deliveries(tool: TestClient, send_id: int, server: MailServer) -> None:
    """Every person of the audience has one line, and what was sent carries the identifier that left."""
    lines: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = tool.get(f"sends/{send_id}/deliveries", params={"limit": 7, **({"cursor": cursor} if cursor else {})}).json()
        lines += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert len({line["contact_id"] for line in lines}) == len(lines) == 32
    sent = {line["address"]: line["message_id"] for line in lines if line["state"] == "sent"}
    assert sent == {accepted.recipient: str(accepted.mail["message-id"]) for accepted in server.accepted}
    assert all(line["smtp_reply"].startswith("250") and line["at"] for line in lines if line["state"] == "sent")
    skipped = tool.get(f"sends/{send_id}/deliveries", params={"state": "skipped"}).json()
    assert skipped["next"] is None
    assert sorted(line["reason"] for line in skipped["items"]) == ["no_address", "no_consent"]
    only = tool.get(f"sends/{send_id}/deliveries", params={"reason": "no_consent"}).json()["items"]
    assert [line["state"] for line in only] == ["skipped"]


def test_pauses_resumes_and_cancels_twice_as_once(tool: TestClient) -> None:
    posted(tool, "contacts/batch", {"items": [person(number) for number in range(3)]}, 200)
    campaign = write_campaign(tool)
    when = {"when": {"mode": "at", "at": "2999-01-07T10:00:00-06:00"}}
    send = posted(tool, f"campaigns/{campaign}/sends", when)["id"]
    for deed, state in (("pause", "held"), ("resume", "scheduled"), ("cancel", "cancelled")):
        told = [tool.post(f"sends/{send}/{deed}") for _ in range(2)]
        assert [answer.status_code for answer in told] == [200, 200], told[1].text
        assert told[0].json() == told[1].json()
        assert (told[0].json()["state"], told[0].json()["already_sent"]) == (state, 0)
    refused = tool.post(f"sends/{send}/resume")
    assert (refused.status_code, refused.json()["code"]) == (409, "send_over")


def test_holds_what_would_reach_more_people_than_were_confirmed(tool: TestClient, database: Database, settings: Settings) -> None:
    posted(tool, "contacts/batch", {"items": [person(0)]}, 200)
    campaign = write_campaign(tool)
    send = posted(tool, f"campaigns/{campaign}/sends", {"when": {"mode": "now"}, "confirmed_count": 1})["id"]
    posted(tool, "contacts/batch", {"items": [person(1)]}, 200)
    refused = tool.post(f"campaigns/{campaign}/sends", json={"when": {"mode": "now"}})
    assert (refused.status_code, refused.json()["code"]) == (409, "already_ordered")
    refused = tool.post(f"campaigns/{campaign}/sends", json={"when": {"mode": "now"}, "confirmed_count": 1, "again": True})
    assert (refused.status_code, refused.json()["code"]) == (409, "count_changed")
    refused = tool.post(f"campaigns/{campaign}/sends", json={"when": {"mode": "now"}, "version": 99, "again": True})
    assert (refused.status_code, refused.json()["code"]) == (412, "campaign_changed")
    with running() as server:
        work(database, settings, server, send)
        held = tool.get(f"sends/{send}").json()
        assert (held["state"], held["reason"], held["would_reach"]) == ("held", "audience_grew", 2)
        assert server.accepted == []
        posted(tool, "contacts/batch", {"items": [person(2)]}, 200)
        grown = tool.post(f"sends/{send}/resume", json={"accepted_count": 2}).json()
        assert (grown["state"], grown["would_reach"], server.accepted) == ("held", 3, [])
        assert tool.post(f"sends/{send}/resume", json={"accepted_count": -1}).status_code == 422
        assert tool.post(f"sends/{send}/resume", json={"accepted_count": 3}).json()["state"] == "sending"
        work(database, settings, server, send)
    assert tool.get(f"sends/{send}").json()["counts"]["sent"] == 3


def test_skips_who_leaves_between_the_order_and_the_mail(tool: TestClient, database: Database, settings: Settings) -> None:
    posted(tool, "contacts/batch", {"items": [person(0), person(1)]}, 200)
    send = posted(tool, f"campaigns/{write_campaign(tool)}/sends", {"when": {"mode": "now"}})["id"]
    left = {"address": "ana0@example.org", "reason": "unsubscribed", "happened_on": "2026-11-20", "proof": "Lo pidió por teléfono"}
    posted(tool, "suppressions", left)
    with running() as server:
        work(database, settings, server, send)
    assert server.recipients == {"ana1@example.org": 1}
    assert tool.get(f"sends/{send}").json()["counts"]["skipped"] == 1


def test_orders_once_under_an_idempotency_key(tool: TestClient) -> None:
    posted(tool, "contacts/batch", {"items": [person(0)]}, 200)
    path = f"campaigns/{write_campaign(tool)}/sends"
    first, again = (tool.post(path, json={"when": {"mode": "now"}}, headers={"Idempotency-Key": "envio-1"}) for _ in range(2))
    assert first.json() == again.json()
    assert tool.get("sends/2").status_code == 404


def test_guide_names_only_routes_that_exist(tool: TestClient) -> None:
    """docs/api.md is read as it stands: each address in it is one of the API's."""
    guide = (Path(__file__).parent.parent.parent / "docs" / "api.md").read_text(encoding="utf-8")
    paths = {path.replace("{campaign_id}", "1").replace("{send_id}", "1") for path in tool.get("openapi.json").json()["paths"]}
    named = {f"/{words.split(' ')[1]}" for words in guide.split("\n") if words.startswith("post ")}
    assert len(named) == 6
    assert named <= paths


def test_tells_addresses_only_to_who_may_see_contacts(tool: TestClient, database: Database, settings: Settings) -> None:
    posted(tool, "contacts/batch", {"items": [person(0), person(1)]}, 200)
    send = posted(tool, f"campaigns/{write_campaign(tool)}/sends", {"when": {"mode": "now"}})["id"]
    with running() as server:
        work(database, settings, server, send)
    path = f"sends/{send}/deliveries"
    narrow = TestClient(tool.app, base_url=str(tool.base_url))
    for scope in ("campaigns:read", "campaigns:send"):
        narrow.headers["Authorization"] = f"Bearer {make_key(database, scope)}"
        told = narrow.get(path)
        assert [line["address"] for line in told.json()["items"]] == ["a***@example.org"] * 2
        assert all(line["smtp_reply"] is None and line["state"] == "sent" for line in told.json()["items"])
        assert "ana0" not in told.text
    assert [line["address"] for line in tool.get(path).json()["items"]] == ["ana0@example.org", "ana1@example.org"]
    with database.session() as session:
        session.execute(sa.update(Contact).where(Contact.given_names == "Ana000").values(blocked_at=clock.now()))
    blocked = tool.get(path).json()["items"][0]
    assert (blocked["address"], blocked["smtp_reply"], blocked["state"]) == (None, None, "sent")


def test_lists_the_sends_of_a_campaign_newest_first(tool: TestClient) -> None:
    posted(tool, "contacts/batch", {"items": [person(0)]}, 200)
    campaign, other = write_campaign(tool), 99
    for day in (7, 14, 21):
        posted(tool, f"campaigns/{campaign}/sends", {"when": {"mode": "at", "at": f"2999-01-{day:02}T10:00:00-06:00"}})
    first = tool.get(f"campaigns/{campaign}/sends", params={"limit": 2}).json()
    rest = tool.get(f"campaigns/{campaign}/sends", params={"cursor": first["next"]}).json()
    assert [send["id"] for send in first["items"] + rest["items"]] == [3, 2, 1]
    assert rest["next"] is None
    assert first["items"][0] == tool.get("sends/3").json()
    assert tool.get(f"campaigns/{other}/sends").json()["code"] == "campaign_not_found"


def test_hands_a_test_over_outside_any_transaction(tool: TestClient, database: Database, settings: Settings) -> None:
    posted(tool, "contacts/batch", {"items": [person(0)]}, 200)
    campaign = write_campaign(tool)
    with database.session() as session:
        accounts.create(session, "coordinacion@example.org", "Ana", Role.COORDINATION, "una frase larga de prueba")
    held: list[int] = []
    with running() as server:
        product = build(database, Settings(**settings.model_dump() | {"smtp_url": server.url}))
        other = TestClient(product, base_url=str(tool.base_url), headers=dict(tool.headers))
        server.on_data = lambda _address: held.append(database.engine.pool.checkedout())  # type: ignore[attr-defined]
        told = posted(other, f"campaigns/{campaign}/tests", {"to": "coordinacion@example.org"}, 200)
    assert told["accepted"]
    assert held == [0]
