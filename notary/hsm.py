"""Keys in a hardware security module, reached by PKCS#11 (version 2.40, EdDSA as in 3.0): Ed25519
keys that sign, AES-256 keys that wrap data keys by AES-GCM; P-256 and RSA keys for seals on papers,
which are found by label alone.

A key that signs is found by its public half: CKA_ID is SHA-256 of the raw public key, CKA_LABEL the
name that its file would have. What it signs is verified before it goes out, so that a token with
another key under that ID, or a failing one, can't put into the ledger what nobody could take out
again. A key that wraps has 8 random bytes as its CKA_ID, and their hex at the end of its label.

The library is one per process and its functions are called one at a time: it is initialised
without locks of its own. Sessions are opened at the first use and never cross a fork. Where a
session, a token or the whole device is gone, everything is opened anew; if that fails
too, the call is answered `keys_unreachable` and the next one tries again. A PIN that a token
refused is not tried again by the same process: tokens lock themselves after a few.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, GCMParams, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11 import exceptions as p11
from pkcs11.util.ec import encode_ecdsa_signature, encode_named_curve_parameters

from notary.errors import KeyMissing, Unreachable
from notary.keyplace import TokenPlace

NONCE_BYTES = 12
"""Of AES-GCM."""
ED25519_OID = "1.3.101.112"
P256_SPKI = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")
"""What stands before the uncompressed point (RFC 5480 §2)."""
_PIN_REFUSED = (
    p11.PinIncorrect, p11.PinLocked, p11.PinLenRange, p11.PinInvalid, p11.PinExpired,
    p11.UserPinNotInitialized,
)  # fmt: skip
PAUSES_S = (0.0, 0.05, 0.25, 0.0)
"""Between attempts. A SoftHSM token is not to be seen while another process logs in to it."""
SILENCE_S = 1.0
T = TypeVar("T")


class _Library:
    """One PKCS#11 module in this process, under one lock."""

    def __init__(self, path: str) -> None:
        self.lock = threading.RLock()
        self._path = path
        self._opened = False
        self._silent_until = 0.0
        self._sessions: dict[TokenPlace, Any] = {}
        self._keys: dict[tuple[TokenPlace, bytes], Any] = {}
        self._refused: set[tuple[TokenPlace, bytes]] = set()

    def forget(self) -> None:
        """All sessions are void; the next use opens them anew."""
        self._opened = False
        self._sessions.clear()
        self._keys.clear()

    def attempt(
        self, place: TokenPlace, act: Callable[[], T], pauses: tuple[float, ...] = PAUSES_S
    ) -> T:
        """Again with everything opened anew where it fails; once only while nothing answers at
        all, so that those who wait are told soon. Raises Unreachable (`keys_unreachable`),
        KeyMissing."""
        with self.lock:
            for pause in pauses:
                try:
                    done = act()
                except pkcs11.PKCS11Error as exc:
                    self.forget()
                    error = exc
                else:
                    self._silent_until = 0.0
                    return done
                if time.monotonic() < self._silent_until:
                    break
                time.sleep(pause)
            self._silent_until = time.monotonic() + SILENCE_S
            raise Unreachable(
                f"{place.shown()} does not answer, or can't do this ({type(error).__name__})",
                code="keys_unreachable",
            ) from error

    def session(self, place: TokenPlace) -> Any:
        """Logged in. Raises PKCS11Error, KeyMissing."""
        found = self._sessions.get(place)
        if found is None:
            found = self._sessions[place] = self._log_in(place)
        return found

    def key(self, place: TokenPlace, public_key: bytes) -> Any:
        """The private key object. Raises PKCS11Error, KeyMissing."""
        found = self._keys.get((place, public_key))
        if found is None:
            objects = _objects(self.session(place), ObjectClass.PRIVATE_KEY, public_key)
            if not objects:
                raise KeyMissing(
                    f"{place.shown()} has no private key of id {_id(public_key).hex()}"
                )
            found = self._keys[place, public_key] = objects[0]
        return found

    def wrapping_key(self, place: TokenPlace, id_: bytes) -> Any:
        """The AES key object. Raises PKCS11Error, KeyMissing."""
        found = self._keys.get((place, id_))
        if found is None:
            objects = list(
                self.session(place).get_objects(
                    {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.ID: id_}
                )
            )
            if not objects:
                raise KeyMissing(f"{place.shown()} has no wrapping key of id {id_.hex()}")
            found = self._keys[place, id_] = objects[0]
        return found

    def labelled(self, place: TokenPlace, wanted: tuple[str, ...]) -> Any:
        """The private key object with the first of these labels. Raises PKCS11Error,
        KeyMissing."""
        for label in wanted:
            cached = self._keys.get((place, label.encode()))
            if cached is not None:
                return cached
            found = list(
                self.session(place).get_objects(
                    {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
                )
            )
            if found:
                self._keys[place, label.encode()] = found[0]
                return found[0]
        raise KeyMissing(f"{place.shown()} has no private key labelled {' or '.join(wanted)}")

    @contextmanager
    def writing(self, place: TokenPlace) -> Iterator[Any]:
        """A session that may make and destroy objects. It shares the login."""
        session = self.session(place).token.open(rw=True)
        try:
            yield session
        finally:
            session.close()

    def _token(self, place: TokenPlace) -> Any:
        wanted = place.attributes()
        found = [
            token
            for slot in self._module().get_slots(token_present=True)
            if (token := slot.get_token()) is not None and wanted.items() <= _said(token).items()
        ]
        if not found:
            raise p11.NoSuchToken
        if len(found) > 1:
            raise KeyMissing(f"{len(found)} tokens are {place.shown()}: name it by its serial")
        return found[0]

    def _module(self) -> Any:
        if not Path(self._path).is_file():
            raise KeyMissing(f"no PKCS#11 module {self._path}")
        module = pkcs11.lib(self._path)
        if not self._opened:
            # What it knows of slots and tokens, and of a parent's sessions, is from before.
            module.reinitialize()
            self._opened = True
        return module

    def _log_in(self, place: TokenPlace) -> Any:
        token = self._token(place)
        pin = _pin(place)
        tried = (place, hashlib.sha256(pin.encode()).digest())
        message = f"{place.shown()} refuses the PIN of {place.pin_source}"
        if tried in self._refused:
            raise KeyMissing(f"{message}; it is not tried again before a restart")
        try:
            return token.open(user_pin=pin)
        except p11.UserAlreadyLoggedIn:
            return token.open()
        except _PIN_REFUSED as exc:
            self._refused.add(tried)
            raise KeyMissing(f"{message} ({type(exc).__name__})") from None


_libraries: dict[str, _Library] = {}
_turn = threading.Lock()


def _library(path: str) -> _Library:
    with _turn:
        return _libraries.setdefault(path, _Library(path))


def _forked() -> None:
    """In the child: sessions and locks are the parent's."""
    global _turn
    _turn = threading.Lock()
    _libraries.clear()


os.register_at_fork(after_in_child=_forked)


def sign(place: TokenPlace, public_key: bytes, data: bytes) -> bytes:
    """An Ed25519 signature that `public_key` verifies. Raises Unreachable (`keys_unreachable`),
    KeyMissing."""
    library = _library(place.module_path)
    signature: bytes = library.attempt(
        place, lambda: library.key(place, public_key).sign(data, mechanism=Mechanism.EDDSA)
    )
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except InvalidSignature as exc:
        raise KeyMissing(
            f"{place.shown()} signs under id {_id(public_key).hex()} with another key than the "
            "one that was registered"
        ) from exc
    return signature


def create(place: TokenPlace, label: Callable[[bytes], str]) -> bytes:
    """A new key pair that never leaves the token; gives its public key. `label` makes the label of
    that. Killed between the two writes it leaves a key without ID, which is never found.

    Raises Unreachable (`keys_unreachable`), KeyMissing.
    """
    library = _library(place.module_path)

    def make() -> bytes:
        with library.writing(place) as session:
            curve = session.create_domain_parameters(
                KeyType.EC_EDWARDS,
                {Attribute.EC_PARAMS: encode_named_curve_parameters(ED25519_OID)},
                local=True,
            )
            halves = curve.generate_keypair(
                store=True,
                label=label(b""),
                mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
            # The point is an OCTET STRING in most modules, the bare 32 bytes in some.
            public_key: bytes = halves[0][Attribute.EC_POINT][-32:]
            for half in halves:
                half[Attribute.ID] = _id(public_key)
                half[Attribute.LABEL] = label(public_key)
            return public_key

    library.attempt(place, lambda: library.session(place))
    public_key = library.attempt(place, make, pauses=(0.0,))  # a second try would be a second key
    sign(place, public_key, b"key-check/v1\n")
    return public_key


def remove(place: TokenPlace, public_key: bytes) -> None:
    """Destroys both halves in the token; nothing where they are not there. Raises as `sign`."""
    library = _library(place.module_path)

    def destroy() -> None:
        with library.writing(place) as session:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for found in _objects(session, kind, public_key):
                    found.destroy()

    library.attempt(place, destroy)


def labels(place: TokenPlace) -> tuple[str, ...]:
    """The labels of all private keys there. Raises as `sign`."""
    library = _library(place.module_path)

    def read() -> tuple[str, ...]:
        session = library.session(place)
        found = session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY})
        return tuple(sorted(each.label for each in found))

    return library.attempt(place, read)


