"""A rotation holds only as old and new keys signed it, and only where it follows the last one."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from notary.errors import BadRotation
from notary.keyhistory import (
    KeyHistory,
    Registered,
    encode_rotations,
    parse_rotations,
    read_history,
)
from notary.keyring import public_keys
from notary.rotation import Job, check_signatures, parse_rotation
from notary.tlog.note import VerifierKey, parse_vkey
from tests.harness.rotating import (
    EVERY,
    ORIGIN,
    Chain,
    altered,
    generate_keys,
    mixed,
    signed,
)

CHAIN = Chain()
FIRST_KEYS = CHAIN.keys
FIRST = CHAIN.rotate(5)
SECOND_KEYS = CHAIN.keys
SECOND = CHAIN.rotate(9, frozenset([Job.STATEMENT]))
HISTORY = read_history(CHAIN.genesis, CHAIN.registered)


def refused(code: str, *registered: Registered, genesis: str = CHAIN.genesis) -> None:
    with pytest.raises(BadRotation) as caught:
        read_history(genesis, registered)
    assert caught.value.code == code, caught.value


def malformed(document: str) -> None:
    with pytest.raises(BadRotation) as caught:
        parse_rotation(document)
    assert caught.value.code == "rotation_malformed"


# --- the document ------------------------------------------------------------------------------


def test_a_document_is_read_as_it_was_written() -> None:
    for each in CHAIN.registered:
        assert parse_rotation(each.document).encode() == each.document


def test_what_is_signed_is_the_document_without_its_signatures_under_a_line_with_its_type() -> None:
    """With nothing of ours: as a stranger would write it from the format page."""
    said = json.loads(FIRST.document)
    signatures = said.pop("signatures")
    text = json.dumps(said, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    message = b"key-rotation/v1\n" + text.encode()
    retired, new = said["retired"], said["keys"]
    order = [key for lists in (retired, new) for job in ("log", "statement", "certificate")
             for key in lists[job]]  # fmt: skip
    assert [each["key"] for each in signatures] == order
    for each in signatures:
        value = base64.b64decode(each["value"])
        if "+" in each["key"] and each["key"].startswith(ORIGIN):
            vkey = parse_vkey(each["key"])
            if vkey.type == 6:
                MLDSA44PublicKey.from_public_bytes(vkey.public_key).verify(value, message)
                continue
            raw = vkey.public_key
        else:
            raw = base64.b64decode(each["key"])
        Ed25519PublicKey.from_public_bytes(raw).verify(value, message)


@pytest.mark.parametrize(
    "members",
    [
        {"type": "key-rotation/v3"},
        {"serial": 0},
        {"serial": True},
        {"serial": "1"},
        {"previous": "00"},
        {"previous": "A" * 64},
        {"rotated_at": "yesterday"},
        {"rotated_at": "2026-11-24T12:00:00Z"},
        {"reason": None},
        {"reason": "x" * 1_001},
        {"origin": ""},
        {"origin": "another.example/1"},
        {"keys": {}},
        {"keys": {"log": [], "statement": [], "certificate": [], "more": []}},
        {"retired": {"log": ["x"], "statement": [], "certificate": []}},
        {"retired": {"log": [], "statement": ["AAAA"], "certificate": []}},
        {"retired": {"log": [], "statement": ["?"], "certificate": []}},
        {"signatures": [{"key": "a"}]},
        {"signatures": "none"},
        {"more": 1},
    ],
)
def test_a_document_of_another_form_is_refused(members: dict[str, object]) -> None:
    malformed(altered(FIRST.document, **members))


def test_a_document_in_another_layout_is_refused() -> None:
    malformed(json.dumps(json.loads(FIRST.document)))
    malformed(FIRST.document + "\n")
    malformed("")
    malformed("[]")
    malformed('{"type":"key-rotation/v1"}')


@given(st.text(max_size=80) | st.binary(max_size=80).map(lambda b: b.decode("latin-1")))
def test_whatever_is_no_document_raises_the_one_error(text: str) -> None:
    malformed(text)


@given(st.binary(max_size=120) | st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner) | st.dictionaries(
        st.sampled_from(["index", "document", "checkpoint"]), inner),
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_is_no_list_of_rotations_raises_the_one_error(data: bytes) -> None:
    try:
        found = parse_rotations(data)
    except BadRotation as exc:
        assert exc.code == "rotation_malformed"
    else:
        assert parse_rotations(encode_rotations(found)) == found


@settings(max_examples=150)
@given(st.integers(0, len(FIRST.document) - 1), st.characters(min_codepoint=33, max_codepoint=126))
def test_no_character_of_a_document_can_be_changed(at: int, other: str) -> None:
    spoilt = FIRST.document[:at] + other + FIRST.document[at + 1 :]
    if spoilt != FIRST.document:
        with pytest.raises(BadRotation):
            read_history(CHAIN.genesis, [replace(FIRST, document=spoilt)])


# --- who signed it -----------------------------------------------------------------------------


def test_every_retired_and_every_new_key_must_have_signed() -> None:
    rotation = parse_rotation(FIRST.document)
    assert len(rotation.signatures) == 8
    check_signatures(rotation)
    for missing in range(8):
        rest = rotation.signatures[:missing] + rotation.signatures[missing + 1 :]
        with pytest.raises(BadRotation) as caught:
            check_signatures(replace(rotation, signatures=rest))
        assert caught.value.code == "rotation_signature_invalid"


def test_no_signature_stands_in_for_another() -> None:
    rotation = parse_rotation(FIRST.document)
    for at in range(8):
        key, value = rotation.signatures[at]
        wrong = (key, value[:-1] + bytes([value[-1] ^ 1]))
        swapped = (*rotation.signatures[:at], wrong, *rotation.signatures[at + 1 :])
        with pytest.raises(BadRotation):
            check_signatures(replace(rotation, signatures=swapped))
    with pytest.raises(BadRotation):
        check_signatures(replace(rotation, signatures=rotation.signatures[::-1]))
    twice = (*rotation.signatures, rotation.signatures[0])
    with pytest.raises(BadRotation):
        check_signatures(replace(rotation, signatures=twice))


def test_a_thief_of_nothing_cannot_bring_his_own_keys() -> None:
    """All is well-formed and consistent, but the old keys' signatures are by his."""
    chain, his = Chain(), generate_keys()
    rotation = chain.draft(his)
    forged = signed(replace(rotation, retired=chain.active), his, chain.keys)
    good = dict(forged.signatures)
    bad = tuple(
        (key, his.statement.sign(forged.signed_bytes()) if key in chain.active.raw() else value)
        for key, value in good.items()
    )
    registered = chain.register(replace(forged, signatures=bad), 3, chain.keys, his)
    refused("rotation_signature_invalid", registered, genesis=chain.genesis)


