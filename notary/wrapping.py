"""Wraps the data keys of originals under a key of the house, and unwraps them.

A wrapping key lives in `home/keys`, in a PKCS#11 token or in AWS KMS, under the name
`wrapping-<UTC time>-<id>`. New data keys are wrapped under the newest by name of the first place;
every other one that is found, in any place, still unwraps what it wrapped. A wrapped data key is
the wrapping key's id (8 bytes) and then:

 - from a file or a token: a random nonce (12 bytes) and AES-256-GCM of the data key, with
   `evidence-data-key/v1`, a NUL and the deposit's id as associated data;
 - from KMS: what `Encrypt` gives, with `evidence-data-key/v1` and the deposit's id as encryption
   context.

So it opens for no other deposit. What a token or KMS wraps is unwrapped before it is used: an
original whose data key is lost is lost.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from notary import wrapping_files
from notary.envelope import KEY_BYTES, TAG
from notary.errors import Corrupt, KeyMissing, Unreachable
from notary.keyplace import FolderPlace, KeyPlace, KmsPlace, TokenPlace
from notary.wrapping_files import ID_BYTES, NONCE_BYTES, make_wrapping_key

WRAPPED_BYTES: Final = ID_BYTES + NONCE_BYTES + KEY_BYTES + TAG
"""From a file or a token; from KMS it has more."""
LOOK_AGAIN_S: Final = 10.0
"""How soon a newer key in a token or in KMS is seen by every process."""
_LABEL = re.compile(r"wrapping-[0-9]{8}t[0-9]{6}z-([0-9a-f]{16})")


class Wrapping:
    """The wrapping keys of one node. New originals are encrypted where it is `on`."""

    def __init__(
        self,
        folder: Path,
        places: Sequence[KeyPlace] = (),
        *,
        on: bool,
        randomness: Callable[[int], bytes],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`places` in their order; without any it is the folder, which is searched in any case."""
        self._folder = folder
        self._places = tuple(places) or (FolderPlace(),)
        self.on = on
        self._randomness = randomness
        self._monotonic = monotonic
        self._loaded: dict[bytes, bytes] = {}
        self._where: dict[bytes, KeyPlace] = {}
        self._known: tuple[bytes, float] | None = None

    def check_newest(self) -> None:
        """Raises KeyMissing where the first place has no wrapping key; Unreachable."""
        self._newest()

    def check(self) -> None:
        """Raises KeyMissing where originals are to be encrypted and no key is there for it, Corrupt
        for one that is damaged, Unreachable (`keys_unreachable`)."""
        if self.on:
            self.new_data_key("check")

    def new_data_key(self, deposit_id: str) -> tuple[bytes, bytes]:
        """(data key, the same wrapped). Raises KeyMissing, Corrupt, Unreachable."""
        data_key = self._randomness(KEY_BYTES)
        return data_key, self._wrap(self._newest(), data_key, deposit_id)

    def unwrap(self, wrapped: bytes, deposit_id: str) -> bytes:
        """Raises KeyMissing where this node reaches no such wrapping key, Unreachable, Corrupt for
        a wrapped key that was changed or is another deposit's."""
        name = f"data key {deposit_id}"
        if len(wrapped) < WRAPPED_BYTES:
            raise Corrupt(f"{name} has {len(wrapped)} bytes, not {WRAPPED_BYTES}", name=name)
        id_, sealed = wrapped[:ID_BYTES], wrapped[ID_BYTES:]
        place = self._find(id_)
        if not isinstance(place, KmsPlace) and len(wrapped) != WRAPPED_BYTES:
            raise Corrupt(f"{name} has {len(wrapped)} bytes, not {WRAPPED_BYTES}", name=name)
        if isinstance(place, FolderPlace):
            found = wrapping_files.unseal(self._load(id_), sealed, _about(deposit_id))
        else:
            found = _room(place).unwrap(place, id_, sealed, *_said(place, deposit_id))
        if found is None or len(found) != KEY_BYTES:
            raise Corrupt(f"{name} was not wrapped for this deposit", name=name)
        return found

    def rewrap(self, wrapped: bytes, deposit_id: str) -> bytes | None:
        """The same data key under the newest wrapping key; None where it is under it already.
        Raises as `unwrap` and `new_data_key`."""
        newest = self._newest()
        if wrapped[:ID_BYTES] == newest:
            return None
        return self._wrap(newest, self.unwrap(wrapped, deposit_id), deposit_id)

    def make(self, at: datetime) -> str:
        """A new key in the first place, under which data keys are wrapped from now on; durable when
        this returns. Gives where it is. Raises what the place raises."""
        place = self._places[0]
        self._known = None
        if isinstance(place, FolderPlace):
            return str(make_wrapping_key(self._folder, at, self._randomness))
        id_ = self._randomness(ID_BYTES)
        label = f"wrapping-{at:%Y%m%dt%H%M%Sz}-{id_.hex()}"
        _room(place).create_wrapping_key(place, label, id_)
        return f"{label} in {place.shown()}"

    def _wrap(self, id_: bytes, data_key: bytes, deposit_id: str) -> bytes:
        place = self._find(id_)
        if isinstance(place, FolderPlace):
            nonce = self._randomness(NONCE_BYTES)
            return id_ + wrapping_files.seal(self._load(id_), data_key, _about(deposit_id), nonce)
        more = _said(place, deposit_id)
        if isinstance(place, TokenPlace):
            more = (*more, self._randomness(NONCE_BYTES))
        wrapped = id_ + bytes(_room(place).wrap(place, id_, data_key, *more))
        try:
            whole = self.unwrap(wrapped, deposit_id) == data_key
        except Corrupt:
            whole = False
        if not whole:
            raise KeyMissing(
                f"{place.shown()} does not unwrap under {id_.hex()} what it has just wrapped: "
                "whoever looks after it must mend that"
            )
        return wrapped

    def _newest(self) -> bytes:
        """The id of the newest wrapping key of the first place."""
        place, now = self._places[0], self._monotonic()
        if self._known is not None and now < self._known[1]:
            return self._known[0]
        ids = self._ids(place)
        if not ids:
            raise KeyMissing(
                f"originals are to be encrypted, and {self._shown(place)} has no wrapping key: "
                + ("copy it from another node, or " if isinstance(place, FolderPlace) else "")
                + "make the first with `notary wrapping-key`"
            )
        self._where[ids[-1]] = place
        if not isinstance(place, FolderPlace):
            self._known = ids[-1], now + LOOK_AGAIN_S
        return ids[-1]

    def _find(self, id_: bytes) -> KeyPlace:
        """Where the wrapping key of this id is. Raises KeyMissing, Unreachable."""
        if id_ in self._where:
            return self._where[id_]
        unreachable: Unreachable | None = None
        places = dict.fromkeys((FolderPlace(), *self._places))
        for place in places:
            try:
                if id_ in self._ids(place):
                    self._where[id_] = place
                    return place
            except Unreachable as exc:
                unreachable = exc
        if unreachable is not None:
            raise unreachable
        raise KeyMissing(
            f"no wrapping key {id_.hex()} in {', '.join(map(self._shown, places))}: copy "
            f"wrapping-…-{id_.hex()}.key from another node or from its backup, or name the token "
            "or the KMS that has it in NOTARY_ENCRYPTION"
        )

    def _ids(self, place: KeyPlace) -> list[bytes]:
        """The oldest first."""
        if isinstance(place, FolderPlace):
            names = wrapping_files.labels(self._folder)
        else:
            names = _room(place).wrapping_labels(place)
        matches = map(_LABEL.fullmatch, sorted(names))
        return [bytes.fromhex(match[1]) for match in matches if match is not None]

    def _load(self, id_: bytes) -> bytes:
        if id_ not in self._loaded:
            self._loaded[id_] = wrapping_files.read_key(self._folder, id_)
        return self._loaded[id_]

    def _shown(self, place: KeyPlace) -> str:
        return str(self._folder) if isinstance(place, FolderPlace) else place.shown()


def _about(deposit_id: str) -> bytes:
    return b"evidence-data-key/v1\0" + deposit_id.encode("ascii")


def _said(place: TokenPlace | KmsPlace, deposit_id: str) -> tuple[Any, ...]:
    """What binds a wrapped key to its deposit, as the room takes it."""
    if isinstance(place, KmsPlace):
        return ({"evidence-data-key/v1": deposit_id},)
    return (_about(deposit_id),)


def _room(place: TokenPlace | KmsPlace) -> Any:
    # Loaded at its first use, as by the store of signing keys.
    return importlib.import_module("notary.kms" if isinstance(place, KmsPlace) else "notary.hsm")
