"""Declare, Unschedule and Fire: what becomes of a schedule, and of a fire time that has come.

A fire is decided when its queue is next looked at, so it may be late: by microseconds, by a minute after a suspend, by months after a
downtime.  At most GRACE late it is on time; what is later is missed, and so is all that is older than another due fire time:

- misfire="skip": missed fires are passed over.  The newest still fires when it is on time.
- misfire="once": the newest fires, however late, for all of them.
- misfire="all": each fires, the newest SCHEDULE_ALL_MAX of them at most.

A fire that is not missed becomes a task in the same commit as the ScheduleFired that names it.  It is submitted like any other: with
overlap="skip" not while a task of an earlier fire is unfinished, and not when the queue is full; either way the fire time is used up, and
the ScheduleFired says why it came to nothing.  A paused queue takes the task in; a queue that this process does not run, or a handler that
it does not have, leaves the schedule alone: whoever can run it decides, later, what was missed.

Cron is compared with the wall clock as it is now (`Fire.wall`), `every` with kernel time, for it is a duration.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import Any, Final

from journeyman.kernel.bounds import SCHEDULE_GRACE_US
from journeyman.kernel.commands import Accepted, Answer, Decision, Declare, Env, Fire, Refused, Submit, Unschedule
from journeyman.kernel.events import DUE_BY_DURATION, ScheduleDeclared, ScheduleFired, ScheduleRemoved
from journeyman.kernel.schedule import MISFIRE, OVERLAP, TIMING, ScheduleState
from journeyman.kernel.state import QueueState
from journeyman.kernel.submit import submit

_WHY: Final = {"QueueFull": "max_pending"}


def declare(state: QueueState, command: Declare, now: int, env: Env) -> Decision:
    """ScheduleDeclared, unless it says what is known already.  Another time of firing counts from now; another task to fire does not."""
    known, spec = state.schedules.get(command.name), command.spec
    if known is not None and known.spec == spec:
        return Decision([], [Accepted(existing=True)])
    if known is not None and all(known.spec[field] == spec[field] for field in TIMING):
        anchor, opens_at, cursor = known.anchor, known.opens_at, known.cursor
    else:
        every, opens_at = spec["every_us"], spec["start_at"]
        cursor = now if every is not None else command.wall
        anchor = 0 if every is None else now if opens_at is None else opens_at - every
    event = ScheduleDeclared(
        now, state.name, state.qseq + 1, state.epoch, command.name, spec, anchor, opens_at, cursor, command.by
    )  # fmt: skip
    return Decision([event], [Accepted()])


def unschedule(state: QueueState, command: Unschedule, now: int, env: Env) -> Decision:
    """ScheduleRemoved.  What it has submitted stays."""
    if command.name not in state.schedules:
        return Decision([], [Refused("ScheduleNotFound", f"no schedule {command.name!r}")])
    return Decision([ScheduleRemoved(now, state.name, state.qseq + 1, state.epoch, command.name, command.by, command.reason)], [Accepted()])


def why_not(schedule: ScheduleState, handlers: Collection[str] | None) -> str | None:
    """Why it does not fire in a process with these handlers (None: all of them)."""
    if handlers is not None and schedule.spec["handler"] not in handlers:
        return f"this process has no handler {schedule.spec['handler']!r}"
    return None


def fire(state: QueueState, command: Fire, now: int, env: Env) -> Decision:
    """What the schedule's due fire times come to; `count` of the answer: the tasks."""
    schedule = state.schedules.get(command.name)
    nothing = Decision([], [Accepted()])
    if schedule is None or env.stopping or why_not(schedule, env.handlers) is not None:
        return nothing
    cron = command.after
    clock = command.wall if schedule.by_cron else now
    first = schedule.next_after(schedule.cursor, cron)
    if first is None or first > clock:
        return nothing
    misfire = schedule.spec["misfire"]
    instants = schedule.many(first, clock, cron) if misfire == "all" else [schedule.newest(first, clock, cron)]
    missed = schedule.count(first, instants[0], cron)
    if misfire == "skip" and clock - instants[0] > SCHEDULE_GRACE_US:
        late = clock - instants[0]
        event = ScheduleFired(now, state.name, state.qseq + 1, state.epoch, command.name, instants[0], None, missed, late, MISFIRE)
        return Decision([event], [Accepted()])
    overlap = schedule.spec["overlap"] == "skip"
    ready = [] if overlap and state.has_unfinished(command.name) else instants[:1] if overlap else instants
    submits = [_submit(schedule, fire_at, _id(command.seed, n), now) for n, fire_at in enumerate(ready)]
    submitted = submit(state, submits, now, env) if submits else nothing
    events = list(submitted.events)
    answers = submitted.answers if submits else []
    task, why = None, OVERLAP
    for n, fire_at in enumerate(instants):
        if n < len(submits):
            task, why = _outcome(submits[n], answers[n])
        elif task is not None:  # the first of them, which the others would overlap; where it was refused, so are they
            task, why = None, OVERLAP
        head = (now, state.name, state.qseq + len(events) + 1, state.epoch)
        events.append(ScheduleFired(*head, command.name, fire_at, task, missed if n == 0 else 0, clock - fire_at, why))
    return Decision(events, [Accepted(count=len(submitted.events))])


def _outcome(command: Submit, answer: Answer) -> tuple[bytes | None, str]:
    if isinstance(answer, Refused):
        return None, _WHY.get(answer.error, answer.error)
    return (None, "unique") if answer.existing else (command.task, "")


def _submit(schedule: ScheduleState, fire_at: int, id: bytes, now: int) -> Submit:
    spec = schedule.spec
    options: dict[str, Any] = {**(spec["options"] or {}), "schedule": [schedule.name, fire_at]}
    if spec["deadline_us"] is not None:
        options |= {"deadline_at": now + spec["deadline_us"], "deadline_kind": DUE_BY_DURATION}
    return Submit(
        id, spec["handler"], spec["priority"], None, DUE_BY_DURATION, len(spec["payload"]), spec["digest"], 0, None, options
    )  # fmt: skip


def _id(seed: bytes, n: int) -> bytes:
    """The n-th id that comes of one minted id: the same milliseconds and version, other chance."""
    if not n:
        return seed
    made = bytearray(seed[:6] + blake2b(seed + n.to_bytes(4, "big"), digest_size=10).digest())
    made[6] = made[6] & 0x0F | 0x70
    made[8] = made[8] & 0x3F | 0x80
    return bytes(made)


__all__ = ["declare", "fire", "unschedule", "why_not"]