def test_new_keys_prove_that_somebody_holds_them() -> None:
    chain, new, other = Chain(), generate_keys(), generate_keys()
    rotation = signed(chain.draft(new), chain.keys, new)
    stolen = tuple(
        (key, other.certificate.sign(rotation.signed_bytes()) if n == 7 else value)
        for n, (key, value) in enumerate(rotation.signatures)
    )
    registered = chain.register(replace(rotation, signatures=stolen), 3, chain.keys, new)
    refused("rotation_signature_invalid", registered, genesis=chain.genesis)


# --- the chain ---------------------------------------------------------------------------------


def test_the_history_says_which_keys_sign_what() -> None:
    first, second, last = (
        public_keys(ORIGIN, keys) for keys in (FIRST_KEYS, SECOND_KEYS, CHAIN.keys)
    )
    for n, keys in ((0, first), (5, first), (6, second), (9, second), (10, last), (999, last)):
        assert HISTORY.at(n) == keys, n
    assert HISTORY.active == last
    assert HISTORY.serial == 2
    assert HISTORY.all().log == (*last.log, *first.log)
    assert HISTORY.all().statement == (*last.statement, *second.statement, *first.statement)
    assert HISTORY.all().certificate == (*last.certificate, *first.certificate)
    assert [HISTORY.up_to(n).serial for n in (5, 6, 9, 10)] == [0, 1, 1, 2]


def test_from_any_old_key_all_later_ones_follow() -> None:
    old, new = FIRST_KEYS, CHAIN.keys
    first, last = public_keys(ORIGIN, old).log, public_keys(ORIGIN, new).log
    for key in (*first, *last):
        assert HISTORY.believed([key]) == last
    stranger = public_keys(ORIGIN, generate_keys()).log
    assert HISTORY.believed(stranger) == ()
    assert HISTORY.believed([]) == ()


def test_a_key_that_a_genesis_lists_beside_a_trusted_one_is_not_vouched_for() -> None:
    """Anybody can write such a genesis, and a rotation that the trusted key need not sign."""
    chain, thief = Chain(), generate_keys()
    trusted = chain.active.log[0]
    chain = Chain(keys=replace(thief, log=chain.keys.log))  # its Ed25519 key, another's ML-DSA-44
    chain.rotate(3, frozenset([Job.CERTIFICATE]))
    history = read_history(chain.genesis, chain.registered)
    assert trusted in history.first.log
    assert history.believed([trusted]) == ()
    chain.rotate(6)  # this one it must sign
    assert read_history(chain.genesis, chain.registered).believed([trusted]) == chain.active.log


def test_an_empty_chain_is_the_genesis() -> None:
    history = read_history(CHAIN.genesis, ())
    assert history.active == public_keys(ORIGIN, FIRST_KEYS)
    assert history.serial == 0


