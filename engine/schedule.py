"""Recurring tasks: declaring them, looking at them, and when they would fire.

A schedule belongs to the queue of its handler; its name is unique in an engine.  What is declared here is checked here, so that a schedule
that was accepted can fire; when it does, and what becomes of that, is decided in kernel/recurring.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import trio

from journeyman.actors.calendar import cron as cron_of
from journeyman.actors.calendar import shown, zone
from journeyman.actors.call import Call
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.recurrence import calendar_of, declare, holder
from journeyman.engine.errors import PayloadTooLarge, ScheduleNotFound, given_up
from journeyman.engine.names import check_name, check_words
from journeyman.engine.operating import Operations
from journeyman.engine.questions import unless_refused
from journeyman.engine.scope import Scope
from journeyman.engine.spec import SubmitSpec, Submittable
from journeyman.engine.submitting import admit, resolve
from journeyman.journal.digest import digest
from journeyman.journal.instants import instant_us
from journeyman.kernel.bounds import EVERY_MIN_US, FIRE_MAX_US, PREVIEW_MAX, SCHEDULE_PAYLOAD_MAX_BYTES, SCHEDULES_MAX
from journeyman.kernel.commands import Answer, Declare, Unschedule
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.ids import id_text
from journeyman.kernel.namespace import namespace_of
from journeyman.kernel.schedule import ScheduleState

Misfire = Literal["skip", "once", "all"]
Overlap = Literal["skip", "allow"]
# What `using` fixed for one task and cannot mean anything for many of them.
_NOT_FOR_MANY: Final = ("debounce_us",)


@dataclass(frozen=True, slots=True)
class Schedule:
    """A recurring task as it stands.  Instants are aware, with the offset that its own zone has then.

    spec: when it fires, in words.  next_at: its next fire time; None if there is none, or if it does not fire here.  last_at, last_task:
    the last fire time that became a task, and that task's id.  fired: how many did.  skipped_at, skipped: the last one that did not, and
    why ("misfire", "overlap", "max_pending", ...).  paused: its queue is, so its tasks wait.  reason: why it does not fire in this process.
    """

    name: str
    queue: str
    handler: str
    spec: str
    cron: str | None
    every: timedelta | None
    timezone: str
    start: datetime | None
    end: datetime | None
    misfire: Misfire
    overlap: Overlap
    next_at: datetime | None
    last_at: datetime | None
    last_task: str | None
    fired: int
    skipped_at: datetime | None
    skipped: str | None
    paused: bool
    reason: str | None


class Schedules(Operations):
    """What an open engine knows of recurring tasks."""

    async def schedule(
        self,
        name: str,
        handler: Submittable[..., Any] | str,
        *,
        cron: str | None = None,
        every: Seconds | None = None,
        timezone: str = "UTC",
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
        misfire: Misfire = "skip",
        overlap: Overlap | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
        by: str = "api",
    ) -> Schedule:
        """Have `handler(*args, **kwargs)` submitted again and again; durable on return.  Say it at each start of the program: what is
        declared already keeps its place, what has changed is changed.

        handler: a handler, `handler.using(...)` or a handler's name.  cron: five fields (minute hour day month weekday), or six with
        seconds first, in `timezone`, the name of an IANA zone.  every: seconds or a timedelta, counted from now, or from `start`,
        without drift.  start, end: aware; nothing fires before the one or after the other.

        misfire: what becomes of fire times that passed more than a minute ago when they could be looked at (the engine was closed, the
        clock was moved): "skip" them, fire "once" for all of them, or fire "all", the newest thousand at most.  overlap: "skip" a fire
        while a task of an earlier one is unfinished, or "allow" both; by default skip, but with misfire="all" allow.

        ValueError for what cannot be meant, ImportError for cron without cronsim; TypeError, InvalidPayload, PayloadTooLarge for the
        arguments; HandlerNotFound, QueueNotFound, QueueBroken, JournalFull.
        """
        check_words("", by)
        session = self._opened()
        check_name(name, "schedule name")
        target, actor = resolve(session, handler)
        payload = target.handler.encode_call(args or (), dict(kwargs or {}))
        limit = min(SCHEDULE_PAYLOAD_MAX_BYTES, actor.state.policy.max_payload)
        if len(payload) > limit:
            raise PayloadTooLarge(len(payload), limit)
        spec = {
            **_timing(cron, every, timezone, start, end),
            **_task(target),
            "misfire": _one_of(misfire, "misfire", ("skip", "once", "all")),
            "overlap": _one_of(overlap if overlap is not None else "allow" if misfire == "all" else "skip", "overlap", ("skip", "allow")),
            "payload": payload,
            "digest": digest(payload),
        }
        _check_fires(spec, session.shell.clock.wall())
        if name not in actor.state.schedules and len(actor.state.schedules) >= SCHEDULES_MAX:
            raise ValueError(f"queue {session.called(actor.name)!r} has {SCHEDULES_MAX:,} schedules, which is as many as it can have")
        admit(session, actor, len(payload))
        await session.sound()
        session = self._opened()
        call = self._declare(session, actor, Declare(name, spec, by, session.shell.clock.wall()))
        seen = _shown(session, actor, actor.state.schedules[name])
        unless_refused(await call.wait())
        return seen

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C between applying and recording would leave memory ahead of the disk
    def _declare(self, session: Scope, actor: QueueActor, command: Declare) -> Call[Answer]:
        return declare(session.shell, actor, command)

    async def unschedule(self, name: str, *, reason: str = "", by: str = "api") -> None:
        """Have it fire no more; durable on return.  Tasks that it submitted stay.  ScheduleNotFound."""
        check_words(reason, by)
        session = self._opened()
        actor, own_name = await self._place(session, name)
        unless_refused(await actor.ask(Unschedule(own_name, by, reason)).wait())

    async def schedules(self, queue: str | None = None) -> list[Schedule]:
        """Every schedule, or those of a queue, by name.  QueueNotFound."""
        session = await self._sound(self._opened())
        actors = session.queues() if queue is None else [self._actor(session, queue)]
        found = [_shown(session, actor, schedule) for actor in actors for schedule in actor.state.schedules.values()]
        await self._seen(session)
        return sorted(found, key=lambda schedule: schedule.name)

    async def preview(self, name: str, n: int = 5) -> list[datetime]:
        """The next `n` fire times of a schedule, aware, with its zone's offset at each; fewer if it ends.  ScheduleNotFound."""
        session = await self._sound(self._opened())
        actor, own_name = await self._place(session, name)
        schedule = actor.state.schedules[own_name]
        clock = session.shell.clock.wall() if schedule.by_cron else session.shell.now()
        found = _following(schedule, max(schedule.cursor, clock), _count(n))
        await self._seen(session)
        return found

    async def _place(self, session: Scope, name: str) -> tuple[QueueActor, str]:
        """The queue of a schedule, and what it is called there: the owner names those of a namespace as "namespace/name"."""
        actor, own_name = holder(session.shell, name, session.namespace), name
        if actor is None and not session.namespace and "/" in name:
            namespace, _, own_name = name.partition("/")
            actor = holder(session.shell, own_name, namespace)
        if actor is None:
            await self._seen(session)
            raise ScheduleNotFound(f"no schedule {name!r}: it was never declared here, or has been removed")
        return actor, own_name


