"""Audits over HTTP: who sees them, what they show, and what exhibits and papers say of them."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any

import pypdf
import pytest

from notary.audits import Kind
from notary.clock import SystemClock
from notary.model import Role
from notary.originals import object_key
from notary.rereads import Finding
from notary.web.audits import COLUMNS, write_csv
from tests.harness.people import Staff
from tests.harness.person import NOWHERE, Court, open_court, words
from tests.harness.server import Client, Service


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With two exhibits that an audit found whole, of which the second was changed since and read
    again; and a third that came later."""
    service = Service(home=tmp_path_factory.mktemp("audited"))
    service.init()
    service.start()
    try:
        opened = open_court(service)
        for name in ("whole.txt", "damaged.txt"):
            opened.clerk.submit(f"{opened.case}/deposits", files={"file": (name, name.encode())})
        assert service.cli("audit").returncode == 0
        path = path_of(service, ids(service)[1])
        os.chmod(path, 0o600)
        path.write_bytes(b"changed since")
        assert service.cli("audit", check=False).returncode == 70
        opened.clerk.submit(f"{opened.case}/deposits", files={"file": ("late.txt", b"late")})
        yield opened
    finally:
        service.stop()


@pytest.fixture(scope="module")
def auditor(court: Court) -> Any:
    with Staff(court.service) as staff:
        yield staff.client(Role.AUDITOR)


def ids(service: Service) -> list[str]:
    with Staff(service) as staff:
        return [each.id for each in staff.office.register.deposits() if each.stored]


def path_of(service: Service, deposit_id: str) -> Path:
    return service.home / "objects" / object_key(deposit_id)


def newest(auditor: Client) -> dict[str, Any]:
    found: dict[str, Any] = auditor.get("/v1/audits").json()["items"][0]
    return found


# --- the interface ------------------------------------------------------------------------------


def test_audits_are_listed_with_the_newest_first(auditor: Client) -> None:
    first = auditor.get("/v1/audits?limit=1").json()
    second = auditor.get("/v1/audits", params={"limit": 1, "after": first["next"]}).json()
    assert second["next"] is None
    (newer,), (older,) = first["items"], second["items"]
    assert newer["started_at"] > older["started_at"]
    assert (newer["findings"], older["findings"]) == (1, 0)
    assert {each["state"] for each in (newer, older)} == {"finished"}
    assert (newer["originals"], newer["deposits"], newer["started_by"]) == (2, 2, "operator")
    assert newer["bytes"] == len(b"whole.txt") + len(b"changed since")
    assert newer["checkpoint"].splitlines()[1] == str(newer["ledger_size"])
    assert auditor.get(f"/v1/audits/{newer['id']}").json() == newer


def test_a_finding_shows_both_sides_and_when_it_was_whole(auditor: Client, court: Court) -> None:
    page = auditor.get(f"/v1/audits/{newest(auditor)['id']}/findings").json()
    (found,) = page["items"]
    assert (found["kind"], found["deposit"]) == ("differs", ids(court.service)[1])
    assert "13 bytes" in found["detail"]
    assert "over 11" in found["detail"]
    assert found["whole_at"] < found["found_at"]
    assert page["next"] is None


@pytest.mark.parametrize("how", ["accept", "ending"])
def test_findings_come_as_csv(auditor: Client, how: str) -> None:
    path = f"/v1/audits/{newest(auditor)['id']}/findings"
    answer = (
        auditor.get(path, headers={"Accept": "text/csv"})
        if how == "accept"
        else auditor.get(f"{path}.csv")
    )
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert answer.headers["Content-Disposition"].startswith("attachment;")
    header, row = csv.reader(io.StringIO(answer.text))
    assert tuple(header) == COLUMNS
    assert row[2] == "differs"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_begins_like_a_formula(start: str) -> None:
    finding = Finding(
        run_id="r", index=1, kind=Kind.MISSING, deposit_id=None,
        detail=f'{start}HYPERLINK("http://evil.example","x"),"y"',
        found_at=SystemClock().now(), whole_at=None,
    )  # fmt: skip
    _, row = csv.reader(io.StringIO(write_csv([finding]), newline=""))
    assert row[3] == "'" + finding.detail
    assert row[1] == row[5] == ""


