"""Between the public API's datetimes and the kernel's integer microseconds (durations: kernel/duration.py)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def instant_us(value: datetime, name: str = "at") -> int:
    """Microseconds since the epoch, exact.  ValueError for a naive datetime: it does not say which instant it means."""
    if not isinstance(value, datetime) or value.tzinfo is None or value.utcoffset() is None:
        raise ValueError(
            f"{name} must be an aware datetime (for example datetime.now(UTC)); {value!r} does not say which time zone it means"
        )
    return (value - EPOCH) // _MICROSECOND


def instant_of(us: int) -> datetime:
    """The aware UTC datetime of an instant in microseconds."""
    return EPOCH + timedelta(microseconds=us)
