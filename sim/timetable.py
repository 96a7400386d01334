"""A second opinion on schedules: a set of the fire times that are over, and a look at every minute of the wall.

As in sim/oracle.py, plain values driven by the events as they become durable; nothing is shared with kernel/schedule.py, which knows no
set, and nothing with the calendar: whether an instant is a fire time is read off the expression here.  Only expressions whose fields are
`*`, `*/n` or numbers are understood, and no change of a zone's clock; that is what the swarm draws, and tests/actors/test_calendar.py is
about the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE_US: Final = 60_000_000


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

    def is_time(self, us: int) -> bool:
        """Whether it should fire at this instant."""
        end = self.spec["end_at"]
        if (self.opens is not None and us < self.opens) or (end is not None and us > end):
            return False
        every = self.spec["every_us"]
        if every is not None:
            return us > self.anchor and (us - self.anchor) % every == 0
        wall = (EPOCH + timedelta(microseconds=us)).astimezone(ZoneInfo(self.spec["timezone"]))
        minute, hour, day, month, weekday = self.spec["cron"].split()
        if wall.second or wall.microsecond:
            return False
        return all(
            fits(text, value)
            for text, value in ((minute, wall.minute), (hour, wall.hour), (day, wall.day), (month, wall.month), (weekday, wall.weekday()))
        )

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


def fits(text: str, value: int) -> bool:
    """Whether a field, plainly written, admits a value."""
    if text == "*":
        return True
    return value % int(text[2:]) == 0 if text.startswith("*/") else str(value) in text.split(",")


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


__all__ = ["Entry", "Timetable", "fits"]
