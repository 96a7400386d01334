"""Moments: between the public API's datetimes and the kernel's integer microseconds (durations: kernel/duration.py), and seqs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
NO_SEQ: Final = (1 << 64) - 2  # after every seq that there will be
_MICROSECOND: Final = timedelta(microseconds=1)


def instant_us(value: datetime, name: str = "at") -> int:
    """Microseconds since the epoch, exact.

    ValueError for a naive datetime, which does not say which instant it means, and for one that no datetime of UTC could show again.
    """
    if not isinstance(value, datetime):
        raise ValueError(f"{name} must be an aware datetime (for example datetime.now(UTC)), not {value!r}")
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(
            f"{name} must be an aware datetime (for example datetime.now(UTC)); {value!r} does not say which time zone it means"
        )
    if not _FIRST <= value <= _LAST:
        raise ValueError(f"{name} must be in the years 1 to 9999 of UTC, not {value!r}")
    return (value - EPOCH) // _MICROSECOND


def instant_of(us: int) -> datetime:
    """The aware UTC datetime of an instant in microseconds."""
    return EPOCH + _MICROSECOND * us  # exact, and in half the time of timedelta(microseconds=us)


def seq_of(moment: object) -> int | None:
    """A moment that is a seq; None for an instant.  TypeError, ValueError for what is neither."""
    if isinstance(moment, datetime):
        return None
    if isinstance(moment, bool) or not isinstance(moment, int):
        raise TypeError(f"a moment is a seq (an int) or an aware datetime, not {moment!r}")
    if moment < 0:
        raise ValueError(f"seqs begin at 1, {moment} is none")
    return min(moment, NO_SEQ)
