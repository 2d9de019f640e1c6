"""What is remembered of earlier certificates changes no answer about a later one."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from certs import shared
from certs.certificate import Certificate, parse_certificate, signed_part
from certs.errors import CertificateMalformed, UnsupportedFormat
from tests.certs.papers import certificate

DATA = certificate().encode()
MEMBERS = (b'"keys":', b'"log":{"checkpoint":', b'"timestamps":')


def forget() -> None:
    shared._known.update(dict.fromkeys(shared._known, ()))


def read(data: bytes) -> Certificate | str:
    try:
        return parse_certificate(data)
    except (CertificateMalformed, UnsupportedFormat) as exc:
        return f"{type(exc).__name__}: {exc}"


def both(data: bytes) -> tuple[Certificate | str, Certificate | str]:
    """What a fresh reader says, and one who has just read the original."""
    forget()
    fresh = read(data)
    forget()
    read(DATA)
    return fresh, read(data)


def test_second_reading_gives_the_same_value() -> None:
    fresh, again = both(DATA)
    assert isinstance(fresh, Certificate)
    assert fresh == again
    assert again.encode() == DATA


def test_each_shared_member_is_taken_from_memory() -> None:
    forget()
    read(DATA)
    rest, values = shared.set_aside(DATA)
    assert set(values) == {"keys", "checkpoint", "timestamps"}
    assert len(rest) < len(DATA)


def test_a_later_batch_of_the_same_house_is_remembered_too() -> None:
    forget()
    read(DATA)
    first = parse_certificate(DATA)
    later = replace(first, log=replace(first.log, checkpoint=first.log.checkpoint + "later\n"))
    parse_certificate(later.encode())
    assert set(shared.set_aside(later.encode())[1]) == {"keys", "checkpoint", "timestamps"}


def test_what_was_signed_is_cut_from_the_file() -> None:
    parsed = parse_certificate(DATA)
    assert signed_part(parsed, DATA) == parsed.unsigned_bytes()


@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_are_judged_as_by_a_fresh_reader(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(20):
        at = chance.randrange(len(DATA))
        changed = bytes([DATA[at] ^ (1 << chance.randrange(8))])
        fresh, again = both(DATA[:at] + changed + DATA[at + 1 :])
        assert fresh == again


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("place", [b'"issuer":{', b'"times":{', b'"log":{', b'"keys":{', b"{"])
def test_a_member_that_is_known_is_refused_where_it_does_not_belong(
    member: bytes, place: bytes
) -> None:
    start = DATA.index(member)
    text = DATA[start : _end(start + len(member))]
    at = DATA.index(place) + len(place)
    closing = b"}," if member.count(b"{") else b","
    fresh, again = both(DATA[:at] + text + closing + DATA[at:])
    assert isinstance(fresh, str)
    assert fresh == again


@pytest.mark.parametrize("member", MEMBERS)
@pytest.mark.parametrize("instead", [b'"-"', b"0", b"[]", b"{}", b"null", b""])
def test_a_stand_in_is_not_taken_for_the_member(member: bytes, instead: bytes) -> None:
    start = DATA.index(member) + len(member)
    fresh, again = both(DATA[:start] + instead + DATA[_end(start) :])
    assert fresh == again


@pytest.mark.parametrize("member", MEMBERS)
def test_a_member_with_something_behind_it_is_refused(member: bytes) -> None:
    end = _end(DATA.index(member) + len(member))
    for more in (b" ", b"0", b'"x"', b"[]", b".5"):
        fresh, again = both(DATA[:end] + more + DATA[end:])
        assert isinstance(fresh, str)
        assert fresh == again


def _end(start: int) -> int:
    """Behind the JSON value that begins at `start`."""
    depth, inside, at = 0, False, start
    while True:
        byte = DATA[at : at + 1]
        if byte == b'"' and DATA[at - 1 : at] != b"\\":
            inside = not inside
        if not inside:
            depth += (byte in b"[{") - (byte in b"]}")
            if depth == 0 and (byte != b'"' or at > start):
                return at + 1
        at += 1
