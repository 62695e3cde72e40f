"""The keys of an installation: made once, never made again over a database that knows who left."""

import hmac
import json
import shutil
import sys
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from subprocess import run
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from crm.config import Settings
from crm.database import JOURNAL_FILE
from crm.errors import Unavailable
from crm.keys import KEYS_FILE, MAC_BYTES, Keys, load_keys, read_keys
from crm.people import consent
from crm.people.installation import open_database
from crm.people.models import Installation, Suppression, SuppressionReason


def start(settings: Settings) -> None:
    """A start of the product, and its end."""
    open_database(settings).dispose()


def leave(settings: Settings, address: str = "ana@example.org") -> None:
    database = open_database(settings)
    with database.session() as session:
        told: dict[str, Any] = {"happened_on": date(2026, 11, 20), "proof": "Llamada"}
        consent.suppress(session, address, SuppressionReason.UNSUBSCRIBED, **told)
    database.dispose()


def change_keys(settings: Settings, **changes: Any) -> None:
    path = settings.data_dir / KEYS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_makes_keys_on_the_first_start_and_remembers_which(settings: Settings) -> None:
    database = open_database(settings)
    keys = read_keys(settings.data_dir)
    assert keys is not None
    with database.session(write=False) as session:
        row = session.scalars(sa.select(Installation)).one()
    database.dispose()
    assert (row.suppression_fingerprint, row.links_fingerprint) == (keys.suppression_fingerprint, keys.links_fingerprints[0])
    assert (settings.data_dir / KEYS_FILE).stat().st_mode & 0o777 == 0o600
    start(settings)
    assert read_keys(settings.data_dir) == keys


def test_refuses_to_start_without_the_keys_of_the_database(settings: Settings) -> None:
    leave(settings)
    kept = (settings.data_dir / KEYS_FILE).rename(settings.data_dir / "kept")
    with pytest.raises(Unavailable, match="keys_missing") as caught:
        start(settings)
    assert "keys.json" in caught.value.sentence
    assert not (settings.data_dir / KEYS_FILE).exists(), "nothing was made in its place"
    kept.rename(settings.data_dir / KEYS_FILE)
    start(settings)


@pytest.mark.parametrize("lost", ["suppression", "links"])
def test_refuses_to_start_with_the_keys_of_another_installation(settings: Settings, lost: str) -> None:
    start(settings)
    change_keys(settings, **{lost: "ab" * 32 if lost == "suppression" else ["ab" * 32]})
    with pytest.raises(Unavailable, match="keys_missing"):
        start(settings)


def test_takes_a_ring_that_grew(settings: Settings) -> None:
    start(settings)
    old = json.loads((settings.data_dir / KEYS_FILE).read_text())["links"]
    change_keys(settings, links=["ab" * 32, *old])
    start(settings)
    change_keys(settings, links=["ab" * 32])
    with pytest.raises(Unavailable, match="keys_missing"):
        start(settings)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"suppression": "", "links": []}', '{"suppression": "zz", "links": ["zz"]}'])
def test_refuses_to_start_with_a_file_of_keys_that_is_broken(settings: Settings, text: str) -> None:
    start(settings)
    (settings.data_dir / KEYS_FILE).write_text(text)
    with pytest.raises(Unavailable, match="keys_missing"):
        start(settings)
    with pytest.raises(Unavailable, match="keys_missing"):
        load_keys(settings.data_dir)


def test_refuses_new_keys_where_only_the_journal_is_left(settings: Settings) -> None:
    settings.data_dir.mkdir()
    (settings.data_dir / JOURNAL_FILE).write_text("{}\n")
    with pytest.raises(Unavailable, match="keys_missing"):
        start(settings)


def test_takes_keys_that_come_with_an_empty_database(settings: Settings, tmp_path: Path) -> None:
    keys = load_keys(tmp_path / "old")
    settings.data_dir.mkdir()
    shutil.copy(tmp_path / "old" / KEYS_FILE, settings.data_dir)
    start(settings)
    assert read_keys(settings.data_dir) == keys


def test_refuses_a_second_machine_that_made_keys_of_its_own(settings: Settings, tmp_path: Path) -> None:
    start(settings)
    other = settings.model_copy(update={"data_dir": tmp_path / "other"})
    with pytest.raises(Unavailable, match="keys_missing"):
        start(other)
    assert not (tmp_path / "other" / KEYS_FILE).exists()


def test_two_threads_that_start_at_once_agree(settings: Settings) -> None:
    settings.data_dir.mkdir()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, [settings] * 4))
    assert [path.name for path in settings.data_dir.glob("keys*")] == [KEYS_FILE]
    start(settings)


@pytest.mark.slow
def test_two_processes_that_start_at_once_agree(settings: Settings) -> None:
    settings.data_dir.mkdir()
    begin = (
        "from crm.config import Settings; from crm.people.installation import open_database; "
        "open_database(Settings()); print('started')"
    )
    environment = {
        "CRM_DATA_DIR": str(settings.data_dir),
        "CRM_DATABASE_URL": str(settings.database_url),
        "CRM_SECRET_KEY": "a secret of the tests",
    }

    def process(_: int) -> str:
        done = run([sys.executable, "-c", begin], env=environment, capture_output=True, text=True, check=False)
        return done.stdout.strip() or done.stderr[-2000:]

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(process, range(2))) == ["started", "started"]
    start(settings)


# --- the journal of suppressions, at every start ------------------------------------------------------------------------------


def suppressions(settings: Settings) -> int:
    database = open_database(settings)
    with database.session(write=False) as session:
        count = session.scalar(sa.select(sa.func.count()).select_from(Suppression)) or 0
    database.dispose()
    return count


def forget(settings: Settings) -> None:
    """As a restored backup, older than the suppressions."""
    database = open_database(settings)
    with database.session() as session:
        session.execute(sa.delete(Suppression))
    database.dispose()


def test_start_puts_back_who_left_and_the_database_forgot(settings: Settings) -> None:
    leave(settings)
    forget(settings)
    assert suppressions(settings) == 1


def test_start_writes_what_the_journal_lacks(settings: Settings) -> None:
    leave(settings)
    journal = settings.data_dir / JOURNAL_FILE
    before = journal.read_bytes()
    journal.unlink()
    start(settings)
    assert journal.read_bytes() == before
    start(settings)
    assert journal.read_bytes() == before


def test_start_passes_over_a_line_that_was_cut_and_writes_it_whole(settings: Settings) -> None:
    leave(settings)
    leave(settings, "luz@example.org")
    journal = settings.data_dir / JOURNAL_FILE
    journal.write_bytes(journal.read_bytes()[:-40])
    start(settings)
    assert len(journal.read_bytes().splitlines()) == 3
    forget(settings)
    assert suppressions(settings) == 2


@given(st.binary(min_size=32, max_size=100), st.text(max_size=20), st.integers(0, 2**64 - 1))
def test_signs_a_link_with_hmac_of_its_purpose_and_number(key: bytes, purpose: str, number: int) -> None:
    body = number.to_bytes(8, "big").lstrip(b"\0") or b"\0"
    mac = hmac.digest(key, purpose.encode() + b"\0" + body, "sha256")[:MAC_BYTES]
    keys = Keys(b"", (key,))
    token = keys.sign_link(purpose, number)
    assert token == urlsafe_b64encode(mac + body).rstrip(b"=").decode()
    assert keys.read_link(purpose, token) == number
