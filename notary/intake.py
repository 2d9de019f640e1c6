"""Receive a document: digest it while it streams in, keep it, enter it.

 1. `admit` at the door: may this account deposit, here, so much? Before any body is read.
 2. `Reception.write` for every chunk: all digests in one pass, bytes on their way to storage.
 3. `Reception.register`: declared digests compared, the original made durable, the record built
    and signed, one transaction with the ledger; then the original retained, where a setting says
    so, and our own proof checked. Only then an answer.

Afterwards, if we crash: in 1 and 2, an unfinished upload that the sweep removes; in 3 before the
commit, an object without a row, which the sweep removes too; after it, the deposit stands and
the same Idempotency-Key gives it back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from types import TracebackType
from typing import Self

import filetype
import sqlalchemy as sa

from notary import access, register, remains, stamps
from notary.clock import Clock, rfc3339
from notary.digest import EMPTY_SHA256, SHA256, Digester, check_declared
from notary.digests import INSERT_DIGEST, digest_row
from notary.errors import Conflict, MalformedInput, Rejected, TooLarge, Unreachable
from notary.keyring import Keyring
from notary.ledger import Growing, Ledger, TreeHead
from notary.model import Case, Declared, Deposit, Principal, uuid7
from notary.originals import Arriving, Originals, object_key
from notary.record import EVIDENCE, SALT_BYTES, Record, build_record
from notary.register import Register
from notary.retention import INSERT_DUE, Due, Retention, due_row
from notary.sequencer import Sequencer, prove_own
from notary.statement import EVIDENCE_TYPE, StatementSigner
from notary.tlog import merkle
from storage.errors import StorageError, StoreFull, StoreUnavailable
from storage.objects import StoredObject

OF_WHAT_IS_HERE = frozenset((access.Act.READ_CONTENT, access.Act.ISSUE_CERTIFICATE))
"""What cannot be done with a deposit that was disposed of."""
HEAD_BYTES = 8_192
"""How much of an original is kept in memory to tell its media type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    file_bytes: int
    account_bytes: int
    """0 means no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What the door found out: who, and which case, if any."""

    by: Principal
    case: Case | None
    room: int
    """Bytes that may be received at most."""
    algorithms: tuple[str, ...]
    """Digests to compute: those configured, and those that the depositor declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What stands behind a 201: the deposit, its statement, and the proof that we checked."""

    deposit: Deposit
    statement: bytes
    head: TreeHead
    proof: tuple[bytes, ...]
    fresh: bool
    """False when the same request had been registered before."""


def case_section(case: Case, exhibit: str | None) -> dict[str, object]:
    return {
        "court": case.court, "number": case.number, "title": case.title, "exhibit": exhibit
    }  # fmt: skip


def depositor_section(by: Principal) -> dict[str, object]:
    return {"account": by.name, "role": by.role.value, "authenticated_by": by.authenticated_by}


def fingerprint(declared: Declared, *, sha256: str, size: int, stored: bool) -> bytes:
    """What makes two requests with one Idempotency-Key the same request."""
    said = [
        sha256, size, stored, declared.name, declared.media_type, declared.case, declared.court,
        declared.exhibit, declared.provenance, dict(declared.links), declared.client_reference,
        declared.document_timestamp,
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).digest()


def check_size(size: int, sha256: str) -> None:
    """Raises MalformedInput where size and digest contradict each other: only nothing hashes to
    the well-known digest of nothing."""
    if (size == 0) != (sha256 == EMPTY_SHA256):
        raise MalformedInput(f"size {size} cannot have sha-256 {sha256}", code="digests_malformed")


@contextmanager
def _storage() -> Iterator[None]:
    """Storage's errors, as the house says them."""
    try:
        yield
    except StoreFull as exc:
        raise Unreachable(str(exc), code="storage_full", retry_after_s=60) from exc
    except StoreUnavailable as exc:
        raise Unreachable(str(exc), code="storage_unreachable", retry_after_s=5) from exc


