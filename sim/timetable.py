"""A second opinion on schedules: a set of the fire times that are over, and a look at every minute of the wall.

As in sim/oracle.py, plain values driven by the events as they become durable; nothing is shared with kernel/schedule.py, which knows no
set, and nothing with the calendar: whether an instant is a fire time is read off the expression here, minute by minute, changes of the
zone's clock included.  Users' schedules are judged by this too, so of what it cannot read (six fields, `L`, `#`) it says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US: Final = 60_000_000
MINUTE: Final = timedelta(minutes=1)
ZERO: Final = timedelta(0)
MONTHS: Final = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


class Entry:
    """A schedule, as the oracle sees it.  `vague`: it was declared with other times before, so what was over then says little now."""

    def __init__(self) -> None:
        self.spec: Mapping[str, Any] = {}
        self.anchor = self.cursor = self.fired = self.seq = self.gaps = 0
        self.opens: int | None = None
        self.over: set[int] = set()  # fire times of cron
        self.last_at: int | None = None
        self.last_task: bytes | None = None
        self.skipped: tuple[int, str] | None = None
        self.vague = False
        self.expression: Expression | None = None

    @property
    def readable(self) -> bool:
        """Whether anything can be said here about its times."""
        return self.spec["cron"] is None or self.expression is not None

    def is_time(self, us: int) -> bool:
        """Whether it should fire at this instant."""
        end = self.spec["end_at"]
        if (self.opens is not None and us < self.opens) or (end is not None and us > end):
            return False
        every = self.spec["every_us"]
        if every is not None:
            return us > self.anchor and (us - self.anchor) % every == 0
        return self.expression is not None and self.expression.names(us, ZoneInfo(self.spec["timezone"]))

    def times(self, after: int, until: int) -> list[int]:
        """Those after `after` and up to `until` that are not over.  Of very many, the first."""
        every = self.spec["every_us"]
        if every is not None:
            first = self.anchor + ((max(after, self.anchor, (self.opens or 1) - 1) - self.anchor) // every + 1) * every
            end = self.spec["end_at"]
            return list(range(first, min(until, until if end is None else end) + 1, every)[:3_000])
        found: list[int] = []
        at = after // MINUTE_US * MINUTE_US + MINUTE_US
        while at <= until and len(found) < 3_000:
            if at not in self.over and self.is_time(at):
                found.append(at)
            at += MINUTE_US
        return found


class Expression:
    """Five fields, read plainly.  ValueError for what this cannot read."""

    FIELDS: Final = ((0, 59, ()), (0, 23, ()), (1, 31, ()), (1, 12, MONTHS), (0, 7, WEEKDAYS))

    def __init__(self, text: str) -> None:
        fields = text.upper().split()
        if len(fields) != 5:
            raise ValueError(text)
        admitted = [_admitted(field, *bounds) for field, bounds in zip(fields, self.FIELDS, strict=True)]
        self.minutes, self.hours, self.days, self.months = admitted[:4]
        self.weekdays = {day % 7 for day in admitted[4]}  # Sunday is 0, and 7
        # A day of the month and a day of the week that are both named: either will do.
        self.either = not fields[2].startswith("*") and not fields[4].startswith("*")
        # Times that are named, both hour and minute, come once a day, whatever the zone's clock does.
        self.fixed = not fields[0].startswith("*") and not fields[1].startswith("*")

    def reads(self, wall: datetime) -> bool:
        """Whether a clock on the wall that shows this shows a fire time."""
        day, weekday = wall.day in self.days, (wall.weekday() + 1) % 7 in self.weekdays
        return (
            wall.second == wall.microsecond == 0
            and wall.minute in self.minutes
            and wall.hour in self.hours
            and wall.month in self.months
            and (day or weekday if self.either else day and weekday)
        )

    def names(self, us: int, zone: ZoneInfo) -> bool:
        """Whether it fires at this instant."""
        at = EPOCH + timedelta(microseconds=us)
        wall = at.astimezone(zone)
        if not self.fixed:
            return self.reads(wall)
        if self.reads(wall) and not wall.fold:  # of a time that comes twice, the first
            return True
        before = (at - MINUTE).astimezone(zone)
        left_out = ((wall.utcoffset() or ZERO) - (before.utcoffset() or ZERO)) // MINUTE
        plain = wall.replace(tzinfo=None)
        return any(self.reads(plain - n * MINUTE) for n in range(1, left_out + 1))  # at the end of the gap


def _admitted(field: str, least: int, most: int, names: tuple[str, ...]) -> set[int]:
    """What a field admits: `*`, numbers and names, ranges, steps, and lists of them."""
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        low = least if span == "*" else _number(first, least, names)
        high = most if span == "*" or (step and not dash) else _number(last if dash else first, least, names)
        found.update(range(low, high + 1, int(step or 1)))
    if not found or min(found) < least or max(found) > most:
        raise ValueError(field)
    return found


def _number(text: str, least: int, names: tuple[str, ...]) -> int:
    return names.index(text) + least if text in names else int(text)


def read(text: str) -> Expression | None:
    """An expression; None if it cannot be read here."""
    try:
        return Expression(text)
    except ValueError:
        return None


class Timetable(dict[tuple[str, str], Entry]):
    """Entries by queue and name."""

    def __init__(self) -> None:
        super().__init__()
        self.removed: dict[str, int] = {}  # name -> seq

    def told(self, seq: int, event: Any) -> None:
        """Any event of a schedule."""
        {"ScheduleDeclared": self.declared, "ScheduleRemoved": self.gone, "ScheduleFired": self.took}[type(event).__name__](seq, event)

    def declared(self, seq: int, event: Any) -> None:
        entry = self.setdefault((event.queue, event.name), Entry())
        if entry.spec and any(entry.spec[name] != event.spec[name] for name in ("cron", "every_us", "timezone")):
            entry.vague = True
        entry.spec, entry.anchor, entry.opens, entry.cursor, entry.seq = event.spec, event.anchor_at, event.opens_at, event.cursor_at, seq
        entry.expression = None if event.spec["cron"] is None else read(event.spec["cron"])
        entry.vague |= not entry.readable

    def gone(self, seq: int, event: Any) -> None:
        self.pop((event.queue, event.name), None)
        self.removed[event.name] = seq

    def took(self, seq: int, event: Any) -> None:
        entry = self.get((event.queue, event.name))
        if entry is None:
            return
        entry.seq, entry.cursor = seq, event.fire_at
        entry.gaps += event.missed > 0 or event.reason == "misfire"
        if event.reason != "misfire" and entry.spec["cron"] is not None:
            entry.over.add(event.fire_at)
        if event.submitted is None:
            entry.skipped = event.fire_at, event.reason
        else:
            entry.fired += 1
            entry.last_at, entry.last_task = event.fire_at, event.submitted

    def stepped(self, seq: int, event: Any) -> None:
        for entry in self.values():
            if entry.spec["cron"] is not None:
                entry.cursor = min(entry.cursor, event.at)
            elif entry.opens is None or entry.cursor >= entry.opens:
                entry.anchor += event.delta_us
                entry.cursor += event.delta_us
                entry.opens = None


__all__ = ["Entry", "Expression", "Timetable", "read"]
