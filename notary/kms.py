"""Keys in AWS KMS, reached by its own API: Ed25519 keys that sign (`ECC_NIST_EDWARDS25519`,
`ED25519_SHA_512`), and symmetric ones that wrap data keys (`SYMMETRIC_DEFAULT`).

A key is found by its alias, which ends with the name that its file would have. What it signs is
verified before it goes out: an alias can be turned to another key.

`Sign` takes messages of at most 4,096 bytes, whole: pure Ed25519 can't be given a digest. Entries,
checkpoints, receipts and segments are far shorter; certificates are longer, so that their key lives
elsewhere.

A client belongs to one process. boto3 repeats what was throttled or not answered, three times in
all; then the call is answered `keys_unreachable`, and those that come within the next second are
told at once.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
)
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from notary.errors import KeyMissing, MalformedInput, Unreachable
from notary.keyplace import KmsPlace

MAX_MESSAGE: Final = 4_096
"""`keystore` has the same figure, so that it need not load boto3."""
KEY_SPEC: Final = "ECC_NIST_EDWARDS25519"
ALGORITHM: Final = "ED25519_SHA_512"
WRAPPING_SPEC: Final = "SYMMETRIC_DEFAULT"
"""The name of the key's kind and of its one algorithm."""
DELETED_AFTER_DAYS: Final = 7
"""The shortest time after which KMS destroys a key. It signs nothing from the request on."""
CONNECT_S, READ_S, ATTEMPTS = 3.0, 5.0, 3
CONNECTIONS = 32
SILENCE_S = 1.0
_GONE = frozenset(
    {"NotFoundException", "DisabledException", "KMSInvalidStateException",
     "InvalidKeyUsageException"}
)  # fmt: skip
_NOT_WRAPPED_SO = frozenset({"InvalidCiphertextException", "IncorrectKeyException"})
_REFUSED = frozenset(
    {"AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException",
     "InvalidClientTokenId", "SignatureDoesNotMatch", "ExpiredTokenException",
     "MissingAuthenticationTokenException", "IncompleteSignature", "UnsupportedOperationException"}
)  # fmt: skip

_clients: dict[KmsPlace, Any] = {}
_ids: dict[tuple[KmsPlace, bytes], str] = {}
_silent_until: dict[KmsPlace, float] = {}
_turn = threading.Lock()


def _forked() -> None:
    """In the child: connections and locks are the parent's."""
    global _turn
    _turn = threading.Lock()
    _clients.clear()
    _silent_until.clear()


os.register_at_fork(after_in_child=_forked)


def sign(place: KmsPlace, public_key: bytes, data: bytes) -> bytes:
    """An Ed25519 signature that `public_key` verifies. Raises Unreachable (`keys_unreachable`),
    KeyMissing, MalformedInput (`key_message_too_long`)."""
    if len(data) > MAX_MESSAGE:
        raise MalformedInput(
            f"{place.shown()} signs messages of at most {MAX_MESSAGE} bytes, this has {len(data)}",
            code="key_message_too_long",
        )
    with _answering(place):
        signature: bytes = _client(place).sign(
            KeyId=_key_id(place, public_key, _mark(public_key)),
            Message=data,
            MessageType="RAW",
            SigningAlgorithm=ALGORITHM,
        )["Signature"]
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature as exc:
        _ids.pop((place, public_key), None)
        raise KeyMissing(
            f"{place.shown()} signs with another key than the one that was registered, "
            f"{_mark(public_key)}"
        ) from exc
    return signature


def create(place: KmsPlace, label: Callable[[bytes], str]) -> bytes:
    """A new key pair that never leaves KMS; gives its public key. `label` makes the end of the
    alias of that. Killed before the alias is there it leaves a key that is never found: its
    description says whose it was to be.

    Raises Unreachable (`keys_unreachable`), KeyMissing.
    """
    with _answering(place):
        client = _client(place)
        made = client.create_key(
            KeySpec=KEY_SPEC,
            KeyUsage="SIGN_VERIFY",
            Description=f"evidence notary: {label(b'')} of {place.alias}",
        )["KeyMetadata"]["KeyId"]
        public_key = _raw(place, client.get_public_key(KeyId=made)["PublicKey"])
        client.create_alias(AliasName=f"{_name(place)}/{label(public_key)}", TargetKeyId=made)
    _ids[place, public_key] = made  # an alias may take some seconds until it is to be seen
    sign(place, public_key, b"key-check/v1\n")
    return public_key


def remove(place: KmsPlace, public_key: bytes) -> None:
    """The key signs no more and is destroyed in `DELETED_AFTER_DAYS`; nothing where it is not
    there. Raises as `sign`."""
    with _answering(place):
        client = _client(place)
        for alias, key_id in _aliases(place):
            if alias.endswith(f"-{_mark(public_key)}"):
                client.schedule_key_deletion(KeyId=key_id, PendingWindowInDays=DELETED_AFTER_DAYS)
                client.delete_alias(AliasName=alias)
    _ids.pop((place, public_key), None)


def labels(place: KmsPlace) -> tuple[str, ...]:
    """The ends of all aliases of the place. Raises as `sign`."""
    with _answering(place):
        start = len(_name(place)) + 1
        return tuple(sorted(alias[start:] for alias, _ in _aliases(place)))


