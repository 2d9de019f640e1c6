"""PURE. RFC 4998 Evidence Records: read, written, and verified as §4.3 and §5.3 say.

A record leads from a document's hash to a time-stamp, by the standard alone:

    EvidenceRecord   one or more chains, in the order of time
    chain            one or more archive time-stamps by one hash algorithm H; each but the first is
                     over H(the token before it): a time-stamp renewal (§5.2)
    first of a later chain    over H'(H'(document) || H'(DER of all chains before)): a hash-tree
                     renewal (§5.3)
    archive time-stamp        lists of hashes that lead from a value to the token's imprint: the
                     hashes of a list, and the hash of the list before it, in binary ascending
                     order, are hashed together

What is read is exactly what `EvidenceRecord.encode` writes: attributes, cryptoInfos and
encryptionInfo, which nothing here needs and no time-stamp covers, are refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from notary.certpath import read_certificate, require_valid_at
from notary.cms import read_digest_algorithm
from notary.der import INTEGER, OCTET_STRING, OID, SEQUENCE, Reader, context, encode
from notary.errors import BadEvidenceRecord, BadTimestamp, MalformedInput, Unverifiable
from notary.tsp import VerifiedTimestamp, parse_token, verify_token

MEDIA_TYPE = "application/evidencerecord"
MAX_RECORD_BYTES = 4 << 20
MAX_CHAINS = 32
MAX_IN_CHAIN = 1_000
MAX_LISTS = 128
MAX_HASHES = 1_024
"""In one list. A record of this house has two in the first and one in each other."""

_OIDS = {
    "sha256": bytes.fromhex("608648016503040201"),
    "sha384": bytes.fromhex("608648016503040202"),
    "sha512": bytes.fromhex("608648016503040203"),
}
ALGORITHMS = frozenset(_OIDS)
_DIGEST_TAG, _TREE_TAG = context(0), context(2)

Lists = tuple[tuple[bytes, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveTimestamp:
    """§4.1. `reduced` are the lists of the reducedHashtree, None where the token is over the value
    itself; `token` is the DER of the ContentInfo; `algorithm` is hashlib's name where the
    structure names one itself, which must be the token's own."""

    token: bytes
    reduced: Lists | None
    algorithm: str | None = None

    def encode(self) -> bytes:
        parts = b""
        if self.algorithm is not None:
            parts += encode(_DIGEST_TAG, encode(OID, _OIDS[self.algorithm]))
        if self.reduced is not None:
            parts += encode(_TREE_TAG, encode_lists(self.reduced))
        return encode(SEQUENCE, parts + self.token)


