"""What a certificate discloses of its record (RFC 9901) and shows of its ledger, in plain values.

For drawing and packing, on the issuer's side. A verifier decides for itself what a disclosure is
worth; here one that the record does not list is refused, so that no paper is drawn from it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Set
from dataclasses import dataclass

from certs.canonical import parse_canonical, parse_json
from certs.certificate import Certificate
from certs.errors import CertificateMalformed
from certs.reading import Node, b64url

ALWAYS_RECORDED = ("content", "depositor")
SOMETIMES_RECORDED = ("case", "provenance", "links")

# C2SP signed-note: the byte before the key bytes tells the kind of key.
_KEY_KINDS = {0x01: "Ed25519", 0x04: "Ed25519 cosignature", 0x06: "ML-DSA-44"}
_HEX = re.compile(r"[0-9a-f]{64,128}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Section `content`. `digests` are (algorithm, lower-case hex), sha-256 first."""

    digests: tuple[tuple[str, str], ...]
    size: int
    name: str | None
    declared: str | None
    detected: str | None
    stored: bool

    @property
    def sha256(self) -> str:
        """Lower-case hex. `read_sections` refuses a content without it."""
        return dict(self.digests)["sha-256"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Section `case`: the court's matter and the numbered item in it."""

    court: str
    number: str
    title: str | None
    exhibit: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Depositor:
    """Section `depositor`: the account used, its role, how it signed in."""

    account: str
    role: str
    authenticated_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sections:
    """The disclosed sections; None or empty where a section is not disclosed.

    `withheld` are sections certainly in the record and not disclosed; `unclear` those that may
    be, when the record has fewer undisclosed digests than there are candidates.
    """

    registration_id: str
    content: Content | None
    case: Case | None
    depositor: Depositor | None
    provenance: tuple[tuple[str, tuple[str, ...]], ...]
    links: tuple[tuple[str, str], ...]
    withheld: frozenset[str]
    unclear: frozenset[str]


def read_sections(certificate: Certificate) -> Sections:
    """Raises CertificateMalformed when the record or a disclosure cannot be read, when the
    record does not list a disclosure, or when a section is disclosed twice."""
    record = Node(parse_canonical(certificate.record.encode("utf-8")), "record")
    committed = set(record.member("_sd").each(64, lambda item: item.text()))
    found: dict[str, Node] = {}
    for disclosure in certificate.disclosures:
        if b64url(hashlib.sha256(disclosure.encode("ascii")).digest()) not in committed:
            raise CertificateMalformed(f"record does not list the disclosure {disclosure[:24]!r}")
        name, section = _disclosed(disclosure)
        if name in found:
            raise CertificateMalformed(f"section {name!r} is disclosed twice")
        found[name] = section
    withheld, unclear = _withheld(found.keys(), len(committed) - len(found))
    if certificate.withheld:
        withheld, unclear = _named(certificate, committed, found.keys()), frozenset()
    return Sections(
        registration_id=record.member("id").text(),
        content=_content(found["content"]) if "content" in found else None,
        case=_case(found["case"]) if "case" in found else None,
        depositor=_depositor(found["depositor"]) if "depositor" in found else None,
        provenance=_provenance(found["provenance"]) if "provenance" in found else (),
        links=_links(found["links"]) if "links" in found else (),
        withheld=withheld,
        unclear=unclear,
    )


def _disclosed(disclosure: str) -> tuple[str, Node]:
    text = Node(disclosure, "disclosure").base64url()
    triple = Node(parse_json(text), "disclosure").each(3, lambda item: item)
    if len(triple) != 3:
        raise CertificateMalformed("disclosure is not [salt, name, value]")
    name = triple[1].text()
    return name, Node(triple[2].value, name)


def _named(certificate: Certificate, committed: Set[str], disclosed: Set[str]) -> frozenset[str]:
    """The withheld sections by the names that the issuer gives them."""
    names = [each.section for each in certificate.withheld]
    digests = {b64url(each.digest) for each in certificate.withheld}
    shown = {b64url(hashlib.sha256(d.encode("ascii")).digest()) for d in certificate.disclosures}
    if (
        len(set(names)) != len(names)
        or disclosed & set(names)
        or len(digests) != len(names)
        or digests != committed - shown
    ):
        raise CertificateMalformed(f"withheld sections {names} are not those of the record")
    return frozenset(names)


def _withheld(disclosed: Set[str], hidden: int) -> tuple[frozenset[str], frozenset[str]]:
    """Which sections are withheld. A hidden digest does not tell its section's name, so this
    goes by count: what every record has comes first, the rest shares what is left."""
    certain = frozenset(ALWAYS_RECORDED) - disclosed
    possible = frozenset(SOMETIMES_RECORDED) - disclosed
    left = hidden - len(certain)
    if left <= 0:
        return (certain if hidden > 0 else frozenset()), frozenset()
    if left >= len(possible):
        return certain | possible, frozenset()
    return certain, possible


def _content(node: Node) -> Content:
    digests = node.member("digests")
    order = {"sha-256": 0, "sm3": 1, "sha-512": 2}
    pairs = sorted(
        ((name, value.text(_HEX)) for name, value in digests.items()),
        key=lambda pair: (order.get(pair[0], len(order)), pair[0]),
    )
    digests.member("sha-256")
    media_type = node.member("media_type")
    return Content(
        digests=tuple(pairs),
        size=node.member("size").integer(least=0),
        name=node.member("name").text_or_none(),
        declared=media_type.member("declared").text_or_none(),
        detected=media_type.member("detected").text_or_none(),
        stored=node.member("stored").boolean(),
    )


def _case(node: Node) -> Case:
    title = dict(node.items()).get("title")
    return Case(
        court=node.member("court").text(),
        number=node.member("number").text(),
        title=None if title is None else title.text_or_none(),
        exhibit=node.member("exhibit").text_or_none(),
    )


def _depositor(node: Node) -> Depositor:
    return Depositor(
        account=node.member("account").text(),
        role=node.member("role").text(),
        authenticated_by=node.member("authenticated_by").text(),
    )


def _provenance(node: Node) -> tuple[tuple[str, tuple[str, ...]], ...]:
    stated = node.member("stated_by_depositor")
    return tuple(
        (name, value.each(64, lambda item: item.text()) if name == "steps" else (value.text(),))
        for name, value in stated.items()
    )


def _links(node: Node) -> tuple[tuple[str, str], ...]:
    return tuple((name, value.text()) for name, value in node.items())


def root_hash(checkpoint: str) -> str:
    """The root hash in base64, as the checkpoint has it (C2SP tlog-checkpoint, third line).

    Raises CertificateMalformed.
    """
    lines = checkpoint.split("\n")
    if len(lines) < 4:
        raise CertificateMalformed("checkpoint has no root hash line")
    return lines[2]


def cosigners(checkpoint: str, origin: str) -> tuple[str, ...]:
    """The names on the checkpoint's signature lines that are not the log's own, once each."""
    lines = checkpoint.rpartition("\n\n")[2].splitlines()
    names = [line.split(" ")[1] for line in lines if line.startswith("\u2014 ")]
    return tuple(dict.fromkeys(name for name in names if name != origin))


def log_key_id(vkey: str) -> str:
    """`<key id> <kind of key>` from a C2SP vkey line `<name>+<hex key id>+<base64 key>`.

    Raises CertificateMalformed.
    """
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise CertificateMalformed(f"log key {vkey[:60]!r} is not a C2SP verifier key")
    try:
        kind = base64.b64decode(parts[2], validate=True)[:1]
    except (binascii.Error, ValueError) as exc:
        raise CertificateMalformed(f"log key {vkey[:60]!r} is not a C2SP verifier key") from exc
    return f"{parts[1]} {_KEY_KINDS.get(kind[0] if kind else 0, '')}".rstrip()
