"""Where this node's private keys live: the house's folder and, by setting, PKCS#11 tokens and
AWS KMS ("token" stands for both below).

Genesis and rotations register public halves; the store finds the private half of one, wherever it
lies. New keys go to the first place that is set and takes them: no token signs ML-DSA-44, so that
the log's second key is a file in any case, and KMS signs nothing as long as a certificate.

What a token needs is loaded at its first use: a house whose keys are files loads none of it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from notary.errors import Corrupt, KeyMissing, MalformedInput, NotaryError, Unreachable
from notary.keyplace import FolderPlace, KeyPlace, KmsPlace, TokenPlace, parse_key_place
from notary.keys import (
    CERTIFICATE,
    LOG,
    LOG_PQ,
    NAMES,
    STATEMENT,
    HouseKeys,
    file_key,
    key_file,
    new_key,
    raw_public,
    rotated_name,
    unregistered_files,
    write_key,
)
from notary.tlog.key import SigningKey
from storage.durable import remove_file

KMS_MAX_MESSAGE = 4_096
_CHECK = b"key-check/v1\n"
"""Signed to see that a key is there. Nothing that a key signs otherwise begins like it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenKey:
    """A key in a token: its place and its raw public half. It may go into another process."""

    place: TokenPlace | KmsPlace
    public: bytes

    def public_key(self) -> Ed25519PublicKey:
        return Ed25519PublicKey.from_public_bytes(self.public)

    def sign(self, data: bytes, /) -> bytes:
        """Raises Unreachable (`keys_unreachable`), KeyMissing."""
        signature: bytes = _room(self.place).sign(self.place, self.public, data)
        return signature


