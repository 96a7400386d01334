"""The starter: begins what may begin, at the end of every step of a queue.

Arguments that no longer fit their handler are found here, before the start is decided (DECISIONS 17): the events of a dispatch
are proposed, the arguments read and decoded, and only when all fit are the events applied.  A task that does not fit is parked,
and the dispatch proposed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from journeyman.actors.attempt import Attempt
from journeyman.actors.budget import tighter
from journeyman.actors.executor import run_attempt
from journeyman.actors.logs import about
from journeyman.actors.surroundings import around, around_starts
from journeyman.actors.writer import Step
from journeyman.journal.digest import digest
from journeyman.kernel.bounds import READ_AHEAD_BYTES, READ_AHEAD_TASKS
from journeyman.kernel.commands import Dispatch
from journeyman.kernel.decide import decide
from journeyman.kernel.dispatch import free_slots, startable
from journeyman.kernel.events import AttemptStarted
from journeyman.kernel.limiters import cost_of
from journeyman.kernel.state import QueueState, TaskState

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor


class Starter:
    """For one queue."""

    __slots__ = ("_actor", "_loaded")

    def __init__(self, actor: QueueActor) -> None:
        self._actor = actor
        self._loaded: dict[bytes, tuple[list[Any], dict[str, Any]]] = {}

    def dispatch(self, now: int, step: Step) -> None:
        """Start what may start."""
        state = self._actor.state
        while self._start(now, step) and state.policy.rate_per_key is not None:
            state.agenda.advance(now)  # of a key, one at a time: the next may have a token too

    def _start(self, now: int, step: Step) -> int:
        """How many were started.  Arguments that no longer fit are found here, before the start is decided (DECISIONS 17)."""
        actor, shell = self._actor, self._actor.shell
        state = actor.state
        full = len(state.running) >= state.policy.concurrency
        held = state.paused is not None or state.parked_until > now
        idle = full or shell.stopping or held or not actor.runnables or not has_ready(state)
        if idle or (shell.room.strained and shell.standstill.holds(actor)):
            shell.slots.used(actor, 0, False)
            if actor.budget is not None:
                actor.budget.slots.used(actor, 0, False)
            actor.tap.used(0)
            return 0
        while True:
            granted = shell.slots.grant(actor)
            shared = None if actor.budget is None else actor.budget.slots.grant(actor)
            slots = tighter(granted, shared)
            if shell.room.strained:
                slots = tighter(slots, shell.standstill.allowance)
            events = decide(state, [Dispatch()], now, around_starts(actor, now, slots)).events
            if not events or self._load(events):
                break
        launches: list[Attempt] = []
        cost = 0
        for event in events:
            assert type(event) is AttemptStarted
            seq = actor.recorder.take(event, step)
            cost += event.cost
            launches.append(self._attempt(state.tasks[event.task], seq, now))
        if launches:
            actor.figures.started.add(len(launches), now)
            step.effects.append((self._launch, launches))
        if actor.tap.limiter is not None:
            rest = around(actor, free_slots=None if slots is None else slots - len(launches), suspects=shell.suspects_running())
            actor.tap.used(cost, free_slots(state, rest) > 0 and bool(startable(state, now, rest, 1)))
        if granted is not None or shared is not None:
            started = len(launches)
            more = actor.live() < state.policy.concurrency and has_ready(state)
            if granted is not None:
                shell.slots.used(actor, started, more and started >= granted)
            if shared is not None and actor.budget is not None:
                actor.budget.slots.used(actor, started, more and started >= shared)
        return len(launches)

    def forget(self, task: bytes) -> None:
        """Arguments read for a start that has not come are no longer its arguments."""
        self._loaded.pop(task, None)

    def forget_all(self) -> None:
        self._loaded.clear()

    def _attempt(self, task: TaskState, seq: int, now: int) -> Attempt:
        actor = self._actor
        runnable = actor.runnables[task.handler]
        args, kwargs = self._loaded.pop(task.id)
        policy, options = actor.state.policy, task.options
        timeout = _innermost(options.get("timeout_us") if options else None, runnable.timeout_us, policy.timeout_us)
        beat = _innermost(options.get("heartbeat_us") if options else None, runnable.heartbeat_us, policy.heartbeat_us)
        attempt = Attempt(actor, task, seq, runnable, args, kwargs, timeout, beat)
        if policy.rate is not None:
            attempt.hold_us = 1
            attempt.cost = cost_of(task)
        actor.attempts[task.id] = attempt
        return attempt

    def _launch(self, attempts: list[Attempt]) -> None:
        shell = self._actor.shell
        if shell.closed:  # their commit arrived while the store was closed: the next open finds them, and that no handler was entered
            return
        start = shell.nursery.start_soon
        for attempt in attempts:
            attempt.launched = True
            start(run_attempt, shell, attempt)

    def _load(self, events: Sequence[Any]) -> bool:
        """Read and decode the arguments of what is about to start.  False: some did not fit; they are parked, decide again."""
        actor, loaded, fresh = self._actor, self._loaded, self._actor.fresh
        tasks = actor.state.tasks
        fits = True
        missing = [tasks[e.task] for e in events if e.task not in loaded and e.task not in fresh.held]
        read = self._read(missing) if missing else {}
        for event in events:
            task_id = event.task
            if task_id in loaded:
                continue
            payload = read.get(task_id)
            if payload is None:
                payload = fresh.held.get(task_id)
            task = tasks[task_id]
            try:
                if payload is None:
                    raise ValueError("they are no longer stored")
                if task_id in read and digest(payload) != task.payload_digest:
                    raise ValueError("the bytes on disk are not those that were submitted; restore a backup, or cancel it")
                loaded[task_id] = actor.runnables[task.handler].decode_call(payload)
            except Exception as error:  # whatever shows that the arguments do not fit
                fits = False
                actor.state.park(task_id, f"its arguments do not fit handler {task.handler!r}: {error}")
                actor.shell.log.warning(
                    "task parked: its arguments do not fit its handler",
                    extra=about(task, error=str(error)),
                )
            fresh.forget(task_id)
        return fits

    def _read(self, missing: list[TaskState]) -> dict[bytes, bytes | None]:
        """The stored arguments of `missing`.  Those of the next in line are read along and kept: a backlog is read by the page."""
        actor, fresh = self._actor, self._actor.fresh
        known = {task.id for task in missing}
        ahead = [
            task
            for task in actor.state.agenda.ready.best(len(missing) + READ_AHEAD_TASKS)
            if task.payload_len <= READ_AHEAD_BYTES and task.id not in known and task.id not in fresh.held
        ]
        tasks = missing + ahead
        read: dict[bytes, bytes | None] = {}
        for task, payload in zip(tasks, actor.shell.payloads([task.payload_seq for task in tasks]), strict=True):
            if task.id in known:
                read[task.id] = payload
            elif payload is not None and digest(payload) == task.payload_digest:
                fresh.keep(task.id, payload)  # what is damaged is left for its own turn
        return read


def has_ready(state: QueueState) -> bool:
    """Whether a task waits only for a slot, a token or its turn."""
    agenda = state.agenda
    return bool(agenda.ready.count or agenda.suspects.count)


def _innermost(of_task: int | None, of_handler: int | None, of_queue: int | None) -> int | None:
    """The innermost setting that is there; 0 says "none" out loud."""
    if of_task is not None:
        return of_task or None
    if of_handler is not None:
        return of_handler or None
    return of_queue or None
