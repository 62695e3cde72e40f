"""Schemathesis against every route: no 500, no status or content type that is not documented, answers as described.

On SQLite only: the point is the shape of what goes in and out, which no database changes; what PostgreSQL alone refuses
(NUL, lone surrogates, numbers beyond its integers) has tests of its own in test_guard.py, which run on both.
"""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import BaseSchema, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks
from starlette.testclient import TestClient

from api import guard
from crm.config import Settings
from crm.database import Database
from crm.keys import load_keys
from crm.server import build
from crm.staff.rights import API, SCOPES
from tests.api.conftest import make_key
from tests.conftest import ENGINE, Server

CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
"""Not `positive_data_acceptance`: a rule or an address may be well shaped and yet name what does not exist."""
ROUTES = sorted(name for name, access in API.items() if not access.public)
EXAMPLES = 8
"""Of each route, for data that fits its description and again for data that does not."""

PERSON = {"given_names": "Ana", "first_surname": "Núñez", "emails": ["ana@example.org"], "city": "Los Ángeles", "tags": ["taller"]}
RULE = {"all": [{"field": "tag", "op": "in", "value": ["taller"]}]}
VARIANT = {"language": "es", "subject": "Hola, {{ nombre }}", "blocks": [{"type": "text", "body": "Hola, {{ nombre }}:"}]}
CAMPAIGN = {
    "name": "Aviso",
    "template": "notice",
    "purpose": "consent_request",
    "audience": {"include": [1]},
    "variants": [VARIANT],
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(ENGINE != "sqlite", reason="the shape of what goes in and out does not depend on the database"),
]


@pytest.fixture(scope="module")
def described(
    server: Server, template: str, worker: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[BaseSchema, str]]:
    """The description of the API as the server gives it, over one record of each kind, and a key that opens it all."""
    name = f"crm_openapi_{worker}"
    told = Settings(database_url=server.create(name, template), data_dir=tmp_path_factory.mktemp("data"), secret_key="of tests")
    database = Database(told, load_keys(told.data_dir))
    product = build(database, told)
    key = make_key(database, *SCOPES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "PER_MINUTE", 10**9)
        _fill(TestClient(product, base_url="http://testserver/api/v1/", headers={"Authorization": f"Bearer {key}"}))
        yield schemathesis.openapi.from_asgi("/api/v1/openapi.json", product), key
    database.dispose()
    server.drop(name)


def _fill(tool: TestClient) -> None:
    for path, body in (
        ("contacts", PERSON),
        ("segments", {"name": "Taller", "rule": RULE}),
        ("campaigns", CAMPAIGN),
        ("campaigns/1/sends", {"when": {"mode": "at", "at": "2999-01-07T10:00:00-06:00"}}),
    ):
        made = tool.post(path, json=body)
        assert made.status_code == 201, made.text
    video = {"kind": "video", "title": "Video", "link": "https://example.org/video"}
    assert tool.post("materials", data=video).status_code == 201


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "unfitting"])
@pytest.mark.parametrize("name", ROUTES)
def test_answers_as_it_is_described(described: tuple[BaseSchema, str], name: str, mode: GenerationMode) -> None:
    schema, key = described
    method, path = name.split(" ")
    operation = schema[path][method]
    if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
        pytest.skip("nothing of it can be unfitting")

    @given(operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def walk(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {key}"}, checks=CHECKS)

    walk()
