"""RFC 4998: a record leads from the document to its tokens, in their order, or it is refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from notary.errors import BadEvidenceRecord, MalformedInput, NotaryError, Unverifiable
from notary.ers import (
    ArchiveTimestamp,
    Chain,
    EvidenceRecord,
    join,
    levels_of,
    parse_evidence_record,
    path_in,
    reduced_hashtree,
    renewed_value,
    verify_evidence_record,
)
from tests.harness.ers_oracle import RefusedError, rederive
from tests.harness.tokens import DAY, NOW, Draft, Issued, issue

YEAR = 365 * DAY
DOCUMENT = b"the original"
DIGESTS = {name: hashlib.new(name, DOCUMENT).digest() for name in ("sha256", "sha512")}
ROOT = issue("root of all", ca=True, valid=(NOW - DAY, NOW + 40 * YEAR))


@dataclass(frozen=True)
class Authority:
    """A signer whose certificate ends; `stamp` gives a token by the house's fake clock."""

    signer: Issued

    @classmethod
    def valid(cls, years: float, *, since: float = 0) -> Authority:
        valid = (NOW - DAY + since * YEAR, NOW + years * YEAR)
        return cls(issue(f"authority {years}", issuer=ROOT, valid=valid))

    def stamp(self, imprint: bytes, at: timedelta, algorithm: str = "sha256") -> bytes:
        return Draft(
            signer=self.signer, imprint=imprint, imprint_algorithm=algorithm, gen_time=NOW + at
        ).token()


FIRST, SECOND, THIRD = (Authority.valid(years) for years in (2, 6, 12))
BLINDS = tuple(hashlib.sha256(b"blind %d" % n).digest() for n in range(5))


def first_chain(*, others: int = 4, at: timedelta = timedelta(0)) -> ArchiveTimestamp:
    """The document's own, in a tree with others."""
    leaves = [DIGESTS["sha256"]] + [hashlib.sha256(b"%d" % n).digest() for n in range(others)]
    nodes = [join("sha256", leaf, BLINDS[n]) for n, leaf in enumerate(leaves)]
    levels = levels_of(nodes, "sha256")
    reduced = reduced_hashtree(leaves[0], (BLINDS[0], *path_in(levels, 0)))
    return ArchiveTimestamp(token=FIRST.stamp(levels[-1][0], at), reduced=reduced)


def renewed(old: ArchiveTimestamp, by: Authority, at: timedelta, name: str = "sha256") -> Chain:
    value = hashlib.new(name, old.token).digest()
    other = hashlib.new(name, b"another old token").digest()
    token = by.stamp(join(name, value, other), at, name)
    return (ArchiveTimestamp(token=token, reduced=reduced_hashtree(value, (other,))),)


def rehashed(chains: tuple[Chain, ...], by: Authority, at: timedelta) -> Chain:
    value = renewed_value("sha512", DIGESTS["sha512"], chains)
    return (ArchiveTimestamp(token=by.stamp(value, at, "sha512"), reduced=None),)


def three_renewals() -> EvidenceRecord:
    """Time-stamp renewal, hash-tree renewal, time-stamp renewal."""
    first = first_chain()
    chain = (first, *renewed(first, SECOND, YEAR))
    second = rehashed((chain,), SECOND, 3 * YEAR)
    second = (*second, *renewed(second[0], THIRD, 5 * YEAR, "sha512"))
    return EvidenceRecord(algorithms=("sha256", "sha512"), chains=(chain, second))


def verify(record: EvidenceRecord, **otherwise: object) -> list[object]:
    read = parse_evidence_record(record.encode())
    given = {"digests": DIGESTS, "roots": [ROOT.der], **otherwise}
    return [each.gen_time for each in verify_evidence_record(read, **given).tokens]  # type: ignore[arg-type]


def refused(record: EvidenceRecord, code: str, **otherwise: object) -> None:
    with pytest.raises((BadEvidenceRecord, Unverifiable)) as caught:
        verify(record, **otherwise)
    assert caught.value.code == code


def test_a_record_of_one_token_is_verified_at_each_size_of_its_tree() -> None:
    for others in range(5):
        record = EvidenceRecord(algorithms=("sha256",), chains=((first_chain(others=others),),))
        assert verify(record) == [NOW]
        assert len(rederive(record.encode(), DIGESTS)) == 1


def test_three_renewals_are_verified_in_their_order_by_us_and_by_the_oracle() -> None:
    record = three_renewals()
    assert verify(record) == [NOW, NOW + YEAR, NOW + 3 * YEAR, NOW + 5 * YEAR]
    assert len(rederive(record.encode(), DIGESTS)) == 4
    proved = verify_evidence_record(record, digests=DIGESTS, roots=[ROOT.der])
    assert (proved.gen_time, proved.expires_at) == (NOW, NOW + 12 * YEAR)


def test_every_prefix_of_the_renewals_is_a_record() -> None:
    chain, second = three_renewals().chains
    for chains in (((chain[0],),), (chain,), (chain, second[:1])):
        names = ("sha256", "sha512")[: len(chains)]
        assert verify(EvidenceRecord(algorithms=names, chains=chains))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda a, b: ((a[1], a[0]), b),
        lambda a, b: ((a[0],), b),
        lambda a, b: ((a[1],), b),
        lambda a, b: (b, a),
        lambda a, b: (b,),
        lambda a, b: (a, (b[1], b[0])),
        lambda a, b: (a, (b[1],)),
        lambda a, b: ((a[0], *b),),
        lambda a, b: ((*a, *b),),
        lambda a, b: (a, a),
        lambda a, b: ((a[0], a[0], a[1]), b),
        lambda a, b: (a, b, b),
    ],
)
def test_every_wrong_order_is_refused(wrong: Callable[[Chain, Chain], tuple[Chain, ...]]) -> None:
    chains = wrong(*three_renewals().chains)
    used = dict.fromkeys("sha512" if c[0] in three_renewals_second(chains) else "sha256" for c in chains)
    record = EvidenceRecord(algorithms=tuple(used), chains=chains)
    with pytest.raises((BadEvidenceRecord, Unverifiable)):
        verify(record)
    with pytest.raises(RefusedError):
        rederive(record.encode(), DIGESTS)


def three_renewals_second(chains: tuple[Chain, ...]) -> list[ArchiveTimestamp]:
    return [stamp for chain in chains for stamp in chain if _is_sha512(stamp)]


def _is_sha512(stamp: ArchiveTimestamp) -> bool:
    return bytes.fromhex("608648016503040203") in stamp.token[:200]
