"""A house made again from its backup, and from what the journal has since then.

 1. Manifest, signature and the digest of every part, before anything is written. The signature is
    by a key that the backup's own rotations name; that those are ours, the private keys say.
 2. What the home lacks of its own files.
 3. Every row but the house's own, in one transaction; then `rebuild` goes on as from any other
    state: newer segments, the checkpoints that are known, the house. Without its row nothing opens.

A crash before 3 leaves files that are found the same again; in 3 either no table, or a database
with which the same command goes on.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

import sqlalchemy as sa
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from notary.backup_format import (
    HOME,
    MANIFEST,
    ROWS,
    SIGNATURE,
    Manifest,
    Part,
    parse_frames,
    parse_manifest,
    to_be_signed,
)
from notary.clock import Clock, parse_rfc3339
from notary.errors import BadRotation, Corrupt, MalformedInput
from notary.findings import Progress
from notary.house import HOUSE
from notary.journal_tables import CHANGE
from notary.keyhistory import KeyHistory, read_history
from notary.keyring import KEY_ROTATION, registered_of
from notary.ledger import TreeHead
from notary.office import TSA_CHAIN
from notary.rebuild import Base, Rebuilt, rebuild
from notary.replay import advance_sequences
from notary.schema import KNOWN, make_tables, parse_revision
from notary.settings import Settings
from storage.database import METADATA, Database
from storage.durable import write_file

READ_BYTES: Final = 1 << 20
KEYS: Final = "keys-"
_FOUNDING: Final = (f"{ROWS}{HOUSE.name}", f"{ROWS}{KEY_ROTATION.name}")
"""They say whose signature is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`written` are the files that the home lacked."""

    manifest: Manifest
    rebuilt: Rebuilt
    written: tuple[str, ...]


def restore(
    settings: Settings,
    source: Path,
    *,
    clock: Clock | None = None,
    progress: Progress = lambda what, done, of: None,
) -> Restored:
    """From the folder or tar `source` into the empty database of these settings.

    Raises MalformedInput (`house_exists`) where there is a house, or the home has other keys;
    (`backup_malformed`), (`schema_new`); Corrupt naming the file that is damaged; and what
    `rebuild` raises: Rollback where something newer was signed than backup and journal reach.
    """
    with _opened(source) as folder:
        manifest = parse_manifest(_read(folder, MANIFEST))
        founding = [part for part in manifest.parts if part.path in _FOUNDING]
        _check_parts(folder, founding, progress)
        history = _history(folder)
        _check_signature(folder, history)
        _check_revision(manifest)
        _check_parts(folder, manifest.parts, progress)
        with closing(Database(settings.database_url, statement_timeout_s=0)) as database:
            _require_no_house(database, settings)
        written = _home(folder, manifest, settings.home)
        chain = settings.home / TSA_CHAIN
        base = Base(
            load=lambda database: _load(database, folder, manifest, progress),
            history=history,
            head=TreeHead(
                size=manifest.size,
                root=bytes.fromhex(manifest.root),
                checkpoint=manifest.checkpoint.encode("utf-8"),
                signed_at=parse_rfc3339(manifest.signed_at),
            ),
            segments=manifest.segments,
            digest=bytes.fromhex(manifest.digest),
            journalled_at=manifest.journalled_at,
            notes=manifest.notes,
            authority_chain=chain.read_text("ascii") if chain.exists() else None,
        )
        made = rebuild(settings, mirror=None, base=base, clock=clock, progress=progress)
    return Restored(manifest=manifest, rebuilt=made, written=written)


# --- 1: nothing is believed ---------------------------------------------------------------------


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    if source.is_dir():
        yield source
        return
    try:
        with tempfile.TemporaryDirectory(prefix="notary-restore-") as folder:
            with tarfile.open(source, "r:") as tar:
                _unpack(tar, Path(folder))
            yield Path(folder)
    except FileNotFoundError as exc:
        raise MalformedInput(f"there is no backup {source}", code="backup_malformed") from exc
    except tarfile.TarError as exc:
        raise MalformedInput(f"{source} is no tar: {exc}", code="backup_malformed") from exc


def _unpack(tar: tarfile.TarFile, folder: Path) -> None:
    """Plain files below `folder`, and nothing else: Python before 3.11.4 has no filter that would
    see to that. Raises TarError."""
    for member in tar:
        parts = PurePosixPath(member.name).parts
        if member.isdir() and ".." not in parts:
            continue
        content = tar.extractfile(member) if member.isreg() else None
        if content is None or ".." in parts or member.name.startswith("/"):
            raise tarfile.TarError(f"{member.name!r} is no plain file below its folder")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True, exist_ok=True)
        with content, path.open("wb") as copy:
            shutil.copyfileobj(content, copy)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as exc:
        raise MalformedInput(
            f"there is no {name} in {folder}: it is no backup, or not the whole of one",
            code="backup_malformed",
        ) from exc


def _check_revision(manifest: Manifest) -> None:
    if parse_revision(manifest.revision).number > parse_revision(KNOWN).number:
        raise MalformedInput(
            f"the backup is of revision {manifest.revision}, this software knows {KNOWN}: "
            "restore it with the newer software",
            code="schema_new",
        )


def _check_parts(folder: Path, parts: Sequence[Part], progress: Progress) -> None:
    """Raises Corrupt naming the first file that is not what the manifest says."""
    for number, part in enumerate(parts):
        progress("checking", number, len(parts))
        digest = hashlib.sha256()
        try:
            with (folder / part.path).open("rb") as file:
                while chunk := file.read(READ_BYTES):
                    digest.update(chunk)
        except FileNotFoundError as exc:
            raise Corrupt(f"{part.path} is missing from the backup", name=part.path) from exc
        if digest.hexdigest() != part.sha256:
            raise Corrupt(
                f"{part.path} has sha-256 {digest.hexdigest()}, the manifest says {part.sha256}",
                name=part.path,
            )


def _history(folder: Path) -> KeyHistory:
    houses = list(_rows(folder, HOUSE.name))
    rotations = sorted(_rows(folder, KEY_ROTATION.name), key=lambda row: int(row["serial"]))
    if len(houses) != 1:
        raise Corrupt(f"the backup has {len(houses)} houses", name=f"{ROWS}{HOUSE.name}")
    try:
        return read_history(houses[0]["genesis"], [registered_of(row) for row in rotations])
    except BadRotation as exc:
        raise Corrupt(f"key rotations in the backup: {exc}", name="key_rotation") from exc


def _check_signature(folder: Path, history: KeyHistory) -> None:
    data, signature = _read(folder, MANIFEST), _read(folder, SIGNATURE)
    for key in history.all().statement:
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(signature, to_be_signed(data))
            return
        except InvalidSignature:
            continue
    raise Corrupt(f"no statement key of {history.origin} signed {MANIFEST}", name=MANIFEST)


def _require_no_house(database: Database, settings: Settings) -> None:
    if not database.has_tables():
        return
    with database.reading() as connection:
        stands = connection.execute(sa.select(HOUSE.c.id)).first() is not None
    if stands:
        raise MalformedInput(
            f"there is a house in {database!r}: nothing is ever written over. Restore into a new "
            f"database, or move this one away; {settings.home} may stay",
            code="house_exists",
        )


# --- 2: the home --------------------------------------------------------------------------------


def _home(folder: Path, manifest: Manifest, home: Path) -> tuple[str, ...]:
    wanted: list[tuple[Path, Part]] = []
    for part in manifest.parts:
        name = part.path.removeprefix(HOME)
        if name == part.path or name == "trust.toml":
            continue
        path = home / "keys" / name.removeprefix(KEYS) if part.secret else home / name
        if not path.exists():
            wanted.append((path, part))
        elif part.secret and path.read_bytes() != (folder / part.path).read_bytes():
            raise MalformedInput(
                f"{path} is another key than the backup's: this home is of another house",
                code="house_exists",
            )
    for path, part in wanted:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        data = (folder / part.path).read_bytes()
        write_file(os.fspath(path), data, mode=0o600 if part.secret else 0o644)
    return tuple(os.fspath(path) for path, _ in wanted)


# --- 3: rows ------------------------------------------------------------------------------------


def _rows(folder: Path, table: str) -> Iterator[dict[str, Any]]:
    for columns, rows in _frames(folder, table):
        for row in rows:
            yield dict(zip(columns, row, strict=True))


def _frames(folder: Path, table: str) -> Iterator[tuple[Sequence[str], list[list[Any]]]]:
    with (folder / ROWS / table).open("rb") as file:
        yield from parse_frames(iter(lambda: file.read(READ_BYTES), b""))


def _load(database: Database, folder: Path, manifest: Manifest, progress: Progress) -> None:
    """One transaction. Does nothing where an earlier restore had come past it."""
    names = {part.path.removeprefix(ROWS) for part in manifest.parts if part.rows is not None}
    with database.writing() as connection:
        if sa.inspect(connection).get_table_names():
            return  # unfinished: `rebuild` goes on, or says whose it is
        make_tables(database, connection)
        order = [each for each in METADATA.sorted_tables if each not in (HOUSE, CHANGE)]
        for number, table in enumerate(order):
            progress("rows", number, len(order))
            if table.name in names:
                _put(connection, table, folder)
        # What the triggers noted meanwhile is not what the journal lacks.
        connection.execute(sa.delete(CHANGE))
        _put(connection, CHANGE, folder)
        if not database.is_sqlite:
            advance_sequences(connection)


def _put(connection: sa.Connection, table: sa.Table, folder: Path) -> None:
    for columns, rows in _frames(folder, table.name):
        connection.execute(sa.insert(table), [dict(zip(columns, row, strict=True)) for row in rows])
