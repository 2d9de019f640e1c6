"""Witness policies (C2SP tlog-policy): which cosignatures make a checkpoint good enough. PURE.

    # comments and blank lines are passed over
    log example.org/log+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k
    witness court-b court-b.example/w+1e0d2f3c+BM… https://court-b.example/witness
    witness bar     bar.example/w+5f2b11aa+BM…     https://bar.example/witness
    group   others  1 court-b bar
    quorum  others

Names are defined before they are used; each stands in at most one group; one key, one witness.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from notary.errors import MalformedInput, Unverifiable
from notary.tlog.note import VerifierKey, parse_vkey

MAX_POLICY_BYTES = 1 << 20
NONE = "none"
_SPACES = re.compile("[ \t]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """A log's key, and where it is read, if the policy says so."""

    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """A witness under the policy's own name for it, and where checkpoints are submitted."""

    name: str
    key: VerifierKey
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Met when `threshold` of `members` (witnesses or groups) are."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """`quorum` names a witness or a group, or is NONE."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def check(self, signers: Collection[VerifierKey]) -> None:
        """Raises Unverifiable (`witness_quorum_missing`) unless the cosigners meet the quorum."""
        met = {witness.name for witness in self.witnesses if witness.key in signers}
        had = sorted(met)
        for group in self.groups:  # members come before their group, so one pass is enough
            if sum(member in met for member in group.members) >= group.threshold:
                met.add(group.name)
        if self.quorum != NONE and self.quorum not in met:
            raise Unverifiable(
                f"quorum {self.quorum!r} is not met by the cosignatures of {had}",
                code="witness_quorum_missing",
            )


def parse_policy(text: str) -> Policy:
    """Raises MalformedInput (`policy_malformed`) that names the line at fault."""
    if len(text) > MAX_POLICY_BYTES:
        raise MalformedInput(f"policy of {len(text)} characters", code="policy_malformed")
    reading = _Reading()
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(" \t\r")
        if not line or line.startswith("#"):
            continue
        try:
            reading.line(_SPACES.split(line))
        except (ValueError, MalformedInput) as exc:
            raise MalformedInput(f"policy line {number}: {exc}", code="policy_malformed") from exc
    if reading.quorum is None:
        raise MalformedInput("policy has no quorum line", code="policy_malformed")
    return Policy(
        logs=tuple(reading.logs),
        witnesses=tuple(reading.witnesses),
        groups=tuple(reading.groups),
        quorum=reading.quorum,
    )


class _Reading:
    """What the lines so far have defined."""

    def __init__(self) -> None:
        self.logs: list[Log] = []
        self.witnesses: list[Witness] = []
        self.groups: list[Group] = []
        self.quorum: str | None = None
        self._free: set[str] = set()
        self._names: set[str] = set()
        self._keys: set[bytes] = set()

    def line(self, words: list[str]) -> None:
        match words:
            case ["log", vkey, *url] if len(url) <= 1:
                self.logs.append(Log(key=self._key(vkey), url=url[0] if url else None))
            case ["witness", name, vkey, *url] if len(url) <= 1:
                self._define(name)
                key = self._key(vkey)
                self.witnesses.append(Witness(name=name, key=key, url=url[0] if url else None))
            case ["group", name, threshold, *members] if members:
                self._group(name, threshold, tuple(members))
            case ["quorum", name]:
                if self.quorum is not None:
                    raise ValueError("a second quorum")
                if name != NONE and name not in self._names:
                    raise ValueError(f"quorum {name!r} is not defined before")
                self.quorum = name
            case _:
                raise ValueError(f"not a policy line: {' '.join(words)[:100]!r}")

    def _define(self, name: str) -> None:
        if name == NONE or name in self._names:
            raise ValueError(f"name {name!r} is taken")
        self._names.add(name)
        self._free.add(name)

    def _key(self, vkey: str) -> VerifierKey:
        key = parse_vkey(vkey)
        if key.public_key in self._keys:
            raise ValueError(f"the key of {key.name!r} stands here twice")
        self._keys.add(key.public_key)
        return key

    def _group(self, name: str, threshold: str, members: tuple[str, ...]) -> None:
        for member in members:
            if member not in self._free:
                raise ValueError(f"member {member!r} is not defined before, or in a group already")
            self._free.remove(member)
        count = {"any": 1, "all": len(members)}.get(threshold)
        if count is None:
            if not re.fullmatch("[1-9][0-9]{0,3}", threshold):
                raise ValueError(f"threshold {threshold!r} is not all, any or a number")
            count = int(threshold)
        if count > len(members):
            raise ValueError(f"threshold {count} of {len(members)} members")
        self._define(name)
        self.groups.append(Group(name=name, threshold=count, members=members))