# --- keys that wrap ---------------------------------------------------------------------------


def create_wrapping_key(place: TokenPlace, label: str, id_: bytes) -> None:
    """An AES-256 key that never leaves the token. Raises Unreachable (`keys_unreachable`),
    KeyMissing."""
    library = _library(place.module_path)

    def make() -> None:
        with library.writing(place) as session:
            session.generate_key(
                KeyType.AES,
                256,
                id=id_,
                label=label,
                store=True,
                capabilities=MechanismFlag.ENCRYPT | MechanismFlag.DECRYPT,
                template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )

    library.attempt(place, lambda: library.session(place))
    library.attempt(place, make, pauses=(0.0,))  # a second try would be a second key


def wrapping_labels(place: TokenPlace) -> tuple[str, ...]:
    """The labels of all secret keys there. Raises as `sign`."""
    library = _library(place.module_path)

    def read() -> tuple[str, ...]:
        session = library.session(place)
        found = session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY})
        return tuple(sorted(each.label or "" for each in found))

    return library.attempt(place, read)


def wrap(place: TokenPlace, id_: bytes, data: bytes, about: bytes, nonce: bytes) -> bytes:
    """The nonce, then AES-GCM's ciphertext and tag, with `about` as associated data. Raises as
    `sign`."""
    library = _library(place.module_path)
    return nonce + library.attempt(
        place, lambda: _encrypted(library.wrapping_key(place, id_), data, about, nonce)
    )


