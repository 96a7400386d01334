"""What is in arguments and results, for people and for JSON, with what must not be shown replaced."""

from __future__ import annotations

from typing import Any, Final

from journeyman.journal.cbor import CodecError, decode_payload
from journeyman.journal.redaction import Redaction
from journeyman.journal.wording import jsonable

_LONG: Final = 2_000  # characters


def arguments(handler: str, data: bytes | None, redaction: Redaction) -> dict[str, Any] | None:
    """`{"args": [...], "kwargs": {...}}`; None if they are not kept.  What cannot be decoded is said to be so, not shown."""
    if data is None:
        return None
    if not data:
        return {"args": [], "kwargs": {}}
    try:
        found = decode_payload(data)
    except CodecError:
        found = None
    if not (isinstance(found, list) and len(found) == 2 and isinstance(found[0], list) and isinstance(found[1], dict)):
        return {"undecodable_bytes": len(data)}
    args, kwargs = redaction.call(handler, found[0], found[1])
    return {"args": jsonable(args), "kwargs": jsonable(kwargs)}


def call_text(handler: str, found: dict[str, Any] | None) -> str:
    """As one would write the call."""
    if found is None:
        return f"{handler}(...), its arguments are not kept"
    if "undecodable_bytes" in found:
        return f"{handler}(...), {found['undecodable_bytes']} bytes of arguments that cannot be decoded"
    words = [value_text(value) for value in found["args"]] + [f"{name}={value_text(value)}" for name, value in found["kwargs"].items()]
    return f"{handler}({', '.join(words)})"


def value_text(value: Any) -> str:
    """As one would write it, if that is not too long for a line."""
    text = repr(value)
    return text if len(text) <= _LONG else f"{text[:_LONG]}... [{len(text):,} characters; --json has all of them]"


def result(data: bytes | None, redaction: Redaction) -> Any:
    """The value of a result; None where there is none."""
    if data is None:
        return None
    try:
        return jsonable(redaction.value(decode_payload(data)))
    except CodecError:
        return {"undecodable_bytes": len(data)}


__all__ = ["arguments", "call_text", "result", "value_text"]
