"""The administrator's pages over HTTP: accounts, roles, keys."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from tests.harness.person import PASSWORD, Court, Person, create, words
from tests.harness.server import Client


def account_page(court: Court, name: str) -> str:
    page = court.administrator.get("/accounts?limit=200")
    found = re.search(rf'href="(/accounts/[^"?]+)[^>]*><bdi class="given">{name}<', page.text)
    assert found is not None
    return found.group(1)


def test_a_sign_in_link_is_shown_once(court: Court) -> None:
    name = f"shown {uuid.uuid4()}"
    secret = create(court.administrator, name, "clerk").rpartition("/")[2]
    for path in ("/accounts?limit=200", account_page(court, name)):
        assert secret not in court.administrator.get(path).text


def test_an_account_of_a_taken_name_is_not_created(court: Court) -> None:
    answer = court.administrator.submit("/accounts", name="the clerk", role="clerk")
    assert answer.status_code == 409
    assert 'value="the clerk"' in answer.text


@pytest.mark.parametrize("role", ["", "judge", "ADMINISTRATOR"])
def test_an_account_of_an_unknown_role_is_not_created(court: Court, role: str) -> None:
    answer = court.administrator.submit("/accounts", name=f"x {uuid.uuid4()}", role=role)
    assert answer.status_code == 400


def test_a_role_changes_what_its_account_may_do_at_once(court: Court) -> None:
    name = f"moved {uuid.uuid4()}"
    person = Person(court.service.base)
    person.spend(create(court.administrator, name, "clerk"))
    assert court.administrator.submit(f"{account_page(court, name)}/role", role="administrator").ok
    assert person.get("/cases").status_code == 403
    assert person.get("/accounts").status_code == 200


def test_a_disabled_account_is_out_at_once(court: Court) -> None:
    name = f"gone {uuid.uuid4()}"
    person = Person(court.service.base)
    person.spend(create(court.administrator, name, "clerk"))
    page = account_page(court, name)
    assert "disabled" in words(court.administrator.submit(f"{page}/disable"))
    assert person.get("/cases", allow_redirects=False).status_code == 303
    assert Person(court.service.base).submit(
        "/sign-in", name=name, password=PASSWORD
    ).status_code == (401)


def test_a_key_is_shown_once_works_within_its_scopes_and_is_revoked(court: Court) -> None:
    name = f"keeper {uuid.uuid4()}"
    create(court.administrator, name, "api-client")
    page = account_page(court, name)
    made = court.administrator.submit(
        f"{page}/keys", label="nightly", days="1", scope=["read-case"]
    )
    key = re.search(r"nk_([0-9a-f]{16})_[\w-]{43}", made.text)
    assert key is not None
    assert key.group() not in court.administrator.get(page).text
    program = Client(court.service.base, key.group())
    assert program.get("/v1/cases").status_code == 200
    assert program.get("/v1/deposits").json()["code"] == "scope_missing"
    assert "revoked" in words(court.administrator.submit(f"{page}/keys/{key.group(1)}/revoke"))
    assert program.get("/v1/cases").json()["code"] == "key_invalid"


@pytest.mark.parametrize(
    "fields",
    [
        {"label": "", "days": "1"},
        {"label": "x", "days": "0"},
        {"label": "x", "days": "99999"},
        {"label": "x", "days": "many"},
        {"label": "x", "days": "1", "scope": "manage-accounts"},
        {"label": "x", "days": "1", "scope": "everything"},
    ],
)
def test_a_key_that_cannot_be_is_not_made(court: Court, fields: dict[str, Any]) -> None:
    page = account_page(court, "the clerk")
    assert court.administrator.submit(f"{page}/keys", **fields).status_code == 400


def test_a_key_is_revoked_only_where_it_belongs(court: Court) -> None:
    own = account_page(court, "the clerk")
    made = court.clerk.submit(f"{own}/keys", label="mine", days="1")
    key = re.search(r"nk_([0-9a-f]{16})_", made.text)
    assert key is not None
    other = account_page(court, "the auditor")
    answer = court.administrator.submit(f"{other}/keys/{key.group(1)}/revoke")
    assert answer.status_code == 404
    assert court.auditor.submit(f"{own}/keys/{key.group(1)}/revoke").status_code == 403