class _Registration:
    """The work of one deposit under the ledger's lock."""

    alone = False

    def __init__(
        self,
        deposit: Deposit,
        statement: bytes,
        *,
        key: str | None,
        print_: bytes,
        limit: int,
        retention: Retention,
    ) -> None:
        self._retention = retention
        self.due: Due | None = None
        self.deposit, self.statement = deposit, statement
        self._key, self._print, self._limit = key, print_, limit
        self.asks = (
            key is not None
            or deposit.client_reference is not None
            or deposit.exhibit is not None
            or limit > 0
        )

    def settled(self, connection: sa.Connection) -> Deposit | None:
        d = self.deposit
        if self._key is not None:
            found = register.find_settled(connection, d.account_id, self._key)
            if found is not None:
                return self._same(connection, found)
        if d.client_reference is not None:
            column = register.DEPOSIT.c
            earlier = register.find_deposit(
                connection,
                column.account_id == d.account_id,
                column.client_reference == d.client_reference,
            )
            if earlier is not None:
                self._check_earlier(earlier)
                return earlier
        self._check_room(connection)
        return None

    def _check_earlier(self, earlier: Deposit) -> None:
        d = self.deposit
        if earlier.sha256 != d.sha256:
            raise Conflict(
                f"client reference {d.client_reference!r} was registered with sha-256 "
                f"{earlier.sha256}, this is {d.sha256}",
                code="client_reference_reused",
            )
        if d.stored and not earlier.stored:
            raise Conflict(
                f"client reference {d.client_reference!r} was registered as digests only",
                code="client_reference_reused",
            )

    def _same(self, connection: sa.Connection, found: tuple[bytes, str]) -> Deposit:
        earlier = register.find_deposit(connection, register.DEPOSIT.c.id == found[1])
        if earlier is not None:
            register.check_not_disposed(earlier)
        if found[0] != self._print:
            raise Conflict(
                f"Idempotency-Key {self._key!r} was used for another request",
                code="idempotency_key_reused",
            )
        if earlier is None:
            raise Conflict(
                f"Idempotency-Key {self._key!r} was used for a batch",
                code="idempotency_key_reused",
            )
        return earlier

    def _check_room(self, connection: sa.Connection) -> None:
        d = self.deposit
        if (
            d.case_id is not None
            and d.exhibit is not None
            and register.exhibits_taken(connection, d.case_id, [d.exhibit])
        ):
            raise Conflict(f"the case has an exhibit {d.exhibit!r} already", code="exhibit_taken")
        if d.stored and self._limit:
            used = register.stored_bytes(connection, d.account_id)
            if used + d.size > self._limit:
                raise TooLarge(
                    f"the account stores {used} bytes; {d.size} more would pass its limit of "
                    f"{self._limit}",
                    code="account_limit",
                )

    def enter(self, connection: sa.Connection, growing: Growing, at: datetime) -> Deposit:
        if (
            self.deposit.stored
            and growing.asked(remains.ANY_CONDEMNED) is not None
            and remains.is_condemned(connection, self.deposit.id)
        ):
            raise Conflict(
                "the original lay unregistered for so long that it was swept away: send it again",
                code="original_swept",
            )
        deposit = replace(self.deposit, index=growing.size, registered_at=at)
        growing.append([self.statement])
        growing.insert(register.INSERT_DEPOSIT, register.deposit_row(deposit))
        growing.insert(INSERT_DIGEST, digest_row(deposit.index, deposit.sha256))
        if deposit.stored:
            growing.insert(
                register.ADD_STORED_BYTES,
                {"account_id": deposit.account_id, "stored_bytes": deposit.size},
            )
            self.due = self._retention.due(object_key(deposit.id), deposit.object_version, at)
        if self.due is not None:
            growing.insert(INSERT_DUE, due_row(self.due, at))
        if deposit.document_timestamp:
            stamps.insert_document_due(
                connection, deposit_id=deposit.id, sha256=deposit.sha256, at=at
            )
        if self._key is not None:
            growing.insert(
                register.INSERT_SETTLED,
                {
                    "account_id": deposit.account_id,
                    "key": self._key,
                    "fingerprint": self._print,
                    "outcome_id": deposit.id,
                    "at": rfc3339(at),
                },
            )
        return deposit


