"""The browser of the tests: Debian's Chromium, or the one of Playwright."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@contextmanager
def chromium() -> Iterator[Browser]:
    """While it is open its event loop runs in this thread, where sending needs its own: a fixture shuts it with its file."""
    with sync_playwright() as playwright:
        own = {"executable_path": str(CHROMIUM)} if CHROMIUM.exists() else {}
        opened = playwright.chromium.launch(args=FLAGS, **own)  # type: ignore[arg-type]  # a path or nothing
        yield opened
        opened.close()
