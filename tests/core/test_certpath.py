from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509

from notary.errors import MalformedInput
from tests.harness.judging import MICROSECOND, ROOT, TSA, draft, judge, refused
from tests.harness.tokens import (
    DAY,
    NOW,
    Issued,
    issue,
    p256,
    signed_with_sha1,
)

# --- when it was valid


def test_a_token_is_judged_at_its_own_time_long_after_its_certificate_expired() -> None:
    then = datetime(2019, 5, 1, tzinfo=UTC)
    root = issue("R", ca=True, valid=(then - DAY, then + DAY))
    signer = issue("T", issuer=root, valid=(then - DAY, then + DAY))
    assert judge(draft(signer=signer, gen_time=then), roots=[root.der]).gen_time == then


def test_both_ends_of_validity_are_valid() -> None:
    judge(draft(gen_time=NOW - DAY))
    judge(draft(gen_time=NOW + DAY))


@pytest.mark.parametrize("gen_time", [NOW - DAY - MICROSECOND, NOW + DAY + MICROSECOND])
def test_a_certificate_not_valid_at_gen_time(gen_time: datetime) -> None:
    assert refused(draft(gen_time=gen_time)) == "timestamp_certificate_expired"


@pytest.mark.parametrize("expired", ["root", "intermediate"])
def test_a_link_not_valid_at_gen_time(expired: str) -> None:
    short = (NOW - 3 * DAY, NOW - 2 * DAY)
    long = (NOW - 9 * DAY, NOW + 9 * DAY)
    root = issue("R", ca=True, valid=short if expired == "root" else long)
    middle = issue("M", issuer=root, ca=True, valid=long if expired == "root" else short)
    signer = issue("T", issuer=middle)
    made = draft(signer=signer, certificates=(signer.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_certificate_expired"


# --- the way to a root


def chain_of(length: int, **settings: Any) -> list[Issued]:
    """Leaf first: a chain of `length` certificates; `settings` are of each intermediate."""
    made = [issue("Chain root", ca=True)]
    for number in range(length - 2):
        made.insert(0, issue(f"CA {number}", issuer=made[0], **({"ca": True} | settings)))
    return [issue("T", issuer=made[0]), *made]


def test_a_chain_through_intermediates_in_any_order() -> None:
    leaf, *others = chain_of(4)
    made = draft(signer=leaf, certificates=(others[1].der, leaf.der, others[0].der))
    found = judge(made, roots=[others[2].der])
    assert found.chain == tuple(each.der for each in (leaf, *others))


def test_certificates_that_the_verifier_has_and_the_token_has_not() -> None:
    leaf, middle, root = chain_of(3)
    made = draft(signer=leaf, certificates=())
    judge(made, roots=[root.der], intermediates=[middle.der, leaf.der])
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"


def test_an_intermediate_that_the_verifier_trusts_ends_the_chain() -> None:
    leaf, middle, _ = chain_of(3)
    found = judge(draft(signer=leaf), roots=[middle.der])
    assert found.chain == (leaf.der, middle.der)


def test_the_signing_certificate_itself_may_be_what_is_trusted() -> None:
    assert judge(draft(), roots=[TSA.der]).chain == (TSA.der,)
    alone = issue("Alone")
    assert judge(draft(signer=alone), roots=[alone.der]).chain == (alone.der,)


def test_a_root_inside_the_token_is_not_trusted_for_being_there() -> None:
    made = draft(certificates=(TSA.der, ROOT.der))
    assert refused(made, roots=[]) == "timestamp_untrusted"
    assert refused(made, roots=[issue("Root", ca=True).der]) == "timestamp_untrusted"


def test_a_root_of_the_same_name_and_another_key_does_not_hide_the_right_one() -> None:
    namesake = issue("Root", ca=True)
    assert judge(draft(), roots=[namesake.der, ROOT.der]).chain[-1] == ROOT.der


@pytest.mark.parametrize(
    "settings",
    [
        {"ca": False, "signs_certificates": True, "purposes": ()},
        {"ca": True, "signs_certificates": False},
        {"ca": True, "limits": False},
        {
            "ca": True,
            "extra": [
                (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"), True)
            ],
        },
        {
            "ca": True,
            "extra": [(x509.NameConstraints([x509.DNSName("a.example")], None), True)],
        },
    ],
    ids=["not a CA", "no keyCertSign", "no basicConstraints", "critical", "name constraints"],
)
def test_an_intermediate_that_may_not_issue(settings: dict[str, Any]) -> None:
    leaf, middle, root = chain_of(3, **settings)
    made = draft(signer=leaf, certificates=(leaf.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"


def test_a_path_longer_than_a_link_allows() -> None:
    root = issue("R", ca=True, path_length=0)
    middle = issue("M", issuer=root, ca=True)
    leaf = issue("T", issuer=middle)
    made = draft(signer=leaf, certificates=(leaf.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_untrusted"
    judge(draft(signer=issue("T", issuer=root)), roots=[root.der])
    roomy = issue("R", ca=True, path_length=1, key=root.key)
    judge(made, roots=[roomy.der])


def test_a_leaf_signed_by_another_leaf() -> None:
    child = issue("Child", issuer=TSA)
    made = draft(signer=child, certificates=(child.der, TSA.der))
    assert refused(made) == "timestamp_untrusted"


def test_certificates_that_all_issue_each_other_come_to_an_end() -> None:
    """Twenty of one name and one key: more ways up than there is time for."""
    key = p256()
    first = issue("Ring", ca=True, key=key)
    ring = [first, *(issue("Ring", issuer=first, ca=True, key=key) for _ in range(20))]
    leaf = issue("T", issuer=first)
    made = draft(signer=leaf, certificates=(leaf.der, *(each.der for each in ring)))
    assert refused(made) == "timestamp_untrusted"


@pytest.mark.parametrize("weak", ["leaf", "intermediate"])
def test_a_certificate_signed_with_sha1(weak: str) -> None:
    leaf, middle, root = chain_of(3)
    if weak == "leaf":
        leaf = signed_with_sha1(leaf, middle)
    else:
        middle = signed_with_sha1(middle, root)
    made = draft(signer=leaf, certificates=(leaf.der, middle.der))
    assert refused(made, roots=[root.der]) == "timestamp_weak_algorithm"


def test_how_a_root_signed_itself_is_of_no_interest() -> None:
    root = signed_with_sha1(ROOT, ROOT)
    judge(draft(), roots=[root.der])


def test_a_chain_longer_than_any_real_one_is_untrusted() -> None:
    chain = chain_of(9)
    made = draft(signer=chain[0], certificates=tuple(each.der for each in chain))
    assert refused(made, roots=[chain[-1].der]) == "timestamp_untrusted"
    chain = chain_of(8)
    made = draft(signer=chain[0], certificates=tuple(each.der for each in chain))
    judge(made, roots=[chain[-1].der])


def test_roots_that_are_no_certificates_are_malformed() -> None:
    with pytest.raises(MalformedInput):
        judge(draft(), roots=[b"root"])
    with pytest.raises(MalformedInput):
        judge(draft(), intermediates=[ROOT.der[:-1]])
