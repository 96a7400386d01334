"""Values in words: instants, durations and sizes as people read them, text that can do no harm, values as JSON can say them.

What a handler, a caller or an operator wrote goes through `visible` before anybody sees it, on a terminal or on a page.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from journeyman.journal.instants import instant_of

_AS_IT_IS: Final = frozenset({int, str, bool, type(None)})
_SIZES: Final = ("B", "KiB", "MiB", "GiB", "TiB")


def visible(text: str, *, lines: bool = True) -> str:
    """`text` without what would steer a terminal, or turn the direction of writing: handlers put anything into their errors.

    Without `lines` a break becomes a space, so that nobody's words can look like a line of ours.
    """
    if text.isprintable():
        return text
    if not lines:
        text = " ".join(text.split())
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def jsonable(value: Any) -> Any:
    """`value` as JSON can say it: instants in ISO 8601, durations in seconds, bytes in hex, what has no JSON form as its repr."""
    kind = type(value)  # what most of it is made of first: an export asks this for all that was ever stored
    if kind in _AS_IT_IS:
        return value
    if kind is list or kind is tuple:
        return [item if type(item) in _AS_IT_IS else jsonable(item) for item in value]
    if kind is dict:
        return {
            key if type(key) is str else str(jsonable(key)): item if type(item) in _AS_IT_IS else jsonable(item)
            for key, item in value.items()
        }
    if value is None or isinstance(value, bool | int | str):
        return str(value) if isinstance(value, str) else value
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else repr(value)
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(jsonable(key)): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((jsonable(item) for item in value), key=repr)
    return str(value)


def instant(us: int | None) -> str:
    """An instant in microseconds for people: UTC, to the millisecond."""
    if us is None:
        return ""
    return instant_of(us).strftime("%Y-%m-%d %H:%M:%S.") + f"{us // 1_000 % 1_000:03d}Z"


def span(us: float | None) -> str:
    """A duration in microseconds for people, to about three figures."""
    if us is None:
        return ""
    for limit, unit, size in ((1_000, "us", 1), (1_000_000, "ms", 1_000), (120_000_000, "s", 1_000_000)):
        if abs(us) < limit:
            return f"{us / size:.3g} {unit}"
    for limit, unit, size in ((2 * 3_600_000_000, "min", 60_000_000), (2 * 86_400_000_000, "h", 3_600_000_000)):
        if abs(us) < limit:
            return f"{us / size:.1f} {unit}"
    return f"{us / 86_400_000_000:.1f} d"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in _SIZES:
        if abs(count) < 1024 or unit == _SIZES[-1]:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


__all__ = ["instant", "jsonable", "size", "span", "visible"]
