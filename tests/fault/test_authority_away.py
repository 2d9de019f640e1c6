"""An authority that is dead for an hour: deposits go on, and get their timestamps afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from notary.model import Declared
from notary.office import Office, found
from notary.settings import Settings
from tests.harness.acts import CLERK
from tests.harness.certomancer import certomancer
from tests.harness.openssl_tsa import pem
from tests.harness.server import Service
from tests.harness.tcp_proxy import proxied
from tests.harness.watching import SetClock

HOUR = timedelta(hours=1)
STEP_S = 5
"""The house's pulse, on the clock that the test sets."""


@pytest.mark.fault
def test_an_hour_without_the_authority_delays_timestamps_and_nothing_else(tmp_path: Path) -> None:
    tsa_folder, home = tmp_path / "tsa", tmp_path / "home"
    tsa_folder.mkdir()
    home.mkdir()
    clock = SetClock()
    # It ends about now, which is what the authority's own clock says.
    clock.moment = datetime.now(UTC) - HOUR
    with certomancer(tsa_folder) as tsa, proxied(int(tsa.base_url.rsplit(":", 1)[1])) as way:
        (tmp_path / "roots.pem").write_bytes(pem(tsa.root))
        settings = {
            "tsa_urls": f"http://127.0.0.1:{way.port}/court/tsa/ec",
            "tsa_roots": str(tmp_path / "roots.pem"),
            "tsa_timeout": "5",
        }
        given = {f"NOTARY_{name.upper()}": value for name, value in settings.items()}
        read = Settings.from_env({**given, "NOTARY_HOME": str(home)})
        found(read, clock=clock)
        office = Office(read, clock=clock)
        way.refuse()
        asked = an_hour(office, clock)
        # One a minute after the first: neither given up, nor asked each time.
        assert 60 <= asked <= 75
        (name,) = office.stamping.authorities
        assert office.stamps.newest_size() == 0
        way.heal()
        waited = 0
        while office.stamps.newest_size() < office.ledger.head().size:
            assert waited <= 60
            office.stamping.run(name)
            clock.pass_(seconds=STEP_S)
            waited += STEP_S
        assert office.stamps.authorities()[0].failures == 0
        office.close()
    checked = Service(home=home, settings=settings).cli("fsck")
    assert " 0 faults" in checked.stdout


def an_hour(office: Office, clock: SetClock) -> int:
    """A deposit each minute; how often the authority was asked."""
    (name,) = office.stamping.authorities
    asked = 0
    for second in range(0, 3600, STEP_S):
        if second % 60 == 0:
            size = office.ledger.head().size
            declared = Declared(size=1, digests={"sha-256": f"{second + 1:064x}"})
            receipt = office.intake.register_digests(CLERK, declared)
            assert receipt.deposit.index == size
        if office.stamping.is_due(name):
            office.stamping.run(name)
            asked += 1
        clock.pass_(seconds=STEP_S)
    return asked
