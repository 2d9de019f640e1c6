"""The house that the certificate vectors are by: fixed keys, a log of a few entries, a clock that
stands."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from certs.certificate import Issuer, Key, Keys, LogEntry, Times, Timestamp, UnsignedCertificate
from certs.seal import sign_certificate
from notary.authority import EmbeddedAuthority, create_chain
from notary.digest import Digester
from notary.house import write_genesis
from notary.keyring import head_signer
from notary.keys import HouseKeys
from notary.record import EVIDENCE, Record, build_record
from notary.statement import EVIDENCE_TYPE, GENESIS_TYPE, StatementSigner
from notary.tlog import merkle
from notary.tlog.note import parse_note
from notary.trust import Trust
from notary.tsa import EmbeddedTransport, request_timestamp

ORIGIN = "log.evidence.example/2026"
NAME = "District Court of Exampleton, Evidence Office"
RECEIVED = datetime(2026, 11, 24, 9, 14, 3, 120455, tzinfo=UTC)
CONTENT = b"Minutes of the meeting of 12 March 2026.\nThe contract is ended by agreement.\n"
INDEX, SIZE = 5, 7


def seed(word: str) -> bytes:
    return hashlib.sha256(word.encode()).digest()


class _At:
    """A clock that stands."""

    def __init__(self, moment: datetime) -> None:
        self.moment = moment

    def now(self) -> datetime:
        return self.moment


class House:
    """A log with keys derived from `words`, and an authority of its own. `record` and `statement`
    take the place of the right ones, in the ledger as well."""

    def __init__(
        self,
        words: str,
        *,
        index: int = INDEX,
        size: int = SIZE,
        record: Record | None = None,
        statement: bytes | None = None,
    ) -> None:
        self.words = words
        self.index, self.size = index, size
        self.keys = HouseKeys(
            log=Ed25519PrivateKey.from_private_bytes(seed(f"{words} log")),
            log_pq=MLDSA44PrivateKey.from_seed_bytes(seed(f"{words} log ml-dsa")),
            statement=Ed25519PrivateKey.from_private_bytes(seed(f"{words} statement")),
            certificate=Ed25519PrivateKey.from_private_bytes(seed(f"{words} certificate")),
        )
        self.sign_head, self.signers = head_signer(ORIGIN, self.keys)
        self.statements = StatementSigner(ORIGIN, self.keys.statement)
        self.record = record or self._record()
        self.entries = [self._genesis(), *(self._entry(at) for at in range(1, size))]
        self.entries[index] = statement or self._entry(index)
        self.leaves = [merkle.leaf_hash(entry) for entry in self.entries]
        self.root = merkle.root_hash(size, self.read)
        self.authority = self._authority()

    def read(self, level: int, index: int) -> bytes:
        row = self.leaves[index << level : (index + 1) << level]
        while len(row) > 1:
            row = [merkle.node_hash(*pair) for pair in zip(row[::2], row[1::2], strict=True)]
        return row[0]

    def _record(self) -> Record:
        digester = Digester(("sm3",))
        digester.update(CONTENT)
        sections: dict[str, object] = {
            "content": {
                "digests": digester.digests(),
                "size": len(CONTENT),
                "name": "minutes.txt",
                "media_type": {"declared": "text/plain", "detected": None},
                "stored": True,
            },
            "case": {
                "court": "District Court of Exampleton",
                "number": "3 C 41/26",
                "title": "Ash v. Birch",
                "exhibit": "7",
            },
            "depositor": {
                "account": "clerk-office",
                "role": "api-client",
                "authenticated_by": "api-key",
            },
        }
        return build_record(
            type_=EVIDENCE,
            id_="01a20cd5-6bb0-7a1c-8f2e-5d1f0a7be6c2",
            received_at=RECEIVED,
            sections=sections,
            salts=b"".join(seed(f"salt {name}") for name in sections),
        )

    def _genesis(self) -> bytes:
        genesis = write_genesis(
            origin=ORIGIN,
            name=NAME,
            at=RECEIVED - timedelta(hours=2),
            log_keys=[signer.verifier.encode() for signer in self.signers],
            statement_keys=[encode(self.keys.statement.public_key().public_bytes_raw())],
            certificate_keys=[encode(self.keys.certificate.public_key().public_bytes_raw())],
        )
        return self._statement(hashlib.sha256(genesis.encode()).digest(), GENESIS_TYPE, "0")

    def _entry(self, at: int) -> bytes:
        digest = self.record.digest() if at == self.index else seed(f"record {at}")
        return self._statement(digest, EVIDENCE_TYPE, str(at))

    def _statement(self, digest: bytes, type_: str, word: str) -> bytes:
        return self.statements.sign(
            digest, preimage_type=type_, randomness=seed(f"subject {word}")[:16]
        )

    def _authority(self) -> EmbeddedTransport:
        root, certificate, key = create_chain(NAME, RECEIVED - timedelta(hours=2))
        serials = iter(range(1, 100))
        embedded = EmbeddedAuthority(
            root=root,
            certificate=certificate,
            key=key,
            clock=_At(RECEIVED + timedelta(seconds=1)),
            serials=lambda: next(serials),
            last_gen_time=lambda: None,
        )
        return EmbeddedTransport(embedded, name=f"{NAME} (self-operated)")

    def timestamp(self, covers: str, imprint: bytes) -> Timestamp:
        stamped = request_timestamp(
            self.authority,
            imprint=imprint,
            nonce=int.from_bytes(seed(f"nonce {covers}")[:8], "big"),
            now=RECEIVED,
            tolerance=timedelta(seconds=60),
        )
        return Timestamp(
            covers=covers,
            authority=self.authority.name,
            self_operated=True,
            response=stamped.response,
            chain=stamped.verified.chain,
        )

    def draft(self) -> UnsignedCertificate:
        checkpoint = self.sign_head(self.size, self.root, RECEIVED).decode()
        text = parse_note(checkpoint.encode()).text
        return UnsignedCertificate(
            certificate_id="01a20cd5-8e44-7b02-9c41-0b6d3e9a1f57",
            version=1,
            issuer=Issuer(name=NAME, origin=ORIGIN, software="evidence-notary 0.1.0"),
            issued_for="generic",
            record=self.record.text,
            disclosures=self.record.disclosures,
            statement=self.entries[self.index],
            log=LogEntry(
                origin=ORIGIN,
                index=self.index,
                size=self.size,
                inclusion_proof=merkle.prove_inclusion(self.index, self.size, self.read),
                checkpoint=checkpoint,
            ),
            timestamps=(
                self.timestamp("checkpoint", hashlib.sha256(text.encode()).digest()),
                self.timestamp("original", hashlib.sha256(CONTENT).digest()),
            ),
            times=Times(
                received_at=RECEIVED,
                registered_at=RECEIVED + timedelta(milliseconds=4),
                timestamped_at=(RECEIVED + timedelta(seconds=1)).replace(microsecond=120_000),
                issued_at=RECEIVED + timedelta(minutes=3),
            ),
            keys=Keys(
                log=tuple(signer.verifier.encode() for signer in self.signers),
                statement=(Key.of(self.keys.statement.public_key().public_bytes_raw()),),
                certificate=(Key.of(self.keys.certificate.public_key().public_bytes_raw()),),
            ),
        )

    def seal(self, draft: UnsignedCertificate) -> bytes:
        return sign_certificate(draft, self.keys.certificate).encode()

    def trusted(self) -> Trust:
        return Trust(
            origin=ORIGIN,
            log_keys=tuple(signer.verifier for signer in self.signers),
            statement_keys=(self.keys.statement.public_key().public_bytes_raw(),),
            certificate_keys=(self.keys.certificate.public_key().public_bytes_raw(),),
            timestamp_roots=self.authority.roots,
        )

    def trust(self) -> str:
        return self.trusted().encode()


def encode(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
