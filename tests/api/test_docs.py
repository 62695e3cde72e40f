"""The documentation: every body has an example, every error is told, and the page asks nothing of the outside."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.docs import METHODS
from crm.errors import SENTENCES
from crm.staff.rights import API


class Page(HTMLParser):
    """What a page would fetch or run, and the anchors that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []
        self.anchors: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.fetched += [told[name] for name in ("src", "data", "action", "srcset", "style") if name in told]
        self.anchors += [told["id"]] if "id" in told else []
        self.links += [told["href"]] if "href" in told else []


@pytest.fixture
def schema(app: FastAPI) -> dict[str, Any]:
    return app.openapi()


def operations(schema: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{method.upper()} {path}", told[method]) for path, told in schema["paths"].items() for method in METHODS if method in told
    ]


def test_describes_every_route_but_its_own(schema: dict[str, Any]) -> None:
    assert {name for name, _ in operations(schema)} == set(API) - {"GET /openapi.json", "GET /docs"}


def test_gives_every_body_an_example(schema: dict[str, Any]) -> None:
    bare = []
    for name, operation in operations(schema):
        for told in operation.get("requestBody", {}).get("content", {}).values():
            model = schema["components"]["schemas"].get(told["schema"].get("$ref", "").rpartition("/")[2], {})
            if not ({"example", "examples"} & (told.keys() | told["schema"].keys() | model.keys())):
                bare.append(name)
    assert bare == []


def test_documents_the_errors_of_every_route(schema: dict[str, Any]) -> None:
    for name, operation in operations(schema):
        documented = set(operation["responses"])
        assert {"401", "403", "422", "429", "503"} <= documented, name
        assert ("404" in documented) or "{" not in name, name
        assert ("413" in documented) or "requestBody" not in operation, name
        assert operation["description"], name
        for status, told in operation["responses"].items():
            if int(status) >= 400:
                assert told["content"]["application/problem+json"]["example"]["code"] in SENTENCES, (name, status)


def test_tells_the_scope_of_every_route(schema: dict[str, Any]) -> None:
    assert all(operation["x-scope"] and operation["security"] == [{"key": []}] for _, operation in operations(schema))
    assert "HTTPValidationError" not in schema["components"]["schemas"]


def test_shows_a_page_that_fetches_and_runs_nothing(app: FastAPI, schema: dict[str, Any]) -> None:
    answer = TestClient(app).get("/docs")
    page = Page()
    page.feed(answer.text)
    assert not page.tags & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert page.fetched == []
    assert not re.search(r"@import|url\(", answer.text)
    assert "script-src" not in answer.headers["Content-Security-Policy"]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert len(page.anchors) == len(set(page.anchors))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.anchors)
    assert set(SENTENCES) <= set(page.anchors), "the type of a problem leads to its row"
    assert {operation["operationId"] for _, operation in operations(schema)} <= set(page.anchors)
    assert "{{ nombre }}" in answer.text
    assert answer.text.count("<pre") == sum("requestBody" in operation for _, operation in operations(schema))
