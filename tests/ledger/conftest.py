"""A house whose time the test sets, and what watches it. Files that need another house make it."""

from __future__ import annotations

from pathlib import Path

import pytest

from notary.office import Office
from tests.harness.watching import OfficeSource, SetClock, new_house


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def house(tmp_path: Path, clock: SetClock) -> Office:
    return new_house(tmp_path / "house", clock)


@pytest.fixture
def source(house: Office) -> OfficeSource:
    return OfficeSource(house)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "place"
