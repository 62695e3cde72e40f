"""`make chaos`, in short: a few kills of `crm worker` in the middle of a send, and everybody is accounted for."""

from pathlib import Path

import pytest

from tests.chaos.storm import Storm
from tests.conftest import ENGINE, Server


@pytest.mark.slow
def test_nobody_twice_and_nobody_lost_when_workers_are_killed(server: Server, tmp_path: Path) -> None:
    account = Storm(tmp_path, server, workers=1 if ENGINE == "sqlite" else 2, kills=1, people=300, rudeness=0).run()
    assert account.broken() == []
    assert account.sent + account.in_doubt == 300 * account.sends
    assert account.kills == 1