def unwrap(place: TokenPlace, id_: bytes, sealed: bytes, about: bytes) -> bytes | None:
    """The inverse; None for what was not wrapped so. Raises as `sign`."""
    library = _library(place.module_path)
    nonce, ciphertext = sealed[:NONCE_BYTES], sealed[NONCE_BYTES:]

    def open_() -> bytes | None:
        key = library.wrapping_key(place, id_)
        try:
            return _decrypted(key, ciphertext, about, nonce)
        except (p11.EncryptedDataInvalid, p11.EncryptedDataLenRange):
            return None
        except (p11.GeneralError, p11.FunctionFailed, p11.DataInvalid):
            # SoftHSM says no more than that of a wrong tag. Whether it is the token's fault is
            # told by something that is known to be right; what that raises is.
            fresh = os.urandom(NONCE_BYTES)
            _decrypted(key, _encrypted(key, bytes(16), about, fresh), about, fresh)
            return None

    return library.attempt(place, open_)


def _encrypted(key: Any, data: bytes, about: bytes, nonce: bytes) -> bytes:
    return bytes(
        key.encrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, about))
    )


def _decrypted(key: Any, data: bytes, about: bytes, nonce: bytes) -> bytes:
    return bytes(
        key.decrypt(data, mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(nonce, about))
    )


