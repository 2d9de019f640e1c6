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
    chain_algorithm,
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


RECORD = three_renewals()


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
    chains = wrong(*RECORD.chains)
    names = tuple(dict.fromkeys(chain_algorithm(chain) for chain in chains))
    record = EvidenceRecord(algorithms=names, chains=chains)
    with pytest.raises((BadEvidenceRecord, Unverifiable)):
        verify(record)
    with pytest.raises(RefusedError):
        rederive(record.encode(), DIGESTS)


# --- refusals ---------------------------------------------------------------------------------


def test_another_document_is_refused_by_each_chain() -> None:
    for name in DIGESTS:
        other = {**DIGESTS, name: hashlib.new(name, b"another").digest()}
        refused(RECORD, "evidence_record_hash", digests=other)
        with pytest.raises(RefusedError):
            rederive(RECORD.encode(), other)


def test_a_digest_that_is_not_at_hand_leaves_it_undecided() -> None:
    only = {"sha256": DIGESTS["sha256"]}
    refused(RECORD, "evidence_record_digest", digests=only)


def test_a_root_that_is_not_trusted_leaves_it_undecided() -> None:
    other = issue("another root", ca=True, valid=(NOW - DAY, NOW + 40 * YEAR))
    refused(RECORD, "timestamp_untrusted", roots=[other.der])


def test_a_renewal_after_the_certificate_ended_is_refused() -> None:
    first = first_chain()
    late = (first, *renewed(first, SECOND, 2 * YEAR + DAY))
    refused(EvidenceRecord(algorithms=("sha256",), chains=(late,)), "evidence_record_order")


def test_a_hash_tree_renewal_after_the_certificate_ended_is_refused() -> None:
    chain = (first_chain(),)
    record = EvidenceRecord(
        algorithms=("sha256", "sha512"),
        chains=(chain, rehashed((chain,), SECOND, 2 * YEAR + DAY)),
    )
    refused(record, "evidence_record_order")


def test_a_renewal_older_than_what_it_renews_is_refused() -> None:
    first = first_chain(at=2 * DAY)
    chain = (first, *renewed(first, SECOND, DAY))
    refused(EvidenceRecord(algorithms=("sha256",), chains=(chain,)), "evidence_record_order")


def test_another_algorithm_within_a_chain_is_refused() -> None:
    first = first_chain()
    mixed = (first, *renewed(first, SECOND, YEAR, "sha512"))
    record = EvidenceRecord(algorithms=("sha256",), chains=(mixed,))
    refused(record, "evidence_record_algorithm")


@pytest.mark.parametrize("names", [("sha512", "sha256"), ("sha256",), ("sha256", "sha384")])
def test_algorithms_that_are_not_those_of_its_chains_are_refused(names: tuple[str, ...]) -> None:
    refused(replace(RECORD, algorithms=names), "evidence_record_algorithm")


def test_a_time_stamp_that_names_another_algorithm_than_its_token_is_refused() -> None:
    chain, second = RECORD.chains
    said = replace(chain[0], algorithm="sha512")
    refused(replace(RECORD, chains=((said, chain[1]), second)), "evidence_record_algorithm")


def test_a_time_stamp_may_name_its_token_s_own_algorithm() -> None:
    chain = (replace(first_chain(), algorithm="sha256"),)
    record = EvidenceRecord(algorithms=("sha256",), chains=(chain,))
    assert verify(record) == [NOW]
    assert len(rederive(record.encode(), DIGESTS)) == 1


def test_an_aged_record_is_said_to_be_one() -> None:
    record = EvidenceRecord(algorithms=("sha256",), chains=((first_chain(),),))
    assert verify(record, at=NOW + YEAR) == [NOW]
    refused(record, "evidence_record_aged", at=NOW + 3 * YEAR)


def test_hashes_out_of_order_or_none_are_malformed() -> None:
    chain, second = RECORD.chains
    assert chain[0].reduced is not None
    first, *rest = chain[0].reduced
    for lists in ((first[::-1], *rest), ((), *rest), (), ((first[0], *first), *rest)):
        spoilt = (replace(chain[0], reduced=lists), chain[1])
        with pytest.raises(MalformedInput):
            parse_evidence_record(replace(RECORD, chains=(spoilt, second)).encode())


@pytest.mark.parametrize("chains", [(), ((),)])
def test_no_chain_and_an_empty_one_are_malformed(chains: tuple[Chain, ...]) -> None:
    with pytest.raises(MalformedInput):
        parse_evidence_record(EvidenceRecord(algorithms=(), chains=chains).encode())


def test_a_hash_that_is_changed_or_left_out_is_refused() -> None:
    chain, second = RECORD.chains
    assert chain[0].reduced is not None
    for at in range(len(chain[0].reduced)):
        spoilt = list(chain[0].reduced)
        spoilt[at] = tuple(sorted({bytes(32), *spoilt[at][1:]}))
        changed = (replace(chain[0], reduced=tuple(spoilt)), chain[1])
        refused(replace(RECORD, chains=(changed, second)), "evidence_record_hash")
        del spoilt[at]
        shorter = (replace(chain[0], reduced=tuple(spoilt)), chain[1])
        refused(replace(RECORD, chains=(shorter, second)), "evidence_record_hash")


def test_a_token_of_another_record_is_refused() -> None:
    chain, second = RECORD.chains
    spoilt = (replace(chain[0], token=FIRST.stamp(bytes(32), timedelta(0))), chain[1])
    refused(replace(RECORD, chains=(spoilt, second)), "evidence_record_hash")


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_no_byte_can_be_flipped(bit: int) -> None:
    encoded = RECORD.encode()
    for at in range(len(encoded)):
        flipped = bytearray(encoded)
        flipped[at] ^= bit
        with pytest.raises(NotaryError):
            record = parse_evidence_record(bytes(flipped))
            verify_evidence_record(record, digests=DIGESTS, roots=[ROOT.der])


def test_what_is_read_is_what_is_written() -> None:
    assert parse_evidence_record(RECORD.encode()) == RECORD
    for cut in (b"", RECORD.encode()[:-1], RECORD.encode() + b"\x00"):
        with pytest.raises(MalformedInput):
            parse_evidence_record(cut)
