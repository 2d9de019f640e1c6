"""The assembled house: the only place that names concrete parts.

`found` makes a house, once; `Office.open` opens the one that is there and refuses when its parts
contradict one another: keys and genesis, tiles and head, database and published checkpoint.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from certs.certificate import Issuer
from notary import accounts as accounts_room
from notary.accounts import Accounts
from notary.admitting import Admitting
from notary.archive_stamps import ArchiveStamps
from notary.archiving import Archiving
from notary.auditing import Auditing
from notary.authority import EmbeddedAuthority, create_authority
from notary.batch import BatchIntake
from notary.chronicle import Chronicle
from notary.clock import Clock, SystemClock
from notary.counters import Counters
from notary.destruction import Destructions
from notary.disposing import Disposing
from notary.errors import Corrupt, MalformedInput, Unreachable
from notary.evidence import Evidence
from notary.forms import Forms
from notary.halt import Halt
from notary.hash_trees import HashTrees
from notary.house import (
    check_published,
    insert_house,
    open_checkpoint,
    publish,
    read_house,
    share_chain,
    write_genesis,
)
from notary.intake import Intake, Limits
from notary.issue import SOFTWARE, Issue
from notary.issuers import Issuers
from notary.journal import PREFIX as JOURNAL_PLACE
from notary.journal import Journal, insert_journal
from notary.keeping import Keeping
from notary.keyplace import FolderPlace, KeyPlace, KmsPlace
from notary.keyring import Keyring, head_signer
from notary.keys import HouseKeys, load_key, raw_public, write_key
from notary.keystore import KeyStore
from notary.leases import Leases
from notary.ledger import Ledger, create_log
from notary.leftovers import Leftovers
from notary.model import Role, check_label, uuid7
from notary.originals import Originals
from notary.papers import Papers
from notary.people import People
from notary.reconcile import Reconciling
from notary.register import Register
from notary.registering import Registering
from notary.rehashing import Rehashing
from notary.remains import Kind as RemnantKind
from notary.remains import Remnant, insert_began
from notary.rereads import Rereads
from notary.retention import Retention
from notary.revocation_fetch import Collector
from notary.revocation_watch import RevocationWatch
from notary.revocations import Revocations
from notary.rotate import Rotating
from notary.schema import check_schema, make_tables
from notary.sealing import Sealing, make_seal, parse_chain
from notary.sequencer import Sequencer
from notary.settings import Settings
from notary.stamping import Stamping
from notary.stamps import Stamps
from notary.statement import GENESIS_TYPE, StatementSigner
from notary.tlog.note import VerifierKey
from notary.tlog.policy import parse_policy
from notary.trust import Trust
from notary.tsa import EmbeddedTransport, HttpAuthority, TimestampAuthority
from notary.withdrawing import Withdrawing
from notary.witness import Witnesses
from notary.witnessing import Witnessing
from notary.wrapping import Wrapping
from storage.database import Database
from storage.durable import write_file
from storage.errors import StorageError
from storage.objects import ObjectStore
from storage.stores import open_store

TSA_KEY, TSA_CHAIN = "tsa", "tsa-chain.pem"
ADMINISTRATOR = "administrator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Founded:
    """`link_secret` signs the first administrator in, once."""

    origin: str
    link_secret: str


def found(
    settings: Settings,
    *,
    clock: Clock | None = None,
    randomness: Callable[[int], bytes] = os.urandom,
) -> Founded:
    """Keys, folders, tables, the genesis entry, the first administrator.

    The database transaction comes last: a crash before it leaves keys without a house, which the
    next `init` refuses by name. Raises Fork where a house stands already, MalformedInput
    (`house_exists`, `journal_exists`).
    """
    clock = clock or SystemClock()
    name = check_label(settings.name, what="NOTARY_NAME", limit=100)
    origin = settings.origin or f"evidence-{randomness(4).hex()}.invalid/log"
    if any(c.isspace() or c == "+" for c in origin):
        raise MalformedInput(f"NOTARY_ORIGIN={origin!r} has spaces or '+'", code="settings")
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    database = Database(settings.database_url)
    if database.has_tables():
        raise MalformedInput(
            f"there is a house at {settings.home} already; `notary serve` opens it",
            code="house_exists",
        )
    objects = open_objects(settings)
    objects.prepare()
    objects.examine()
    if next(iter(objects.walk(JOURNAL_PLACE)), None) is not None:
        raise MalformedInput(
            f"{settings.objects_url} holds the journal of a house that was here before: `notary "
            "rebuild` makes its database again; a new house needs a place of its own",
            code="journal_exists",
        )
    keys = open_keys(settings).found()
    if settings.encrypts:
        open_wrapping(settings, randomness).make(clock.now())
    authority, tsa_key = create_authority(name[:40], clock.now())
    write_key(settings.home / "keys", TSA_KEY, tsa_key)
    chain = authority.encode()
    write_file(str(settings.home / TSA_CHAIN), chain, mode=0o644)
    make_seal(settings.home, seal_place(settings), name[:40], clock.now())
    sign, signers = head_signer(origin, keys)
    statements = StatementSigner(origin, keys.statement)
    now = clock.now()
    genesis = write_genesis(
        origin=origin,
        name=name,
        at=now,
        log_keys=[signer.verifier.encode() for signer in signers],
        statement_keys=[_b64(raw_public(keys.statement))],
        certificate_keys=[_b64(raw_public(keys.certificate))],
    )
    link_secret = base64.urlsafe_b64encode(randomness(32)).decode().rstrip("=")
    account_id = uuid7(now, randomness(10))
    entry = statements.sign(
        hashlib.sha256(genesis.encode("utf-8")).digest(),
        preimage_type=GENESIS_TYPE,
        randomness=randomness(16),
    )
    with database.writing() as connection:
        make_tables(database, connection)
        create_log(connection, entry, now, sign)
        insert_house(connection, genesis, chain.decode("ascii"))
        insert_journal(connection, genesis)
        insert_began(connection, now)
        accounts_room.insert_account(
            connection, id_=account_id, name=ADMINISTRATOR, role=Role.ADMINISTRATOR, at=now
        )
        accounts_room.insert_link(connection, account_id=account_id, secret=link_secret, at=now)
    publish(settings.home, Ledger(database).head().checkpoint)
    database.close()
    return Founded(origin=origin, link_secret=link_secret)


class Office:
    """Everything a door needs, put together. Open one per process, after forking."""

    def __init__(
        self,
        settings: Settings,
        *,
        clock: Clock | None = None,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.randomness = randomness
        self.database = Database(
            settings.database_url, statement_timeout_s=settings.database_timeout
        )
        if not self.database.has_tables():
            raise MalformedInput(
                f"no house at {settings.home}: make one with `notary init`", code="no_house"
            )
        check_schema(self.database)
        self.house = read_house(self.database)
        self.keyring = Keyring(self.database, open_keys(settings), self.house.genesis)
        self.ledger = Ledger(self.database)
        self.objects = open_objects(settings)
        self.wrapping = open_wrapping(settings, self.randomness)
        self.originals = Originals(objects=self.objects, wrapping=self.wrapping)
        self.journal = Journal(
            database=self.database,
            objects=self.objects,
            origin=self.house.origin,
            sign=lambda data: self.keyring.fresh().keys.statement.sign(data),
            clock=self.clock,
        )
        self.register = Register(self.database)
        self.accounts = Accounts(self.database)
        self.stamps = Stamps(self.database, quorum=settings.tsa_quorum)
        self.counters = Counters(self.database)
        self.leases = Leases(self.database)
        self.sequencer = Sequencer(self.database, self.clock, self.keyring, Halt(settings.home))
        self.rotating = Rotating(
            sequencer=self.sequencer,
            keyring=self.keyring,
            randomness=self.randomness,
            publish=self.publish,
        )
        self.chronicle = Chronicle(self.sequencer, self.clock, self.randomness)
        self.people = People(
            database=self.database,
            accounts=self.accounts,
            chronicle=self.chronicle,
            clock=self.clock,
            randomness=self.randomness,
            session_hours=settings.session_hours,
        )
        self.authorities = self._authorities()
        self._roots = self._timestamp_roots()
        self._last_trust: tuple[int, Trust] | None = None
        self.witnesses = Witnesses(self.database)
        policy = self._witness_policy()
        self.witnessing = None if policy is None else self._witnessing(policy)
        self.stamping = Stamping(
            ledger=self.ledger,
            stamps=self.stamps,
            authorities=self.authorities,
            clock=self.clock,
            randomness=self.randomness,
            tolerance=timedelta(seconds=settings.tsa_tolerance),
            refresh=timedelta(seconds=settings.checkpoint_refresh),
            witnesses=None if self.witnessing is None else self.witnesses,
        )
        self.trees = HashTrees(self.database)
        self.archived = ArchiveStamps(self.database)
        self.evidence = Evidence(self.trees, self.archived)
        self.archiving = Archiving(
            trees=self.trees,
            stamps=self.archived,
            stamping=self.stamping,
            clock=self.clock,
            interval=timedelta(seconds=settings.record_interval),
            renew_before=timedelta(days=settings.renew_days),
        )
        self.rehashing = Rehashing(
            trees=self.trees,
            stamps=self.archived,
            evidence=self.evidence,
            archiving=self.archiving,
            register=self.register,
            originals=self.originals,
            clock=self.clock,
        )
        self.revocations = Revocations(self.database)
        self.revocation_watch = RevocationWatch(
            revocations=self.revocations,
            stamps=self.stamps,
            archived=self.archived,
            clock=self.clock,
            every=timedelta(hours=settings.revocation_hours),
            timeout_s=settings.tsa_timeout,
        )
        self.retention = Retention(database=self.database, objects=self.objects, clock=self.clock)
        self.intake = Intake(
            register=self.register,
            ledger=self.ledger,
            sequencer=self.sequencer,
            originals=self.originals,
            keyring=self.keyring,
            clock=self.clock,
            randomness=self.randomness,
            algorithms=settings.digests,
            limits=Limits(
                file_bytes=settings.max_file_bytes, account_bytes=settings.max_account_bytes
            ),
            retention=self.retention,
        )
        self.batches = BatchIntake(
            database=self.database,
            intake=self.intake,
            sequencer=self.sequencer,
            folder=settings.home,
            max_rows=settings.max_batch_rows,
        )
        self.issuers = Issuers(self.database)
        self.admitting = Admitting(
            issuers=self.issuers,
            sequencer=self.sequencer,
            chronicle=self.chronicle,
            randomness=self.randomness,
            origin=self.house.origin,
            own_keys=self._own_keys,
        )
        self.registering = Registering(
            issuers=self.issuers,
            ledger=self.ledger,
            sequencer=self.sequencer,
            clock=self.clock,
        )
        self.sealing = Sealing(
            home=settings.home,
            places=settings.key_places,
            outside_chain=settings.seal_chain,
            authorities=self.authorities,
            own_lists=self._own_lists,
            collector=Collector(clock=self.clock, timeout_s=settings.tsa_timeout),
            clock=self.clock,
            randomness=self.randomness,
            tolerance=timedelta(seconds=settings.tsa_tolerance),
        )
        self.issue = Issue(
            database=self.database,
            ledger=self.ledger,
            stamps=self.stamps,
            evidence=self.evidence,
            revocations=self.revocations,
            chronicle=self.chronicle,
            originals=self.originals,
            papers=Papers(
                database=self.database,
                keyring=self.keyring,
                rereads=Rereads(self.database),
                sealing=self.sealing,
                clock=self.clock,
                software=SOFTWARE,
                base_url=settings.base_url,
            ),
            clock=self.clock,
            randomness=self.randomness,
            keyring=self.keyring,
            issuer=Issuer(name=self.house.name, origin=self.house.origin, software=SOFTWARE),
            trust=lambda: self.trust,
            witness_policy=policy,
            base_url=settings.base_url,
        )
        self.forms = Forms(
            register=self.register,
            rereads=Rereads(self.database),
            keyring=self.keyring,
            trust=lambda: self.trust,
        )

        self.withdrawing = Withdrawing(
            database=self.database,
            register=self.register,
            ledger=self.ledger,
            chronicle=self.chronicle,
            keyring=self.keyring,
            clock=self.clock,
            origin=self.house.origin,
        )
        self.keeping = Keeping(
            database=self.database,
            chronicle=self.chronicle,
            objects=self.objects,
            clock=self.clock,
            randomness=self.randomness,
            days=settings.retention_days,
        )
        self.disposing = Disposing(
            database=self.database,
            chronicle=self.chronicle,
            journal=self.journal,
            objects=self.objects,
            keyring=self.keyring,
            origin=self.house.origin,
            clock=self.clock,
            randomness=self.randomness,
            days=settings.retention_days,
        )
        self.destructions = Destructions(
            database=self.database,
            ledger=self.ledger,
            keyring=self.keyring,
            clock=self.clock,
            issuer=Issuer(name=self.house.name, origin=self.house.origin, software=SOFTWARE),
        )
        self.auditing = Auditing(
            database=self.database,
            objects=self.objects,
            wrapping=self.wrapping,
            ledger=self.ledger,
            keyring=self.keyring,
            chronicle=self.chronicle,
            clock=self.clock,
            randomness=self.randomness,
            created_at=self.house.created_at,
            every=timedelta(days=settings.audit_days),
            rate=settings.audit_rate,
        )
        self.reconciling = Reconciling(
            database=self.database,
            objects=self.objects,
            leftovers=Leftovers(
                database=self.database,
                home=settings.home,
                keyring=self.keyring,
                journal=self.journal,
                stamps=self.stamps,
                witnesses=self.witnesses,
            ),
            clock=self.clock,
            randomness=self.randomness,
            orphan_age=timedelta(hours=settings.orphan_hours),
            unclaimed_age=timedelta(days=settings.unclaimed_days),
            extras=(self._unretained, self._unkept),
        )

    @property
    def keys(self) -> HouseKeys:
        """What signs now. Raises KeyMissing, Unreachable (`keys_unreachable`)."""
        return self.keyring.fresh().keys

    @property
    def statements(self) -> StatementSigner:
        """Signs with the statement key that holds now. What is to be entered in the ledger is
        made by `Sequencer.submit_signed`, which knows when that changes."""
        return self.keyring.fresh().statements

    @property
    def trust(self) -> Trust:
        """What verifiers of this house need to know as of now: the keys that hold first, those
        that are retired after them."""
        history = self.keyring.history()
        last = self._last_trust
        if last is not None and last[0] == history.serial:
            return last[1]
        every = history.all()
        trust = Trust(
            origin=self.house.origin,
            log_keys=every.log,
            statement_keys=every.statement,
            certificate_keys=every.certificate,
            timestamp_roots=self._roots,
        )
        self._last_trust = (history.serial, trust)
        return trust

    def examine(self) -> None:
        """On every start, before a door opens. Raises IntegrityError or Unreachable."""
        self.check_log()
        self.wrapping.check()
        if self.house.authority_chain is None and (self.settings.home / TSA_CHAIN).exists():
            share_chain(self.database, (self.settings.home / TSA_CHAIN).read_text("ascii"))
        check_published(self.settings.home, self.ledger, self.log_keys_at)
        try:
            self.objects.examine()
            self.journal.check_end()
        except StorageError as exc:
            raise Unreachable(str(exc), code="storage_unreachable") from exc

    def check_log(self) -> None:
        """The newest checkpoint is signed by our keys and is the root of the right edge. Raises
        Corrupt."""
        head = self.ledger.check_right_edge()
        said = open_checkpoint(head.checkpoint, self.log_keys_at, name="the newest checkpoint")
        if (said.size, said.root) != (head.size, head.root):
            raise Corrupt(
                f"the newest checkpoint signs {said.root.hex()} at size {said.size}, the head is "
                f"{head.root.hex()} at {head.size}",
                name="tree_head",
            )

    def log_keys_at(self, size: int) -> tuple[VerifierKey, ...]:
        """The keys that sign a checkpoint of that size."""
        return self.keyring.history().at(size).log

    def publish(self, checkpoint: bytes | None = None) -> None:
        """Shows outside the newest checkpoint, or this one of ours."""
        publish(self.settings.home, checkpoint or self.ledger.head().checkpoint)

    def close(self) -> None:
        self.database.close()

    def _unretained(self, _now: datetime) -> Iterator[Remnant]:
        """What a pass finds of retention: originals to which storage did not put it yet."""
        for key, said in self.retention.run().failed:
            yield Remnant(kind=RemnantKind.RETENTION, name=key, detail=said)

    def _unkept(self, now: datetime) -> Iterator[Remnant]:
        """Exhibits that came into a case after its retention or hold was set; and counts of
        requests that are over. Both are mended, and nothing is left to report."""
        self.keeping.apply(every=True)
        self.counters.forget(int(now.timestamp()))
        return iter(())

    # --- parts -----------------------------------------------------------------------------

    def _authorities(self) -> tuple[TimestampAuthority, ...]:
        settings = self.settings
        if not settings.tsa_urls:
            # Its key may be on some nodes only: the others leave stamping to those.
            has_key = (settings.home / "keys" / f"{TSA_KEY}.pem").exists()
            return (self._embedded(),) if has_key else ()
        assert settings.tsa_roots is not None
        roots = _certificates(settings.tsa_roots)
        return tuple(
            HttpAuthority(url, roots, name=url, timeout_s=settings.tsa_timeout)
            for url in settings.tsa_urls
        )

    def _witness_policy(self) -> str | None:
        path = self.settings.witness_policy
        if path is None:
            return None
        try:
            return path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise Corrupt(f"policy {path} cannot be read: {exc}", name=str(path)) from exc

    def _witnessing(self, policy: str) -> Witnessing:
        return Witnessing(
            ledger=self.ledger,
            witnesses=self.witnesses,
            policy=parse_policy(policy),
            clock=self.clock,
            fail_open=self.settings.witness_fail == "open",
            timeout_s=self.settings.witness_timeout,
        )

    def _embedded(self) -> TimestampAuthority:
        certificate, root = self._own_chain()
        key = load_key(self.settings.home / "keys", TSA_KEY)
        if not isinstance(key, EllipticCurvePrivateKey):
            raise Corrupt("the embedded authority's key is not on an elliptic curve", name=TSA_KEY)
        authority = EmbeddedAuthority(
            root=root,
            certificate=certificate,
            key=key,
            clock=self.clock,
            serials=lambda: self.stamps.next_serial(self.clock.now()),
            last_gen_time=self.stamps.last_gen_time,
        )
        return EmbeddedTransport(authority, name=f"{self.house.name} (self-operated)")

    def _own_keys(self) -> tuple[bytes, ...]:
        every = self.keyring.history().all()
        return (*(key.public_key for key in every.log), *every.statement, *every.certificate)

    def _timestamp_roots(self) -> tuple[bytes, ...]:
        roots = dict.fromkeys(root for each in self.authorities for root in each.roots)
        # The embedded authority's root stays in the file when outside ones are configured:
        # older certificates carry its tokens.
        roots.update({self._own_chain()[1]: None})
        return tuple(roots)

    def _own_chain(self) -> tuple[bytes, bytes]:
        """From the home, where it is there, else as the database has it. Raises Corrupt."""
        path, shared = self.settings.home / TSA_CHAIN, self.house.authority_chain
        if path.exists() or shared is None:
            return _own_chain(_certificates(path), str(path))
        name = f"{TSA_CHAIN} in the database"
        return _own_chain(_parse_certificates(shared.encode(), name), name)

    def _own_lists(self) -> tuple[bytes, ...]:
        """The embedded authority's revocation lists: none in a house that was founded when none
        were made. Raises Corrupt."""
        path, shared = self.settings.home / TSA_CHAIN, self.house.authority_chain
        pem = shared.encode() if shared and not path.exists() else path.read_bytes()
        return parse_chain(pem, TSA_CHAIN).crls


def open_keys(settings: Settings) -> KeyStore:
    return KeyStore(settings.home / "keys", settings.key_places)


def open_wrapping(settings: Settings, randomness: Callable[[int], bytes]) -> Wrapping:
    return Wrapping(
        settings.home / "keys",
        settings.wrapping_places,
        on=settings.encrypts,
        randomness=randomness,
    )


def seal_place(settings: Settings) -> KeyPlace:
    """The first place that takes seal keys, and the folder where none does."""
    return next(
        (each for each in settings.key_places if not isinstance(each, KmsPlace)), FolderPlace()
    )


def open_objects(settings: Settings) -> ObjectStore:
    """Raises MalformedInput (`settings`)."""
    try:
        return open_store(settings.objects_url)
    except StorageError as exc:
        raise MalformedInput(f"NOTARY_OBJECTS: {exc}", code="settings") from exc


def _certificates(path: Path) -> tuple[bytes, ...]:
    try:
        pem = path.read_bytes()
    except OSError as exc:
        raise Corrupt(f"certificates {path} cannot be read: {exc}", name=str(path)) from exc
    return _parse_certificates(pem, str(path))


def _parse_certificates(pem: bytes, name: str) -> tuple[bytes, ...]:
    try:
        loaded = x509.load_pem_x509_certificates(pem)
    except ValueError as exc:
        raise Corrupt(f"certificates {name} cannot be read: {exc}", name=name) from exc
    return tuple(each.public_bytes(Encoding.DER) for each in loaded)


def _own_chain(chain: tuple[bytes, ...], name: str) -> tuple[bytes, bytes]:
    """The embedded authority's certificate and root. Raises Corrupt where they are no chain."""
    try:
        leaf, root = (x509.load_der_x509_certificate(der) for der in chain)
        leaf.verify_directly_issued_by(root)
        root.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature) as exc:
        raise Corrupt(f"certificates {name} are no chain: {exc}", name=name) from exc
    return chain[0], chain[1]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
