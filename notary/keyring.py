"""The keys that hold now, in every process of the house. Owns the rotations' table.

A process learns of a rotation where it matters: under the tree head's lock, before it signs. Then
it loads the keys that the database names, by their public halves; what was signed by the keys
before them, and has not been entered yet, is turned away to be signed anew. Readers look as they
read.

A node that has no access to a new key writes nothing until it is there, and reads on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from notary import keys as key_files
from notary.clock import rfc3339
from notary.errors import BadRotation, Corrupt, KeyMissing, Rollback
from notary.keyhistory import KeyHistory, Registered, read_history
from notary.keys import HouseKeys, raw_public
from notary.keystore import KeyStore
from notary.ledger import SignHead
from notary.rotation import KeySet
from notary.statement import StatementSigner
from notary.tlog.checkpoint import Checkpoint
from notary.tlog.cosignature import MLDSA44Signer
from notary.tlog.note import ED25519, MLDSA44_COSIGNATURE, Ed25519Signer, NoteSigner, sign_note
from storage.database import METADATA, Database, Prepared

KEY_ROTATION = sa.Table(
    "key_rotation",
    METADATA,
    sa.Column("serial", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("idx", sa.BigInteger, nullable=False),
    sa.Column("at", sa.String(27), nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
)
_SERIAL = Prepared(sa.select(sa.func.max(KEY_ROTATION.c.serial)))


def head_signer(origin: str, *each: HouseKeys) -> tuple[SignHead, tuple[NoteSigner, ...]]:
    """Signs checkpoints with both of the log's keys; at a hand-over with those of two states."""
    ed25519 = [Ed25519Signer(origin, keys.log) for keys in each]

    def signers(seconds: int) -> tuple[NoteSigner, ...]:
        found: list[NoteSigner] = []
        for first, keys in zip(ed25519, each, strict=True):
            found += [first, MLDSA44Signer(origin, keys.log_pq, lambda: seconds)]
        return tuple({signer.verifier: signer for signer in found}.values())

    def sign(size: int, root: bytes, at: datetime) -> bytes:
        text = Checkpoint(origin=origin, size=size, root=root).text()
        return sign_note(text, signers(int(at.timestamp()))).encode()

    return sign, signers(0)


