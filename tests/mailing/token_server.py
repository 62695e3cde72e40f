"""A token server of a test (OAuth 2.0, client credentials): it knows one application, and answers as a test says."""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Lock
from typing import Any
from urllib.parse import parse_qs

from crm.config import OAuthClient

SECRET = "un~secreto.de/prueba+y=más"
Answer = Callable[["Asked"], None]


class Asked(BaseHTTPRequestHandler):
    """One request."""

    server: "TokenServer"

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        with self.server.lock:
            self.server.asked.append({name: values[0] for name, values in form.items()})
        if self.server.answer is not None:
            self.server.answer(self)
        elif form["client_secret"] != [self.server.secret]:
            told = "AADSTS7000222: The provided client secret keys for app are expired. Trace ID: 1"
            self.say(401, {"error": "invalid_client", "error_description": told})
        else:
            self.say(200, {"token_type": "Bearer", "expires_in": self.server.life, "access_token": self.server.issue()})

    def say(self, status: int, told: Any) -> None:
        body = told if isinstance(told, bytes) else json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing on the screen."""


class TokenServer(ThreadingHTTPServer):
    """``asked``: the forms that came; ``good``: the tokens that a mail server would take; ``life``: their seconds."""

    daemon_threads = True

    def __init__(self, folder: Path, answer: Answer | None = None) -> None:
        self.answer, self.secret, self.life = answer, SECRET, 3600
        self.asked: list[dict[str, str]] = []
        self.good: set[str] = set()
        self.lock, self.is_over = Lock(), Event()
        self.secret_file = folder / "secret.txt"
        self.secret_file.write_text(SECRET + "\n", encoding="utf-8")
        super().__init__(("127.0.0.1", 0), Asked)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/inquilino/oauth2/v2.0/token"

    @property
    def client(self) -> OAuthClient:
        return OAuthClient(
            token_url=self.url, client_id="una-aplicacion", secret_file=self.secret_file, scope="https://mail/.default"
        )

    def issue(self) -> str:
        with self.lock:
            token = f"permiso-{len(self.asked)}"
            self.good.add(token)
        return token

    def end_all(self) -> None:
        """No mail server takes any token that was issued until now."""
        with self.lock:
            self.good.clear()

    def knows(self, user: str, token: str) -> bool:
        return user == "red@example.org" and token in self.good


# --- answers -----------------------------------------------------------------------------------------------------------------


def silent(asked: Asked) -> None:
    asked.server.is_over.wait(30)


def dripping(asked: Asked) -> None:
    asked.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while not asked.server.is_over.wait(0.05):
        asked.wfile.write(b" ")


def endless(asked: Asked) -> None:
    asked.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
    while not asked.server.is_over.is_set():
        asked.wfile.write(b" " * 10_000)


def saying(status: int, told: Any) -> Answer:
    return lambda asked: asked.say(status, told)
