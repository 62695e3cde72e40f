"""Dead links, asked of a real server of the test: bounded, never private, never a person's own."""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.mailing import link_checks
from crm.mailing.link_checks import Finding, check, is_public, links_of
from crm.mailing.schemas import VariantIn

pytestmark = pytest.mark.once


class Site(BaseHTTPRequestHandler):
    """Answers by its path; what it was asked is counted by method and path."""

    asked: Counter[tuple[str, str]] = Counter()

    def do_HEAD(self) -> None:  # as http.server names it
        self.asked[self.command, self.path] += 1
        if self.path == "/gotea":
            for letter in b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600:
                try:
                    self.wfile.write(bytes([letter]))
                except OSError:
                    return
                time.sleep(0.1)
            return
        if self.path.startswith("/a/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/a/"))
        elif self.path == "/vuelta":
            self.send_response(302)
            self.send_header("Location", "/vuelta")
        else:
            told = {"/bien": 200, "/no-esta": 404, "/ocupado": 503, "/solo-get": 405 if self.command == "HEAD" else 200}
            self.send_response(told.get(self.path, 200))
        self.end_headers()

    do_GET = do_HEAD  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Site)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


def ask(*links: str) -> list[Finding]:
    """As if this machine were the open internet, and 10.0.0.7 were not."""
    resolver = {"sitio.example": ["127.0.0.1"], "interno.example": ["127.0.0.1", "10.0.0.7"]}

    def resolve(host: str, _port: int) -> list[str]:
        if host not in resolver:
            raise OSError("no such host")
        return resolver[host]

    return [one.finding for one in check(links, resolver=resolve, allowed=lambda address: address == "127.0.0.1")]


def test_tells_what_works_from_what_does_not(port: int) -> None:
    site = f"http://sitio.example:{port}"
    links = [f"{site}{path}" for path in ("/bien", "/no-esta", "/ocupado", "/solo-get", "/vuelta", "/a//bien")]
    assert ask(*links, "http://nadie.example/") == [
        Finding.WORKS, Finding.DEAD, Finding.UNSURE, Finding.WORKS, Finding.UNSURE, Finding.WORKS, Finding.DEAD,
    ]  # fmt: skip


def test_never_asks_a_private_address_not_even_by_a_detour(port: int) -> None:
    Site.asked.clear()
    site = f"http://sitio.example:{port}"
    inside = f"http://interno.example:{port}/secreto"
    assert ask(inside, f"{site}/a/{inside}", f"{site}/a/file:///etc/passwd") == [Finding.PRIVATE, Finding.PRIVATE, Finding.DEAD]
    assert not any(path == "/secreto" for _, path in Site.asked)
    assert [one.finding for one in check([f"http://localhost:{port}/bien"])] == [Finding.PRIVATE]


def test_never_opens_a_link_of_one_person(port: int) -> None:
    Site.asked.clear()
    assert ask(f"http://sitio.example:{port}/?n={{{{ nombre }}}}", "{{ enlace_baja }}") == [Finding.PERSONAL] * 2
    assert not Site.asked


def test_a_site_that_drips_ends_in_time(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_checks, "LINK_SECONDS", 0.5)
    began = time.monotonic()
    assert ask(f"http://sitio.example:{port}/gotea", f"http://sitio.example:{port}/a/http://[") == [Finding.UNSURE, Finding.DEAD]
    assert time.monotonic() - began < 10, "the site would have gone on for a minute"


def test_asks_at_most_so_many(port: int) -> None:
    links = [f"http://sitio.example:{port}/bien?{number}" for number in range(link_checks.LINKS_MOST + 5)]
    assert len(ask(*links)) == link_checks.LINKS_MOST


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.1.2.3", "224.0.0.1", "::1", "fe80::1", "fc00::1",
     "64:ff9b::7f00:1", "::7f00:1", "fec0::1", "::ffff:127.0.0.1", "2002:7f00:1::", "198.18.0.1"],
)  # fmt: skip
def test_knows_what_is_private(address: str) -> None:
    assert not is_public(address)


def test_knows_what_is_public() -> None:
    assert is_public("93.184.216.34")
    assert is_public("2606:2800:220:1::1")


@given(st.text(max_size=200))
def test_no_link_breaks_it(text: str) -> None:
    assert len(check(["http://" + text], resolver=lambda _host, _port: [])) == 1


def test_finds_the_links_of_every_block_once() -> None:
    told = VariantIn.model_validate(
        {
            "language": "es",
            "subject": "x",
            "blocks": [
                {
                    "type": "text",
                    "body": "[uno](https://a.example) y [mío](https://a.example/?q={{ nombre }}) y [baja]({{ enlace_baja }})",
                },
                {"type": "button", "label": "x", "link": "https://a.example"},
                {"type": "button", "label": "x", "link": "mailto:x@example.org"},
            ],
        }
    )
    assert links_of([told]) == ["https://a.example", "https://a.example/?q={{ nombre }}"]