def public_keys(origin: str, keys: HouseKeys) -> KeySet:
    _, signers = head_signer(origin, keys)
    return KeySet(
        log=tuple(signer.verifier for signer in signers),
        statement=(raw_public(keys.statement),),
        certificate=(raw_public(keys.certificate),),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The private keys after rotation `serial`, and what signs with them."""

    serial: int
    keys: HouseKeys
    sign: SignHead
    signers: tuple[NoteSigner, ...]
    statements: StatementSigner


class Keyring:
    """One per process. Its threads share it."""

    def __init__(self, database: Database, store: KeyStore, genesis: str) -> None:
        """Raises KeyMissing where a key that holds now is nowhere in `store`, Unreachable
        (`keys_unreachable`), Corrupt where the rotations contradict one another."""
        self.store = store
        self._database = database
        self._genesis = genesis
        self._turn = threading.Lock()
        with database.reading() as connection:
            self._history = self._read(connection)
        self._held: Held | None = None
        self.held()

    # --- as known in memory ----------------------------------------------------------------

    def held(self) -> Held:
        """The keys to sign with. Whoever enters what they signed says their serial, and is told
        under the lock if that is no longer the last. Raises KeyMissing, Unreachable."""
        held, history = self._held, self._history
        if held is None or held.serial != history.serial:
            held = self._load(history)
            with self._turn:
                if self._held is None or self._held.serial < held.serial:
                    self._held = held
        return held

    # --- as the database says ----------------------------------------------------------------

    def history(self) -> KeyHistory:
        """The keys of all times, as of now."""
        found = self._database.first(_SERIAL)
        if _number(found) > self._history.serial:
            with self._database.reading() as connection:
                self._adopt(self._read(connection))
        return self._history

    def fresh(self) -> Held:
        """As `held`, after a look into the database."""
        self.history()
        return self.held()

    def check(self, connection: sa.Connection) -> Held:
        """Under the head's lock: the keys that sign now, loaded if they are new.

        Raises KeyMissing, Unreachable, Rollback where the database knows fewer rotations than
        this process saw, Corrupt.
        """
        serial = _number(_SERIAL.first(connection))
        if serial < self._history.serial:
            raise Rollback(
                f"the database has {serial} key rotations, this process saw "
                f"{self._history.serial} committed"
            )
        if serial > self._history.serial:
            self._adopt(self._read(connection))
        return self.held()

    # --- steps -------------------------------------------------------------------------------

    def _adopt(self, history: KeyHistory) -> None:
        with self._turn:
            if history.serial > self._history.serial:
                self._history = history

    def _read(self, connection: sa.Connection) -> KeyHistory:
        return self.history_of(read_rotations(connection))

    def history_of(self, registered: Sequence[Registered]) -> KeyHistory:
        """The history that these make, with this house's genesis. Raises Corrupt."""
        try:
            return read_history(self._genesis, registered)
        except BadRotation as exc:
            raise Corrupt(f"key rotations: {exc}", name="key_rotation") from exc

    def _load(self, history: KeyHistory) -> Held:
        keys = load_active(self.store, history)
        sign, signers = head_signer(history.origin, keys)
        return Held(
            serial=history.serial,
            keys=keys,
            sign=sign,
            signers=signers,
            statements=StatementSigner(history.origin, keys.statement),
        )


def load_active(store: KeyStore, history: KeyHistory) -> HouseKeys:
    """The private keys that hold after these rotations. Raises KeyMissing, Unreachable
    (`keys_unreachable`)."""
    active = history.active
    by_type = {key.type: key.public_key for key in active.log}
    try:
        return store.load(
            log=by_type[ED25519],
            log_pq=by_type[MLDSA44_COSIGNATURE],
            statement=active.statement[0],
            certificate=active.certificate[0],
        )
    except KeyMissing as exc:
        raise KeyMissing(
            f"this node cannot sign: {exc}; bring it the key, then it goes on"
        ) from exc


def read_rotations(connection: sa.Connection) -> tuple[Registered, ...]:
    rows = connection.execute(sa.select(KEY_ROTATION).order_by(KEY_ROTATION.c.serial))
    return tuple(registered_of(row) for row in rows.mappings())


def registered_of(row: Mapping[Any, Any]) -> Registered:
    """Of a row of the rotations' table."""
    return Registered(
        index=row["idx"],
        document=row["document"],
        checkpoint=row["checkpoint"].decode("utf-8", "replace"),
    )


def insert_rotation(
    connection: sa.Connection, serial: int, at: datetime, registered: Registered
) -> None:
    connection.execute(
        sa.insert(KEY_ROTATION).values(
            serial=serial,
            idx=registered.index,
            at=rfc3339(at),
            document=registered.document,
            checkpoint=registered.checkpoint.encode("utf-8"),
        )
    )


def stray_keys(store: KeyStore, history: KeyHistory) -> tuple[str, ...]:
    """Where private keys lie that a rotation made and never registered: it was killed."""
    return store.strays(named_keys(history.all()))


def retired_keys(store: KeyStore, history: KeyHistory) -> tuple[str, ...]:
    """Where private keys still are that a rotation has retired: it was killed before it destroyed
    them, or was told to keep them."""
    active = set(named_keys(history.active))
    return store.present(each for each in named_keys(history.all()) if each not in active)


def named_keys(keys: KeySet) -> tuple[tuple[str, bytes], ...]:
    """(name of its kind, raw public key) of each."""
    return (
        *(
            (key_files.LOG if key.type == ED25519 else key_files.LOG_PQ, key.public_key)
            for key in keys.log
        ),
        *((key_files.STATEMENT, key) for key in keys.statement),
        *((key_files.CERTIFICATE, key) for key in keys.certificate),
    )


def _number(found: tuple[object, ...] | None) -> int:
    serial = None if found is None else found[0]
    return serial if isinstance(serial, int) else 0