class KeyStore:
    """All places of one node. Several processes may have one each."""

    def __init__(self, folder: Path, places: Sequence[KeyPlace] = (FolderPlace(),)) -> None:
        self.folder = folder
        self.places = tuple(places)
        self._tokens = tuple(place for place in places if not isinstance(place, FolderPlace))

    def found(self) -> HouseKeys:
        """The first keys of a new house. Raises Fork where the folder holds any: a second set
        would be a second history. Also what a token raises."""
        places = {name: self._first(name) for name in NAMES}
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        made: dict[str, SigningKey] = {}
        for name in (LOG_PQ, LOG, STATEMENT, CERTIFICATE):  # the file first: it is what refuses
            made[name] = self._create(name, places[name], file=name)
        return _house_keys(made)

    def create(self, name: str, place: KeyPlace | None = None) -> SigningKey:
        """A new key for that job, durable; in the first place that takes it if none is given.
        Raises as `check`."""
        place = place or self._first(name)
        self.check(name, place)
        return self._create(name, place, file=None)

    def check(self, name: str, place: KeyPlace) -> None:
        """Raises MalformedInput (`key_message_too_long`) where the place signs nothing as long
        as what the job's key must sign."""
        if isinstance(place, KmsPlace) and name == CERTIFICATE:
            raise MalformedInput(
                f"{place.shown()} signs at most {KMS_MAX_MESSAGE} bytes, and a certificate has "
                "more: its key lives in file: or in a PKCS#11 token; name one of them behind it in "
                "NOTARY_KEYS, and move the other jobs alone with --log --statement",
                code="key_message_too_long",
            )

    def _first(self, name: str) -> KeyPlace:
        """The first place that takes keys of that job; raises as `check` where none does."""
        for place in self.places:
            if not (isinstance(place, KmsPlace) and name == CERTIFICATE):
                return place
        self.check(name, self.places[0])
        return self.places[0]

    def require(self, place: KeyPlace) -> KeyPlace:
        """Raises MalformedInput (`settings`) unless a key there would be found again."""
        if not isinstance(place, FolderPlace) and place not in self._tokens:
            known = ", ".join(each.shown() for each in self.places)
            raise MalformedInput(
                f"{place.shown()} is not in NOTARY_KEYS ({known}), or is reached otherwise there: "
                "set it on every node first, or they would not find the new keys",
                code="settings",
            )
        return place

    def load(self, *, log: bytes, log_pq: bytes, statement: bytes, certificate: bytes) -> HouseKeys:
        """The private halves of these raw public keys. Raises as `find`."""
        return HouseKeys(
            log=self.find(LOG, log),
            log_pq=self.find(LOG_PQ, log_pq),
            statement=self.find(STATEMENT, statement),
            certificate=self.find(CERTIFICATE, certificate),
        )

    def find(self, name: str, public_key: bytes) -> SigningKey:
        """The private half of this raw public key, by the name of its job.

        Raises KeyMissing that says where it was looked for, Unreachable (`keys_unreachable`) where
        a place that may have it does not answer.
        """
        try:
            return file_key(self.folder, name, public_key)
        except Corrupt as exc:
            said = [str(exc)]
        unreachable: Unreachable | None = None
        for place in self._tokens if name != LOG_PQ else ():
            key = TokenKey(place=place, public=public_key)
            try:
                key.sign(_CHECK)
                return key
            except KeyMissing as exc:
                said.append(str(exc))
            except Unreachable as exc:
                unreachable = exc
        if unreachable is not None:
            raise unreachable
        raise KeyMissing(f"no {name} key: {'; '.join(said)}")

    def where(self, name: str, key: SigningKey) -> str:
        """For a person: the path of its file, or its label and its token."""
        public_key = raw_public(key)
        if isinstance(key, TokenKey):
            return f"{rotated_name(name, public_key)} in {key.place.shown()}"
        return str(self.folder / f"{key_file(self.folder, name, public_key)}.pem")

    def remove(self, name: str, key: SigningKey) -> str:
        """Destroys the private half; gives where it was. Raises what a token raises."""
        where = self.where(name, key)
        if isinstance(key, TokenKey):
            _room(key.place).remove(key.place, key.public)
        else:
            remove_file(where)
        return where

    def strays(self, known: Iterable[tuple[str, bytes]]) -> tuple[str, ...]:
        """Where private keys lie whose public half is none of the `known` (name, public key): of
        an interrupted rotation, or of another house. A token that does not answer is left out."""
        known = tuple(known)
        found = [str(path) for path in unregistered_files(self.folder, known)]
        registered = {rotated_name(*each) for each in known}
        for place in self._tokens:
            try:
                labels = _room(place).labels(place)
            except NotaryError:
                continue
            found += [
                f"{label} in {place.shown()}"
                for label in labels
                if label.startswith(NAMES) and label not in registered
            ]
        return tuple(found)

    def present(self, keys: Iterable[tuple[str, bytes]]) -> tuple[str, ...]:
        """Where private halves of these (name, raw public key) still are. A token that does not
        answer is left out."""
        keys = tuple(keys)
        found: list[str] = []
        for name, public_key in keys:
            with suppress(Corrupt):
                file_key(self.folder, name, public_key)
                found.append(str(self.folder / f"{key_file(self.folder, name, public_key)}.pem"))
        wanted = {rotated_name(*each) for each in keys}
        for place in self._tokens:
            try:
                labels = _room(place).labels(place)
            except NotaryError:
                continue
            found += [f"{label} in {place.shown()}" for label in labels if label in wanted]
        return tuple(found)

    def _create(self, name: str, place: KeyPlace, *, file: str | None) -> SigningKey:
        if not isinstance(place, FolderPlace) and name != LOG_PQ:
            public: bytes = _room(place).create(
                place, lambda public_key: rotated_name(name, public_key) if public_key else name
            )
            return TokenKey(place=place, public=public)
        key = new_key(name)
        write_key(self.folder, file or rotated_name(name, raw_public(key)), key)
        return key


def probe(keys: HouseKeys) -> None:
    """Raises as `TokenKey.sign` where one of them can't sign at this moment."""
    for key in keys.by_name().values():
        if isinstance(key, TokenKey):
            key.sign(_CHECK)


def message_limit(key: SigningKey) -> int | None:
    """How many bytes it signs at most; None for a file's or a token's, which say of none."""
    return (
        KMS_MAX_MESSAGE if isinstance(key, TokenKey) and isinstance(key.place, KmsPlace) else None
    )


def pack_key(key: SigningKey) -> tuple[str, bytes]:
    """An Ed25519 key for a process of ours, through a pipe: the raw private half of a file's, the
    place and the public half of a token's."""
    if isinstance(key, TokenKey):
        return key.place.encode(), key.public
    assert isinstance(key, Ed25519PrivateKey)
    return FolderPlace().encode(), key.private_bytes_raw()


def unpack_key(packed: tuple[str, bytes]) -> SigningKey:
    place = parse_key_place(packed[0])
    if not isinstance(place, FolderPlace):
        return TokenKey(place=place, public=packed[1])
    return Ed25519PrivateKey.from_private_bytes(packed[1])


def _house_keys(made: dict[str, SigningKey]) -> HouseKeys:
    return HouseKeys(
        log=made[LOG],
        log_pq=made[LOG_PQ],
        statement=made[STATEMENT],
        certificate=made[CERTIFICATE],
    )


def _room(place: TokenPlace | KmsPlace) -> Any:
    return importlib.import_module("notary.kms" if isinstance(place, KmsPlace) else "notary.hsm")
