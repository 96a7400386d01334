"""Moments, durations and ids as people type them."""

from __future__ import annotations

import math
import re
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from journeyman.cli.failures import WrongCall
from journeyman.journal.instants import EPOCH
from journeyman.journal.view import Moment
from journeyman.kernel.ids import id_bytes

_UNITS: Final = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SEQ: Final = re.compile(r"[0-9]{1,19}")
_DURATION: Final = re.compile(r"([0-9]{1,19}(?:\.[0-9]{1,19})?)(us|ms|s|min|m|h|d|w)")


def moment(text: str) -> Moment:
    """`1234` (a seq), `2026-11-22T10:00:00Z` (an instant, with its zone), `now`, or `90s`, `2h30m` (so long ago).  WrongCall."""
    if _SEQ.fullmatch(text):
        return int(text)
    if text == "now":
        return datetime.now(UTC)
    ago = _seconds(text)
    if ago is not None:
        try:
            return EPOCH + timedelta(microseconds=time.time_ns() // 1_000) - timedelta(seconds=ago)
        except OverflowError:
            raise WrongCall(f"{text} ago is before any calendar: give a shorter time") from None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise WrongCall(
            f"{text!r} is no moment: give a seq (1234), an instant (2026-11-22T10:00:00Z) or how long ago (90s, 2h30m)"
        ) from None
    if found.tzinfo is None:
        utc = f"{text}Z" if ":" in text else f"{text}T00:00Z"
        raise WrongCall(f"{text!r} does not say which time zone it means: write {utc} for UTC, or an offset such as +01:00")
    return found


def duration(text: str) -> float:
    """Seconds, of `90`, `90s`, `2h30m`, `500ms`.  WrongCall."""
    found = _seconds(text)
    if found is None:
        try:
            found = float(text)
            if not math.isfinite(found):
                raise ValueError
        except ValueError:
            raise WrongCall(f"{text!r} is no duration: write 90s, 2h30m, 500ms or 3d") from None
    return found


def task_id(text: str) -> bytes:
    """The 16 bytes of a task's id.  WrongCall."""
    try:
        return id_bytes(text)
    except ValueError:
        raise WrongCall(f"{text!r} is no task id: ids are UUIDs, such as 0198c3a4-1f5e-7c3a-9b1e-3f2d5a6b7c8d") from None


def _seconds(text: str) -> float | None:
    pieces = _DURATION.findall(text)
    if not pieces or "".join(number + unit for number, unit in pieces) != text:
        return None
    return sum(float(number) * _UNITS[unit] for number, unit in pieces)


__all__ = ["duration", "moment", "task_id"]
