"""Settings: what they accept, and that what is documented is what there is."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from crm.config import RelayAddress, Settings, is_loopback
from tests.conftest import ROOT


def test_documents_every_setting_and_no_other() -> None:
    text = (ROOT / "docs/operations/settings.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(CRM_[A-Z_]+)`", text, re.MULTILINE))
    assert documented == {f"CRM_{name.upper()}" for name in Settings.model_fields}


@pytest.mark.parametrize("folder", ["decisions", "manual"])
def test_lists_every_page_of_a_folder(folder: str) -> None:
    pages = {path.name for path in (ROOT / "docs" / folder).glob("*.md")} - {"README.md"}
    listed = set(re.findall(r"\]\(([\w-]+\.md)\)", (ROOT / "docs" / folder / "README.md").read_text(encoding="utf-8")))
    assert pages == listed


def test_helps_with_every_make_target() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    assert targets == set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert {"setup", "run", "test", "check", "bench"} <= targets


def test_names_no_machine_and_no_registry_in_the_locks() -> None:
    for name in ("requirements.lock", "package-lock.json"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in re.sub(r'"(?:url|homepage)": "https://(?:github\.com|opencollective\.com)[^"]*"', "", text), name
    assert "--hash=sha256:" in (ROOT / "requirements.lock").read_text(encoding="utf-8")


def test_reads_a_relay_with_everything_in_it() -> None:
    relay = RelayAddress.parse("smtp://red%40example.org:a%3Ab%2F@mail.example.org:2525?tls=implicit&per_minute=12")
    assert (relay.host, relay.port, relay.username, relay.password) == ("mail.example.org", 2525, "red@example.org", "a:b/")
    assert (relay.tls, relay.per_minute, relay.is_local) == ("implicit", 12, False)
    assert "a:b/" not in repr(relay)


@pytest.mark.parametrize(
    ("url", "port", "tls", "per_minute"),
    [
        ("smtp://mail.example.org", 587, "starttls", 30),
        ("smtps://mail.example.org", 465, "implicit", 30),
        ("smtp://127.0.0.1:1025", 1025, "none", None),
        ("smtp://[::1]:1025?tls=none", 1025, "none", None),
    ],
)
def test_is_careful_beyond_this_machine(url: str, port: int, tls: str, per_minute: int | None) -> None:
    relay = RelayAddress.parse(url)
    assert (relay.port, relay.tls, relay.per_minute) == (port, tls, per_minute)


@pytest.mark.parametrize(
    "url", ["smtp://mail.example.org?tls=none", "http://mail.example.org", "smtp://", "x", "smtp://h?tls=maybe"]
)
def test_refuses_a_relay_it_cannot_trust_or_read(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(smtp_url=url, data_dir=tmp_path)
    assert "CRM_SMTP_URL" in str(caught.value)


def test_asks_for_a_shared_key_with_postgresql(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="CRM_SECRET_KEY"):
        Settings(database_url="postgresql://u:secreto@db.example.org/crm", data_dir=tmp_path)


def test_hides_secrets_in_its_errors_and_its_representation(tmp_path: Path) -> None:
    told = Settings(secret_key="secreto", smtp_url="smtp://u:secreto@mail.example.org", data_dir=tmp_path)
    assert "secreto" not in repr(told)
    with pytest.raises(ValidationError) as caught:
        Settings(smtp_url="smtp://u:secreto@mail.example.org?tls=none", data_dir=tmp_path)
    assert "secreto" not in str(caught.value)


@given(st.text(max_size=30))
def test_takes_no_other_host_for_this_machine(host: str) -> None:
    assert all(is_loopback(own) for own in ("127.0.0.1", "127.9.9.9", "localhost", "[::1]"))
    assert not is_loopback("x" + host)
