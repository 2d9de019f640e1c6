"""A database that nobody answers for: in every way to ask it, the same one error."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from storage.database import Database, Prepared
from storage.errors import StoreUnavailable
from tests.harness.server import free_port


def test_a_question_by_itself_to_a_server_that_is_away_says_so() -> None:
    database = Database(f"postgresql://nobody@127.0.0.1:{free_port()}/none")
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="database: "):
            database.first(Prepared(sa.select(sa.literal(1))))
    database.close()
