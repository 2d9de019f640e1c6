"""Rotations without a house: a genesis, keys, and documents signed as the house signs them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey

from notary.house import write_genesis
from notary.keyhistory import Registered
from notary.keyring import head_signer, public_keys
from notary.keys import HouseKeys
from notary.rotation import Job, KeySet, Rotation, digest_of, sign_rotation
from notary.tlog.note import ED25519

ORIGIN = "log.example/1"
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
EVERY = frozenset(Job)


def generate_keys() -> HouseKeys:
    """New keys, nowhere written."""
    return HouseKeys(
        log=Ed25519PrivateKey.generate(),
        log_pq=MLDSA44PrivateKey.generate(),
        statement=Ed25519PrivateKey.generate(),
        certificate=Ed25519PrivateKey.generate(),
    )


def mixed(old: HouseKeys, jobs: frozenset[Job] = EVERY) -> HouseKeys:
    """New keys for these jobs, the old ones for the others."""
    new = generate_keys()
    if Job.LOG not in jobs:
        new = replace(new, log=old.log, log_pq=old.log_pq)
    if Job.STATEMENT not in jobs:
        new = replace(new, statement=old.statement)
    if Job.CERTIFICATE not in jobs:
        new = replace(new, certificate=old.certificate)
    return new


def signed(draft: Rotation, *holders: HouseKeys) -> Rotation:
    """Signed by all that it names, as far as the holders have their private keys."""
    sign = {}
    for keys in holders:
        public = public_keys(draft.origin, keys)
        for key in public.log:
            sign[key.encode()] = keys.log.sign if key.type == ED25519 else keys.log_pq.sign
        names = list(public.raw())[len(public.log) :]
        sign |= dict(zip(names, (keys.statement.sign, keys.certificate.sign), strict=False))
    return sign_rotation(draft, sign)


@dataclass
class Chain:
    """Documents that follow one another."""

    keys: HouseKeys = field(default_factory=generate_keys)
    registered: list[Registered] = field(default_factory=list)
    genesis: str = ""

    def __post_init__(self) -> None:
        said = public_keys(ORIGIN, self.keys).encode()
        self.genesis = write_genesis(
            origin=ORIGIN, name="A", at=NOW, log_keys=said["log"],
            statement_keys=said["statement"], certificate_keys=said["certificate"],
        )  # fmt: skip

    @property
    def active(self) -> KeySet:
        return public_keys(ORIGIN, self.keys)

    def draft(self, new: HouseKeys, jobs: frozenset[Job] = EVERY) -> Rotation:
        last = self.registered[-1].document if self.registered else self.genesis
        return Rotation(
            origin=ORIGIN, serial=len(self.registered) + 1, previous=digest_of(last), at=NOW,
            reason="a test", keys=public_keys(ORIGIN, new), retired=self.active.only(jobs),
        )  # fmt: skip

    def register(self, rotation: Rotation, index: int, *signers: HouseKeys) -> Registered:
        """Where it would stand, under a checkpoint signed by these."""
        sign, _ = head_signer(ORIGIN, *signers)
        note = sign(index + 1, bytes(32), NOW).decode()
        return Registered(index=index, document=rotation.encode(), checkpoint=note)

    def rotate(self, index: int, jobs: frozenset[Job] = EVERY) -> Registered:
        new = mixed(self.keys, jobs)
        rotation = signed(self.draft(new, jobs), self.keys, new)
        self.registered.append(self.register(rotation, index, self.keys, new))
        self.keys = new
        return self.registered[-1]


def altered(document: str, **members: object) -> str:
    """The same document, in its canonical form, with other members."""
    return json.dumps(
        json.loads(document) | members, sort_keys=True, ensure_ascii=False, separators=(",", ":")
    )
