"""A person at a browser without scripts: follows links, sends forms, keeps cookies."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

import requests

from tests.harness.server import Service

PASSWORD = "correct horse battery staple"
FILE_LIMIT = 40 << 20
NOWHERE = "00000000-0000-7000-8000-000000000000"
"""An id that nothing has."""


class Person(requests.Session):
    """Sends what a browser sends with a navigation; `csrf` is that of the signed-in session."""

    def __init__(self, base: str, lang: str = "en") -> None:
        super().__init__()
        self.base = base
        self.csrf = ""
        self.headers["Accept"] = "text/html,application/xhtml+xml,*/*;q=0.8"
        self.headers["Accept-Language"] = lang

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> Any:
        path = url.decode() if isinstance(url, bytes) else url
        address = path if path.startswith("http") else self.base + path
        return super().request(method, address, *args, **{"timeout": 60, **kwargs})

    def submit(self, path: str, *, files: Any = None, stay: bool = False, **fields: Any) -> Any:
        """A form of our own pages, with the session's token; `stay` does not follow the answer."""
        given = [("csrf", self.csrf)] if self.csrf else []
        for name, value in fields.items():
            given += [(name, each) for each in (value if isinstance(value, list) else [value])]
        return self.post(
            path,
            data=given,
            files=files,
            headers={"Origin": self.base},
            allow_redirects=not stay,
        )

    def sign_in(self, name: str, password: str = PASSWORD) -> None:
        assert self.submit("/sign-in", name=name, password=password).ok
        self.learn_token()

    def spend(self, link: str) -> None:
        """The one-time link, and a password for the next time."""
        assert self.submit(link).ok
        self.learn_token()
        assert self.submit("/password", new=PASSWORD, again=PASSWORD).ok

    def learn_token(self) -> None:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/").text)
        assert found is not None
        self.csrf = found.group(1)


@dataclass(slots=True, kw_only=True)
class Court:
    """A house with one person of each role, all signed in, and a case."""

    service: Service
    administrator: Person
    clerk: Person
    auditor: Person
    party: Person
    case: str
    """Path of the case's page."""

    def new_case(self, number: str, title: str = "A v. B") -> str:
        answer = self.clerk.submit("/cases", stay=True, court="Court", number=number, title=title)
        assert answer.status_code == 303, answer.text
        return path_of(answer)

    def hand_in(self, name: str = "contract.pdf", content: bytes = b"bytes", **fields: str) -> str:
        """Path of the exhibit's page."""
        answer = self.clerk.submit(
            f"{self.case}/deposits", files={"file": (name, content)}, stay=True, **fields
        )
        assert answer.status_code == 303, answer.text
        return path_of(answer)


def path_of(answer: requests.Response) -> str:
    """Where it leads, without language and the like."""
    return answer.headers["Location"].partition("?")[0]


def words(page: requests.Response) -> str:
    """The page as text, tags gone."""
    return html.unescape(re.sub(r"<[^>]+>", "", page.text))


def create(administrator: Person, name: str, role: str) -> str:
    """The sign-in link of a new account."""
    page = administrator.submit("/accounts", name=name, role=role)
    assert page.status_code == 201, page.text
    found = re.search(r"http://[^<\s]+/sign-in/[A-Za-z0-9_-]+", html.unescape(page.text))
    assert found is not None
    return found.group()


def open_court(service: Service) -> Court:
    administrator = Person(service.base)
    administrator.spend(service.link)
    people = {}
    for role in ("clerk", "auditor", "party"):
        people[role] = Person(service.base)
        people[role].spend(create(administrator, f"the {role}", role))
    court = Court(service=service, administrator=administrator, case="", **people)
    court.case = court.new_case("1")
    return court
