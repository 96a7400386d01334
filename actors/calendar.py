"""The calendar: which instants a cron expression means in a time zone.

Problem.  A cron expression speaks of a clock on a wall, and that clock leaves out an hour in spring and says one twice in autumn.  Choice:
cronsim reads the expression and finds matching readings of the wall; what a reading means as an instant is decided here, by its rules,
which are Debian cron's:

- Fixed times (neither the minute nor the hour field begins with `*`, five fields): once a day each.  A time that the spring change leaves
  out fires at the end of the gap; of a time that comes twice in autumn, the first fires.
- All others (`*/15 * * * *`, `0 * * * *`, six fields, of which the first is seconds): the wall is taken as it is.  What is left
out does not
  fire, what comes twice fires twice.

cronsim does this itself when it is given an aware datetime, but then its answers depend on where it starts (a start in the repeated hour
gives instants before it; a zone that changes at midnight gives a midnight or not).  Asked for naive readings it has no such doubts, and the
fire times of a schedule are one set, wherever one begins to look, which is what "never twice" rests on.

cronsim is optional (`pip install "journeyman[cron]"`) and imported here only.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from datetime import timezone as fixed_offset
from functools import lru_cache
from typing import Any, Final
from zoneinfo import ZoneInfo

from journeyman.journal.instants import EPOCH, instant_of
from journeyman.kernel.bounds import FIRE_MAX_US, SECOND_US

_NAIVE: Final = EPOCH.replace(tzinfo=None)
_SECOND: Final = timedelta(seconds=1)
_DAY: Final = 86_400
# Beyond these datetime has no room for an offset.
_FIRST: Final = (datetime(2, 1, 1) - _NAIVE) // _SECOND
_LAST: Final = FIRE_MAX_US // SECOND_US


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that name.  ValueError if there is none, or if this machine has no data about zones."""
    try:
        if not isinstance(name, str):
            raise TypeError
        return ZoneInfo(name)
    except (KeyError, ValueError, TypeError, OSError):
        raise ValueError(
            f"timezone must be the name of an IANA zone such as 'Europe/Oslo', not {name!r} (on a machine without zone data: "
            "pip install tzdata)"
        ) from None


def shown(us: int, at: tzinfo) -> datetime:
    """The instant as the wall of a zone shows it, with its offset fixed: two datetimes of one zone proper compare and subtract by their
    readings, which is wrong by an hour in the night that matters.  In UTC, where that wall would show a year that datetime has not.
    """
    try:
        local = instant_of(us).astimezone(at)
    except OverflowError:
        return instant_of(us)
    offset = local.utcoffset()
    return local if offset is None else local.replace(tzinfo=fixed_offset(offset), fold=0)


@lru_cache(maxsize=4_096)
def cron(expression: str, timezone: str) -> Cron:
    """The fire times of `expression` in `timezone`.  ImportError without cronsim; ValueError for what is no expression, or no zone."""
    return Cron(expression, timezone)


class Cron:
    """See above."""

    __slots__ = ("_expression", "_fixed", "_fixed_offset", "_sim", "_zone")

    def __init__(self, expression: str, timezone: str) -> None:
        try:
            from cronsim import CronSim, CronSimError
        except ImportError:
            raise ImportError('cron expressions need cronsim: pip install "journeyman[cron]"') from None
        self._zone: tzinfo = UTC if timezone == "UTC" else zone(timezone)
        self._fixed_offset = 0 if timezone == "UTC" else None
        self._expression = expression
        self._sim: Any = CronSim
        try:
            CronSim(expression, _NAIVE)
        except (CronSimError, ValueError, AssertionError) as error:
            raise ValueError(
                f"cron expression {expression!r} cannot be read: {error or 'bad field'}"
                " (five fields, minute hour day month weekday; or six, with seconds first)"
            ) from None
        fields = expression.split()
        self._fixed = len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")

    def after(self, us: int) -> int | None:
        """The first fire time after an instant, both microseconds UTC.  None: there is none within fifty years."""
        second = max(us // SECOND_US, _FIRST)
        if second > _LAST:
            return None
        found = self._fixed_after(second) if self._fixed else self._any_after(second)
        return None if found is None else found * SECOND_US

    # In seconds since the epoch, of UTC or of a wall.

    def _reading_after(self, wall: int) -> int | None:
        """The first matching reading of a wall clock after `wall`."""
        try:
            found: datetime = next(self._sim(self._expression, _NAIVE + wall * _SECOND))
        except (StopIteration, OverflowError, ValueError):
            return None
        reading = (found - _NAIVE) // _SECOND
        return None if reading > _LAST else reading

    def _offset(self, second: int) -> int:
        """What the wall is ahead of UTC at an instant."""
        if self._fixed_offset is not None:
            return self._fixed_offset
        offset = (EPOCH + second * _SECOND).astimezone(self._zone).utcoffset()
        assert offset is not None
        return offset // _SECOND

    def _fixed_after(self, second: int) -> int | None:
        reading: int | None = second + self._offset(second)
        while reading is not None:
            reading = self._reading_after(reading)
            if reading is not None and (found := self._first(reading)) > second:
                return found
        return None

    def _first(self, reading: int) -> int:
        """The instant at which a wall first shows `reading`; the end of the gap if it never does."""
        offset = (_NAIVE + reading * _SECOND).replace(tzinfo=self._zone).utcoffset()  # in a gap: that of before
        assert offset is not None
        found = reading - offset // _SECOND
        if found + self._offset(found) == reading:
            return found
        return self._change(found - _DAY, found)

    def _any_after(self, second: int) -> int | None:
        """Stretch by stretch of one offset: within one, readings and instants run evenly."""
        while True:
            offset = self._offset(second + 1)
            reading = self._reading_after(second + offset)
            if reading is None:
                return None
            found = reading - offset
            change = self._change_until(second + 1, found, offset)
            if change is None:
                return found
            second = change - 1

    def _change_until(self, begin: int, end: int, offset: int) -> int | None:
        """The first instant from `begin` to `end` at which the offset is another.  No zone changes twice within a day."""
        if self._fixed_offset is not None:
            return None
        at = begin
        while at < end:
            later = min(at + _DAY, end)
            if self._offset(later) != offset:
                return self._change(at, later)
            at = later
        return None

    def _change(self, low: int, high: int) -> int:
        """The instant between `low`, excluded, and `high`, included, from which on the offset is that of `high`."""
        offset = self._offset(high)
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == offset:
                high = middle
            else:
                low = middle
        return high


__all__ = ["Cron", "cron", "shown", "zone"]