def fire_times(
    n: int = 5,
    *,
    after: datetime,
    cron: str | None = None,
    every: Seconds | None = None,
    timezone: str = "UTC",
    start: datetime | None = None,
    end: datetime | None = None,
) -> list[datetime]:
    """The `n` fire times after `after` that a schedule declared at that instant would have, aware, with its zone's offset at each.

    No engine is needed; `await engine.preview(name, n)` asks for those of a schedule that is declared.

    ValueError and ImportError as `Engine.schedule`.
    """
    spec = _timing(cron, every, timezone, start, end)
    since = instant_us(after, "after")
    schedule = ScheduleState("preview")
    schedule.spec, schedule.opens_at = spec, spec["start_at"]
    if spec["every_us"] is not None:
        schedule.anchor = since if spec["start_at"] is None else spec["start_at"] - spec["every_us"]
    return _following(schedule, since, _count(n))


def _following(schedule: ScheduleState, after: int, n: int) -> list[datetime]:
    calendar, at = calendar_of(schedule), zone(schedule.spec["timezone"])
    found: list[datetime] = []
    following = schedule.next_after(after, calendar)
    while following is not None and len(found) < n:
        found.append(shown(following, at))
        following = schedule.next_after(following, calendar)
    return found


def _count(n: int) -> int:
    if isinstance(n, bool) or not isinstance(n, int) or not 0 <= n <= PREVIEW_MAX:
        raise ValueError(f"n must be a whole number from 0 to {PREVIEW_MAX:,}, not {n!r}")
    return n


