"""Spreadsheets over the API: checked, taken in, taken in again."""

from typing import Any

from starlette.testclient import TestClient

SHEET = "Nombre,Primer apellido,Correo,Ciudad\nAna,Núñez,ana@example.org,Londres\nLuz,Peña,luz(at)example.org,Madrid\n"
BASIS = {"purposes": ["electoral_information"], "evidence": "Registro del taller", "agreed_on": "2027-01-07"}


def take_in(tool: TestClient, sheet: bytes = SHEET.encode(), name: str = "red.csv", **told: Any) -> Any:
    return tool.post("/imports", data={**BASIS, **told}, files={"file": (name, sheet, "text/csv")})


def test_checks_a_sheet_and_saves_nothing(tool: TestClient) -> None:
    answer = take_in(tool, dry_run="true")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["id"] is None
    assert told["counts"] == {"created": 1, "updated": 0, "unchanged": 0, "refused": 1}
    assert told["columns"]["emails"] == "Correo"
    assert [(row["row"], row["code"], row["column"]) for row in told["rows"]] == [(3, "address_invalid", "Correo")]
    assert tool.get("/contacts").json()["items"] == []


def test_says_how_many_rows_are_left_out_of_the_answer(tool: TestClient) -> None:
    sheet = "Nombre,Correo\n" + "".join(f"Luz,luz{number}(at)example.org\n" for number in range(203))
    for told in (take_in(tool, sheet.encode(), dry_run="true").json(), take_in(tool, sheet.encode()).json()):
        assert (len(told["rows"]), told["rows_left_out"], told["counts"]["refused"]) == (200, 3, 203)


def test_takes_in_a_sheet_and_the_second_time_changes_nothing(tool: TestClient) -> None:
    first = take_in(tool).json()
    assert first["counts"] == {"created": 1, "updated": 0, "unchanged": 0, "refused": 1}
    contact = tool.get("/contacts").json()["items"][0]
    assert (contact["city"]["name"], contact["mail_state"]) == ("Londres", "ok")
    assert [given["purpose"] for given in contact["consents"]] == ["electoral_information"]
    second = take_in(tool).json()
    assert second["counts"] == {"created": 0, "updated": 0, "unchanged": 1, "refused": 1}
    assert tool.get("/contacts").json()["items"] == [contact]
    assert tool.get(f"/imports/{second['id']}").json()["counts"] == second["counts"]
    rows = tool.get(f"/imports/{second['id']}/rows", params={"status": "unchanged"}).json()
    assert [row["contact_id"] for row in rows["items"]] == [contact["id"]]


def test_refuses_a_basis_without_evidence_and_a_file_that_is_no_sheet(tool: TestClient) -> None:
    assert take_in(tool, evidence=" ").json()["code"] == "evidence_required"
    assert take_in(tool, sheet=b"%PDF-1.7", name="red.xlsx").json()["code"] == "sheet_not_what_it_says"
    assert tool.get("/imports/999").status_code == 404
