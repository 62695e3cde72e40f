"""The flight recorder: what a killed process had begun, read by the next one."""

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from crm.config import Settings
from crm.database import Database
from crm.mailing import deliveries, flight
from crm.mailing.flight import Flight, Mark, left_behind
from crm.mailing.models import DeliveryState
from tests.mailing.factories import begun, states

KILLED = """
import os, signal, sys
from pathlib import Path
from crm.mailing.flight import Flight
flight = Flight(Path(sys.argv[1]), "token")
for number in (7, 8, 2**40, 10, 11):
    flight.begun(number)
flight.ended(8, accepted=True)
flight.ended(10, accepted=False)
flight.ended(11, accepted=True)
flight.forget(11)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_tells_what_a_killed_process_had_begun(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=dict(os.environ), check=False)
    assert list(left_behind(tmp_path)) == [("token", {7: Mark.BEGUN, 8: Mark.ACCEPTED, 2**40: Mark.BEGUN})]
    assert list(left_behind(tmp_path)) == []


def test_passes_over_who_lives_and_believes_nothing_of_another_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    living = Flight(tmp_path, "living")
    assert list(left_behind(tmp_path)) == []
    living.begun(1)
    living.close(keep=True)
    monkeypatch.setattr(flight, "boot", lambda: "another")
    assert list(left_behind(tmp_path)) == [("living", None)]
    gone = Flight(tmp_path, "gone")
    gone.close(keep=False)
    assert list(left_behind(tmp_path)) == []


def test_believes_no_file_that_is_cut(tmp_path: Path) -> None:
    Flight(tmp_path, "token").close(keep=True)
    path = tmp_path / flight.FOLDER / "token"
    path.write_bytes(path.read_bytes()[:-1])
    assert list(left_behind(tmp_path)) == [("token", None)]


def test_gives_back_what_had_not_begun_and_takes_for_sent_what_was_accepted(database: Database, settings: Settings) -> None:
    with database.session() as session:
        send = begun(session, settings, 5)
        due = deliveries.candidates(session, send, relay_is_local=True)
        mine = [one.id for one in deliveries.claim(session, due, "mine", 3, timedelta(minutes=1))]
        deliveries.claim(session, due, "other", 1, timedelta(minutes=1))
        deliveries.recover(session, "mine", {mine[0]: Mark.BEGUN, mine[1]: Mark.ACCEPTED, 10**6: Mark.ACCEPTED})
        now = {DeliveryState.IN_DOUBT: 1, DeliveryState.SENT: 1, DeliveryState.PENDING: 2, DeliveryState.SENDING: 1}
        assert states(session, send.id) == now
