"""COSE receipts that are wrong: bytes altered after signing, and wrong things properly signed.

A receipt is built here from RFC 9942 alone, so that each part can be another.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests.harness.judges import Case, b64
from tests.judges.mutations import flipped, path_mutations

ALG, VDS, VDP = 1, 395, 396
INCLUSION, CONSISTENCY = -1, -2
EDDSA, ES256 = -8, -7


def encoded(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def signed(
    key: Ed25519PrivateKey,
    protected: Mapping[Any, Any],
    unprotected: Mapping[Any, Any],
    root: bytes,
    *,
    payload: bytes | None = None,
    context: str = "Signature1",
    aad: bytes = b"",
) -> bytes:
    """A tagged COSE_Sign1 whose signature over `root` holds."""
    head = encoded(dict(protected))
    signature = key.sign(encoded([context, head, aad, root]))
    return encoded(cbor2.CBORTag(18, [head, dict(unprotected), payload, signature]))


def proofs(size: int, index: Any, path: list[Any], label: int = INCLUSION) -> dict[int, Any]:
    """The unprotected header."""
    return {VDP: {label: [encoded([size, index, path])]}}


def altered(good: Case, data: bytes, *, another_entry: bytes, another: bytes) -> dict[str, Case]:
    """Of a receipt whose key we need not hold: everything a thief can change. `another` is a
    receipt of the same log for another entry."""
    tag = cbor2.loads(data)
    protected, unprotected, _, signature = tag.value
    size, index, path = cbor2.loads(unprotected[VDP][INCLUSION][0])
    head = cbor2.loads(protected)

    def file(
        *, head: bytes = protected, proof: Mapping[Any, Any] = unprotected, payload: Any = None,
        signed: Any = signature, number: int = 18,
    ) -> bytes:  # fmt: skip
        return encoded(cbor2.CBORTag(number, [head, dict(proof), payload, signed]))

    assert file() == data
    wrong = {
        name: file(proof=proofs(size, index, changed))
        for name, changed in path_mutations(list(path)).items()
    }
    wrong |= {
        "the next index": file(proof=proofs(size, index + 1, path)),
        "its neighbour's index": file(proof=proofs(size, index ^ 1, path)),
        "an index beyond the tree": file(proof=proofs(size, size, path)),
        "a tree half as large": file(proof=proofs(max(size // 2, 1), index, path)),
        "a tree twice as large": file(proof=proofs(2 * size, index, path)),
        "a tree too small": file(proof=proofs(index, index, path)),
        "an empty tree": file(proof=proofs(0, index, path)),
        "no proof": file(proof={}),
        "a consistency proof": file(proof=proofs(size, index, path, CONSISTENCY)),
        "another data structure": file(head=encoded({**head, VDS: 2})),
        "no data structure": file(head=encoded({k: v for k, v in head.items() if k != VDS})),
        "another algorithm": file(head=encoded({**head, ALG: ES256})),
        "an empty protected header": file(head=b""),
        "the first bit of the signature": file(signed=flipped(signature, 0)),
        "the last bit of the signature": file(signed=flipped(signature, len(signature) - 1)),
        "a signature cut short": file(signed=signature[:-1]),
        "a signature too long": file(signed=signature + b"\0"),
        "an empty signature": file(signed=b""),
        "a signature in text": file(signed=signature.hex()),
        "a signature that is a number": file(signed=7),
        "a signature of zeros": file(signed=bytes(64)),
        "the signature of another receipt": file(signed=cbor2.loads(another).value[3]),
        "another tag": file(number=98),
        "no tag": encoded(tag.value),
        "cut short": data[:-1],
        "bytes after its end": data + b"\0",
        "nothing": b"",
    }
    wrong |= {f"bit of byte {at} of the protected header": file(head=flipped(protected, at))
              for at in range(len(protected))}  # fmt: skip
    cases: dict[str, Case] = {
        name: {**good, "File": b64(changed)[0]} for name, changed in wrong.items()
    }
    return cases | {
        "the receipt of another entry": {**good, "File": b64(another)[0]},
        "another entry": {**good, "Entry": b64(another_entry)[0]},
        "another key": {**good, "Key": b64(stranger())[0]},
    }


def stranger() -> bytes:
    key = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32).public_key()
    return key.public_bytes_raw()


def forged(
    good: Case, key: Ed25519PrivateKey, data: bytes, root: bytes, older_root: bytes
) -> dict[str, Case]:
    """Wrong things under a signature that holds: what only the log itself could do."""
    head_bytes, unprotected, _, _ = cbor2.loads(data).value
    head = cbor2.loads(head_bytes)
    without = {label: value for label, value in head.items() if label != VDS}
    (proof,) = unprotected[VDP][INCLUSION]
    size, index, path = cbor2.loads(proof)
    assert signed(key, head, unprotected, root) == data
    wrong = {
        "data structure 2, signed": signed(key, {**head, VDS: 2}, unprotected, root),
        "no data structure, signed": signed(key, without, unprotected, root),
        "data structure in the other header": signed(
            key, without, {VDS: 1, **unprotected}, root
        ),
        "proofs in the other header": signed(key, {**head, **unprotected}, {}, root),
        "ES256 named, Ed25519 signed": signed(key, {**head, ALG: ES256}, unprotected, root),
        "a root of another tree, signed": signed(key, head, unprotected, older_root),
        "another root attached": signed(key, head, unprotected, older_root, payload=older_root),
        "signed as a countersignature": signed(
            key, head, unprotected, root, context="CounterSignature"
        ),
        "signed with outside data": signed(key, head, unprotected, root, aad=b"x"),
        "the root in text": signed(key, head, unprotected, encoded(root.hex())),
        "-8.0 for the algorithm": signed(key, {**head, ALG: -8.0}, unprotected, root),
        "an index of true": signed(key, head, proofs(size, True, path), root),
        "an index in text": signed(key, head, proofs(size, str(index), path), root),
        "a path in text": signed(key, head, proofs(size, index, [n.hex() for n in path]), root),
        "an empty list of proofs": signed(key, head, {VDP: {INCLUSION: []}}, root),
        "a proof not in bytes": signed(
            key, head, {VDP: {INCLUSION: [cbor2.loads(proof)]}}, root
        ),
    }  # fmt: skip
    return {name: {**good, "File": b64(changed)[0]} for name, changed in wrong.items()}
