"""What is half done, over HTTP and on pages: who sees it, what it says, and when it ends."""

from __future__ import annotations

from typing import Any

import pytest

from notary.model import Role
from notary.originals import object_key
from tests.harness.people import Staff
from tests.harness.person import Court, open_court, words
from tests.harness.server import Client, Service


@pytest.fixture(scope="module")
def court(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """With two exhibits, of which the second is not in storage any more."""
    service = Service(home=tmp_path_factory.mktemp("remains"))
    service.init()
    service.start()
    try:
        opened = open_court(service)
        for name in ("whole.txt", "gone.txt"):
            opened.clerk.submit(f"{opened.case}/deposits", files={"file": (name, name.encode())})
        with Staff(service) as staff:
            gone = staff.office.register.deposits()[-1]
        path = service.home / "objects" / object_key(gone.id)
        path.rename(path.with_name("kept-aside"))
        ended = service.cli("reconcile", check=False)
        assert ended.returncode == 70, ended.stdout + ended.stderr
        assert f"missing-original {object_key(gone.id)}: deposit {gone.id}" in ended.stdout
        yield opened
    finally:
        service.stop()


@pytest.fixture(scope="module")
def auditor(court: Court) -> Any:
    with Staff(court.service) as staff:
        yield staff.client(Role.AUDITOR)


def gone(service: Service) -> str:
    with Staff(service) as staff:
        return staff.office.register.deposits()[-1].id


def test_what_stands_is_listed_with_a_cursor(auditor: Client, court: Court) -> None:
    first = auditor.get("/v1/remains?limit=1").json()
    (missing,) = first["items"]
    assert (missing["kind"], missing["deposit"]) == ("missing-original", gone(court.service))
    assert missing["name"] == object_key(missing["deposit"])
    assert missing["since"] <= missing["seen_at"]
    second = auditor.get("/v1/remains", params={"limit": 1, "after": first["next"]}).json()
    assert [each["kind"] for each in second["items"]] == ["strange-object"]
    assert second["next"] is None


def test_the_passes_are_listed(auditor: Client) -> None:
    passes = auditor.get("/v1/remains/passes").json()
    assert passes[0]["started_by"] in ("operator", "schedule")
    assert (passes[0]["objects"], passes[0]["deposits"], passes[0]["findings"]) == (2, 2, 2)


@pytest.mark.parametrize("after", ["bm9uc2Vuc2U=", "b3JwaGFuOiUwMA=="])
def test_a_cursor_of_nothing_is_refused(auditor: Client, after: str) -> None:
    answer = auditor.get(f"/v1/remains?after={after}")
    assert (answer.status_code, answer.json()["code"]) == (400, "page_malformed")


@pytest.mark.parametrize("path", ["/v1/remains", "/v1/remains/passes"])
@pytest.mark.parametrize("role", [Role.CLERK, Role.API_CLIENT])
def test_others_do_not_see_it(court: Court, path: str, role: Role) -> None:
    with Staff(court.service) as staff:
        assert staff.client(role).get(path).status_code == 403
    assert Client(court.service.base).get(path).status_code == 401


def test_the_exhibit_says_that_its_original_is_missing(court: Court) -> None:
    said = "The original is missing from storage."
    with Staff(court.service) as staff:
        whole, missing = [each.id for each in staff.office.register.deposits()]
    assert said in words(court.clerk.get(f"/deposits/{missing}"))
    assert said not in words(court.clerk.get(f"/deposits/{whole}"))
    assert words(court.clerk.get(court.case)).count(said) == 1


def test_the_page_shows_what_stands_and_clerks_do_not_see_it(court: Court) -> None:
    assert court.clerk.get("/remains").status_code == 403
    shown = words(court.administrator.get("/remains"))
    assert "The original is missing from storage." in shown
    assert "2 originals in storage, 2 in the register" in shown


def test_a_dry_run_says_it_too_and_scrapers_count_it(court: Court) -> None:
    ended = court.service.cli("reconcile", "--dry-run", check=False)
    assert ended.returncode == 70
    assert "0 would be mended, 2 findings; nothing was changed" in ended.stdout
    metrics = Client(court.service.base).get("/metrics").text
    assert 'evidence_remains{kind="missing-original"} 1.0' in metrics
    assert 'evidence_remains{kind="orphan"} 0.0' in metrics


def test_it_ends_when_the_original_is_back(court: Court) -> None:
    path = court.service.home / "objects" / object_key(gone(court.service))
    path.with_name("kept-aside").rename(path)
    ended = court.service.cli("reconcile")
    assert "gone: missing-original" in ended.stdout
    assert ended.stdout.rstrip().endswith("0 findings")
    assert words(court.administrator.get("/remains")).count("missing") == 0
