"""`make chaos`, in short: a few kills of `crm worker` in the middle of a send, and everybody is accounted for."""

from pathlib import Path

import pytest

from tests.chaos.storm import Storm
from tests.conftest import ENGINE, Server, sqlite_server


@pytest.mark.slow
def test_nobody_twice_and_nobody_lost_when_workers_are_killed(server: Server, tmp_path: Path) -> None:
    account = Storm(tmp_path, server, workers=1 if ENGINE == "sqlite" else 2, kills=1, people=300, rudeness=0).run()
    assert account.broken() == []
    assert account.sent + account.in_doubt == 300 * account.sends
    assert account.kills == 1


@pytest.mark.slow
@pytest.mark.once
def test_goes_on_with_another_send_once_one_is_over(tmp_path: Path) -> None:
    """Beside the data of the first send the second one's database was taken for a copy: nothing left, and the storm never ended."""
    account = Storm(tmp_path, sqlite_server(tmp_path), workers=1, kills=3, people=60, rudeness=0).run()
    assert account.broken() == []
    assert account.sent + account.in_doubt == 60 * account.sends