# --- keys that seal ---------------------------------------------------------------------------


def create_p256(place: TokenPlace, label: Callable[[bytes], str]) -> bytes:
    """A new P-256 key pair that never leaves the token; gives its SubjectPublicKeyInfo (DER), of
    which `label` makes the label. Killed in between it leaves a key `seal-unfinished`, which is
    never found. Raises as `sign`."""
    library = _library(place.module_path)

    def make() -> bytes:
        with library.writing(place) as session:
            curve = session.create_domain_parameters(
                KeyType.EC,
                {Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
                local=True,
            )
            halves = curve.generate_keypair(
                store=True,
                label="seal-unfinished",
                private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
            )
            spki: bytes = P256_SPKI + halves[0][Attribute.EC_POINT][-65:]
            for half in halves:
                half[Attribute.ID] = _id(spki)
                half[Attribute.LABEL] = label(spki)
            return spki

    library.attempt(place, lambda: library.session(place))
    public_key: bytes = library.attempt(place, make, pauses=(0.0,))
    return public_key


def has_label(place: TokenPlace, wanted: tuple[str, ...]) -> bool:
    """Whether it has a private key with one of these labels. Raises as `sign`."""
    return any(label in wanted for label in labels(place))


def sign_labelled(place: TokenPlace, wanted: tuple[str, ...], data: bytes, *, rsa: bool) -> bytes:
    """A signature by the private key that has the first of these labels: RSASSA-PKCS1-v1_5 or
    ECDSA (DER), both with SHA-256. The caller verifies it. Raises as `sign`."""
    library = _library(place.module_path)

    def act() -> bytes:
        key = library.labelled(place, wanted)
        if rsa:
            return bytes(key.sign(data, mechanism=Mechanism.SHA256_RSA_PKCS))
        raw = key.sign(hashlib.sha256(data).digest(), mechanism=Mechanism.ECDSA)
        return bytes(encode_ecdsa_signature(raw))

    return library.attempt(place, act)


def _objects(session: Any, kind: ObjectClass, public_key: bytes) -> list[Any]:
    # To its end: an unfinished search keeps the session from everything else.
    return list(session.get_objects({Attribute.CLASS: kind, Attribute.ID: _id(public_key)}))


def _id(public_key: bytes) -> bytes:
    return hashlib.sha256(public_key).digest()


def _said(token: Any) -> dict[str, str]:
    return {
        "token": token.label,
        "serial": token.serial.decode("utf-8", "replace").rstrip("\0 "),
        "manufacturer": token.manufacturer_id,
        "model": token.model,
    }


def _pin(place: TokenPlace) -> str:
    """Raises KeyMissing that says where it should have been."""
    kind, _, where = place.pin_source.partition(":")
    if kind == "env":
        pin = os.environ.get(where, "")
    else:
        try:
            mode = Path(where).stat().st_mode & 0o777
            if mode & 0o077:
                raise KeyMissing(f"PIN file {where} has mode {mode:o}, must be 600 or 400")
            pin = Path(where).read_text("utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            raise KeyMissing(f"PIN file {where} cannot be read: {type(exc).__name__}") from None
    if not pin:
        raise KeyMissing(f"{place.shown()} needs a PIN, and {place.pin_source} holds none")
    return pin
