"""JSON: strict in, RFC 8785 out. Of JSON's values, those without fractions.

RFC 8785 section 3.1 builds on I-JSON (RFC 7493): no duplicate names, no lone surrogates, no
integer beyond 2**53-1. Two parsers that disagree about any of these could read two different
certificates from one file, so they are refused here and not repaired.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import NoReturn

from certs.errors import CertificateMalformed

MAX_INTEGER = 2**53 - 1
"""RFC 7493 section 2.2: beyond this an IEEE 754 double no longer counts in ones."""

_MAX_INTEGER_DIGITS = 16
_SHALLOW = 100
_HIGH = re.compile("[\ud800-\U0010ffff]")

_dump = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":")
).encode


_dump_sorted = json.JSONEncoder(
    ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), sort_keys=True
).encode


def canonical(value: object) -> bytes:
    """The RFC 8785 bytes of str, int, bool, None, list, tuple and Mapping, nested at will.

    Raises CertificateMalformed for anything else: a float, an integer beyond MAX_INTEGER, a name
    that is no string, a lone surrogate, nesting deeper than the interpreter can follow.
    """
    try:
        return _dump(_ordered(value)).encode("utf-8")
    except UnicodeEncodeError as exc:
        raise CertificateMalformed("JSON text holds a lone surrogate") from exc
    except RecursionError as exc:
        raise CertificateMalformed("JSON is nested too deeply") from exc


def parse_json(data: bytes | str) -> object:
    """The value of one strict JSON text, in any layout (white space, order of names).

    Raises CertificateMalformed for what I-JSON forbids and for every number with a fraction or
    an exponent, so that `canonical` of the result always exists.
    """
    value = _load(data)
    # What `_load` lets pass and RFC 8785 can't write is a lone surrogate, for which UTF-8 needs an
    # escape, or nesting too deep.
    if isinstance(data, str) or b"\\u" in data or data.count(b"[") + data.count(b"{") > _SHALLOW:
        canonical(value)
    return value


def parse_canonical(data: bytes) -> object:
    """The value of a JSON text that is exactly its own RFC 8785 form, byte for byte.

    Raises CertificateMalformed otherwise. So no byte of such a file can change unnoticed, not
    even white space.
    """
    value = _load(data)
    # Below U+D800 the order of code points is RFC 8785's, and what `_load` lets pass has no other
    # trap: one pass in C. Anything else goes the long way, which also says what is wrong.
    text = data.decode("utf-8")
    plain = text.isascii() or _HIGH.search(text) is None
    if plain and _dump_sorted(value) == text:
        return value
    again = canonical(value)
    if again != data:
        at = next((i for i, (a, b) in enumerate(zip(data, again, strict=False)) if a != b), None)
        raise CertificateMalformed(
            f"JSON is not in canonical form (RFC 8785): differs from it at byte "
            f"{min(len(data), len(again)) if at is None else at}"
        )
    return value


def _load(data: bytes | str) -> object:
    try:
        value: object = _decode(data.decode("utf-8") if isinstance(data, bytes) else data)
    except UnicodeDecodeError as exc:
        raise CertificateMalformed(f"JSON is not UTF-8 at byte {exc.start}") from exc
    except json.JSONDecodeError as exc:
        raise CertificateMalformed(f"not JSON: {exc.msg} at character {exc.pos}") from exc
    except RecursionError as exc:
        raise CertificateMalformed("JSON is nested too deeply") from exc
    return value


def _ordered(value: object) -> object:
    """The same value with every name in UTF-16 order (RFC 8785 section 3.2.3), checked."""
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -MAX_INTEGER <= value <= MAX_INTEGER:
            raise CertificateMalformed(f"integer {value} is beyond 2**53-1")
        return value
    if isinstance(value, list | tuple):
        return [_ordered(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _ordered(value[name]) for name in _sorted_names(value)}
    raise CertificateMalformed(f"{type(value).__name__} has no place in canonical JSON here")


def _sorted_names(value: Mapping[object, object]) -> list[str]:
    names: list[str] = []
    for name in value:
        if not isinstance(name, str):
            raise CertificateMalformed(f"name {name!r} is not a string")
        names.append(name)
    if all(map(str.isascii, names)):
        return sorted(names)
    return sorted(names, key=lambda name: name.encode("utf-16-be", "surrogatepass"))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in value if names.count(name) > 1)
        raise CertificateMalformed(f"name {twice!r} appears twice in one JSON object")
    return value


def _integer(text: str) -> int:
    if len(text.lstrip("-")) > _MAX_INTEGER_DIGITS:
        raise CertificateMalformed(f"integer of {len(text)} digits is beyond 2**53-1")
    value = int(text)
    if not -MAX_INTEGER <= value <= MAX_INTEGER:
        raise CertificateMalformed(f"integer {value} is beyond 2**53-1")
    return value


def _no_fraction(text: str) -> NoReturn:
    raise CertificateMalformed(f"number {text[:40]!r} is not a plain integer")


_decode = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_no_fraction,
    parse_constant=_no_fraction,
).decode