class Intake:
    def __init__(
        self,
        *,
        register: Register,
        ledger: Ledger,
        sequencer: Sequencer,
        originals: Originals,
        keyring: Keyring,
        clock: Clock,
        randomness: Callable[[int], bytes],
        algorithms: Iterable[str],
        limits: Limits,
        retention: Retention,
    ) -> None:
        self._retention = retention
        self.register = register
        self.limits = limits
        self.clock = clock
        self.randomness = randomness
        self.algorithms = tuple(algorithms)
        self.keyring = keyring
        self._ledger = ledger
        self._sequencer = sequencer
        self._originals = originals

    # --- the acts --------------------------------------------------------------------------

    def admit(self, by: Principal, declared: Declared) -> Admission:
        """At the door, before the body. Raises NotAllowed, NotFound, TooLarge."""
        room = self.room(by, 0 if declared.size is None else declared.size)
        return self._admit(by, declared, room)

    def room(self, by: Principal, size: int) -> int:
        """Bytes that one more original of at least `size` may have. Raises NotAllowed, TooLarge."""
        access.check(by, access.Act.DEPOSIT)
        room = self.limits.file_bytes
        if size > room:
            raise TooLarge(
                f"{size} bytes are announced; the limit for one file is {room}", code="file_limit"
            )
        if not self.limits.account_bytes:
            return room
        left = self.limits.account_bytes - self.register.stored_bytes(by.account_id)
        if max(size, 1) > left:
            raise TooLarge(
                f"the account has room for {max(left, 0)} more bytes of its "
                f"{self.limits.account_bytes}",
                code="account_limit",
            )
        return min(room, left)

    def _admit(self, by: Principal, declared: Declared, room: int) -> Admission:
        for linked in declared.links.values():
            self.known_deposit(by, linked)
        return Admission(
            by=by,
            case=self.find_case(by, declared),
            room=room,
            algorithms=(*self.algorithms, *declared.digests),
        )

    def receive(self, admission: Admission) -> Reception:
        """Opens the counter: use the result as a context manager."""
        id_ = uuid7(self.clock.now(), self.randomness(10))
        with _storage():
            incoming = self._originals.begin(id_)
        return Reception(self, self._originals, admission, id_, incoming)

    def register_digests(self, by: Principal, declared: Declared) -> Receipt:
        """A digest-only deposit: the original stays with the depositor."""
        access.check(by, access.Act.DEPOSIT)
        admission = self._admit(by, declared, room=0)
        if declared.size is None or SHA256 not in declared.digests:
            raise MalformedInput(
                "a digest-only deposit states size and digests with sha-256",
                code="digests_malformed",
            )
        check_size(declared.size, declared.digests[SHA256])
        now = self.clock.now()
        return self.enter(
            admission,
            declared,
            id_=uuid7(now, self.randomness(10)),
            received_at=now,
            digests=dict(declared.digests),
            size=declared.size,
            detected=None,
            stored=None,
        )

    def enter(
        self,
        admission: Admission,
        declared: Declared,
        *,
        id_: str,
        received_at: datetime,
        digests: dict[str, str],
        size: int,
        detected: str | None,
        stored: StoredObject | None,
        data_key: bytes | None = None,
    ) -> Receipt:
        """Record, statement, ledger, retention, and our own proof of it."""
        by, case = admission.by, admission.case
        print_ = fingerprint(declared, sha256=digests[SHA256], size=size, stored=stored is not None)
        exhibit = declared.exhibit
        if case is not None and exhibit is None and not self._was_settled(by, declared, print_):
            exhibit = str(self.register.reserve_exhibits(case.id, 1))
        content: dict[str, object] = {
            "digests": digests,
            "size": size,
            "name": declared.name,
            "media_type": {"declared": declared.media_type, "detected": detected},
            "stored": stored is not None,
        }
        record = self._record(id_, received_at, content, by, case, exhibit, declared)
        deposit = Deposit(
            id=id_,
            index=-1,
            account_id=by.account_id,
            case_id=None if case is None else case.id,
            exhibit=exhibit,
            client_reference=declared.client_reference,
            name=declared.name,
            media_type_declared=declared.media_type,
            media_type_detected=detected,
            size=size,
            sha256=digests[SHA256],
            digests=digests,
            stored=stored is not None,
            document_timestamp=declared.document_timestamp,
            record=record.text,
            disclosures=record.disclosures,
            received_at=received_at,
            registered_at=received_at,
            data_key=data_key,
            object_version=None if stored is None else stored.version,
        )

        def work(statements: StatementSigner) -> _Registration:
            return _Registration(
                deposit,
                statements.sign(
                    record.digest(), preimage_type=EVIDENCE_TYPE, randomness=self.randomness(16)
                ),
                key=declared.idempotency_key,
                print_=print_,
                limit=self.limits.account_bytes,
                retention=self._retention,
            )

        return self._commit(work)

    def known_deposit(
        self, by: Principal, deposit_id: str, act: access.Act = access.Act.READ_DEPOSIT
    ) -> Deposit:
        """A deposit that `by` may do `act` with. Raises NotFound for an unknown one and for one
        that is not for `by` to know, with the same words; Gone for what was disposed of."""
        access.check(by, act)
        deposit = self.register.deposit(deposit_id)
        access.check_deposit(
            by,
            act,
            depositor=deposit.account_id,
            in_own_case=self.register.is_party(deposit.case_id, by.account_id),
        )
        if act in OF_WHAT_IS_HERE:
            register.check_not_disposed(deposit)
        return deposit

    # --- steps -----------------------------------------------------------------------------

    def find_case(self, by: Principal, declared: Declared) -> Case | None:
        reach = access.check(by, access.Act.DEPOSIT)
        if declared.case is None:
            if declared.exhibit is not None:
                raise MalformedInput("an exhibit number needs a case", code="case_missing")
            if reach is access.Reach.OWN_CASES:
                raise MalformedInput("a party deposits into a case: name it", code="case_missing")
            return None
        return self.register.find_case(
            declared.case,
            declared.court,
            party=by.account_id if reach is access.Reach.OWN_CASES else None,
        )

    def _was_settled(self, by: Principal, declared: Declared, print_: bytes) -> bool:
        """Only to spare an exhibit number; the lock decides."""
        if declared.idempotency_key is None:
            return False
        found = self.register.settled(by.account_id, declared.idempotency_key)
        return found is not None and found[0] == print_

    def _record(
        self,
        id_: str,
        received_at: datetime,
        content: dict[str, object],
        by: Principal,
        case: Case | None,
        exhibit: str | None,
        declared: Declared,
    ) -> Record:
        sections: dict[str, object] = {"content": content}
        if case is not None:
            sections["case"] = case_section(case, exhibit)
        sections["depositor"] = depositor_section(by)
        if declared.provenance is not None:
            sections["provenance"] = {"stated_by_depositor": declared.provenance}
        if declared.links:
            sections["links"] = dict(declared.links)
        return build_record(
            type_=EVIDENCE,
            id_=id_,
            received_at=received_at,
            sections=sections,
            salts=self.randomness(SALT_BYTES * len(sections)),
        )

    def _commit(self, make: Callable[[StatementSigner], _Registration]) -> Receipt:
        made: list[_Registration] = []

        def work(statements: StatementSigner) -> _Registration:
            made.append(make(statements))
            return made[-1]

        committed = self._sequencer.submit_signed(work)
        deposit, statement = committed.outcome, made[-1].statement
        if committed.fresh:
            if (due := made[-1].due) is not None:
                self._retention.apply(due)
            return Receipt(
                deposit=deposit,
                statement=statement,
                head=committed.appended.head,
                proof=prove_own(committed.appended, deposit.index, statement),
                fresh=True,
            )
        return self.receipt_of(deposit, fresh=False)

    def receipt_of(self, deposit: Deposit, *, fresh: bool = True) -> Receipt:
        """A receipt against the newest checkpoint, its proof checked."""
        (statement,) = self._ledger.entries(deposit.index, 1)
        head, size, proof = self._ledger.prove_inclusion(deposit.index)
        merkle.check_inclusion(
            index=deposit.index,
            size=size,
            leaf=merkle.leaf_hash(statement),
            proof=proof,
            root=head.root,
        )
        return Receipt(deposit=deposit, statement=statement, head=head, proof=proof, fresh=fresh)


