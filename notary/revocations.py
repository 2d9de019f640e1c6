"""What authorities say about the revocation of their certificates, as they last said it. Owns its
table: one row for each certificate below a root."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from notary.clock import parse_rfc3339, rfc3339
from storage.database import METADATA, Database, insert_if_absent

REVOCATION = sa.Table(
    "revocation_data",
    METADATA,
    sa.Column("certificate", sa.String(64), primary_key=True),
    sa.Column("crl", sa.LargeBinary),
    sa.Column("response", sa.LargeBinary),
    sa.Column("due_at", sa.String(27), nullable=False),
    sa.Column("last_error", sa.Text),
)
"""`certificate` is the SHA-256 of its DER. What was got once stays until something newer is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevocationData:
    """What is there about a chain: CRLs and OCSP responses, each once."""

    crls: tuple[bytes, ...] = ()
    responses: tuple[bytes, ...] = ()


class Revocations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, chain: Sequence[bytes]) -> RevocationData:
        """About the certificates of a chain (DER)."""
        names = [_name(der) for der in chain]
        query = sa.select(REVOCATION).where(REVOCATION.c.certificate.in_(names))
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(REVOCATION.c.certificate)).all()
        return RevocationData(
            crls=tuple(dict.fromkeys(row.crl for row in rows if row.crl is not None)),
            responses=tuple(
                dict.fromkeys(row.response for row in rows if row.response is not None)
            ),
        )

    def due_at(self, certificate: bytes) -> datetime | None:
        """When it is asked about again, None where it never was."""
        query = sa.select(REVOCATION.c.due_at).where(REVOCATION.c.certificate == _name(certificate))
        with self._database.reading() as connection:
            found = connection.execute(query).scalar()
        return None if found is None else parse_rfc3339(found)

    def keep(
        self,
        certificate: bytes,
        *,
        crl: bytes | None,
        response: bytes | None,
        due_at: datetime,
        error: str | None,
    ) -> None:
        """What was got now, in place of what was; None leaves it."""
        values: dict[str, object] = {"due_at": rfc3339(due_at), "last_error": error}
        values |= {} if crl is None else {"crl": crl}
        values |= {} if response is None else {"response": response}
        name = _name(certificate)
        with self._database.writing() as connection:
            connection.execute(
                insert_if_absent(connection, REVOCATION).values(
                    certificate=name, due_at=rfc3339(due_at)
                )
            )
            connection.execute(
                sa.update(REVOCATION).where(REVOCATION.c.certificate == name).values(**values)
            )


def _name(certificate: bytes) -> str:
    return hashlib.sha256(certificate).hexdigest()
