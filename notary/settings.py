"""Every knob: name, unit, default, reason. Read once, from NOTARY_* in the environment.

All problems are reported together, and an unknown NOTARY_* name refuses the start: a typo must
not silently leave a default in force. docs/operating.md lists the same table (a test compares).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from notary.digest import SIZES
from notary.errors import MalformedInput
from notary.keyplace import FolderPlace, KeyPlace, parse_key_place

PREFIX = "NOTARY_"
NO_ENCRYPTION = "none"
MAX_LINK_SECONDS = 3_600
"""Whoever has such a link needs no account."""


def _path(text: str) -> Path:
    return Path(text).expanduser().resolve()


def _number(text: str) -> int:
    return int(text.replace("_", ""))


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _switch(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[
        text.lower()
    ]


def _knob(default: Any, parse: Callable[[str], Any], meaning: str) -> Any:
    return field(default=default, metadata={"parse": parse, "meaning": meaning})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    home: Path = _knob(Path("var").resolve(), _path, "folder of keys, database and originals")
    host: str = _knob("127.0.0.1", str, "address the service listens on")
    port: int = _knob(8080, _number, "port the service listens on")
    public_url: str = _knob(
        "", str, "address that users reach, for links and QR codes; default http://host:port"
    )
    name: str = _knob(
        "Evidence registration service", str, "issuer named on certificates (fixed by init)"
    )
    origin: str = _knob(
        "", str, "origin of the log (fixed by init); default a random name under .invalid"
    )
    database: str = _knob("", str, "SQLAlchemy URL; default SQLite in the home")
    objects: str = _knob("", str, "file:///path or s3://bucket/prefix; default a folder in home")
    keys: tuple[str, ...] = _knob(
        (),
        lambda text: tuple(text.split()),
        "places of private keys, separated by spaces, new ones go to the first: file: for "
        "home/keys (searched in any case), pkcs11:token=…?module-path=…&pin-source=…, or "
        "awskms:///alias/NAME?region=… (no certificate keys); default file:",
    )
    seal_chain: Path | None = _knob(
        None,
        _path,
        "PEM file of an outside seal for PDFs: its certificate, then its issuers to the root; the "
        "key is a seal*.pem in home/keys, or labelled seal in a token; default the house's own",
    )
    encryption: str = _knob(
        "",
        str,
        "places of wrapping keys, separated by spaces: the first wraps the data keys of new "
        "originals, file: for home/keys (searched in any case), pkcs11:… or awskms:… as in "
        "NOTARY_KEYS; empty, or `none` before the others, stores new originals as they are",
    )
    database_timeout: float = _knob(
        30.0,
        float,
        "seconds that PostgreSQL may take over a statement, waiting for locks included; 0 for no "
        "limit",
    )
    digests: tuple[str, ...] = _knob(
        ("sm3",), _list, "digests beside SHA-256: any of sm3, sha-512; empty for none"
    )
    tsa_urls: tuple[str, ...] = _knob(
        (), _list, "RFC 3161 authorities, comma-separated; none means the embedded one"
    )
    tsa_roots: Path | None = _knob(None, _path, "PEM file with the roots of those authorities")
    tsa_timeout: int = _knob(10, _number, "seconds an authority may take to answer")
    tsa_tolerance: int = _knob(
        60, _number, "seconds a fresh token's time may differ from the house's clock"
    )
    tsa_quorum: int = _knob(
        1, _number, "authorities whose tokens make a deposit count as timestamped"
    )
    record_interval: int = _knob(
        3600, _number, "seconds of a period of evidence records, one token each; 0 makes none"
    )
    renew_days: int = _knob(
        90, _number, "days before an authority's certificate ends in which records are renewed"
    )
    revocation_hours: int = _knob(
        24, _number, "hours between looks at authorities' CRLs and OCSP responders; 0 asks nobody"
    )
    witness_policy: Path | None = _knob(
        None, _path, "tlog-policy file that names witnesses and their quorum; none asks nobody"
    )
    witness_fail: str = _knob(
        "closed",
        str,
        "closed: no timestamp or certificate without the quorum; open: with what there is",
    )
    witness_timeout: int = _knob(5, _number, "seconds a witness may take to answer")
    timestamp_interval: float = _knob(
        1.0, float, "seconds between timestamps of checkpoints that cover new entries"
    )
    checkpoint_refresh: int = _knob(
        600, _number, "seconds after which an unchanged checkpoint is signed and timestamped anew"
    )
    journal_interval: float = _knob(
        2.0, float, "seconds between segments of the journal while there is something new"
    )
    max_file_bytes: int = _knob(64 << 30, _number, "largest original, bytes")
    max_account_bytes: int = _knob(0, _number, "bytes one account may store; 0 means no limit")
    max_batch_rows: int = _knob(1_000_000, _number, "rows in one batch")
    web_processes: int = _knob(2, _number, "processes that serve HTTP")
    web_threads: int = _knob(16, _number, "requests each of them works on at once")
    drain_seconds: float = _knob(
        0.0,
        float,
        "seconds a node that is told to end says so in /readyz before it closes its door",
    )
    finish_seconds: float = _knob(
        600.0, float, "seconds that requests under way may then take at most"
    )
    session_hours: int = _knob(12, _number, "hours a signed-in session lasts")
    secure_cookies: bool = _knob(
        False, _switch, "send cookies over HTTPS only; turn on behind a TLS proxy"
    )
    verify_per_minute: int = _knob(120, _number, "anonymous verifications per address and minute")
    sign_in_per_minute: int = _knob(20, _number, "sign-in attempts per address and minute")
    entries_per_minute: int = _knob(600, _number, "requests to /entries per address and minute")
    orphan_hours: int = _knob(
        24, _number, "hours after which an upload that never became a deposit is swept"
    )
    retention_days: int = _knob(
        0, _number, "days after registration before which no deposit is disposed of; 0 for no rule"
    )
    unclaimed_days: int = _knob(
        90,
        _number,
        "days for which originals older than the database, and of no deposit, are reported before "
        "they are swept; 0 keeps them",
    )
    audit_days: int = _knob(
        30, _number, "days between audits that read every original again; 0 for none by itself"
    )
    audit_rate: int = _knob(
        0, _number, "bytes per second that an audit reads, all workers together; 0 for no limit"
    )
    download_link_seconds: int = _knob(
        0,
        _number,
        "seconds that a link into storage is good for, which a download is sent to; 0 sends "
        "originals through the service",
    )
    log_level: str = _knob("info", str, "debug, info, warning or error")

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Settings:
        """Raises MalformedInput (`settings`) that lists every problem at once."""
        known = {PREFIX + f.name.upper(): f for f in fields(cls)}
        values: dict[str, Any] = {}
        problems: list[str] = []
        for name, text in environ.items():
            if not name.startswith(PREFIX):
                continue
            knob = known.get(name)
            if knob is None:
                problems.append(f"unknown setting {name}")
                continue
            try:
                values[knob.name] = knob.metadata["parse"](text)
            except (ValueError, KeyError):
                problems.append(
                    f"{name}={text!r} is not what it must be: {knob.metadata['meaning']}"
                )
        settings = cls(**values)
        problems += settings._contradictions()
        if problems:
            raise MalformedInput("settings: " + "; ".join(problems), code="settings")
        return settings

    def _contradictions(self) -> list[str]:
        problems = [
            f"NOTARY_DIGESTS: unknown algorithm {name!r}; known: {', '.join(SIZES)}"
            for name in self.digests
            if name not in SIZES
        ]
        for text in self.keys:
            try:
                parse_key_place(text)
            except MalformedInput as exc:
                problems.append(f"NOTARY_KEYS: {exc}")
        for text in self.encryption.split():
            try:
                if text != NO_ENCRYPTION:
                    parse_key_place(text)
            except MalformedInput as exc:
                problems.append(f"NOTARY_ENCRYPTION: {exc}")
        if NO_ENCRYPTION in self.encryption.split()[1:]:
            problems.append(f"NOTARY_ENCRYPTION: {NO_ENCRYPTION} comes before the places")
        if self.tsa_urls and self.tsa_roots is None:
            problems.append("NOTARY_TSA_URLS needs NOTARY_TSA_ROOTS: whose tokens to believe")
        authorities = max(1, len(self.tsa_urls))
        if not 1 <= self.tsa_quorum <= authorities:
            problems.append(f"NOTARY_TSA_QUORUM={self.tsa_quorum}, not 1 to {authorities}")
        if self.tsa_roots is not None and not self.tsa_roots.is_file():
            problems.append(f"NOTARY_TSA_ROOTS: no file {self.tsa_roots}")
        if self.seal_chain is not None and not self.seal_chain.is_file():
            problems.append(f"NOTARY_SEAL_CHAIN: no file {self.seal_chain}")
        if self.witness_policy is not None and not self.witness_policy.is_file():
            problems.append(f"NOTARY_WITNESS_POLICY: no file {self.witness_policy}")
        if self.witness_fail not in ("closed", "open"):
            problems.append(f"NOTARY_WITNESS_FAIL={self.witness_fail!r}, not closed or open")
        if self.log_level not in ("debug", "info", "warning", "error"):
            problems.append(f"NOTARY_LOG_LEVEL={self.log_level!r}")
        for name, value in (
            ("AUDIT_DAYS", self.audit_days), ("AUDIT_RATE", self.audit_rate),
            ("UNCLAIMED_DAYS", self.unclaimed_days),
            ("RECORD_INTERVAL", self.record_interval), ("RENEW_DAYS", self.renew_days),
            ("REVOCATION_HOURS", self.revocation_hours),
        ):  # fmt: skip
            if value < 0:
                problems.append(f"NOTARY_{name}={value}, less than nothing")
        if not 0 <= self.download_link_seconds <= MAX_LINK_SECONDS:
            problems.append(
                f"NOTARY_DOWNLOAD_LINK_SECONDS={self.download_link_seconds}, not 0 to "
                f"{MAX_LINK_SECONDS}"
            )
        if not 0 <= self.retention_days <= 36_500:
            problems.append(f"NOTARY_RETENTION_DAYS={self.retention_days}, not 0 to 36500")
        if self.database_timeout < 0:
            problems.append(f"NOTARY_DATABASE_TIMEOUT={self.database_timeout}, less than nothing")
        for name, seconds in (("DRAIN", self.drain_seconds), ("FINISH", self.finish_seconds)):
            if not 0 <= seconds < math.inf:
                problems.append(f"NOTARY_{name}_SECONDS={seconds:g}, not a number of seconds")
        if not 0 <= self.port <= 65535:
            problems.append(f"NOTARY_PORT={self.port}")
        return problems

    @property
    def database_url(self) -> str:
        return self.database or f"sqlite:///{self.home / 'notary.db'}"

    @property
    def key_places(self) -> tuple[KeyPlace, ...]:
        """In their order; the first is where new keys are made."""
        return tuple(parse_key_place(text) for text in self.keys) or (FolderPlace(),)

    @property
    def encrypts(self) -> bool:
        """New originals."""
        return bool(self.encryption) and self.encryption.split()[0] != NO_ENCRYPTION

    @property
    def wrapping_places(self) -> tuple[KeyPlace, ...]:
        """In their order; the first is where new wrapping keys are made."""
        texts = (text for text in self.encryption.split() if text != NO_ENCRYPTION)
        return tuple(map(parse_key_place, texts)) or (FolderPlace(),)

    @property
    def objects_url(self) -> str:
        return self.objects or (self.home / "objects").as_uri()

    @property
    def base_url(self) -> str:
        return (self.public_url or f"http://{self.host}:{self.port}").rstrip("/")


def describe() -> list[tuple[str, str, str]]:
    """(environment name, default as text, meaning) of every knob, in order."""
    rows = []
    for knob in fields(Settings):
        default: Any = knob.default
        if isinstance(default, tuple):
            default = ",".join(default)
        elif knob.name == "home":
            default = "./var"
        rows.append(
            (
                PREFIX + knob.name.upper(),
                "" if default is None else str(default),
                str(knob.metadata["meaning"]),
            )
        )
    return rows
