"""A stand-in for AWS KMS, which can't run here: a server of this project's own, not Amazon's.

It speaks KMS's protocol (JSON 1.1 over POST, `X-Amz-Target: TrentService.…`) as boto3 does, makes
real Ed25519 and AES-256 keys with `cryptography`, and holds the limits of Amazon's reference:
messages of 1 to 4,096 bytes, `ED25519_SHA_512` with RAW alone, names of aliases, keys that are
pending deletion do nothing, plaintexts of 1 to 4,096 bytes, a ciphertext that opens with the same
key and encryption context alone, a SigV4 header on every request (its form, not its signature).
What it can't show is how the real one behaves beyond that: its latency, its quotas, its eventual
consistency.
"""

from __future__ import annotations

import base64
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDSTANDIN",
    "AWS_SECRET_ACCESS_KEY": "not-a-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
REGION = "eu-test-1"
USAGES = {"ECC_NIST_EDWARDS25519": "SIGN_VERIFY", "SYMMETRIC_DEFAULT": "ENCRYPT_DECRYPT"}
_ALIAS = re.compile(r"alias/(?!aws/)[A-Za-z0-9/_-]{1,250}")
_CREDENTIAL = re.compile(
    r"AWS4-HMAC-SHA256 Credential=AKIDSTANDIN/\d{8}/eu-test-1/kms/aws4_request, "
    r"SignedHeaders=[a-z0-9;-]+, Signature=[0-9a-f]{64}"
)


@dataclass
class Key:
    """`private` of a key that signs, `secret` of one that encrypts."""

    private: Ed25519PrivateKey | None
    secret: bytes | None
    description: str
    state: str = "Enabled"


