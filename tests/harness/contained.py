"""Real ASiC containers and a paper, of a house in a folder: a file, a digest alone, hours later."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from notary.intake import Receipt
from notary.model import Declared
from notary.office import TSA_CHAIN, Office, found
from notary.sealing import parse_chain
from notary.settings import Settings
from tests.harness.certified import DOCUMENT, depositor

NAME = "Protokoll + Anlage 会议.txt"
LATER = timedelta(hours=2)


class Clock:
    """Real time, put forward by hand."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@dataclass(frozen=True, slots=True, kw_only=True)
class Contained:
    """Paths of containers, and beside them what is in them. `later` has an evidence record, and so
    has `paper`, a sealed PDF in both languages. `roots` are the authority's and the seal's."""

    bundle: Path
    extended: Path
    later: Path
    simple: Path
    digest_only: Path
    paper: Path
    trust: Path
    roots: Path
    crl: Path
    """The revocation list of the authority's own issuer (DER)."""
    certificate: bytes


def contain(folder: Path) -> Contained:
    """The house's own authority stamps checkpoint, original, period and manifest."""
    clock = Clock()
    settings = Settings(home=folder / "house")
    found(settings)
    house = Office(settings, clock=clock)
    by = depositor(house)
    declared = Declared(name=NAME, media_type="text/plain", document_timestamp=True)
    with house.intake.receive(house.intake.admit(by, declared)) as reception:
        reception.write(DOCUMENT)
        stored = reception.register(declared)
    digests = {"sha-256": hashlib.sha256(DOCUMENT).hexdigest()}
    alone = house.intake.register_digests(
        by, replace(declared, size=len(DOCUMENT), digests=digests)
    )
    for authority in house.stamping.authorities:
        house.stamping.run(authority)

    def write(name: str, given: Receipt) -> Path:
        issued = house.issue.certificate(given.deposit, by=by)
        make = {"simple.asics": house.issue.simple, "bundle.zip": house.issue.bundle}
        chunks = make.get(name, house.issue.extended)(given.deposit, issued)
        path = folder / name
        path.write_bytes(b"".join(chunks))
        return path

    made = {
        "extended": write("bundle.asice", stored),
        "bundle": write("bundle.zip", stored),
        "simple": write("simple.asics", stored),
        "digest_only": write("alone.asice", alone),
    }
    certificate = house.issue.certificate(stored.deposit, by=by).json
    clock.ahead += LATER
    house.archiving.run()
    made["later"] = write("later.asice", stored)
    made["paper"] = folder / "paper.pdf"
    issued = house.issue.certificate(stored.deposit, by=by)
    made["paper"].write_bytes(house.issue.pdf(issued, lang="en+zh"))
    seal = house.sealing.in_force()
    assert seal is not None
    trust, roots = folder / "trust.toml", folder / "roots.pem"
    trust.write_text(house.trust.encode(), "utf-8")
    lines, inside = [], False
    for line in trust.read_text("utf-8").splitlines():
        inside = inside or line.startswith("-----BEGIN")
        lines += [line] if inside else []
        inside = inside and not line.startswith("-----END")
    roots.write_text("\n".join([*lines, seal.root_pem()]), "utf-8")
    crl = folder / "authority.crl"
    (listed,) = parse_chain((settings.home / TSA_CHAIN).read_bytes(), TSA_CHAIN).crls
    crl.write_bytes(listed)
    house.close()
    return Contained(trust=trust, roots=roots, crl=crl, certificate=certificate, **made)
