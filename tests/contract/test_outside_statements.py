"""Outside statements on PostgreSQL: what tests/ledger/test_registering.py asks of SQLite, where two
nodes meet at the tree head's row instead of a file lock."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from notary.admission import parse_policy_document
from notary.clock import SystemClock
from notary.errors import Rejected
from notary.fsck import fsck
from notary.issuer_key import parse_issuer_key
from notary.office import Office, found
from notary.registering import Registered, Waiting
from notary.settings import Settings
from tests.harness.issuer import OutsideIssuer, id_of
from tests.harness.postgres import shared_postgres

VENDOR = OutsideIssuer.new("https://vendor.example", "EdDSA")


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[Office, Office]]:
    """Two nodes of one house."""
    with shared_postgres().database() as url:
        settings = replace(Settings(), home=tmp_path / "house", database=url)
        found(settings, clock=SystemClock())
        opened = (Office(settings), Office(settings))
        yield opened
        for node in opened:
            node.close()


def admit(node: Office, issuer: OutsideIssuer) -> None:
    key = parse_issuer_key(issuer.pem)
    node.admitting.admit("operator", iss=issuer.iss, key=key, kid=issuer.kid)


def faults(node: Office) -> list[object]:
    return list(
        fsck(
            database=node.database, objects=node.objects, trust=node.trust,
            strays_before=node.clock.now(),
        ).faults
    )  # fmt: skip


def test_two_nodes_enter_a_statement_once(nodes: tuple[Office, Office]) -> None:
    admit(nodes[0], VENDOR)
    data = VENDOR.statement(b"once")

    def ask(number: int) -> Registered | Waiting:
        return nodes[number % 2].registering.register(data, later=number % 5 == 4)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(40)))
    assert len({each.index for each in answers if isinstance(each, Registered)}) == 1
    for node in nodes:
        node.registering.run()
    assert nodes[1].issuers.counts() == (1, 0)
    assert faults(nodes[0]) == []


def test_two_workers_share_what_waits(nodes: tuple[Office, Office]) -> None:
    admit(nodes[0], VENDOR)
    datas = [VENDOR.statement(b"%d" % n) for n in range(60)]
    for number, data in enumerate(datas):
        nodes[number % 2].registering.register(data, later=True)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda node: node.registering.run(), nodes))
    found_ = [nodes[0].registering.resolve(id_of(data)) for data in datas]
    assert len({each.index for each in found_ if isinstance(each, Registered)}) == len(datas)
    assert nodes[0].issuers.counts() == (60, 0)
    assert faults(nodes[0]) == []


def test_a_retirement_on_one_node_counts_on_the_other_at_once(
    nodes: tuple[Office, Office],
) -> None:
    admit(nodes[0], VENDOR)
    nodes[1].registering.register(VENDOR.statement(b"1"), later=False)
    nodes[0].admitting.retire("operator", parse_issuer_key(VENDOR.pem).thumbprint())
    with pytest.raises(Rejected):
        nodes[1].registering.register(VENDOR.statement(b"2"), later=False)
    for kept in nodes[1].issuers.policies():
        assert parse_policy_document(kept.document) == kept.policy
    assert faults(nodes[1]) == []


def test_a_subject_with_a_nul_is_registered_or_refused_and_breaks_nothing(
    nodes: tuple[Office, Office],
) -> None:
    admit(nodes[0], VENDOR)
    data = VENDOR.statement(header=VENDOR.header("a\0b"))
    assert isinstance(nodes[0].registering.register(data, later=False), Registered)
    stranger = OutsideIssuer.new("https://x.example/\0", "EdDSA")
    with pytest.raises(Rejected):
        nodes[0].registering.register(stranger.statement(), later=False)
    assert faults(nodes[0]) == []