# --- keys that wrap ---------------------------------------------------------------------------


def create_wrapping_key(place: KmsPlace, label: str, id_: bytes) -> None:
    """A symmetric key that never leaves KMS, under an alias that ends with `label`. Raises
    Unreachable (`keys_unreachable`), KeyMissing."""
    with _answering(place):
        client = _client(place)
        made = client.create_key(
            KeySpec=WRAPPING_SPEC,
            KeyUsage="ENCRYPT_DECRYPT",
            Description=f"evidence notary: wrapping key of {place.alias}",
        )["KeyMetadata"]["KeyId"]
        client.create_alias(AliasName=f"{_name(place)}/{label}", TargetKeyId=made)
    _ids[place, id_] = made


def wrapping_labels(place: KmsPlace) -> tuple[str, ...]:
    """As `labels`."""
    return tuple(each for each in labels(place) if each.startswith("wrapping-"))


def wrap(place: KmsPlace, id_: bytes, data: bytes, context: Mapping[str, str]) -> bytes:
    """KMS's ciphertext of at most 4,096 bytes, which opens with the same encryption context alone.
    Raises as `sign`."""
    with _answering(place):
        ciphertext: bytes = _client(place).encrypt(
            KeyId=_key_id(place, id_, id_.hex()), Plaintext=data, EncryptionContext=dict(context),
            EncryptionAlgorithm=WRAPPING_SPEC,
        )["CiphertextBlob"]  # fmt: skip
    return ciphertext


def unwrap(place: KmsPlace, id_: bytes, sealed: bytes, context: Mapping[str, str]) -> bytes | None:
    """The inverse; None for what was not encrypted so. Raises as `sign`."""
    with _answering(place):
        key_id = _key_id(place, id_, id_.hex())
        try:
            plaintext: bytes = _client(place).decrypt(
                KeyId=key_id, CiphertextBlob=sealed, EncryptionContext=dict(context),
                EncryptionAlgorithm=WRAPPING_SPEC,
            )["Plaintext"]  # fmt: skip
        except ClientError as exc:
            if exc.response.get("Error", {}).get("Code") in _NOT_WRAPPED_SO:
                return None
            raise
    return plaintext


def _key_id(place: KmsPlace, key: bytes, mark: str) -> str:
    """Of the key, by what its alias ends with."""
    found = _ids.get((place, key))
    if found is None:
        ids = [key_id for alias, key_id in _aliases(place) if alias.endswith(f"-{mark}")]
        if not ids:
            raise KeyMissing(f"{place.shown()} has no key with an alias …-{mark}")
        found = _ids[place, key] = ids[0]
    return found


def _aliases(place: KmsPlace) -> Iterator[tuple[str, str]]:
    """(alias, id of its key) of all that begin as the place says."""
    for page in _client(place).get_paginator("list_aliases").paginate():
        for each in page["Aliases"]:
            if each["AliasName"].startswith(f"{_name(place)}/") and "TargetKeyId" in each:
                yield each["AliasName"], each["TargetKeyId"]


def _name(place: KmsPlace) -> str:
    return place.alias[place.alias.index("alias/") :]


def _mark(public_key: bytes) -> str:
    """What the names of files, too, have of a key."""
    return hashlib.sha256(public_key).hexdigest()[:16]


def _raw(place: KmsPlace, der: bytes) -> bytes:
    key = load_der_public_key(der)
    if not isinstance(key, Ed25519PublicKey):
        raise KeyMissing(f"{place.shown()} made a key that is not of Ed25519")
    return key.public_bytes_raw()


def _client(place: KmsPlace) -> Any:
    with _turn:
        found = _clients.get(place)
        if found is None:
            config = Config(
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
                max_pool_connections=CONNECTIONS,
                retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            )
            found = _clients[place] = boto3.session.Session().client(
                "kms", endpoint_url=place.endpoint, region_name=place.region, config=config
            )
        return found


@contextmanager
def _answering(place: KmsPlace) -> Iterator[None]:
    """What boto3 raises, as the house says it."""
    if time.monotonic() < _silent_until.get(place, 0.0):
        raise Unreachable(f"{place.shown()} did not answer just now", code="keys_unreachable")
    try:
        yield
    except (NoCredentialsError, PartialCredentialsError, NoRegionError) as exc:
        raise KeyMissing(
            f"{place.shown()}: {exc}; whoever runs this service must set AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and a region, or another of the usual AWS sources"
        ) from exc
    except ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        said = f"{place.shown()}: {code} {exc.response.get('Error', {}).get('Message', '')}"
        if code in _GONE:
            raise KeyMissing(f"{said}: the key is not there, or can't do this") from exc
        if code in _REFUSED:
            raise KeyMissing(f"{said}: whoever manages access to the keys must mend it") from exc
        _silent_until[place] = time.monotonic() + SILENCE_S
        raise Unreachable(said, code="keys_unreachable") from exc
    except (BotoCoreError, ValueError) as exc:
        _silent_until[place] = time.monotonic() + SILENCE_S
        raise Unreachable(f"{place.shown()}: {exc}", code="keys_unreachable") from exc
