"""Changes keys of the house: an entry of its own ledger, signed by the keys before and after.

 1. New keys are made beside the old ones or in another place, durably, under names of their own.
 2. One transaction under the head's lock: the document, signed by every key that goes and every
    key that comes; its entry, signed by the statement key before it; the hand-over's checkpoint,
    signed by the log's keys before and after it; the row that all processes look at.
 3. The checkpoint is published, then the retired private keys are destroyed.

A crash before the commit leaves the keys as they were, and new keys that nobody registered:
they sign nothing, and the next rotation names them. A crash after it leaves the new keys in force,
since the database says so, and retired keys, which sign nothing either.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import sqlalchemy as sa

from notary import keys as key_files
from notary.errors import Conflict, MalformedInput
from notary.keyhistory import KeyHistory, Registered
from notary.keyplace import KeyPlace
from notary.keyring import (
    Held,
    Keyring,
    head_signer,
    insert_rotation,
    public_keys,
    read_rotations,
    stray_keys,
)
from notary.keys import HouseKeys
from notary.keystore import message_limit
from notary.ledger import Growing
from notary.rotation import MAX_REASON, Job, KeySet, Rotation, digest_of, sign_rotation
from notary.sequencer import Sequencer
from notary.statement import ROTATION_TYPE
from notary.tlog.note import ED25519

FILES: dict[Job, tuple[str, ...]] = {
    Job.LOG: (key_files.LOG, key_files.LOG_PQ),
    Job.STATEMENT: (key_files.STATEMENT,),
    Job.CERTIFICATE: (key_files.CERTIFICATE,),
}
MEMBERS = {
    key_files.LOG: "log",
    key_files.LOG_PQ: "log_pq",
    key_files.STATEMENT: "statement",
    key_files.CERTIFICATE: "certificate",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """`removed` says where retired keys were, `strays` where keys are that nobody registered."""

    serial: int
    index: int
    keys: KeySet
    removed: tuple[str, ...]
    strays: tuple[str, ...]


class Rotating:
    def __init__(
        self,
        *,
        sequencer: Sequencer,
        keyring: Keyring,
        randomness: Callable[[int], bytes],
        publish: Callable[[], None],
    ) -> None:
        self._sequencer = sequencer
        self._keyring = keyring
        self._randomness = randomness
        self._publish = publish

    def rotate(
        self,
        jobs: frozenset[Job],
        *,
        to: KeyPlace | None = None,
        reason: str = "",
        keep_retired: bool = False,
    ) -> Rotated:
        """New keys for these jobs, in `to` or the first place of the settings that takes them, in
        force when it returns.

        Raises MalformedInput (`settings`, `key_message_too_long`), Conflict where another
        rotation came first, and what `Sequencer.submit` and a token raise: then the keys before
        hold on.
        """
        if not jobs:
            raise MalformedInput("no job whose keys are to change", code="settings")
        if len(reason) > MAX_REASON:
            raise MalformedInput(f"reason is longer than {MAX_REASON} characters", code="settings")
        store = self._keyring.store
        store.require(to or store.places[0])
        old = self._keyring.fresh()
        names = [name for job in Job if job in jobs for name in FILES[job]]
        if to is not None:
            for name in names:
                store.check(name, to)
        new = replace(old.keys, **{MEMBERS[name]: store.create(name, to) for name in names})
        done: list[tuple[int, Registered]] = []

        def enter(connection: sa.Connection, growing: Growing, at: datetime, held: Held) -> None:
            if held.serial != old.serial:
                raise Conflict(f"key rotation {held.serial} was made meanwhile")
            registered = self._enter(connection, growing, at, (held, new), reason)
            done.append((held.serial + 1, registered))

        self._sequencer.hand_over(enter)
        ((serial, registered),) = done
        self._keyring.fresh()
        self._publish()
        retired = old.keys.by_name()
        removed = [] if keep_retired else [store.remove(name, retired[name]) for name in names]
        history = self._keyring.history()
        return Rotated(
            serial=serial,
            index=registered.index,
            keys=history.active,
            removed=tuple(removed),
            strays=stray_keys(store, history),
        )

    def _enter(
        self,
        connection: sa.Connection,
        growing: Growing,
        at: datetime,
        change: tuple[Held, HouseKeys],
        reason: str,
    ) -> Registered:
        held, new = change
        history = self._keyring.history_of(read_rotations(connection))
        document = _document(history, held.keys, new, at, reason).encode()
        index = growing.size
        statement = held.statements.sign(
            hashlib.sha256(document.encode("utf-8")).digest(),
            preimage_type=ROTATION_TYPE,
            randomness=self._randomness(16),
        )
        growing.append([statement])
        # A reader who knows the old keys only still opens this one, and no later one.
        both, _ = head_signer(history.origin, held.keys, new)
        note = growing.seal(at, both).head.checkpoint
        registered = Registered(index=index, document=document, checkpoint=note.decode("utf-8"))
        # Verified as every reader will, before it can be committed.
        self._keyring.history_of((*history.registered, registered))
        insert_rotation(connection, held.serial + 1, at, registered)
        return registered


def _document(
    history: KeyHistory, old: HouseKeys, new: HouseKeys, at: datetime, reason: str
) -> Rotation:
    before, after = history.active, public_keys(history.origin, new)
    jobs = frozenset(job for job in Job if before.of(job) != after.of(job))
    draft = Rotation(
        origin=history.origin,
        serial=history.serial + 1,
        previous=digest_of(history.last_document),
        at=at,
        reason=reason,
        keys=after,
        retired=before.only(jobs),
    )
    sign: dict[str, Callable[[bytes], bytes]] = {}
    limits = [message_limit(key) for keys in (old, new) for key in keys.by_name().values()]
    if any(limit is not None and len(draft.signed_bytes()) > limit for limit in limits):
        draft = replace(draft, digested=True)
    for keys in (old, new):
        public = public_keys(history.origin, keys)
        log = [keys.log.sign if key.type == ED25519 else keys.log_pq.sign for key in public.log]
        names = list(public.raw())
        sign |= dict(zip(names, [*log, keys.statement.sign, keys.certificate.sign], strict=True))
    return sign_rotation(draft, sign)