class Refusal(Exception):
    def __init__(self, code: str, message: str = "", status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


@dataclass
class StandIn:
    """`throttled` and `broken` are how many requests from now on are answered so; `silent` how
    long each answer takes, in seconds; `counts` the requests by their name."""

    keys: dict[str, Key] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    longest: int = 0
    throttled: int = 0
    broken: int = 0
    silent: float = 0.0
    denied: bool = False
    port: int = 0
    page: int = 2
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def uri(self, name: str = "court") -> str:
        return f"awskms:///alias/{name}?region={REGION}&endpoint={self.endpoint}"

    def answer(self, target: str, said: dict[str, Any], authorization: str) -> dict[str, Any]:
        service, _, operation = target.partition(".")
        if service != "TrentService":
            raise Refusal("UnknownOperationException", target)
        if not _CREDENTIAL.fullmatch(authorization):
            raise Refusal("IncompleteSignatureException", "no SigV4 header for this region")
        with self._lock:
            self.counts[operation] = self.counts.get(operation, 0) + 1
            if self.throttled > 0:
                self.throttled -= 1
                raise Refusal("ThrottlingException", "Rate exceeded")
            if self.broken > 0:
                self.broken -= 1
                raise Refusal("KMSInternalException", "internal", 500)
            if self.denied:
                raise Refusal("AccessDeniedException", "not authorized to perform this")
            words = re.sub(r"(?<!^)(?=[A-Z])", "_", operation).lower()
            act = getattr(self, f"_{words}", None)
            if act is None:
                raise Refusal("UnknownOperationException", operation)
            given: dict[str, Any] = act(said)
            return given

    def _create_key(self, said: dict[str, Any]) -> dict[str, Any]:
        spec, usage = said.get("KeySpec"), said.get("KeyUsage")
        if spec not in USAGES:
            raise Refusal("UnsupportedOperationException", str(spec))
        if usage != USAGES[spec]:
            raise Refusal("ValidationException", "KeyUsage")
        id_ = str(uuid.uuid4())
        encrypts = spec == "SYMMETRIC_DEFAULT"
        self.keys[id_] = Key(
            None if encrypts else Ed25519PrivateKey.generate(),
            os.urandom(32) if encrypts else None,
            said.get("Description", ""),
        )
        return {"KeyMetadata": self._metadata(id_)}

    def _describe_key(self, said: dict[str, Any]) -> dict[str, Any]:
        return {"KeyMetadata": self._metadata(self._find(said))}

    def _get_public_key(self, said: dict[str, Any]) -> dict[str, Any]:
        id_ = self._find(said)
        private = self.keys[id_].private
        if private is None:
            raise Refusal("UnsupportedOperationException", "a symmetric key has no public half")
        public = private.public_key()
        der = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return {
            "KeyId": id_,
            "PublicKey": base64.b64encode(der).decode(),
            "KeySpec": "ECC_NIST_EDWARDS25519",
            "KeyUsage": "SIGN_VERIFY",
            "SigningAlgorithms": ["ED25519_SHA_512", "ED25519_PH_SHA_512"],
        }

    def _sign(self, said: dict[str, Any]) -> dict[str, Any]:
        id_ = self._find(said)
        self._check_enabled(id_)
        private = self.keys[id_].private
        if private is None:
            raise Refusal("InvalidKeyUsageException", "ENCRYPT_DECRYPT")
        message = base64.b64decode(said["Message"], validate=True)
        self.longest = max(self.longest, len(message))
        if not 1 <= len(message) <= 4_096:
            raise Refusal("ValidationException", "message: 1 to 4096 bytes")
        if said.get("SigningAlgorithm") != "ED25519_SHA_512":
            raise Refusal("InvalidKeyUsageException", "SigningAlgorithm")
        if said.get("MessageType", "RAW") != "RAW":
            raise Refusal("ValidationException", "ED25519_SHA_512 takes RAW alone")
        signature = private.sign(message)
        return {
            "KeyId": id_,
            "Signature": base64.b64encode(signature).decode(),
            "SigningAlgorithm": "ED25519_SHA_512",
        }

    def _encrypt(self, said: dict[str, Any]) -> dict[str, Any]:
        # As opaque as Amazon's: which key, a nonce, ciphertext and tag.
        id_ = self._find(said)
        plaintext = base64.b64decode(said["Plaintext"], validate=True)
        if not 1 <= len(plaintext) <= 4_096:
            raise Refusal("ValidationException", "plaintext: 1 to 4096 bytes")
        nonce = os.urandom(12)
        sealed = self._cipher(id_, said).encrypt(nonce, plaintext, _context(said))
        blob = uuid.UUID(id_).bytes + nonce + sealed
        return {
            "CiphertextBlob": base64.b64encode(blob).decode(),
            "KeyId": id_,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _decrypt(self, said: dict[str, Any]) -> dict[str, Any]:
        blob = base64.b64decode(said["CiphertextBlob"], validate=True)
        if len(blob) < 16 + 12 + 16 + 1:
            raise Refusal("InvalidCiphertextException")
        id_ = str(uuid.UUID(bytes=blob[:16]))
        if id_ not in self.keys:
            raise Refusal("InvalidCiphertextException")
        if "KeyId" in said and self._find(said) != id_:
            raise Refusal("IncorrectKeyException", "the key is not the one that encrypted it")
        cipher = self._cipher(id_, said)
        try:
            plaintext = cipher.decrypt(blob[16:28], blob[28:], _context(said))
        except InvalidTag:
            raise Refusal("InvalidCiphertextException") from None
        return {
            "Plaintext": base64.b64encode(plaintext).decode(),
            "KeyId": id_,
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }

    def _cipher(self, id_: str, said: dict[str, Any]) -> AESGCM:
        self._check_enabled(id_)
        secret = self.keys[id_].secret
        if secret is None or said.get("EncryptionAlgorithm", "SYMMETRIC_DEFAULT") != (
            "SYMMETRIC_DEFAULT"
        ):
            raise Refusal("InvalidKeyUsageException", "SIGN_VERIFY")
        return AESGCM(secret)

    def _check_enabled(self, id_: str) -> None:
        if self.keys[id_].state == "Disabled":
            raise Refusal("DisabledException", id_)
        if self.keys[id_].state != "Enabled":
            raise Refusal("KMSInvalidStateException", f"{id_} is pending deletion")

    def _create_alias(self, said: dict[str, Any]) -> dict[str, Any]:
        name = said["AliasName"]
        if not _ALIAS.fullmatch(name):
            raise Refusal("InvalidAliasNameException", name)
        if name in self.aliases:
            raise Refusal("AlreadyExistsException", name)
        self.aliases[name] = self._find({"KeyId": said["TargetKeyId"]})
        return {}

    def _delete_alias(self, said: dict[str, Any]) -> dict[str, Any]:
        if self.aliases.pop(said["AliasName"], None) is None:
            raise Refusal("NotFoundException", said["AliasName"])
        return {}

    def _list_aliases(self, said: dict[str, Any]) -> dict[str, Any]:
        # Small pages, and one of Amazon's own in between, which has no key.
        every = [("alias/aws/s3", None), *sorted(self.aliases.items())]
        start = int(said.get("Marker", "0"))
        shown = [
            {"AliasName": name, **({} if id_ is None else {"TargetKeyId": id_})}
            for name, id_ in every[start : start + self.page]
        ]
        more = start + self.page < len(every)
        given: dict[str, Any] = {"Aliases": shown, "Truncated": more}
        return given | {"NextMarker": str(start + self.page)} if more else given

    def _schedule_key_deletion(self, said: dict[str, Any]) -> dict[str, Any]:
        id_ = self._find(said)
        if not 7 <= said.get("PendingWindowInDays", 30) <= 30:
            raise Refusal("ValidationException", "PendingWindowInDays")
        self.keys[id_].state = "PendingDeletion"
        return {"KeyId": id_, "KeyState": "PendingDeletion"}

    def _find(self, said: dict[str, Any]) -> str:
        id_: str = self.aliases.get(said["KeyId"], said["KeyId"])
        if id_ not in self.keys:
            raise Refusal("NotFoundException", f"{said['KeyId']} is not found")
        return id_

    def _metadata(self, id_: str) -> dict[str, Any]:
        spec = "SYMMETRIC_DEFAULT" if self.keys[id_].private is None else "ECC_NIST_EDWARDS25519"
        return {"KeyId": id_, "KeyState": self.keys[id_].state, "KeyUsage": USAGES[spec],
                "KeySpec": spec}  # fmt: skip


def _context(said: dict[str, Any]) -> bytes:
    """What Amazon's binds as associated data: the pairs, in whatever order they came."""
    return json.dumps(said.get("EncryptionContext", {}), sort_keys=True).encode()


@contextmanager
def running_kms() -> Iterator[StandIn]:
    """On a free port of loopback, for as long as the block runs."""
    stand_in = StandIn()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Quiet."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            time.sleep(stand_in.silent)
            try:
                given = stand_in.answer(
                    self.headers.get("X-Amz-Target", ""),
                    json.loads(body),
                    self.headers.get("Authorization", ""),
                )
                status = 200
            except Refusal as exc:
                given, status = {"__type": exc.code, "message": str(exc)}, exc.status
            answer = json.dumps(given).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/x-amz-json-1.1")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    stand_in.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield stand_in
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
