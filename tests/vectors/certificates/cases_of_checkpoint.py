"""Cases of signature lines: which of them make a checkpoint, and what witnesses add."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import count

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from certs.certificate import UnsignedCertificate
from notary.tlog.cosignature import Ed25519Cosigner, MLDSA44Signer
from notary.tlog.note import (
    ED25519,
    Ed25519Signer,
    NoteSignature,
    NoteSigner,
    VerifierKey,
    key_id,
    parse_note,
    sign_note,
)
from tests.vectors.certificates.case import Case
from tests.vectors.certificates.house import ORIGIN, RECEIVED, House, seed

SECONDS = int(RECEIVED.timestamp()) + 2


def _now() -> int:
    return SECONDS


COURT_A = Ed25519Cosigner(
    "court-a.example/witness", Ed25519PrivateKey.from_private_bytes(seed("witness a")), _now
)
COURT_B = MLDSA44Signer(
    "court-b.example/witness", MLDSA44PrivateKey.from_seed_bytes(seed("witness b")), _now
)
OTHER_LOG = Ed25519Signer(
    "log.elsewhere.example", Ed25519PrivateKey.from_private_bytes(seed("other log"))
)
UNDER_ORIGIN = Ed25519Cosigner(
    ORIGIN, Ed25519PrivateKey.from_private_bytes(seed("cosigner of the origin")), _now
)


def policy(quorum: str) -> str:
    """A tlog-policy over both witnesses."""
    return (
        f"witness court-a {COURT_A.verifier.encode()}\n"
        f"witness court-b {COURT_B.verifier.encode()}\n"
        f"{quorum}\n"
    )


def two_keys_of_one_id() -> list[VerifierKey]:
    """Two keys under the origin whose first 32 bits of SHA-256 are equal: some 100,000 tries."""
    seen: dict[int, bytes] = {}
    for number in count():
        public = hashlib.sha256(b"public %d" % number).digest()
        earlier = seen.setdefault(key_id(ORIGIN, ED25519, public), public)
        if earlier != public:
            return [VerifierKey.derive(ORIGIN, ED25519, each) for each in (earlier, public)]
    raise AssertionError


def spoiled(line: NoteSignature) -> NoteSignature:
    return replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


def all_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    return [
        *line_cases(house, draft),
        *witness_cases(house, draft),
        *own_policy_cases(house, draft),
    ]


def _with(house: House, draft: UnsignedCertificate, checkpoint: str) -> bytes:
    return house.seal(replace(draft, log=replace(draft.log, checkpoint=checkpoint)))


def line_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    note = parse_note(draft.log.checkpoint.encode())
    ed25519, mldsa = note.signatures
    court, other = COURT_A.sign(note.text), OTHER_LOG.sign(note.text)
    twin = UNDER_ORIGIN.sign(note.text)
    unknown = NoteSignature(name="nobody.example", key_id=7, signature=b"what this is nobody knows")
    trusted = house.trusted()

    def lines(*signatures: NoteSignature) -> str:
        return replace(note, signatures=signatures).encode().decode()

    def case(
        name: str, why: str, code: str, checkpoint: str, more_keys: Sequence[VerifierKey] = ()
    ) -> Case:
        verdict = {"match": "confirmed", "unknown_key": "undecided"}.get(code, "not_genuine")
        trust = replace(trusted, log_keys=(*trusted.log_keys, *more_keys)).encode()
        data = _with(house, draft, checkpoint)
        return Case(name=name, why=why, certificate=data, verdict=verdict, code=code, trust=trust)

    bare = lines(ed25519, mldsa)
    return [
        case("match_checkpoint_ed25519_line_only", "One line of the log's is enough: Ed25519.",
             "match", lines(ed25519)),
        case("match_checkpoint_ml_dsa_line_only", "One line of the log's is enough: ML-DSA-44.",
             "match", lines(mldsa)),
        case("checkpoint_by_witness_only_fail", "A witness signed and the log did not; log_keys "
             "lists the witness's key.", "unknown_key", lines(court), [COURT_A.verifier]),
        case("checkpoint_by_another_log_only_fail", "Another log's key signed; log_keys lists it.",
             "unknown_key", lines(other), [OTHER_LOG.verifier]),
        case("checkpoint_by_cosigner_of_origin_only_fail", "A key of type 0x04 under the origin's "
             "name signed; log_keys lists it.", "unknown_key", lines(twin),
             [UNDER_ORIGIN.verifier]),
        case("match_witness_line_spoiled", "A witness's line does not hold. Its key stands in "
             "log_keys, where it counts for nothing, and no policy asks for it.", "match",
             lines(ed25519, mldsa, spoiled(court)), [COURT_A.verifier]),
        case("match_line_of_unknown_key", "A line by a key that nobody lists.", "match",
             lines(unknown, ed25519, mldsa)),
        case("checkpoint_line_malformed_fail", "A line by an unknown key is not in base64's one "
             "spelling.", "checkpoint_invalid", bare + "— nobody.example AAAAB\n"),
        case("checkpoint_line_without_signature_fail", "A line by an unknown key has a key id "
             "and nothing after it.", "checkpoint_invalid", bare + "— nobody.example AAAABw==\n"),
        case("checkpoint_no_line_feed_at_end_fail", "The last line does not end.",
             "checkpoint_invalid", bare[:-1]),
        case("checkpoint_control_character_fail", "The text has a tab; no signature fits it.",
             "checkpoint_invalid", bare.replace("\n\n", "\nx\ty\n\n")),
        case("checkpoint_two_keys_of_one_id_fail", "Two different keys in log_keys have one name "
             "and one key id.", "unknown_key", bare, two_keys_of_one_id()),
        _further_line(house),
    ]  # fmt: skip


def _further_line(house: House) -> Case:
    """A checkpoint with an extension line, its token made over that text."""
    draft = house.draft()
    text = parse_note(draft.log.checkpoint.encode()).text + "a further line\n"
    signers: tuple[NoteSigner, ...] = house.signers
    stamp = house.timestamp("checkpoint", hashlib.sha256(text.encode()).digest())
    its = replace(draft, timestamps=(stamp,))
    return Case(
        name="match_checkpoint_further_line",
        why="The checkpoint's text has a fourth line, which is signed and stamped as well.",
        certificate=_with(house, its, sign_note(text, signers).encode().decode()),
        verdict="confirmed", code="match", trust=house.trust(),
    )  # fmt: skip


def witness_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    note = parse_note(draft.log.checkpoint.encode())
    a, b = COURT_A.sign(note.text), COURT_B.sign(note.text)
    quorum_of_both, any_of_both, nobody = (
        policy("group both all court-a court-b\nquorum both"),
        policy("group either any court-a court-b\nquorum either"),
        policy("quorum none"),
    )

    def case(name: str, why: str, code: str, asked: str, *more: NoteSignature) -> Case:
        verdict = {"match": "confirmed", "witness_quorum_missing": "undecided"}
        checkpoint = replace(note, signatures=(*note.signatures, *more)).encode().decode()
        return Case(
            name=name, why=why, certificate=_with(house, draft, checkpoint),
            verdict=verdict.get(code, "not_genuine"), code=code,
            trust=f"{house.trust()}witness_policy = '''\n{asked}'''\n",
        )  # fmt: skip

    missing = "witness_quorum_missing"
    return [
        case("match_witnesses", "The trust file asks for two witnesses, and both cosigned.",
             "match", quorum_of_both, a, b),
        case("match_one_witness_of_two", "The trust file asks for any of two witnesses.",
             "match", any_of_both, b),
        case("match_quorum_none", "The trust file's policy asks for nobody.", "match", nobody),
        case("witness_quorum_none_there_fail", "No witness cosigned.", missing, any_of_both),
        case("witness_quorum_one_short_fail", "One of the two witnesses asked for cosigned.",
             missing, quorum_of_both, a),
        case("witness_line_spoiled_fail", "One witness would be enough and is there; the other's "
             "line does not hold.", "checkpoint_invalid", any_of_both, a, spoiled(b)),
    ]  # fmt: skip


def own_policy_cases(house: House, draft: UnsignedCertificate) -> list[Case]:
    """The certificate itself says which policy its cosignatures meet."""
    note = parse_note(draft.log.checkpoint.encode())
    a, b = COURT_A.sign(note.text), COURT_B.sign(note.text)
    both = policy("group both all court-a court-b\nquorum both")
    either = policy("group either any court-a court-b\nquorum either")

    def case(name: str, why: str, code: str, said: str, *more: NoteSignature) -> Case:
        checkpoint = replace(note, signatures=(*note.signatures, *more)).encode().decode()
        log = replace(draft.log, checkpoint=checkpoint, witness_policy=said)
        return Case(
            name=name, why=why, certificate=house.seal(replace(draft, log=log)),
            verdict="confirmed" if code == "match" else "not_genuine", code=code,
            trust=house.trust(),
        )  # fmt: skip

    altered = "certificate_altered"
    return [
        case("match_own_policy_met", "The certificate says which witnesses were asked, and they "
             "cosigned; the trust file asks for none.", "match", both, a, b),
        case("own_policy_one_short_fail", "The certificate says that two witnesses cosigned, one "
             "did.", altered, both, a),
        case("own_policy_line_spoiled_fail", "One witness would be enough and is there; the "
             "other's line does not hold.", altered, either, a, spoiled(b)),
        case("own_policy_unreadable_fail", "The member is no tlog-policy.", altered,
             "witness court-a\n", a, b),
    ]  # fmt: skip
