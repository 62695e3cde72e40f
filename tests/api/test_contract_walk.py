"""The main job through the API as design.md section 6 writes it: from people to mails, each accounted for.

Everything goes through the doors: the server as it runs, a key as `crm clients add` makes it, a real mail server. Only the
job engine is left out: what it would call is called here.
"""

from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from crm.config import RelayAddress, Settings
from crm.database import Database
from crm.mailing import sends
from crm.mailing.sending import Way, drain
from crm.server import build
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
    refused = tool.post(f"campaigns/{campaign}/sends", json={"when": {"mode": "now"}, "confirmed_count": 1})
    assert (refused.status_code, refused.json()["code"]) == (409, "count_changed")
    with running() as server:
        work(database, settings, server, send)
        assert tool.get(f"sends/{send}").json()["reason"] == "audience_grew"
        assert server.accepted == []
        assert tool.post(f"sends/{send}/resume").json()["state"] == "sending"
        work(database, settings, server, send)
    assert tool.get(f"sends/{send}").json()["counts"]["sent"] == 2


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
