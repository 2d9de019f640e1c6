"""The witnesses as the house meets them: asked over HTTP, remembered in rows. Owns their tables.

C2SP tlog-witness, the client's side: a checkpoint with a consistency proof from the size that the
witness saw last; its cosignature comes back as a note's signature lines.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from notary import outside
from notary.clock import parse_rfc3339, rfc3339
from notary.errors import MalformedInput, Unreachable
from notary.tlog.checkpoint import encode_base64, parse_decimal
from notary.tlog.note import Note, NoteSignature, parse_note, parse_signature_line
from notary.tlog.policy import Witness
from storage.database import METADATA, Database

SIZE_TYPE = "text/x.tlog.size"
MAX_ANSWER_BYTES = 64 * 1024

WITNESSED = sa.Table(
    "witnessed_checkpoint",
    METADATA,
    sa.Column("size", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("checkpoint", sa.LargeBinary, nullable=False),
    sa.Column("at", sa.String(27), nullable=False),
)
WITNESS = sa.Table(
    "witness",
    METADATA,
    sa.Column("name", sa.String(200), primary_key=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last_error", sa.Text),
    sa.Column("last_cosigned_at", sa.String(27)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessState:
    """`size` is the last one it cosigned for us, `failures` those in a row since."""

    name: str
    size: int
    failures: int
    last_error: str | None
    last_cosigned_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    size: int
    root: bytes
    checkpoint: bytes


class Refused(Unreachable):
    """The witness answered, but did not cosign; the code says why."""

    code = "witness_refused"


class Stale(Exception):
    """409: the witness has seen another size than we thought."""

    def __init__(self, size: int) -> None:
        super().__init__(f"witness has seen size {size}")
        self.size = size


def submit(
    witness: Witness, *, old: int, proof: Sequence[bytes], note: bytes, timeout_s: float
) -> tuple[NoteSignature, ...]:
    """The signature lines of a 200, not verified yet. Raises Stale, Refused, Unreachable."""
    assert witness.url is not None
    lines = "".join(f"{encode_base64(node)}\n" for node in proof)
    who = f"witness {witness.name!r}"
    reply = outside.exchange(
        f"{witness.url.rstrip('/')}/add-checkpoint",
        who=who,
        timeout_s=timeout_s,
        max_bytes=MAX_ANSWER_BYTES,
        data=f"old {old}\n{lines}\n".encode() + note,
    )
    try:
        text = reply.body.decode("utf-8")
        if reply.status == 200:
            return tuple(parse_signature_line(line) for line in text[:-1].split("\n"))
        if reply.status == 409 and reply.media_type == SIZE_TYPE:
            raise Stale(parse_decimal(text.removesuffix("\n")))
    except (MalformedInput, UnicodeDecodeError) as exc:
        raise Refused(f"{who}: an answer that cannot be read: {exc}") from exc
    codes = {403: "witness_refuses_key", 404: "witness_knows_no_log", 422: "witness_root_mismatch"}
    raise Refused(
        f"{who}: status {reply.status}: {text[:200]!r}",
        code=codes.get(reply.status, "witness_refused"),
    )


def with_cosignatures(checkpoint: bytes, witnessed: Witnessed | None) -> bytes:
    """The newest checkpoint with the cosignatures that are there for the same tree; unchanged
    where the witnesses have not seen it yet."""
    if witnessed is None:
        return checkpoint
    newest, seen = parse_note(checkpoint), parse_note(witnessed.checkpoint)
    if newest.text != seen.text:
        return checkpoint
    # The log may have signed anew since: its own lines are the newer ones.
    own = {(line.name, line.key_id) for line in newest.signatures}
    more = [line for line in seen.signatures if (line.name, line.key_id) not in own]
    return Note(text=newest.text, signatures=(*newest.signatures, *more)).encode()


class Witnesses:
    """The rows."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest(self) -> Witnessed | None:
        with self._database.reading() as connection:
            row = connection.execute(
                sa.select(WITNESSED).order_by(WITNESSED.c.size.desc()).limit(1)
            ).first()
        if row is None:
            return None
        return Witnessed(size=row.size, root=row.root, checkpoint=row.checkpoint)

    def keep(self, given: Witnessed, at: datetime) -> None:
        """A second one of a size is dropped: a job that ran twice harms nothing."""
        with self._database.writing() as connection:
            there = connection.execute(
                sa.select(WITNESSED.c.size).where(WITNESSED.c.size == given.size)
            ).first()
            if there is None:
                connection.execute(
                    sa.insert(WITNESSED).values(
                        size=given.size,
                        root=given.root,
                        checkpoint=given.checkpoint,
                        at=rfc3339(at),
                    )
                )

    def states(self) -> dict[str, WitnessState]:
        with self._database.reading() as connection:
            rows = connection.execute(sa.select(WITNESS).order_by(WITNESS.c.name)).all()
        return {
            row.name: WitnessState(
                name=row.name,
                size=row.size,
                failures=row.failures,
                last_error=row.last_error,
                last_cosigned_at=None
                if row.last_cosigned_at is None
                else parse_rfc3339(row.last_cosigned_at),
            )
            for row in rows
        }

    def note(self, state: WitnessState) -> None:
        values = {
            "size": state.size,
            "failures": state.failures,
            "last_error": None if state.last_error is None else state.last_error[:2000],
            "last_cosigned_at": None
            if state.last_cosigned_at is None
            else rfc3339(state.last_cosigned_at),
        }
        with self._database.writing() as connection:
            changed = connection.execute(
                sa.update(WITNESS).where(WITNESS.c.name == state.name).values(**values)
            )
            if changed.rowcount == 0:
                connection.execute(sa.insert(WITNESS).values(name=state.name, **values))
