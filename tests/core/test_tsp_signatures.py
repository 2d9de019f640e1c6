from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from tests.harness.judging import ROOT, TSA, draft, judge, refused
from tests.harness.tokens import (
    DAY,
    NOW,
    Draft,
    Ess,
    Issued,
    PrivateKey,
    issue,
    p256,
)

RSA_2048 = rsa.generate_private_key(public_exponent=65537, key_size=2048)


# --- signatures that hold


SIGNERS: dict[str, tuple[PrivateKey, dict[str, Any]]] = {
    "rsa with sha256": (RSA_2048, {}),
    "rsa with sha512": (RSA_2048, {"digest": "sha512"}),
    "rsa pss": (RSA_2048, {"pss": True}),
    "rsa pss, sha384, salt of 48": (
        RSA_2048,
        {"pss": True, "digest": "sha384", "pss_salt_bytes": 48},
    ),
    "rsa pss without salt": (RSA_2048, {"pss": True, "pss_salt_bytes": 0}),
    "p-256": (p256(), {}),
    "p-384": (ec.generate_private_key(ec.SECP384R1()), {"digest": "sha384"}),
    "p-521": (ec.generate_private_key(ec.SECP521R1()), {"digest": "sha512"}),
    "ed25519": (ed25519.Ed25519PrivateKey.generate(), {"digest": "sha512"}),
}


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_token_signed_by(kind: str) -> None:
    key, settings = SIGNERS[kind]
    signer = issue("Tick Tock TSA", issuer=ROOT, key=key)
    found = judge(draft(signer=signer, serial=9, **settings))
    assert (found.authority, found.gen_time, found.serial) == ("Tick Tock TSA", NOW, 9)
    assert found.chain == (signer.der, ROOT.der)


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_signature_with_one_bit_changed_by(kind: str) -> None:
    key, settings = SIGNERS[kind]
    signer = issue("Tick Tock TSA", issuer=ROOT, key=key)
    made = draft(signer=signer, spoil_signature=True, **settings)
    assert refused(made) == "timestamp_signature_invalid"


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_chain_whose_root_is(kind: str) -> None:
    root = issue("Other root", ca=True, key=SIGNERS[kind][0])
    assert judge(draft(signer=issue("T", issuer=root)), roots=[root.der]).chain[1] == root.der


@pytest.mark.parametrize("ess", [Ess.V1, Ess.V2, Ess.BOTH])
def test_the_signing_certificate_named_by(ess: Ess) -> None:
    judge(draft(ess=ess))


def test_the_signing_certificate_named_by_its_key_identifier() -> None:
    judge(draft(by_key_id=True))


@pytest.mark.parametrize("imprint_algorithm", ["sha384", "sha512"])
def test_an_imprint_of_another_hash_that_was_asked_for(imprint_algorithm: str) -> None:
    imprint = hashlib.new(imprint_algorithm, b"exhibit 7").digest()
    made = draft(imprint=imprint, imprint_algorithm=imprint_algorithm)
    judge(made, imprint=imprint, imprint_algorithm=imprint_algorithm)


def test_an_imprint_by_sm3() -> None:
    made = draft(imprint_algorithm="1.2.156.10197.1.401")
    judge(made, imprint_algorithm="sm3")
    assert refused(made) == "timestamp_imprint_mismatch"


# --- signatures that do not


@pytest.mark.parametrize("ess", [Ess.OTHER, Ess.OTHER_SERIAL])
def test_signed_attributes_that_mean_another_certificate(ess: Ess) -> None:
    assert refused(draft(ess=ess)) == "timestamp_signature_invalid"


def test_a_signing_certificate_named_by_sha1_in_version_2() -> None:
    assert refused(draft(ess=Ess.WEAK)) == "timestamp_weak_algorithm"


def test_a_certificate_of_the_same_key_and_name_is_not_the_one_that_was_signed_for() -> None:
    """What ESSCertID is for: another certificate for the key, with another validity, say."""
    twin = issue("Tick Tock TSA", issuer=ROOT, key=TSA.key, valid=(NOW - 9 * DAY, NOW + 9 * DAY))
    made = draft(certificates=(twin.der,), by_key_id=True)
    assert refused(made) == "timestamp_signature_invalid"


def test_a_message_digest_of_other_content() -> None:
    assert refused(draft(digest_attributes=(bytes(32),))) == "timestamp_signature_invalid"


def test_another_key_than_the_certificates() -> None:
    forged = Issued(certificate=TSA.certificate, key=p256())
    assert refused(draft(signer=forged)) == "timestamp_signature_invalid"


def test_a_kind_of_signature_that_the_key_cannot_make() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "sha256_rsa"}})
    assert refused(made) == "timestamp_signature_invalid"


def test_a_signature_algorithm_with_another_hash_than_the_digest_algorithm() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "sha512_ecdsa"}})
    assert refused(made) == "timestamp_signature_invalid"


def test_a_signature_algorithm_nobody_here_knows_is_undecided() -> None:
    made = draft(signer_info={"signature_algorithm": {"algorithm": "1.2.156.10197.1.501"}})
    assert refused(made) == "undecided"


@pytest.mark.parametrize(
    "made",
    [
        draft(digest="sha1"),
        draft(signer_info={"signature_algorithm": {"algorithm": "sha1_ecdsa"}}),
        draft(signer=issue("T", issuer=ROOT, key=RSA_2048), digest="sha1", pss=True),
        draft(imprint_algorithm="sha1", imprint=bytes(20)),
        draft(imprint_algorithm="md5", imprint=bytes(16)),
    ],
    ids=["digest", "signature", "pss", "sha1 imprint", "md5 imprint"],
)
def test_sha1_and_md5_are_refused(made: Draft) -> None:
    settings = {"imprint": made.imprint, "imprint_algorithm": made.imprint_algorithm}
    assert refused(made, **settings) == "timestamp_weak_algorithm"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(public_exponent=65537, key_size=1024),
        ec.generate_private_key(ec.SECP224R1()),
    ],
    ids=["rsa-1024", "p-224"],
)
def test_a_key_that_is_too_small(key: PrivateKey) -> None:
    signer = issue("T", issuer=ROOT, key=key)
    assert refused(draft(signer=signer)) == "timestamp_weak_algorithm"
    root = issue("Small root", ca=True, key=key)
    made = draft(signer=issue("T", issuer=root))
    assert refused(made, roots=[root.der]) == "timestamp_weak_algorithm"
