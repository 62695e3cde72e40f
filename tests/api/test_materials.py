"""Materials over the API."""

from io import BytesIO

import pytest
from PIL import Image
from starlette.testclient import TestClient

TEXTS = {"kind": "infographic", "title": "Mi credencial", "alt_text": "Tres pasos", "full_text": "1. Cita.", "language": "es"}


def picture(color: str = "red") -> bytes:
    body = BytesIO()
    Image.new("RGB", (1600, 900), color).save(body, "PNG")
    return body.getvalue()


def test_adds_a_picture_and_gives_back_its_files(tool: TestClient) -> None:
    made = tool.post("/materials", data=TEXTS, files={"file": ("infografía ñ.png", picture(), "image/png")})
    assert made.status_code == 201, made.text
    material = made.json()
    assert (material["kind"], material["missing"], material["is_public"]) == ("infographic", [], False)
    assert tool.get(f"/materials/{material['id']}").json() == material
    assert tool.get("/materials", params={"q": "CREDENCIAL", "kind": "infographic"}).json()["items"] == [material]
    assert tool.get("/materials", params={"kind": "leaflet"}).json()["items"] == []
    for version, width in (("whole", 1600), ("mail", material["width"]), ("thumbnail", None)):
        file = tool.get(f"/materials/{material['id']}/file", params={"version": version})
        assert file.status_code == 200
        assert file.headers["X-Content-Type-Options"] == "nosniff"
        assert file.headers["Content-Security-Policy"].startswith("sandbox")
        assert file.headers["Content-Disposition"] == "attachment; filename*=UTF-8''infograf%C3%ADa%20%C3%B1.png"
        with Image.open(BytesIO(file.content)) as opened:
            assert width in (None, opened.width)


def test_adds_the_same_material_once_under_an_idempotency_key(tool: TestClient) -> None:
    key = {"Idempotency-Key": "material-1"}
    for color, status in (("red", 201), ("red", 201), ("blue", 409)):
        answer = tool.post("/materials", data=TEXTS, files={"file": ("a.png", picture(color), "image/png")}, headers=key)
        assert answer.status_code == status
    assert len(tool.get("/materials").json()["items"]) == 1


@pytest.mark.parametrize(
    ("changes", "name", "body", "status", "code"),
    [
        ({}, "a.png", b"MZ not a picture", 422, "file_type_refused"),
        ({}, "a.png", b"", 422, "file_empty"),
        ({}, "a.png", b"\0" * (15 * 2**20 + 1), 413, "file_too_large"),
        ({"title": ""}, "a.png", picture(), 422, "invalid_input"),
        ({"title": "a\0b"}, "a.png", picture(), 422, "invalid_input"),
        ({"kind": "poster"}, "a.png", picture(), 422, "invalid_input"),
        ({"kind": "video"}, "a.png", picture(), 422, "link_required"),
        ({"link": "http://example.org"}, "a.png", picture(), 422, "link_invalid"),
        ({"is_public": "quizá"}, "a.png", picture(), 422, "invalid_input"),
    ],
)
def test_refuses_a_material_that_is_not_what_it_says(
    tool: TestClient, changes: dict[str, str], name: str, body: bytes, status: int, code: str
) -> None:
    refused = tool.post("/materials", data={**TEXTS, **changes}, files={"file": (name, body, "image/png")})
    assert (refused.status_code, refused.json()["code"]) == (status, code)


def test_asks_for_a_file_and_knows_no_other_material(tool: TestClient) -> None:
    assert tool.post("/materials", data=TEXTS).json()["code"] == "file_required"
    assert tool.get("/materials/7").json()["code"] == "material_not_found"
    assert tool.get("/materials/7/file").json()["code"] == "material_not_found"
    video = tool.post("/materials", data={"kind": "video", "title": "Video", "link": "https://example.org/v"})
    assert video.status_code == 201
    assert tool.get(f"/materials/{video.json()['id']}/file").json()["code"] == "file_not_found"
