"""The part of fsck that says which keys held when: the chain of rotations against the ledger."""

from __future__ import annotations

import sqlalchemy as sa

from notary.errors import BadRotation, Corrupt
from notary.findings import Findings
from notary.house import HOUSE
from notary.keyhistory import KeyHistory, read_history
from notary.keyring import KEY_ROTATION, read_rotations
from notary.ledger import read_head
from notary.rotation import parse_rotation
from storage.database import Database


def check_rotations(database: Database, findings: Findings) -> KeyHistory:
    """The history of keys, as far as its documents hold. What they commit the ledger to is compared
    with the entries afterwards. Raises Corrupt where the genesis document names no keys: then
    nothing could be judged."""
    with database.reading() as connection:
        size = read_head(connection).size
        genesis = connection.execute(sa.select(HOUSE.c.genesis)).scalar() or ""
        registered = read_rotations(connection)
        rows = connection.execute(sa.select(KEY_ROTATION).order_by(KEY_ROTATION.c.serial)).all()
    try:
        history = read_history(genesis, ())
    except BadRotation as exc:
        raise Corrupt(f"genesis: {exc}", name="genesis") from exc
    for row, each in zip(rows, registered, strict=True):
        name = f"key rotation {row.serial}"
        try:
            rotation = parse_rotation(each.document)
            history = read_history(genesis, (*history.registered, each))
        except BadRotation as exc:
            findings.fault(name, f"{exc.code}: {exc}")
            break
        if row.serial != rotation.serial:
            findings.fault(name, f"the document has serial {rotation.serial}")
        if each.index >= size:
            findings.fault(name, f"has index {each.index}, the tree ends at {size}")
    return history.up_to(size)
