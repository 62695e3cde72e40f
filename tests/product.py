"""The product as a stranger runs it: `crm run` in a process of its own, killed and started again at will."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

CRM = Path(sys.executable).parent / "crm"
PATIENCE = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Product:
    """One installation: its folder, its settings, and its process when it runs."""

    def __init__(self, data_dir: Path, **settings: str) -> None:
        self.port = free_port()
        self.data_dir = data_dir
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CRM_")}
        told = {"CRM_DATA_DIR": str(data_dir), "CRM_PORT": str(self.port), "CRM_DEMO": "0", "PYTHONWARNINGS": "default"}
        self.environment = kept | told | settings
        self.log = data_dir / "log.txt"
        self._process: subprocess.Popen[bytes] | None = None
        data_dir.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, *words: str, typed: str = "") -> str:
        """Run a `crm` command to its end and return what it printed."""
        done = subprocess.run([CRM, *words], env=self.environment, input=typed, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    def key(self, *scopes: str) -> str:
        """A fresh key of the API."""
        words = [word for name in scopes for word in ("--scope", name)]
        return str(json.loads(self.command("clients", "add", "Pruebas", "--responsible", "Equipo", *words, "--json"))["key"])

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen([CRM, "run"], env=self.environment, stdout=log, stderr=log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            assert self._process is not None
            assert self._process.poll() is None, self.log.read_text()[-3000:]
            try:
                if httpx.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(0.1)
        raise AssertionError(self.log.read_text()[-3000:])

    def kill(self) -> None:
        """kill -9: no goodbye."""
        self._end("kill")

    def stop(self) -> None:
        """SIGTERM: what is in flight ends, and the process says that all went well."""
        assert self._end("terminate") == 0, self.log.read_text()[-3000:]

    def _end(self, how: str) -> int | None:
        ended, self._process = self._process, None
        if ended is None:
            return None
        getattr(ended, how)()
        return ended.wait(timeout=PATIENCE)

    def api(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=f"{self.url}/api/v1", headers={"Authorization": f"Bearer {key}"}, timeout=60)


@contextmanager
def product(data_dir: Path, **settings: str) -> Iterator[Product]:
    """An installation whose process is gone at the end."""
    made = Product(data_dir, **settings)
    try:
        yield made
    finally:
        made.kill()


def people(count: int, first: int = 0, tag: str = "taller") -> Iterator[list[dict[str, Any]]]:
    """Batches for POST contacts/batch: people with consent, each with a marker of their own as their name."""
    for start in range(first, first + count, 500):
        numbers = range(start, min(start + 500, first + count))
        yield [person(number, tag) for number in numbers]


def person(number: int, tag: str = "taller") -> dict[str, Any]:
    consent = {"purpose": "electoral_information", "channel": "email", "state": "granted", "evidence": "Registro sintético"}
    return {
        "given_names": f"Marca{number:05}x",
        "first_surname": "Núñez",
        "second_surname": None,
        "emails": [f"p{number}@example.org"],
        "city": "Los Ángeles",
        "country": "US",
        "language": "es",
        "tags": [tag],
        "leader_sectors": ["academia"],
        "consents": [consent],
    }


def main_job(client: httpx.Client, count: int, picture: bytes) -> int:
    """The main job through the API, word for word as the contract tells it; returns the id of the send."""
    for batch in people(count):
        items = created(client.post("contacts/batch", json={"items": batch}), 200)["items"]
        assert {item["status"] for item in items} == {"created"}, [item for item in items if item["status"] != "created"][:3]
    rule = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}
    segment = created(client.post("segments", json={"name": "Taller", "rule": rule}))["id"]
    preview = created(client.post("segments/preview", json={"rule": rule}), 200)
    assert preview["count"] == count
    assert preview["sentence"]
    told = {
        "kind": "infographic",
        "title": "Tres pasos",
        "alt_text": "Tres pasos para tramitar la credencial",
        "full_text": "Uno. Dos. Tres.",
        "language": "es",
    }
    material = created(client.post("materials", data=told, files={"file": ("tres-pasos.png", picture, "image/png")}))["id"]
    campaign = created(
        client.post(
            "campaigns",
            json={
                "name": "Credencial",
                "template": "infographic",
                "purpose": "electoral_information",
                "audience": {"include": [segment], "exclude": []},
                "variants": [
                    {
                        "language": "es",
                        "subject": "Tu credencial, {{ nombre }}",
                        "blocks": [{"type": "text", "body": "Hola, {{ nombre }}:"}, {"type": "image", "material": material}],
                    }
                ],
            },
        )
    )["id"]
    return int(created(client.post(f"campaigns/{campaign}/sends", json={"when": {"mode": "now"}}))["id"])


def created(response: httpx.Response, status: int = 201) -> dict[str, Any]:
    assert response.status_code == status, response.text[:2000]
    answer: dict[str, Any] = response.json()
    return answer


def wait_for(client: httpx.Client, send_id: int, *states: str, seconds: float = 300) -> dict[str, Any]:
    """Poll a send until it is in one of the states."""
    until = time.monotonic() + seconds
    while True:
        send = created(client.get(f"sends/{send_id}"), 200)
        if send["state"] in states:
            return send
        assert time.monotonic() < until, send
        time.sleep(0.3)


def all_deliveries(client: httpx.Client, send_id: int, **filters: str) -> Sequence[dict[str, Any]]:
    """Every delivery of a send, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        told = {**filters, "limit": "200", **({"cursor": cursor} if cursor else {})}
        page = created(client.get(f"sends/{send_id}/deliveries", params=told), 200)
        found += page["items"]
        cursor = page["next"]
        if cursor is None:
            return found
