"""A backup of a house that runs: every row of one moment, and what the home shows to outsiders.

 1. A segment of the journal is staged, and one snapshot read while it is: so every later segment
    was drafted after that moment, and restoring may put their rows over the backup's.
 2. Each table goes into a file, straight from the snapshot. Nothing is locked; deposits go on.
 3. The manifest, which names the digest of each file, is signed; then the folder gets its name.

A crash leaves a folder whose name ends in `.partial`, which nothing takes for a backup. Sessions
and one-time links are left out, as in the journal; so are originals, which never change: the
manifest says where they are and how many.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from notary.backup_format import (
    HOME,
    MANIFEST,
    ROWS,
    SIGNATURE,
    Manifest,
    Part,
    encode_frame,
    to_be_signed,
)
from notary.clock import rfc3339
from notary.errors import MalformedInput, Unreachable
from notary.findings import Progress
from notary.house import PUBLISHED
from notary.journal import is_due, read_place
from notary.journal_tables import CHANGE, Way, tables
from notary.ledger import read_head
from notary.office import TSA_CHAIN, Office
from notary.register import DEPOSIT
from notary.schema import is_ahead, read_revision

FRAME_ROWS: Final = 1_000
TRIES: Final = 50
KEPT: Final = (Way.LEDGER, Way.CHANGED, Way.HEAD, Way.DERIVED, Way.OWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """`keys` are the private keys that it holds."""

    manifest: Manifest
    path: Path
    keys: tuple[str, ...]


@dataclass(slots=True, kw_only=True)
class _Folder:
    """Files on their way, each durable before it is named."""

    root: Path
    parts: list[Part] = field(default_factory=list)

    def write(
        self, path: str, chunks: Iterator[tuple[int, bytes]], *, secret: bool = False
    ) -> None:
        """`chunks` are (rows in it, bytes)."""
        target = self.root / path
        target.parent.mkdir(mode=0o700, exist_ok=True)
        digest, size, rows = hashlib.sha256(), 0, 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(target, flags, 0o600), "wb") as file:
            for count, chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size, rows = size + len(chunk), rows + count
            file.flush()
            os.fsync(file.fileno())
        is_rows = path.startswith(ROWS)
        self.parts.append(
            Part(
                path=path,
                size=size,
                sha256=digest.hexdigest(),
                rows=rows if is_rows else None,
                secret=secret,
            )
        )

    def write_bytes(self, path: str, data: bytes, *, secret: bool = False) -> None:
        self.write(path, iter([(0, data)]), secret=secret)


def backup(
    house: Office,
    to: Path,
    *,
    with_keys: bool = False,
    progress: Progress = lambda what, done, of: None,
) -> Made:
    """Into the folder `to`, or into one file where its name ends in `.tar`; neither may be there.

    Raises MalformedInput (`backup_exists`), (`schema_new`) where the database has columns that
    this software does not know; Unreachable where the journal never stands still.
    """
    if to.exists():
        raise MalformedInput(f"{to} is there already", code="backup_exists")
    partial = to.with_name(to.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700, parents=True)
    folder = _Folder(root=partial)
    with _moment(house) as connection:
        manifest = _rows(house, connection, folder, progress)
    keys = _home(house, folder, with_keys=with_keys)
    manifest = _sealed(house, folder, manifest)
    if to.suffix == ".tar":
        _pack(partial, to)
    else:
        partial.rename(to)
        _sync(to.parent)
    return Made(manifest=manifest, path=to, keys=keys)


@contextmanager
def _moment(house: Office) -> Iterator[sa.Connection]:
    """A snapshot after which every segment that is not in it was drafted."""
    for _ in range(TRIES):
        house.journal.stage()
        with house.database.reading() as connection:
            if is_ahead(connection):
                raise MalformedInput(
                    "the database has tables that this software does not know: back it up with "
                    "the newer software",
                    code="schema_new",
                )
            if read_place(connection).staged is not None or not is_due(connection):
                yield connection
                return
    raise Unreachable(f"the journal did not stand still in {TRIES} tries")


def _rows(
    house: Office, connection: sa.Connection, folder: _Folder, progress: Progress
) -> Manifest:
    head, place = read_head(connection), read_place(connection)
    kept = tables(*KEPT)
    for number, table in enumerate(kept):
        progress("tables", number, len(kept))
        folder.write(f"{ROWS}{table.name}", _frames(connection, table))
    progress("tables", len(kept), len(kept))
    stored = connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(DEPOSIT.c.size), 0)).where(
            DEPOSIT.c.stored
        )
    ).one()
    return Manifest(
        origin=house.house.origin,
        made_at=rfc3339(house.clock.now()),
        revision=read_revision(connection).name,
        size=head.size,
        root=head.root.hex(),
        checkpoint=head.checkpoint.decode("utf-8"),
        signed_at=rfc3339(head.signed_at),
        segments=place.number,
        digest=place.digest.hex(),
        journalled_at=place.signed_at,
        notes=connection.execute(sa.select(sa.func.max(CHANGE.c.id))).scalar() or 0,
        objects=house.settings.objects_url.split("?")[0],
        originals=stored[0],
        original_bytes=int(stored[1]),
        parts=(),
    )


def _frames(connection: sa.Connection, table: sa.Table) -> Iterator[tuple[int, bytes]]:
    columns = [column.name for column in table.columns]
    asked = sa.select(table).order_by(*table.primary_key)
    found = connection.execute(asked, execution_options={"yield_per": FRAME_ROWS})
    for rows in found.partitions(FRAME_ROWS):
        yield len(rows), encode_frame(columns, rows)


def _home(house: Office, folder: _Folder, *, with_keys: bool) -> tuple[str, ...]:
    home = house.settings.home
    shown = {
        name: (home / name).read_bytes()
        for name in (TSA_CHAIN, PUBLISHED)
        if (home / name).exists()
    }
    if house.house.authority_chain is not None:
        shown.setdefault(TSA_CHAIN, house.house.authority_chain.encode("ascii"))
    for name, data in shown.items():
        folder.write_bytes(HOME + name, data)
    folder.write_bytes(f"{HOME}trust.toml", house.trust.encode().encode("utf-8"))
    if not with_keys:
        return ()
    # Not the wrapping keys: beside the rows they would open what was disposed of since.
    keys = sorted(path for path in (home / "keys").iterdir() if path.suffix in (".pem", ".crt"))
    for key in keys:
        folder.write_bytes(f"{HOME}keys-{key.name}", key.read_bytes(), secret=True)
    return tuple(key.name for key in keys)


def _sealed(house: Office, folder: _Folder, manifest: Manifest) -> Manifest:
    manifest = replace(manifest, parts=tuple(folder.parts))
    data = manifest.encode()
    signature = house.keys.statement.sign(to_be_signed(data))
    folder.write_bytes(MANIFEST, data)
    folder.write_bytes(SIGNATURE, signature)
    _sync(folder.root)
    return manifest


def _pack(partial: Path, to: Path) -> None:
    # Beside it under another name: a tar that was cut off has no name that restore takes.
    packed = to.with_name(to.name + ".partial.tar")
    descriptor = os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w") as tar:
            for path in sorted(partial.rglob("*")):
                if path.is_file():
                    tar.add(path, path.relative_to(partial).as_posix())
        file.flush()
        os.fsync(file.fileno())
    packed.rename(to)
    _sync(to.parent)
    shutil.rmtree(partial)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
