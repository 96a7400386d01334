"""The recorder: what was decided is applied here, and put on its way to the disk together with what it permits.

This is the one place that takes sequence numbers for a queue's events, tells a running checkpoint what is about to change, and
knows what the end of a task sets free: its arguments, whoever waits for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, Final, cast

from journeyman.actors.call import Call
from journeyman.actors.limiters import Tap
from journeyman.actors.tally import TALLIED
from journeyman.actors.writer import Step
from journeyman.kernel.apply import apply, apply_new
from journeyman.kernel.commands import Accepted, Decision
from journeyman.kernel.events import (
    AttemptStarted,
    QueueConfigured,
    QueueEvent,
    QueueOpened,
    QueueParkedUntil,
    QueuePaused,
    QueueResumed,
    ScheduleDeclared,
    ScheduleRemoved,
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskInterrupted,
    TaskRescheduled,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
)
from journeyman.kernel.state import TaskState
from journeyman.kernel.steps import kept_seqs

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor

_OF_QUEUE: Final = frozenset({QueueOpened, QueueConfigured, QueuePaused, QueueResumed, QueueParkedUntil, TasksPruned})
_ENDS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})


class Recorder:
    """For one queue."""

    __slots__ = ("_actor",)

    def __init__(self, actor: QueueActor) -> None:
        self._actor = actor

    def take(self, event: TaskEvent | QueueEvent, step: Step) -> int:
        """Apply one event and put it on its way; returns its seq."""
        actor = self._actor
        shell = actor.shell
        seq = shell.journal.next_seq
        shell.journal.next_seq = seq + 1
        shell.changes += 1
        kind = type(event)
        if shell.checkpoint.unwritten or kind is TaskRetried:  # a retried task may stand in the tables of ended ones
            shell.checkpoint.before_apply(event)
        apply(actor.state, event, seq)
        if kind is AttemptStarted:
            pass  # as often as an end, and nothing of this concerns it
        elif kind in _ENDS:
            self._ended(event, step)
        elif kind is TaskRetried:
            actor.figures.handlers[actor.state.tasks[event.task].handler] += 1  # type: ignore[union-attr]
        elif kind in TALLIED:
            if (tally := actor.figures.tally) is not None:
                tally.heard(actor.state.tasks[event.task].handler, event)  # type: ignore[union-attr]
        elif kind is QueueConfigured:
            actor.policy_changed()
            step.effects.append((Tap.regulate, actor.tap))
        elif kind is ScheduleDeclared or kind is ScheduleRemoved:
            actor.recurrence.plan(event.name)  # type: ignore[union-attr]
        if event[0] > shell.world.last_at:
            shell.world.last_at = event[0]
        step.items.append((seq, event))
        return seq

    def take_new(self, decision: Decision, payloads: Sequence[bytes], step: Step) -> None:
        """As `take`, for the tasks of a decision on submits, and their arguments.  A new task can neither end nor be part of a running
        checkpoint, so nothing has to be looked at for each of them.
        """
        if decision.sources is not None:
            self._take_mixed(decision.events, payloads, decision.sources, step)
            return
        events = cast("list[TaskSubmitted]", decision.events)
        if not events:
            return
        if len(events) < len(payloads):  # some were refused, or were known already
            answered = zip(decision.answers, payloads, strict=True)
            payloads = [payload for answer, payload in answered if type(answer) is Accepted and not answer.existing]
        actor = self._actor
        journal = actor.shell.journal
        first = journal.next_seq
        apply_new(actor.state, events, first)
        if actor.state.waits.on:
            actor.shell.dependencies.linked(actor, events, step)
        journal.next_seq = first + len(events)
        step.items += zip(range(first, journal.next_seq), events, strict=True)
        step.payloads += zip(range(first, journal.next_seq), payloads, strict=True)
        ids = [event[4] for event in events]
        actor.fresh.keep_new(ids, payloads, step.effects)
        for id in ids if actor.shell.keepsakes else ():
            actor.shell.keepsakes.another_life(id)
        actor.shell.world.last_at = max(actor.shell.world.last_at, events[0].at)
        actor.figures.tasks_submitted([event[5] for event in events], events[0].at)

    def take_fired(self, event: TaskEvent | QueueEvent, payload: bytes, step: Step) -> None:
        """As `take`, for what a schedule's fire came to: a new task brings its arguments along."""
        seq = self.take(event, step)
        if type(event) is TaskSubmitted:
            actor = self._actor
            step.payloads.append((seq, payload))
            actor.fresh.keep_new([event.task], [payload], step.effects)
            actor.figures.tasks_submitted([event.handler], event.at)

    def _take_mixed(self, events: Sequence[Any], payloads: Sequence[bytes], sources: Sequence[int], step: Step) -> None:
        """As `take_new`, where other tasks have ended or were moved as well.  `sources`: for each event, the place of its payload."""
        for event, source in zip(events, sources, strict=True):
            if type(event) is TaskSubmitted:
                self._take_one(event, payloads[source], step)
            elif type(event) is TaskRescheduled:
                self._take_moved(event, payloads[source], step)
            else:  # the end of one in whose stead another comes, or that came too late for what it was to run after
                self.take(event, step)

    def _take_one(self, event: TaskSubmitted, payload: bytes, step: Step) -> None:
        actor = self._actor
        step.payloads.append((self.take(event, step), payload))
        if actor.state.waits.on:
            actor.shell.dependencies.linked(actor, [event], step)
        actor.shell.keepsakes.another_life(event.task)
        actor.fresh.keep_new([event.task], [payload], step.effects)
        actor.figures.tasks_submitted([event.handler], event.at)

    def _take_moved(self, event: TaskRescheduled, payload: bytes, step: Step) -> None:
        """A debounced submit has brought later arguments, whose record takes the place of the former."""
        actor = self._actor
        step.drops.append(actor.state.tasks[event.task].payload_seq)
        step.payloads.append((self.take(event, step), payload))
        actor.fresh.forget(event.task)
        actor.starter.forget(event.task)
        actor.fresh.keep_new([event.task], [payload], step.effects)

    def _ended(self, event: Any, step: Step) -> None:
        actor = self._actor
        shell = actor.shell
        task: TaskState = actor.state.tasks[event.task]
        actor.figures.task_ended(task.handler, event)
        if not task.keep_payload:
            step.drops += kept_seqs(task)
        actor.fresh.forget(task.id)
        if shell.keepsakes and (keepsake := shell.keepsakes.get(task.id)) is not None:
            step.effects.append((keepsake.keep, copy(task)))  # not before it is durable: a handle may outlive this process's engine
        if shell.dependencies.actors:
            shell.dependencies.ended(task.id, actor, step)
        waiting = shell.waiters.pop(task.id, None)
        if waiting:
            step.ended.append((task.id, waiting))
            seen = copy(task)
            for call in waiting:
                call.answer = seen
                step.effects.append((Call.settle, call))
