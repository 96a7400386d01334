"""What happens to schedules: event kinds as in kernel/events.py, whose conventions hold here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

Options = Mapping[str, Any] | None


class ScheduleDeclared(NamedTuple):
    """A recurring task is declared, or declared otherwise.  `spec`: what fires and when (docs/FORMAT.md); `anchor_at`: `every` counts from
    here; `opens_at`: nothing fires before it; `cursor_at`: fire times up to here are over.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    name: str
    spec: Mapping[str, Any]
    anchor_at: int
    opens_at: int | None
    cursor_at: int
    by: str
    options: Options = None


class ScheduleRemoved(NamedTuple):
    """A recurring task fires no more."""

    at: int
    queue: str
    qseq: int
    epoch: int
    name: str
    by: str
    reason: str
    options: Options = None


class ScheduleFired(NamedTuple):
    """The fire time `fire_at` is over.  `submitted`: the task it became, whose TaskSubmitted is in the same commit; None: `reason` says why
    (misfire, overlap, max_pending, unique, or the error's name).  `missed`: how many older fire times were passed over with it.
    """

    at: int
    queue: str
    qseq: int
    epoch: int
    name: str
    fire_at: int
    submitted: bytes | None
    missed: int
    late_us: int  # how long after `fire_at` this was decided, by the clock that it goes by
    reason: str
    options: Options = None


__all__ = ["ScheduleDeclared", "ScheduleFired", "ScheduleRemoved"]