class Reception:
    """One original on its way in. Leaves nothing behind unless `register` returned or failed in
    a way that leaves the outcome open; then the sweep compares with the register."""

    def __init__(
        self,
        intake: Intake,
        originals: Originals,
        admission: Admission,
        id_: str,
        incoming: Arriving,
    ) -> None:
        self._intake, self._originals = intake, originals
        self._admission, self._id, self._incoming = admission, id_, incoming
        self._digester = Digester(admission.algorithms)
        self._head = b""

    def write(self, chunk: bytes | memoryview) -> None:
        """Raises TooLarge as soon as the limit is passed, Unreachable when storage fails."""
        self._digester.update(chunk)
        if self._digester.size > self._admission.room:
            limited = self._admission.room < self._intake.limits.file_bytes
            raise TooLarge(
                f"more than {self._admission.room} bytes came",
                code="account_limit" if limited else "file_limit",
            )
        if len(self._head) < HEAD_BYTES:
            self._head += bytes(chunk[: HEAD_BYTES - len(self._head)])
        with _storage():
            self._incoming.write(chunk)

    def readmit(self, admission: Admission) -> None:
        """For a form whose fields came behind its file: the case may be known only now."""
        self._admission = admission

    def register(self, declared: Declared, *, allow_empty: bool = False) -> Receipt:
        """Raises DigestMismatch, MalformedInput, Conflict, TooLarge: nothing was kept."""
        size, digests = self._digester.size, self._digester.digests()
        if declared.size is not None and declared.size != size:
            raise MalformedInput(
                f"declared {declared.size} bytes, {size} came", code="body_incomplete"
            )
        check_declared(declared.digests, digests)
        kept = {name: digests[name] for name in dict.fromkeys((SHA256, *self._intake.algorithms))}
        if size == 0 and not allow_empty:
            raise MalformedInput(
                "the file is empty (0 bytes); if that is the evidence, say allow_empty=1",
                code="empty_file",
            )
        kind = filetype.guess_mime(self._head) if self._head else None
        with _storage():
            stored = self._incoming.commit()
        received_at = self._intake.clock.now()
        try:
            receipt = self._intake.enter(
                self._admission,
                declared,
                id_=self._id,
                received_at=received_at,
                digests=kept,
                size=size,
                detected=kind,
                stored=stored,
                data_key=self._incoming.data_key,
            )
        except Rejected:
            # Certainly not recorded, so the object may go. After any other error it may be
            # recorded: it stays, and the sweep decides by the register.
            self._take_back(stored)
            raise
        if not receipt.fresh:
            self._take_back(stored)
        return receipt

    def _take_back(self, stored: StoredObject) -> None:
        # What storage does not let go now, the sweep finds: the answer is about the deposit.
        with suppress(StorageError):
            self._originals.objects.discard(stored.key, version=stored.version)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._incoming.abort()  # does nothing once committed
