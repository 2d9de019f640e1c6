"""RFC 4998 once more, straight from its text and with nothing of `notary`: a second opinion.

Structures are declared as the RFC's ASN.1 module has them and read by asn1crypto; the hash tree and
the chains are derived as §4.3 and §5.3 say. A token's signature is OpenSSL's to judge
(`openssl_verify_token`); here only what its TSTInfo says is read.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.harness.openssl_tsa import openssl


class Partial(core.SequenceOf):  # type: ignore[misc]  # asn1crypto carries no types
    _child_spec = core.OctetString


class Reduced(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Partial


class Attributes(core.SetOf):  # type: ignore[misc]
    _child_spec = cms.CMSAttribute


class ArchiveTimeStamp(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", Attributes, {"implicit": 1, "optional": True}),
        ("reduced", Reduced, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class Chain(core.SequenceOf):  # type: ignore[misc]
    _child_spec = ArchiveTimeStamp


class Chains(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Chain


class Record(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("algorithms", core.SequenceOf, {"spec": algos.DigestAlgorithm}),
        ("crypto_infos", Attributes, {"implicit": 0, "optional": True}),
        ("encryption_info", Attributes, {"implicit": 1, "optional": True}),
        ("sequence", Chains),
    ]


class RefusedError(Exception):
    """Why the record does not lead from the document to its tokens."""


def rederive(der: bytes, documents: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    """(token, what it must be over) of each archive time-stamp, in order, of a record for the
    document that has these digests. Raises RefusedError."""
    try:
        record = Record.load(der, strict=True)
        if record["version"].native != 1:
            raise RefusedError("version")
        return _derive(record, documents)
    except (ValueError, KeyError, TypeError) as exc:
        raise RefusedError(str(exc)) from exc


def _derive(record: Any, documents: Mapping[str, bytes]) -> list[tuple[bytes, bytes]]:
    found: list[tuple[bytes, bytes]] = []
    so_far: list[bytes] = []
    last_time = None
    for chain in record["sequence"]:
        name = _info(chain[0]["time_stamp"])["message_imprint"]["hash_algorithm"][
            "algorithm"
        ].native
        if name not in [each["algorithm"].native for each in record["algorithms"]]:
            raise RefusedError(f"{name} is not named")
        value = documents[name]
        if so_far:
            # §5.3: h(i)' = H(h(i) + ha(i)), ha(i) = H(atsc(i))
            contents = b"".join(so_far)
            older = core.Sequence(contents=contents).dump()
            value = hashlib.new(name, value + hashlib.new(name, older).digest()).digest()
        for stamp in chain:
            info = _info(stamp["time_stamp"])
            imprint = info["message_imprint"]
            if imprint["hash_algorithm"]["algorithm"].native != name:
                raise RefusedError("another algorithm within a chain")
            root = _root(stamp, value, name)
            if imprint["hashed_message"].native != root:
                raise RefusedError("the token is over something else")
            if last_time is not None and info["gen_time"].native < last_time:
                raise RefusedError("a token is older than the one it renews")
            last_time = info["gen_time"].native
            token = stamp["time_stamp"].dump()
            found.append((token, root))
            value = hashlib.new(name, token).digest()  # §5.2
        so_far.append(chain.dump())
    return found


def _root(stamp: Any, value: bytes, name: str) -> bytes:
    """§4.3: search in the first list; concatenate in binary ascending order; hash; go on."""
    lists = stamp["reduced"].native
    if lists is None:
        return value
    if value not in lists[0]:
        raise RefusedError("not in the first list")
    node = b""
    for number, hashes in enumerate(lists):
        group = sorted([*hashes, node] if number else hashes)
        node = hashlib.new(name, b"".join(group)).digest()
    return node


def _info(token: Any) -> Any:
    content = token["content"]["encap_content_info"]["content"]
    return tsp.TSTInfo.load(content.parsed.dump())


def openssl_verify_token(
    folder: Path, *, token: bytes, digest: bytes, chain: tuple[bytes, ...], algorithm: str
) -> str:
    """What `openssl ts -verify` says of a bare token over that digest, with its chain's root."""
    pems = [x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in chain]
    (folder / "judged.tst").write_bytes(token)
    (folder / "judged.root.pem").write_bytes(pems[-1])
    (folder / "judged.chain.pem").write_bytes(b"".join(pems))
    assert len(digest) == hashlib.new(algorithm).digest_size
    done = subprocess.run(
        [
            openssl(), "ts", "-verify", "-token_in", "-in", str(folder / "judged.tst"),
            "-digest", digest.hex(), "-CAfile", str(folder / "judged.root.pem"),
            "-untrusted", str(folder / "judged.chain.pem"),
        ],
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    return "OK" if "Verification: OK" in done.stdout else done.stdout + done.stderr