Chain = tuple[ArchiveTimestamp, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRecord:
    """§3.1, version 1. `algorithms` are all that its chains use, in the order of first use."""

    algorithms: tuple[str, ...]
    chains: tuple[Chain, ...]

    def encode(self) -> bytes:
        algorithms = b"".join(
            encode(SEQUENCE, encode(OID, _OIDS[each])) for each in self.algorithms
        )
        return encode(
            SEQUENCE,
            encode(INTEGER, b"\x01") + encode(SEQUENCE, algorithms) + encode_chains(self.chains),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRecord:
    """What a record proves: the document existed at `gen_time`; its tokens, oldest first, and the
    time until which the newest one's certificates are valid."""

    gen_time: datetime
    tokens: tuple[VerifiedTimestamp, ...]
    expires_at: datetime


def encode_chains(chains: Sequence[Chain]) -> bytes:
    """The DER of an ArchiveTimeStampSequence: what §5.3 calls atsc(i)."""
    return encode(
        SEQUENCE,
        b"".join(encode(SEQUENCE, b"".join(each.encode() for each in chain)) for chain in chains),
    )


def encode_lists(lists: Lists) -> bytes:
    """The contents of a reducedHashtree."""
    return b"".join(
        encode(SEQUENCE, b"".join(encode(OCTET_STRING, each) for each in hashes))
        for hashes in lists
    )


# --- reading --------------------------------------------------------------------------------


def parse_evidence_record(der: bytes) -> EvidenceRecord:
    """The record in DER of at most MAX_RECORD_BYTES. Raises MalformedInput, also for the optional
    parts that are not read here."""
    if len(der) > MAX_RECORD_BYTES:
        raise MalformedInput(f"{len(der)} bytes of a record, accepted are {MAX_RECORD_BYTES}")
    outer = Reader.inside(der, SEQUENCE, "EvidenceRecord")
    version = outer.integer()
    if version != 1:
        raise outer.malformed(f"version {version:#x}, known is 1")
    algorithms = _read_algorithms(outer.enter(SEQUENCE, "digestAlgorithms"))
    chains = outer.enter(SEQUENCE, "ArchiveTimeStampSequence")
    outer.end()
    found: list[Chain] = []
    while chains.next_tag() is not None:
        found.append(_read_chain(chains.enter(SEQUENCE, "ArchiveTimeStampChain")))
        if len(found) > MAX_CHAINS:
            raise chains.malformed(f"more than {MAX_CHAINS} chains")
    if not found:
        raise chains.malformed("no chain")
    record = EvidenceRecord(algorithms=algorithms, chains=tuple(found))
    if record.encode() != der:
        raise outer.malformed("not in the one form that is written here")
    return record


def _read_algorithms(reader: Reader) -> tuple[str, ...]:
    found: list[str] = []
    while reader.next_tag() is not None:
        found.append(_known(read_digest_algorithm(reader), reader))
        if len(found) > len(ALGORITHMS):
            raise reader.malformed("more algorithms than there are")
    return tuple(found)


def _known(algorithm: str, reader: Reader) -> str:
    if algorithm not in ALGORITHMS:
        raise reader.malformed(f"digest {algorithm!r}, known are {sorted(ALGORITHMS)}")
    return algorithm


def _read_chain(reader: Reader) -> Chain:
    found: list[ArchiveTimestamp] = []
    while reader.next_tag() is not None:
        found.append(_read_timestamp(reader.enter(SEQUENCE, "ArchiveTimeStamp")))
        if len(found) > MAX_IN_CHAIN:
            raise reader.malformed(f"more than {MAX_IN_CHAIN} time-stamps in a chain")
    if not found:
        raise reader.malformed("no time-stamp")
    return tuple(found)


def _read_timestamp(reader: Reader) -> ArchiveTimestamp:
    algorithm = None
    if reader.next_tag() == _DIGEST_TAG:
        named = encode(SEQUENCE, reader.take(_DIGEST_TAG))
        algorithm = _known(read_digest_algorithm(Reader(named, "digestAlgorithm")), reader)
    lists = reader.take_if(_TREE_TAG)
    token = reader.take_encoded(SEQUENCE)
    reader.end()
    parse_token(token)
    reduced = None if lists is None else read_lists(lists)
    return ArchiveTimestamp(token=token, reduced=reduced, algorithm=algorithm)


def read_lists(contents: bytes) -> Lists:
    """The lists in the contents of a reducedHashtree, each in binary ascending order. Raises
    MalformedInput."""
    reader = Reader(contents, "reducedHashtree")
    found: list[tuple[bytes, ...]] = []
    while reader.next_tag() is not None:
        hashes = reader.enter(SEQUENCE, "PartialHashtree")
        values: list[bytes] = []
        while hashes.next_tag() is not None:
            values.append(hashes.take(OCTET_STRING))
        if not 1 <= len(values) <= MAX_HASHES or values != sorted(set(values)):
            raise hashes.malformed("not some hashes in binary ascending order, each once")
        found.append(tuple(values))
        if len(found) > MAX_LISTS:
            raise reader.malformed(f"more than {MAX_LISTS} lists")
    if not found:
        raise reader.malformed("no list")
    return tuple(found)


# --- trees ----------------------------------------------------------------------------------


def join(algorithm: str, *hashes: bytes) -> bytes:
    """A father node: its children in binary ascending order, concatenated and hashed (§4.2)."""
    return hashlib.new(algorithm, b"".join(sorted(hashes))).digest()


def levels_of(nodes: Sequence[bytes], algorithm: str) -> tuple[tuple[bytes, ...], ...]:
    """The levels of the tree over at least one node, the last of which is the root alone: two by
    two, and what is left over goes up a level as it is."""
    levels = [tuple(nodes)]
    while len(level := levels[-1]) > 1:
        pairs = [join(algorithm, *level[at : at + 2]) for at in range(0, len(level) - 1, 2)]
        levels.append((*pairs, *level[len(level) & ~1 :]))
    return tuple(levels)


def path_in(levels: Sequence[Sequence[bytes]], position: int) -> tuple[bytes, ...]:
    """The siblings on the way from that node up to the root."""
    found = []
    for level in levels[:-1]:
        if (position ^ 1) < len(level):
            found.append(level[position ^ 1])
        position >>= 1
    return tuple(found)


def reduced_hashtree(value: bytes, siblings: Sequence[bytes]) -> Lists | None:
    """The lists that lead from `value` by its `siblings` to the root (§4.2); None without any."""
    if not siblings:
        return None
    first = tuple(sorted((value, siblings[0])))
    return (first, *((each,) for each in siblings[1:]))


def renewed_value(algorithm: str, document: bytes, chains: Sequence[Chain]) -> bytes:
    """What a hash-tree renewal stamps (§5.3): `document` is the document's hash by the new
    `algorithm`, `chains` are all that the record has so far."""
    before = hashlib.new(algorithm, encode_chains(chains)).digest()
    return hashlib.new(algorithm, document + before).digest()


# --- verifying ------------------------------------------------------------------------------


def verify_evidence_record(
    record: EvidenceRecord,
    *,
    digests: Mapping[str, bytes],
    roots: Sequence[bytes],
    intermediates: Sequence[bytes] = (),
    at: datetime | None = None,
) -> VerifiedRecord:
    """Judges a record of one document by RFC 4998 §5.3, each token at the time of the next.

    `digests` are the document's, by hashlib's name; `roots` and `intermediates` as
    `tsp.verify_token` has them. `at` is when it is judged: the newest token's certificates must
    then still be valid; None leaves that to the caller, who has `expires_at`.

    Raises BadEvidenceRecord: `evidence_record_hash` where the document, or what is renewed, is not
    what was stamped, `evidence_record_order` where a token was made before the one that it renews
    or after that one's certificates had ended, `evidence_record_algorithm` where the algorithms
    contradict one another, `evidence_record_invalid` for a token that does not hold. Raises
    Unverifiable: `evidence_record_digest` where a digest is needed that was not given,
    `evidence_record_aged` by `at`, `timestamp_untrusted` as `tsp.verify_token`.
    """
    verified: list[VerifiedTimestamp] = []
    used = []
    for number, chain in enumerate(record.chains):
        algorithm = chain_algorithm(chain)
        used.append(algorithm)
        document = _document(algorithm, digests)
        value = document
        if number > 0:
            value = renewed_value(algorithm, document, record.chains[:number])
        for stamp in chain:
            token = _check_timestamp(stamp, value, algorithm, roots, intermediates)
            _check_order(verified, token)
            verified.append(token)
            value = hashlib.new(algorithm, stamp.token).digest()
    if record.algorithms != tuple(dict.fromkeys(used)):
        raise _bad(
            "evidence_record_algorithm", f"it names {record.algorithms}, its chains are by {used}"
        )
    expires_at = expiry_of(verified[-1].chain)
    if at is not None and at > expires_at:
        raise Unverifiable(
            f"the newest token's certificates were valid until {expires_at}, now is {at}",
            code="evidence_record_aged",
        )
    return VerifiedRecord(
        gen_time=verified[0].gen_time, tokens=tuple(verified), expires_at=expires_at
    )


def chain_algorithm(chain: Chain) -> str:
    """The hash that a chain is by: that of its first token's imprint. Raises MalformedInput."""
    return parse_token(chain[0].token).imprint_algorithm


def expiry_of(chain: Sequence[bytes]) -> datetime:
    """When the first of these certificates (DER) ends."""
    return min(read_certificate(der).parsed.not_valid_after_utc for der in chain)


def _document(algorithm: str, digests: Mapping[str, bytes]) -> bytes:
    if algorithm not in ALGORITHMS:
        raise _bad(
            "evidence_record_algorithm", f"a chain by {algorithm!r}, known are {sorted(ALGORITHMS)}"
        )
    if algorithm not in digests:
        raise Unverifiable(
            f"the record needs the document's {algorithm}, given were {sorted(digests)}",
            code="evidence_record_digest",
        )
    return digests[algorithm]


def _check_timestamp(
    stamp: ArchiveTimestamp,
    value: bytes,
    algorithm: str,
    roots: Sequence[bytes],
    intermediates: Sequence[bytes],
) -> VerifiedTimestamp:
    """§4.3, of one archive time-stamp of a chain by `algorithm`."""
    token = parse_token(stamp.token)
    if token.imprint_algorithm != algorithm or stamp.algorithm not in (None, algorithm):
        named = stamp.algorithm or token.imprint_algorithm
        raise _bad(
            "evidence_record_algorithm", f"a time-stamp by {named} in a chain by {algorithm}"
        )
    imprint = _climb(value, stamp.reduced, algorithm)
    try:
        return verify_token(
            token,
            imprint=imprint,
            imprint_algorithm=algorithm,
            roots=roots,
            intermediates=intermediates,
        )
    except (BadTimestamp, MalformedInput) as exc:
        code = "evidence_record_invalid"
        if exc.code == "timestamp_imprint_mismatch":
            code = "evidence_record_hash"
        raise _bad(code, f"the token of {token.gen_time}: {exc}") from exc


def _climb(value: bytes, reduced: Lists | None, algorithm: str) -> bytes:
    """§4.3, steps 1 and 2: up to what the token must be over."""
    if reduced is None:
        return value
    if value not in reduced[0]:
        raise _bad(
            "evidence_record_hash", f"{value.hex()} is not in the first list of the hash tree"
        )
    size = hashlib.new(algorithm).digest_size
    if any(len(each) != size for hashes in reduced for each in hashes):
        raise _bad(
            "evidence_record_algorithm", f"a hash in the tree is not of {algorithm}'s {size} bytes"
        )
    node = join(algorithm, *reduced[0])
    for hashes in reduced[1:]:
        node = join(algorithm, node, *hashes)
    return node


def _check_order(before: Sequence[VerifiedTimestamp], token: VerifiedTimestamp) -> None:
    """§5.3: the one before was valid when this one was made, and is not younger."""
    if not before:
        return
    last = before[-1]
    if token.gen_time < last.gen_time:
        raise _bad(
            "evidence_record_order", f"a token of {token.gen_time} renews one of {last.gen_time}"
        )
    for der in last.chain:
        try:
            require_valid_at(read_certificate(der), token.gen_time)
        except BadTimestamp as exc:
            raise _bad("evidence_record_order", f"renewed too late: {exc}") from exc


def _bad(code: str, message: str) -> BadEvidenceRecord:
    return BadEvidenceRecord(f"evidence record: {message}", code=code)
