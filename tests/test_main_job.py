"""The main job against the running product: through the API to every mailbox, whole, also when the process is killed."""

import io
import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from threading import Event
from typing import Any

import httpx
import pytest
from PIL import Image

from crm.config import Settings
from tests.mailing.mail_server import MailServer, running
from tests.product import all_deliveries, created, main_job, product, wait_for

SCOPES = ("contacts:write", "segments:write", "materials:write", "campaigns:write", "campaigns:send")


def noisy_picture(kilobytes: int) -> bytes:
    """A picture that does not compress to nothing: about so many kilobytes."""
    side = int((kilobytes * 1000 / 3) ** 0.5)
    noise = Image.frombytes("RGB", (side, side), random.Random(1).randbytes(side * side * 3))
    out = io.BytesIO()
    noise.save(out, "PNG")
    return out.getvalue()


@pytest.mark.slow
def test_walks_the_contract_to_every_mailbox(settings: Settings, tmp_path: Path) -> None:
    count = 60
    with running() as server, product(tmp_path / "data", CRM_SMTP_URL=server.url, **_database(settings)) as running_product:
        key = running_product.key(*SCOPES)
        running_product.start()
        with running_product.api(key) as client:
            send_id = main_job(client, count, noisy_picture(300))
            send = wait_for(client, send_id, "done")
            assert send["counts"] == {"pending": 0, "sent": count, "deferred": 0, "failed": 0, "in_doubt": 0, "skipped": 0}
            rows = all_deliveries(client, send_id)
            assert {row["message_id"] for row in rows} == {str(mail.mail["message-id"]) for mail in server.accepted}
            assert all(row["state"] == "sent" and "250" in row["smtp_reply"] and row["at"] for row in rows)
            assert created(client.get(f"sends/{send_id}/deliveries?state=skipped"), 200) == {"items": [], "next": None}
    _each_got_their_own(server, count)
    picture = next(part for part in server.accepted[0].mail.walk() if part.get_content_maintype() == "image")
    assert len(picture.get_payload(decode=True) or b"") > 50_000


@pytest.mark.slow
def test_sends_nobody_twice_and_loses_nobody_when_it_is_killed(settings: Settings, tmp_path: Path) -> None:
    count, doubtful = 150, 0
    with running() as server, product(tmp_path / "data", CRM_SMTP_URL=server.url, **_database(settings)) as killed:
        key = killed.key(*SCOPES)
        killed.start()
        with killed.api(key) as client:
            send_id = main_job(client, count, noisy_picture(30))
        for share in (0.2, 0.6):
            _wait_until(lambda share=share: len(server.accepted) >= count * share)
            killed.kill()
            killed.start()
            doubtful += 8
        with killed.api(key) as client:
            send = _settled(client, send_id)
            rows = all_deliveries(client, send_id)
    assert sum(send["counts"].values()) == count
    assert max(server.recipients.values()) == 1, "nobody twice"
    told_sent = {row["address"] for row in rows if row["state"] == "sent"}
    unsure = {row["address"] for row in rows if row["state"] in {"in_doubt", "pending"}}
    assert told_sent <= set(server.recipients), "nobody called sent and never accepted"
    assert set(server.recipients) <= told_sent | unsure
    assert len(unsure) <= doubtful
    _each_got_their_own(server, len(server.accepted))


@pytest.mark.slow
def test_another_worker_takes_over_within_a_minute(settings: Settings, tmp_path: Path) -> None:
    if settings.uses_sqlite:
        pytest.skip("SQLite has one worker by design: a lock file keeps others out")
    count, open_gate = 120, Event()
    open_gate.set()

    def slowly(_address: str) -> str | None:
        time.sleep(0.05)
        return None if open_gate.wait(60) else "421 4.3.2 closed"

    slow = MailServer(on_rcpt=slowly)
    (tmp_path / "one").mkdir()
    with running(slow) as server, product(tmp_path / "one", CRM_SMTP_URL=server.url, **_database(settings)) as dying:
        key = dying.key(*SCOPES)
        shutil.copytree(tmp_path / "one", tmp_path / "other")
        with product(tmp_path / "other", CRM_SMTP_URL=server.url, **_database(settings)) as other:
            dying.start()
            with dying.api(key) as client:
                send_id = main_job(client, count, noisy_picture(30))
            _wait_until(lambda: len(server.accepted) >= 20)
            open_gate.clear()  # nothing is accepted while the other one starts
            other.start()
            dying.kill()
            open_gate.set()
            gone = time.monotonic()
            left = len(server.accepted)
            _wait_until(lambda: len(server.accepted) > left + 8)
            assert time.monotonic() - gone < 90  # a minute, where the machine has nothing else to do
            with other.api(key) as client:
                rows = _settled_rows(client, send_id)
    assert max(server.recipients.values()) == 1, "nobody twice"
    assert {row["address"] for row in rows if row["state"] == "sent"} <= set(server.recipients)
    assert len([row for row in rows if row["state"] != "sent"]) <= 8, "at most two of each connection of the dead one"


def _settled_rows(client: httpx.Client, send_id: int) -> Sequence[dict[str, Any]]:
    _settled(client, send_id)
    return all_deliveries(client, send_id)


def _settled(client: object, send_id: int) -> dict[str, dict[str, int]]:
    """The send when no more mails leave: done, or on PostgreSQL with some that wait for the dead worker's lease."""
    seen: list[dict[str, dict[str, int]]] = []
    for _ in range(100):
        seen.append(created(client.get(f"sends/{send_id}"), 200))  # type: ignore[attr-defined]
        if seen[-1]["state"] == "done" or (len(seen) > 12 and seen[-1]["counts"] == seen[-12]["counts"]):  # type: ignore[comparison-overlap]
            break
        time.sleep(0.5)
    return seen[-1]


def _wait_until(happened: object, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not happened():  # type: ignore[operator]
        assert time.monotonic() < until
        time.sleep(0.02)


def _database(settings: Settings) -> dict[str, str]:
    if settings.database_url is None or settings.uses_sqlite:
        return {}
    return {"CRM_DATABASE_URL": settings.database_url.replace("postgresql+psycopg://", "postgresql://"), "CRM_SECRET_KEY": "x" * 32}


def _each_got_their_own(server: MailServer, count: int) -> None:
    assert server.recipients == Counter({mail.recipient: 1 for mail in server.accepted})
    assert len(server.recipients) == count
    for accepted in server.accepted:
        own = f"Marca{int(re.findall(r'[0-9]+', accepted.recipient)[0]):05}x"
        text = f"{accepted.mail['subject']} {accepted.mail['to']} {accepted.text('plain')} {accepted.text('html')}"
        assert set(re.findall(r"Marca\d{5}x", text)) == {own}