def test_a_document_out_of_its_place_is_refused() -> None:
    refused("rotation_misplaced", SECOND)
    refused("rotation_misplaced", SECOND, FIRST)
    refused("rotation_misplaced", FIRST, FIRST)
    refused("rotation_misplaced", FIRST, replace(SECOND, index=5))
    refused("rotation_misplaced", FIRST, replace(SECOND, index=4))
    refused("rotation_misplaced", replace(FIRST, index=0))
    refused("rotation_misplaced", FIRST, genesis=Chain().genesis)


def test_a_genesis_that_cannot_be_read_is_refused() -> None:
    for genesis in ("", "{}", "[]", '{"origin":"a","keys":{"log":[1]}}'):
        refused("rotation_malformed", genesis=genesis)


def changed(**members: object) -> tuple[Registered, str]:
    """One properly signed document with other members, and its genesis."""
    chain, new = Chain(), generate_keys()
    rotation = replace(chain.draft(new), **members)  # type: ignore[arg-type]  # each test its own
    document = signed(rotation, chain.keys, new)
    return chain.register(document, 3, chain.keys, new), chain.genesis


def test_who_holds_all_keys_still_cannot_skip_a_number_or_name_another_log() -> None:
    for members in ({"serial": 2}, {"previous": bytes(32)}):
        registered, genesis = changed(**members)
        refused("rotation_misplaced", registered, genesis=genesis)


def test_a_job_keeps_its_keys_or_retires_all_of_them() -> None:
    chain = Chain()
    new = mixed(chain.keys)
    active = chain.active
    for retired in (
        active.only(frozenset([Job.LOG])),  # the others change unsaid
        replace(active, log=active.log[:1]),  # one of two
        replace(active, statement=active.certificate),
    ):
        rotation = signed(replace(chain.draft(new), retired=retired), chain.keys, new)
        registered = chain.register(rotation, 3, chain.keys, new)
        refused("rotation_keys_wrong", registered, genesis=chain.genesis)


def test_a_rotation_of_nothing_is_refused() -> None:
    chain = Chain()
    draft = chain.draft(chain.keys, frozenset())
    registered = chain.register(draft, 3, chain.keys)
    refused("rotation_keys_wrong", registered, genesis=chain.genesis)


def test_a_job_without_a_key_is_refused() -> None:
    chain, new = Chain(), generate_keys()
    draft = chain.draft(new)
    draft = replace(draft, keys=replace(draft.keys, certificate=()))
    registered = chain.register(signed(draft, chain.keys, new), 3, chain.keys, new)
    refused("rotation_keys_wrong", registered, genesis=chain.genesis)


def test_a_retired_key_never_comes_back() -> None:
    chain, first = Chain(), CHAIN.keys
    chain = Chain(keys=first)
    chain.rotate(3)
    back = signed(chain.draft(first), chain.keys, first)
    registered = chain.register(back, 6, chain.keys, first)
    refused("rotation_keys_wrong", *chain.registered, registered, genesis=chain.genesis)


def test_one_key_has_one_job() -> None:
    chain, new = Chain(), generate_keys()
    new = replace(new, certificate=new.statement)
    registered = chain.register(signed(chain.draft(new), chain.keys, new), 3, chain.keys, new)
    refused("rotation_keys_wrong", registered, genesis=chain.genesis)


@pytest.mark.parametrize("who", ["old", "new", "neither"])
def test_the_hand_over_needs_the_keys_of_both_sides(who: str) -> None:
    chain, new = Chain(), generate_keys()
    rotation = signed(chain.draft(new), chain.keys, new)
    signer = {"old": chain.keys, "new": new, "neither": generate_keys()}[who]
    registered = chain.register(rotation, 3, signer)
    refused("rotation_signature_invalid", registered, genesis=chain.genesis)


def test_the_hand_over_is_of_the_size_that_just_covers_the_entry() -> None:
    chain, new = Chain(), generate_keys()
    rotation = signed(chain.draft(new), chain.keys, new)
    other = chain.register(rotation, 4, chain.keys, new)
    refused("rotation_misplaced", replace(other, index=3), genesis=chain.genesis)
    for note in ("", "nothing", other.checkpoint[:-2]):
        refused("rotation_signature_invalid", replace(other, checkpoint=note),
                genesis=chain.genesis)  # fmt: skip


def test_many_rotations_are_read() -> None:
    chain = Chain()
    for n in range(20):
        chain.rotate(3 * n + 1, frozenset([list(Job)[n % 3]]))
    history: KeyHistory = read_history(chain.genesis, chain.registered)
    assert history.serial == 20
    assert parse_rotations(encode_rotations(chain.registered)) == tuple(chain.registered)
    key: VerifierKey = chain.active.log[0]
    assert history.at(10**9).log[0] == key
    assert parse_rotation(chain.registered[0].document).jobs() <= EVERY