@pytest.mark.parametrize("path", ["", "/findings", "/findings.csv"])
def test_an_audit_that_is_none_is_not_found(auditor: Client, path: str) -> None:
    answer = auditor.get(f"/v1/audits/{NOWHERE}{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "audit_not_found")


@pytest.mark.parametrize("after", ["MQ==", "LTE6bWlzc2luZw==", "MTp4", "x"])
def test_a_cursor_of_another_list_is_refused(auditor: Client, after: str) -> None:
    answer = auditor.get(f"/v1/audits/{newest(auditor)['id']}/findings", params={"after": after})
    assert (answer.status_code, answer.json()["code"]) == (400, "page_malformed")


def test_a_key_without_the_scope_sees_no_audit(court: Court) -> None:
    with Staff(court.service) as staff:
        key = staff.key(Role.AUDITOR, scopes=["read-events"])
    answer = Client(court.service.base, key).get("/v1/audits")
    assert (answer.status_code, answer.json()["code"]) == (403, "scope_missing")


def test_metrics_raise_the_alarm(auditor: Client) -> None:
    text = auditor.get("/metrics").text
    assert "evidence_audit_findings 1.0" in text
    assert "evidence_audit_originals 2.0" in text
    assert "evidence_audit_progress_ratio 1.0" in text
    assert "evidence_audit_finished_seconds 0.0" not in text


# --- exhibits and papers ------------------------------------------------------------------------


def test_a_deposit_says_when_it_was_last_read_again(court: Court) -> None:
    whole, damaged, late = ids(court.service)
    with Staff(court.service) as staff:
        clerk = staff.client(Role.CLERK)
    fixity = {id_: clerk.get(f"/v1/deposits/{id_}").json()["fixity"] for id_ in (whole, damaged)}
    assert fixity[whole]["state"] == "whole"
    assert fixity[whole]["checked_at"] == fixity[whole]["whole_at"]
    assert fixity[damaged]["state"] == "differs"
    assert fixity[damaged]["whole_at"] < fixity[damaged]["checked_at"]
    assert fixity[damaged]["audit"] == fixity[whole]["audit"]
    assert clerk.get(f"/v1/deposits/{late}").json()["fixity"] == {
        "state": "never", "checked_at": None, "whole_at": None, "audit": None,
    }  # fmt: skip


def test_what_was_never_stored_is_never_read(court: Court) -> None:
    with Staff(court.service) as staff:
        client = staff.client()
    body = {"size": 1, "digests": {"sha-256": "0" * 64}}
    assert client.post("/v1/deposits", json=body).json()["fixity"] is None


def test_the_finding_is_in_the_exhibit_s_trail(court: Court, auditor: Client) -> None:
    _, damaged, _ = ids(court.service)
    items = auditor.get(f"/v1/deposits/{damaged}/custody").json()["items"]
    (event,) = [each for each in items if each["kind"] == "fixity-failed"]
    assert event["subject"].startswith("differs: audit ")


@pytest.mark.parametrize(("lang", "said"), [("en", "Last read again from storage"), ("zh", "复读")])
def test_the_paper_says_when_the_original_was_last_found_whole(
    court: Court, lang: str, said: str
) -> None:
    whole, damaged, late = ids(court.service)
    with Staff(court.service) as staff:
        clerk = staff.client(Role.CLERK)
    for id_, shown in ((whole, True), (damaged, False), (late, False)):
        answer = clerk.get(f"/v1/deposits/{id_}/certificate.pdf?lang={lang}")
        pages = pypdf.PdfReader(io.BytesIO(answer.content)).pages
        text = "".join(page.extract_text() for page in pages)
        assert (said in " ".join(text.split())) is shown, id_


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["administrator", "auditor"])
def test_those_who_watch_over_the_house_see_its_audits(court: Court, role: str) -> None:
    person = getattr(court, role)
    page = person.get("/audits")
    assert "1 findings" in words(page)
    assert "Every original that was read is what the ledger says." in words(page)
    audit = newest_page(page.text)
    shown = words(person.get(audit))
    assert "The stored original is not what the ledger says." in shown
    assert ids(court.service)[1] in shown
    assert "damaged.txt" not in shown


def newest_page(text: str) -> str:
    return "/audits/" + text.split('href="/audits/')[1].partition("?")[0]


@pytest.mark.parametrize("role", ["clerk", "party"])
def test_others_do_not(court: Court, role: str) -> None:
    person = getattr(court, role)
    assert person.get("/audits").status_code == 403
    assert person.get(f"/audits/{NOWHERE}").status_code == 403
    assert "/audits" not in person.get("/cases").text


def test_whoever_is_not_signed_in_is_asked_to(court: Court, stranger: Any) -> None:
    answer = stranger.get(court.service.base + "/audits", allow_redirects=False)
    assert answer.status_code == 303


@pytest.mark.parametrize(
    ("lang", "whole", "damaged"),
    [
        ("en", "read again and found whole", "The stored original is not what the ledger says."),
        ("zh", "复读完好", "所存原件与账本所载不一致"),
    ],
)
def test_the_case_and_its_exhibits_say_it(
    court: Court, lang: str, whole: str, damaged: str
) -> None:
    case = words(court.clerk.get(f"{court.case}?lang={lang}"))
    assert whole in case
    assert damaged in case
    exhibit = words(court.clerk.get(f"/deposits/{ids(court.service)[1]}?lang={lang}"))
    assert damaged in exhibit