# --- what is declared -------------------------------------------------------------------------------------------------


def _timing(cron: str | None, every: Seconds | None, timezone: str, start: datetime | None, end: datetime | None) -> dict[str, Any]:
    if (cron is None) == (every is None):
        raise ValueError("give cron (an expression) or every (seconds), one of them")
    zone(timezone)
    if cron is not None:
        if not isinstance(cron, str):
            raise ValueError(f"cron must be an expression such as '0 3 * * *', not {cron!r}")
        cron = " ".join(cron.split())
        cron_of(cron, timezone)
    if start is not None and instant_us(start, "start") > FIRE_MAX_US:
        raise ValueError(f"start must be before the year 9990, after which nothing fires, not {start!r}")
    return {
        "cron": cron,
        "every_us": None if every is None else microseconds(every, "every", least=EVERY_MIN_US),
        "timezone": timezone,
        "start_at": None if start is None else max(0, instant_us(start, "start")),
        "end_at": None if end is None else max(0, instant_us(end, "end")),
    }


def _check_fires(spec: Mapping[str, Any], now: int) -> None:
    if spec["cron"] is not None and cron_of(spec["cron"], spec["timezone"]).after(now) is None:
        raise ValueError(f"cron expression {spec['cron']!r} never fires: no day within fifty years fits it")
    if spec["start_at"] is not None and spec["end_at"] is not None and spec["end_at"] < spec["start_at"]:
        raise ValueError("end is before start")


def _task(target: SubmitSpec[..., Any]) -> dict[str, Any]:
    """What of `using` holds for every task of a schedule."""
    fixed = target.fixed or {}
    for given, what in (
        (target.task, "id"),
        (target.delay_us, "delay"),
        (target.at_us, "at"),
        (target.deadline_at, "a deadline that is an instant"),
        (target.after or None, "after"),
        (None if target.on_conflict == "return" else target.on_conflict, "on_conflict"),
        *((fixed.get(name), name.removesuffix("_us")) for name in _NOT_FOR_MANY),
    ):
        if given is not None:
            raise ValueError(f"{what} is for one task; a schedule submits many, each when it fires")
    return {
        "handler": target.handler.name,
        "priority": target.priority,
        "deadline_us": target.deadline_us,
        "options": dict(fixed) or None,
    }


def _one_of(value: str, what: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{what} must be {' or '.join(map(repr, allowed))}, not {value!r}")
    return value


# --- what is shown ----------------------------------------------------------------------------------------------------


def _shown(session: Scope, actor: QueueActor, schedule: ScheduleState) -> Schedule:
    spec = schedule.spec
    foreign = "" if session.namespace else namespace_of(actor.name)
    try:
        at: Any = zone(spec["timezone"])
    except ValueError:  # gone from this machine; `reason` says so
        at = zone("UTC")

    def local(us: int | None) -> datetime | None:
        return None if us is None else shown(us, at)

    broken = None if actor.broken is None else given_up(session.called(actor.name), actor.broken)
    every = None if spec["every_us"] is None else timedelta(microseconds=spec["every_us"])
    return Schedule(
        name=f"{foreign}/{schedule.name}" if foreign else schedule.name,
        queue=session.called(actor.name),
        handler=spec["handler"],
        spec=f"cron {spec['cron']}" if every is None else f"every {every / timedelta(seconds=1):g} s",
        cron=spec["cron"],
        every=every,
        timezone=spec["timezone"],
        start=local(spec["start_at"]),
        end=local(spec["end_at"]),
        misfire=spec["misfire"],
        overlap=spec["overlap"],
        next_at=None if broken else local(actor.recurrence.next.get(schedule.name)),
        last_at=local(schedule.last_at),
        last_task=None if schedule.last_task is None else id_text(schedule.last_task),
        fired=schedule.fired,
        skipped_at=local(schedule.skipped_at),
        skipped=schedule.skipped_why or None,
        paused=actor.state.paused is not None,
        reason=broken or actor.recurrence.trouble.get(schedule.name),
    )


__all__ = ["Misfire", "Overlap", "Schedule", "Schedules", "fire_times"]
