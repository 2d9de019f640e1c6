"""Clients of several nodes, that keep every acknowledgement, and ask again with the same
Idempotency-Key, at another node too, until they have one."""

from __future__ import annotations

import hashlib
import random
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import requests

from tests.harness.server import Client
from tests.harness.uploaders import Notebook, Request, some_request, together

PAUSE_S = 0.1
READS = 0.2
"""How many deposits are followed by a download."""
PATIENCE_S = 20.0
"""How long a client waits for an answer, before it asks elsewhere."""


@dataclass(slots=True, kw_only=True)
class Told:
    """What clients were told. `refusals` counts answers other than an acknowledgement by status
    and code; `odd` are those that no fault explains: the tests hold it empty."""

    notebook: Notebook = field(default_factory=Notebook)
    refusals: Counter[str] = field(default_factory=Counter)
    odd: list[str] = field(default_factory=list)

    def ask(self, client: Client, request: Request) -> bool:
        """True where it was acknowledged, which then stands in the notebook."""
        try:
            answer = client.post(
                request.path, data=request.body, headers=request.headers, timeout=PATIENCE_S
            )
        except requests.RequestException as error:
            self.refusals[type(error).__name__] += 1
            return False
        if answer.status_code in (200, 201):
            self.notebook.take(request, answer)
            return True
        said = f"{answer.status_code} {answer.text[:300]}"
        try:
            self.refusals[f"{answer.status_code} {answer.json()['code']}"] += 1
        except (ValueError, KeyError, TypeError):
            self.refusals[f"{answer.status_code}"] += 1
        if answer.status_code != 503:  # "try again" is an answer that promises nothing
            self.odd.append(said)
        return False

    def read_again(self, client: Client) -> None:
        """The original of the newest acknowledgement: whole, or an error, never half of it."""
        newest = self.notebook.acknowledged[-1]
        if not newest.stored:
            return
        try:
            answer = client.get(f"/v1/deposits/{newest.id}/content", timeout=PATIENCE_S)
        except requests.RequestException as error:
            self.refusals[f"reading: {type(error).__name__}"] += 1
            return
        if answer.status_code == 200:
            if hashlib.sha256(answer.content).hexdigest() != newest.sha256:
                self.odd.append(f"200, but not the original of {newest.id}")
        elif answer.status_code == 503:
            self.refusals["reading: 503"] += 1
        else:
            self.odd.append(f"reading {newest.id}: {answer.status_code} {answer.text[:300]}")


def all_of(each: Sequence[Told]) -> Told:
    told = Told(notebook=together(one.notebook for one in each))
    for one in each:
        told.refusals += one.refusals
        told.odd += one.odd
    return told


@dataclass(slots=True, kw_only=True)
class Depositors:
    """`told` is whole once they have stopped."""

    stop: threading.Event = field(default_factory=threading.Event)
    told: Told = field(default_factory=Told)


def _deposit(bases: Sequence[str], key: str, case: str, seed: int, stop: threading.Event) -> Told:
    told, chance = Told(), random.Random(seed)
    clients = [Client(base, key) for base in bases]
    while not stop.is_set():
        request = some_request(chance, case)
        while not told.ask(chance.choice(clients), request):
            if stop.wait(PAUSE_S):
                told.notebook.unanswered.append(request)
                break
        if told.notebook.acknowledged and chance.random() < READS:
            told.read_again(chance.choice(clients))
        stop.wait(chance.uniform(0, 2 * PAUSE_S))
    return told


@contextmanager
def depositing(
    bases: Sequence[str], key: str, case: str, *, count: int, seed: int
) -> Iterator[Depositors]:
    """They deposit for as long as the block runs."""
    all_ = Depositors()
    with ThreadPoolExecutor(count) as pool:
        running = [
            pool.submit(_deposit, bases, key, case, seed + number, all_.stop)
            for number in range(count)
        ]
        try:
            yield all_
        finally:
            all_.stop.set()
        all_.told = all_of([each.result() for each in running])
