"""The only door to cbor2: canonical encoding, strict decoding.

Problem.  cbor2's defaults are generous: tags that build regular expressions, MIME messages and cyclic graphs, duplicate keys, indefinite
lengths, and trailing bytes ignored in silence.  The journal also decodes hundreds of thousands of records a second at recovery, and the
strict options cost more than the decoding when they are parsed for each record.

Choice.
- Records and rows: no tags at all, keys are str (or bytes), depth at most 64.  Bodies of many records are decoded in one call, as one array
  that we put together ourselves and end with a sentinel: 0.5 us a record instead of 1.1, and anything that trails a body displaces the
  sentinel.
- Payloads: the same, but tags 0-5 (instants, big integers, decimals), 37 (UUID), 258 (set) and 268 (the decimals that tag 4 cannot say:
  -0, infinities, NaN) are allowed, and int keys.  Anything bytes-like is stored as bytes.
- Encoding is canonical (RFC 8949 4.2.1 as cbor2 does it: shortest forms, sorted keys).  Without maps and floats the plain encoder
  writes the same bytes a third faster, so the caller says when it knows that there are none.

Rejected: a decoder per document with read_size=1 and a look at the position (8-16 us); a hand-written decoder.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from io import BytesIO
from typing import Any

import cbor2

CodecError = cbor2.CBORError
SENTINEL = bytes.fromhex("488f1c6aa3d2b07e95")  # an 8-byte string that ends every array we put together
_SENTINEL_VALUE = SENTINEL[1:]
MAX_DEPTH = 64  # of records; a payload may nest as deep as the encoder lets it
MAX_PAYLOAD_DEPTH = 400

# Every tag that cbor2 would give a meaning of its own; 0-5, 37 and 258 payloads may use.
_RICH_TAGS = (0, 1, 2, 3, 4, 5, 37, 258)
_FOREIGN_TAGS = (25, 28, 29, 30, 35, 36, 52, 54, 100, 256, 260, 261, 1004, 43000, 55799)


def _refuse(*_: object) -> Any:
    raise cbor2.CBORDecodeError("a tag that is not allowed here")


_STRICT_TAGS: dict[int, Callable[..., Any]] = dict.fromkeys(_RICH_TAGS + _FOREIGN_TAGS, _refuse)
_PAYLOAD_TAGS: dict[int, Callable[..., Any]] = dict.fromkeys(_FOREIGN_TAGS, _refuse)

_EXTENDED_DECIMAL = 268  # an array [exponent, mantissa, options]; options: the sign, and twice the place in _SPECIAL
_OURS = frozenset({memoryview, Decimal})  # what cbor2 would write as something else; an encoder that knows them costs half as much again
_CONTAINERS = frozenset({list, tuple, dict, set, frozenset})
_SPECIAL: Any = (None, "F", "n", "N")  # a number, an infinity, a quiet NaN, a signalling one: as in Decimal.as_tuple


def _put_bytes(encoder: cbor2.CBOREncoder, value: memoryview) -> None:
    encoder.encode_bytes(value.tobytes())


def _put_decimal(encoder: cbor2.CBOREncoder, value: Decimal) -> None:
    negative, digits, exponent = value.as_tuple()
    if isinstance(exponent, int):
        if value or not negative:
            encoder.encode_decimal(value)
        else:
            encoder.encode_semantic(_EXTENDED_DECIMAL, [exponent, 0, 1])
        return
    carried = int("".join(map(str, digits)) or 0) if exponent != "F" else 0  # a NaN may carry a number
    encoder.encode_semantic(_EXTENDED_DECIMAL, [0, carried, _SPECIAL.index(exponent) * 2 + negative])


def _get_decimal(parts: Any, _immutable: bool) -> Decimal:
    exponent, mantissa, options = parts
    if options < 0:
        raise ValueError("a decimal with options below 0")
    kind = _SPECIAL[options // 2]
    digits = tuple(map(int, str(mantissa))) if mantissa or kind is None else ()
    return Decimal((options % 2, digits, exponent if kind is None else kind))


_PAYLOAD_TAGS[_EXTENDED_DECIMAL] = _get_decimal
_canonical = cbor2.CBOREncoder(BytesIO(), canonical=True).encode_to_bytes
_careful = cbor2.CBOREncoder(BytesIO(), canonical=True, encoders={memoryview: _put_bytes, Decimal: _put_decimal}).encode_to_bytes
_plain = cbor2.CBOREncoder(BytesIO()).encode_to_bytes


def encode(value: object) -> bytes:
    """Canonical CBOR of a value made of int, str, bytes, bool, None, list, tuple and maps."""
    return _canonical(value)


encode_flat = _plain  # the same bytes as `encode` for a value without maps, floats and sets; faster


def decode(data: bytes) -> Any:
    """The one value in `data`, strictly.  CodecError when it is anything else."""
    pair = _loads_strict(b"\x82" + data + SENTINEL)
    if len(pair) != 2 or pair[1] != _SENTINEL_VALUE:
        raise cbor2.CBORDecodeError("trailing bytes after the value")
    return pair[0]


def decode_many(bodies: Sequence[bytes]) -> list[Any]:
    """One value for each of `bodies`, strictly.  CodecError when any of them is not exactly one value."""
    values = _loads_strict(b"".join((b"\x9a", (len(bodies) + 1).to_bytes(4, "big"), *bodies, SENTINEL)))
    if values.pop() != _SENTINEL_VALUE:
        raise cbor2.CBORDecodeError("trailing bytes after one of the values")
    return values  # type: ignore[no-any-return]


def _loads_strict(data: bytes) -> Any:
    try:
        return cbor2.loads(
            data,
            semantic_decoders=_STRICT_TAGS,
            tag_hook=_refuse,
            max_depth=MAX_DEPTH + 1,
            allow_indefinite=False,
            allow_duplicate_keys=False,
            strict_hashable_types=True,
        )
    except (ValueError, TypeError, OverflowError) as failure:  # broken UTF-8, unhashable keys
        raise cbor2.CBORDecodeError(str(failure)) from failure


def _holds(value: Any, kinds: Collection[type]) -> bool:
    """Whether a value that does not hold itself holds one of these types, at any depth.  Without a Python call an element."""
    todo = [value]
    while todo:
        part = todo.pop()
        for parts in (part, part.values()) if type(part) is dict else (part,):
            found = set(map(type, parts))
            if not found.isdisjoint(kinds):
                return True
            if not found.isdisjoint(_CONTAINERS):
                todo += [inner for inner in parts if type(inner) in _CONTAINERS]
    return False


def encode_payload(value: object) -> bytes:
    """Canonical CBOR of a user's value.  CodecError (or ValueError, TypeError) when `decode_payload` could not give it back.

    A value that needs a tag of its own (a fraction, a pattern, a date, an address) holds byte d8 or d9, so only payloads with one of
    those bytes are decoded again to make sure.
    """
    data = _canonical(value)
    if (type(value) in _CONTAINERS and _holds(value, _OURS)) or type(value) in _OURS:
        data = _careful(value)
    if b"\xd8" in data or b"\xd9" in data:
        decode_payload(data)
    return data


def decode_payload(data: bytes) -> Any:
    """The user's value in `data`.  CodecError when it is not exactly one value made of allowed parts."""
    try:
        pair = cbor2.loads(
            b"\x82" + data + SENTINEL,
            semantic_decoders=_PAYLOAD_TAGS,
            tag_hook=_refuse,
            max_depth=MAX_PAYLOAD_DEPTH + 1,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
    except (ValueError, TypeError, OverflowError, ArithmeticError) as failure:
        raise cbor2.CBORDecodeError(str(failure)) from failure
    if len(pair) != 2 or pair[1] != _SENTINEL_VALUE:
        raise cbor2.CBORDecodeError("trailing bytes after the value")
    return pair[0]
