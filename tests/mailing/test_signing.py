"""DKIM signatures, verified by two implementations that are not ours: dkimpy, and mailauth on node."""

import json
import re
import subprocess
from base64 import b64encode
from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from crm.config import Settings
from crm.database import Database
from crm.errors import InvalidInput
from crm.mailing import sends, signing
from crm.mailing.models import SendState
from crm.mailing.signing import Signer, signed
from tests.conftest import ROOT
from tests.mailing.factories import begun, move, way
from tests.mailing.mail_server import running

DOMAIN = "example.org"
RSA = Signer("red2026", rsa.generate_private_key(65537, 2048))
EDWARDS = Signer("red2026e", ed25519.Ed25519PrivateKey.generate())
RECORDS = {f"{one.selector}._domainkey.{DOMAIN}": one.record for one in (RSA, EDWARDS)}
MAIL = (
    b"From: Red <red@example.org>\r\nTo: Ana\t =?utf-8?q?N=C3=BA=C3=B1ez?=\r\n <ana@example.org>\r\nSubject:  dos  espacios \r\n"
    b"List-Unsubscribe: <https://example.org/x>\r\nX-Other: y\r\n\r\nuno  dos \r\n\r\ntres\r\n\r\n\r\n"
)
ON_NODE = """
const { dkimVerify } = require('mailauth/lib/dkim/verify');
let told = [];
process.stdin.on('data', part => told.push(part)).on('end', async () => {
  const { mail, records } = JSON.parse(Buffer.concat(told));
  const resolver = async (name, kind) => {
    if (kind === 'TXT' && records[name]) return [[records[name]]];
    throw Object.assign(new Error('none'), { code: 'ENOTFOUND' });
  };
  const seen = await dkimVerify(Buffer.from(mail, 'base64'), { resolver });
  console.log(JSON.stringify(seen.results.map(one => [one.selector, one.status.result, one.status.comment || ''])));
});
"""


def by_dkimpy(mail: bytes) -> list[bool]:
    """What dkimpy says of each signature."""

    def text(name: bytes, timeout: int = 5) -> bytes | None:
        found = RECORDS.get(name.decode().rstrip("."))
        return found.encode() if found else None

    def holds(number: int) -> bool:
        try:
            return bool(dkim.DKIM(mail).verify(idx=number, dnsfunc=text))
        except dkim.ValidationError:
            return False

    return [holds(number) for number in range(len(re.findall(rb"(?m)^DKIM-Signature:", mail)))]


def by_mailauth(mail: bytes) -> dict[str, str]:
    """What mailauth says of each signature, by its selector."""
    told = json.dumps({"mail": b64encode(mail).decode(), "records": RECORDS})
    node = ROOT / ".venv" / "bin" / "node"
    run = subprocess.run([str(node), "-e", ON_NODE], input=told.encode(), capture_output=True, check=True, cwd=ROOT)
    return {selector: result for selector, result, _ in json.loads(run.stdout)}


def test_is_verified_by_two_others() -> None:
    mail = b"".join(signed([MAIL], DOMAIN, [RSA, EDWARDS]))
    assert by_dkimpy(mail) == [True, True]
    assert by_mailauth(mail) == {"red2026": "pass", "red2026e": "pass"}
    assert mail.endswith(MAIL)
    assert max(map(len, mail.partition(b"\r\n\r\n")[0].split(b"\r\n"))) <= 200


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b"tres", b"tree"),
        (b"https://example.org/x", b"https://example.org/y"),
        (b"From: Red", b"From: Otra <otra@example.org>\r\nFrom: Red"),
    ],
)
def test_tells_a_mail_that_was_changed(was: bytes, becomes: bytes) -> None:
    mail = b"".join(signed([MAIL], DOMAIN, [RSA, EDWARDS])).replace(was, becomes)
    assert by_dkimpy(mail) == [False, False]


_TEXT = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=60)


@given(st.lists(_TEXT, max_size=5), _TEXT, _TEXT)
@hypothesis_settings(max_examples=50)
def test_is_verified_whatever_the_text(lines: list[str], subject: str, other: str) -> None:
    head = f"From: red@example.org\r\nSubject: x{subject}x\r\n\tx{other}x\r\nTo: a@example.org\r\n\r\n"
    assert all(by_dkimpy(b"".join(signed([(head + "".join(f"{line}\r\n" for line in lines)).encode()], DOMAIN, [RSA, EDWARDS]))))


def test_signs_what_leaves(database: Database, settings: Settings, tmp_path: Path) -> None:
    files = {one.selector: tmp_path / f"{one.selector}.pem" for one in (RSA, EDWARDS)}
    for one in (RSA, EDWARDS):
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        files[one.selector].write_bytes(one.key.private_bytes(*form))
    keys = ",".join(f"{selector}={path}" for selector, path in files.items())
    told = settings.model_copy(update={"dkim_keys": keys, "mail_from": f"Red <red@{DOMAIN}>"})
    with database.session() as session:
        send_id = begun(session, told, 2).id
    with running() as server:
        assert move(database, send_id, way(told, server)) == 2
    for accepted in server.accepted:
        assert by_dkimpy(accepted.content) == [True, True]
        assert by_mailauth(accepted.content) == {"red2026": "pass", "red2026e": "pass"}


def test_pauses_a_send_whose_key_cannot_be_read(database: Database, settings: Settings, tmp_path: Path) -> None:
    told = settings.model_copy(update={"dkim_keys": f"red={tmp_path / 'none.pem'}"})
    with database.session() as session:
        send_id = begun(session, told, 1).id
    with running() as server:
        assert move(database, send_id, way(told, server)) == 0
    with database.session(write=False) as session:
        send = sends.get(session, send_id)
        assert (send.state, send.reason) == (SendState.PAUSED, "dkim_key_invalid")
        assert "CRM_DKIM_KEYS" in (sends.to_out(session, send).sentence or "")


def test_refuses_a_key_that_nobody_would_believe(tmp_path: Path, settings: Settings) -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505  # which is what must be refused
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form)
    for number, written in enumerate((short.private_bytes(*form), other, b"no key")):
        path = tmp_path / f"{number}.pem"
        path.write_bytes(written)
        with pytest.raises(InvalidInput, match="dkim_key_invalid"):
            signing.signers(settings.model_copy(update={"dkim_keys": f"red={path}"}))


@pytest.mark.parametrize("told", ["red", "red=", "=x.pem", "a b=x.pem", "-red=x.pem"])
def test_asks_for_selectors_and_files(told: str) -> None:
    with pytest.raises(ValueError, match="CRM_DKIM_KEYS"):
        Settings(dkim_keys=told)
