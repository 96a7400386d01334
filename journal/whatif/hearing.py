"""From the journal's events to a recording of one queue, in one pass.

Problem.  An event says what was decided, not what it rested on: how long a run held its slot, whether a cancel was an operator's wish or
a deadline's, when the engine was told to stop.  Choice: the events are folded as they are heard (the kernel's own fold, of a state that
nobody else sees), and each is looked at beside the state it met.  What the kernel will decide by itself when the recording is played
(expired deadlines, replaced tasks, dependencies within the queue, jitter) is not kept; what came from outside is.

- A turn is a group of events that were decided on before anything could start: the next one begins when time has moved, or when something
  else follows a start.
- A run that ended by a crash, a stop or an operator's cancel is cut: how long it would have taken is not known.
- The engine is down from the last event of a boot to the queue's next opening; where tasks were waiting then, to its first start, as the
  boot has to be durable first.  Before a close in good order it starts nothing for a while, and no event says since when: it is taken to
  be since the first moment from which on something could have started and nothing did.  The last boot of a recording has no end: what is
  left is played until it is done.
- Timers are late, by a millisecond or less where nothing else is to do; with a rate that adds up, as each start counts from the one before.
  So it is kept how late they were, and the timers of a play are as late, in the same order.
- Policies that a compaction has folded away are those that it found.

Ended tasks are let go of at once, so the pass needs memory for what is unfinished, and for the columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from journeyman.journal.whatif.clues import could_start, dependency_of, failure, lateness
from journeyman.journal.whatif.meter import Figures, Meter
from journeyman.journal.whatif.recording import ASLEEP, BORN, NONE, REPLACES, Ending, Halt, Hold, Kind, Order, Ready, Recording
from journeyman.kernel.dependencies import BY as DEPENDENCY
from journeyman.kernel.events import (
    DUE_BY_INSTANT,
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    CancelRequested,
    ClockStepped,
    DependencyMet,
    EngineBooted,
    EngineClosed,
    Event,
    JournalCompacted,
    ProgressSampled,
    QueueConfigured,
    QueueOpened,
    QueueParkedUntil,
    QueuePaused,
    QueueResumed,
    StepRecorded,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskReprioritised,
    TaskRescheduled,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.namespace import namespace_of
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState, fold

_LATE_MAX: Final = 100_000  # timers that are measured
_ENDS: Final = frozenset({TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted})
_WORDS: Final = frozenset({ProgressSampled, StepRecorded, TransitionRejected})  # change nothing that is played


class Hearing:
    """Told of every event of the journal in order; of those before `since` it keeps the state alone."""

    def __init__(self, queue: str, since: int = 1, compacted: JournalCompacted | None = None) -> None:
        self.recording = Recording(queue)
        self.meter = Meter()
        self._since = since
        self._world = JournalState()
        self._state = self._world.queue(queue)
        if compacted is not None and (facts := compacted.queues.get(queue)) is not None and facts["policy"] is not None:
            self._state.set_policy(facts["policy"], 0)
        self._open = False
        self._shift = 0  # sum of the clock's steps
        self._back = 0  # that of the one at a boot which is on its way
        self._at = 0  # of the event before, made even
        self._turn = 0
        self._turn_at = NONE
        self._started = False  # in this turn
        self._fresh = False  # nothing of this turn has been heard
        self._idle = False  # a slot was free when this turn began
        self._before = NONE  # instant of the turn before
        self._live: dict[bytes, int] = {}  # unfinished tasks -> their numbers
        self._runs: dict[bytes, tuple[int, int]] = {}  # running tasks -> (start, wait)
        self._requests: dict[bytes, tuple[int, int]] = {}  # cancels under way -> (seq, at)
        self._ending = NONE  # the newest
        self._success: tuple[bytes, int, int] | None = None  # (task, turn, ending) of the newest
        self._replaced = NONE  # the turn in which a task was replaced by one of its unique key
        self._held: Order | None = None  # since when something could have started
        self._released: Order | None = None  # the first run that a stop ended
        self._halted_at: int | None = None
        self._close: list[Order] = []  # the end of a boot, played if another follows
        self._opening: Order | None = None  # since when the newly opened queue may start, if nothing holds it up
        self._opened = 0  # seq of the newest QueueOpened

    def hear(self, seq: int, event: Event) -> None:
        """The next event."""
        name = event[1]
        if not self._open and seq >= self._since:
            self._begin(event)
        if name == self._state.name:
            if type(event) not in _WORDS:
                self._own(seq, event)
        elif not name:
            self._of_journal(seq, event)
        elif self._open and type(event) is AttemptStarted and event.options is not None:
            self._drawn(seq, event)
        self._at = event[0] - self._shift

    def finish(self) -> tuple[Recording, Figures]:
        """After the last event."""
        recording, state = self.recording, self._state
        self._ready(self._opening)
        recording.ended_at = self._at
        recording.policy = state.policy
        for id, (started, wait) in self._runs.items():
            recording.end(self._live[id], Ending(Kind.CUT, 0, self._at - started, wait, 0, 0))
        for id, number in self._live.items():
            task = state.tasks[id]
            if not task.attempt and task.due_at - self._shift > self._at:
                recording.marks[number] |= ASLEEP
        recording.orders.sort(key=lambda order: (order.at, order.seq))
        asleep = recording.asleep_count
        unfinished = len(self._live) - asleep
        self.meter.tasks = len(recording) - len(recording.lives) - asleep
        return recording, self.meter.figures(unfinished)

    # --- the beginning ----------------------------------------------------------------------------------------------------

    def _begin(self, event: Event) -> None:
        self._open = True
        recording, state = self.recording, self._state
        at = recording.began_at = event[0]
        if state.qseq:
            recording.facts = state.facts()
        for task in sorted(task for task in state.tasks.values() if task.state not in TERMINAL):
            number = recording.add(
                task.id, task.handler, at, task.seq, 0, task.due_at, task.due_kind, task.priority, task.payload_len, task.options
            )
            recording.rows.append((number, task.row()))
            self._live[task.id] = number
            if task.state is State.RUNNING:
                self._runs[task.id] = (task.started_at or at, NONE)
        recording.carried = len(recording)
        if recording.carried:
            self.meter.begin(at)
        self.meter.look(state, at, at)

    # --- the journal's own ------------------------------------------------------------------------------------------------

    def _of_journal(self, seq: int, event: Event) -> None:
        recording, at = self.recording, event[0] - self._shift
        kind = type(event)
        if not self._open:
            fold(self._world, event, seq)
            return
        if kind is ClockStepped:
            delta = event.delta_us - self._back  # type: ignore[union-attr]
            self._back = 0
            self.meter.come_due(self._state, event[0] - delta, self._shift)
            self._shift += delta
            recording.steps += 1
        elif kind is EngineBooted:
            recording.boots += 1
            if at < self._at:  # the clock was set back in between; its ClockStepped comes next
                self._back = at - self._at
                self._shift += self._back
                at = self._at
            if not self._world.clean:
                self._halt(min(at, self._at + 1), seq, clean=False)  # after all that time brought on at that instant
            if self._halted_at is not None:
                recording.down_us += at - self._halted_at
            recording.orders += self._close
            self._close = []
        elif kind is EngineClosed:
            held, released = self._held, self._released
            self._halt(at, seq, clean=True)
            self._close = [order for order in (held, released, *self._close) if order is not None]
        elif kind is JournalCompacted and event.through_seq >= self._since:  # type: ignore[union-attr]
            recording.compacted = True
        fold(self._world, event, seq)

    def _halt(self, at: int, seq: int, *, clean: bool) -> None:
        if self._held is None:  # it could have started, had there been anything
            self._ready(self._opening)
        self._close = [Order(at, seq, 0, Halt(clean))]
        self.meter.come_due(self._state, at + self._shift, self._shift)
        self.meter.up = False
        self.meter.look(self._state, at + self._shift, at)
        self._halted_at = at
        self._held = self._released = self._opening = None

    def _drawn(self, seq: int, event: AttemptStarted) -> None:
        limiter = self._state.policy.limiter
        same = event.options is not None and event.options.get("limiter") == limiter
        if limiter is not None and same and namespace_of(event.queue) == namespace_of(self._state.name):
            self.recording.draw_at.append(event.at - self._shift)
            self.recording.draw_seq.append(seq)
            self.recording.draw_cost.append(event.cost)

    # --- the queue's own --------------------------------------------------------------------------------------------------

    def _own(self, seq: int, event: Any) -> None:
        state, kind = self._state, type(event)
        if not self._open:
            fold(self._world, event, seq)
            if kind in _ENDS:
                state.settle([event.task])
            return
        at = event[0] - self._shift
        if at != self._turn_at or (self._started and kind is not AttemptStarted):
            self._turn += 1
            self._before = self._turn_at
            self._turn_at, self._started, self._fresh = at, False, True
            self._idle = len(state.running) < state.policy.concurrency and state.paused is None
            if self._held is None:
                self._ready(self._opening)
        if self._opening is not None and kind is AttemptStarted:
            self._ready(Order(at, seq, self._turn, Ready()))
        if state.agenda.later:
            self.meter.come_due(state, event[0], self._shift)
        heard = _HEARD.get(kind)
        if heard is not None:
            heard(self, seq, event, at)
        self._fresh = False
        fold(self._world, event, seq)
        self.meter.count(event, at)
        self.meter.look(state, event[0], at)
        if kind in _ENDS:
            state.settle((event.task,))
            self._live.pop(event.task, None)
        if kind is AttemptStarted:
            self._held = None
        elif self._held is None and could_start(state, event[0]):
            self._held = Order(at, seq, self._turn, Hold())

    def _order(self, seq: int, event: Event, at: int) -> None:
        self.recording.orders.append(Order(at, seq, self._turn, event))

    def _submitted(self, seq: int, event: TaskSubmitted, at: int) -> None:
        recording, options = self.recording, event.options
        self.meter.begin(at)
        number = recording.add(
            event.task, event.handler, at, seq, self._turn, event.due_at - self._shift, event.due_kind, event.priority,
            event.payload_len, options,
        )  # fmt: skip
        self._live[event.task] = number
        if self._replaced == self._turn:
            recording.marks[number] |= REPLACES
            self._replaced = NONE
        if options is None:
            return
        for dependency in options.get("after", ()):
            recording.remembered.add(dependency)
            if dependency in self._state.tasks:
                recording.own_named.add(dependency)
        if self._success is not None and (options.get("parent"), self._turn) == self._success[:2]:
            recording.bear(self._success[2], number)

    def _start(self, seq: int, event: AttemptStarted, at: int) -> None:
        self.meter.begin(at)
        if not self._started and (self._fresh or self._idle) and len(self.recording.late_us) < _LATE_MAX:
            late = lateness(self._state, event, self._before + self._shift)
            if late is not None and (self._fresh or late > 0):  # a busy loop found its timer due together with something else
                self.recording.late_us.append(late)
        self._started = True
        self.recording.starts += 1
        self._runs[event.task] = (at, event.at - event.eligible_at)

    def _succeeded(self, seq: int, event: TaskSucceeded, at: int) -> None:
        self._ended(seq, event, at, Kind.SUCCESS)
        self._success = (event.task, self._turn, self._ending)

    def _failed(self, seq: int, event: AttemptFailed | TaskFailed, at: int) -> None:
        if type(event) is TaskFailed and event.reason == "crashes":
            self._cut(seq, event, at)
        else:
            self._ended(seq, event, at, Kind.FAILURE, failure(event, self._state.policy))

    def _snoozed(self, seq: int, event: AttemptSnoozed, at: int) -> None:
        if event.due_kind == DUE_BY_INSTANT:
            self._ended(seq, event, at, Kind.SNOOZE, {"until_at": event.due_at - self._shift, "delay_us": event.due_at - event.at})
        else:
            self._ended(seq, event, at, Kind.SNOOZE, {"delay_us": event.due_at - event.at})

    def _cancelled(self, seq: int, event: TaskCancelled, at: int) -> None:
        task = self._state.tasks[event.task]
        if task.state is State.RUNNING:
            asked = self._requests.pop(event.task, None)
            if asked is not None or task.cancel is not None or task.epoch != event.epoch:
                if asked is not None:
                    self.recording.lags[asked[0]] = at - asked[1]
                self._cut(seq, event, at)
            else:
                self._ended(seq, event, at, Kind.CANCEL, {"reason": event.reason, "by": event.by})
        elif event.by == "unique":
            self._replaced = self._turn
        elif event.by != "deadline" and not (event.by == DEPENDENCY and dependency_of(event.reason) in self.recording.own_named):
            self._order(seq, event, at)

    def _cut(self, seq: int, event: Any, at: int) -> None:
        if type(event) is AttemptLost and not event.entered:
            self.recording.not_entered.setdefault(self._opened, set()).add(event.task)
        if type(event) is AttemptReleased:
            self.recording.unfit += event.reason == "unfit"
            if event.reason == "stop" and self._released is None:
                self._released = Order(at, seq, self._turn, Halt(True))
        over_at = at
        if self._state.tasks[event.task].epoch != event.epoch and self._halted_at is not None:
            over_at = self._halted_at
        self._ended(seq, event, over_at, Kind.CUT)

    def _ended(self, seq: int, event: Any, at: int, kind: Kind, detail: Mapping[str, Any] | None = None) -> None:
        started, wait = self._runs.pop(event.task)
        self._requests.pop(event.task, None)
        slot = at - started
        handler = slot if kind is Kind.CUT else min(event.elapsed_us, slot)
        self._ending = self.recording.end(self._live[event.task], Ending(kind, handler, slot, wait, seq, self._turn, detail))

    def _cancel_asked(self, seq: int, event: CancelRequested, at: int) -> None:
        self._requests[event.task] = (seq, at)
        self._order(seq, event, at)

    def _retried(self, seq: int, event: TaskRetried, at: int) -> None:
        task = TaskState.from_row(event.row)
        number = self.recording.add(
            task.id, task.handler, at, seq, self._turn, at, task.due_kind, task.priority, task.payload_len, task.options
        )
        self._live[task.id] = number
        self.recording.lives[seq] = number
        self.recording.marks[number] |= BORN
        self.recording.remembered.add(task.id)
        self._order(seq, event, at)

    def _rescheduled(self, seq: int, event: TaskRescheduled, at: int) -> None:
        self._order(seq, event._replace(due_at=event.due_at - self._shift, place_at=event.place_at - self._shift), at)

    def _configured(self, seq: int, event: QueueConfigured, at: int) -> None:
        if self._state.configured:
            self.recording.policies += 1
        self._order(seq, event, at)

    def _queue_opened(self, seq: int, event: QueueOpened, at: int) -> None:
        self._opened = seq
        self.meter.up = True
        self._order(seq, event, at)
        self._opening = Order(at, seq, self._turn, Ready())

    def _ready(self, order: Order | None) -> None:
        if order is not None:
            self.recording.orders.append(order)
        self._opening = None

    def _parked(self, seq: int, event: QueueParkedUntil, at: int) -> None:
        if event.options is not None and "task" in event.options and self._ending != NONE:
            known = self.recording.detail.get(self._ending) or {}
            self.recording.detail.put(self._ending, {**known, "parks": True, "delay_us": event.until_at - event.at})
        else:
            self._order(seq, event._replace(until_at=event.until_at - self._shift), at)

    def _pruned(self, seq: int, event: TasksPruned, at: int) -> None:
        self.recording.pruned += sum(1 for entry in event.entries if entry[0] >= self._since)


_HEARD: Final[dict[type, Callable[[Hearing, int, Any, int], None]]] = {
    TaskSubmitted: Hearing._submitted,
    AttemptStarted: Hearing._start,
    TaskSucceeded: Hearing._succeeded,
    AttemptFailed: Hearing._failed,
    TaskFailed: Hearing._failed,
    AttemptSnoozed: Hearing._snoozed,
    TaskCancelled: Hearing._cancelled,
    AttemptLost: Hearing._cut,
    AttemptReleased: Hearing._cut,
    TaskInterrupted: Hearing._cut,
    CancelRequested: Hearing._cancel_asked,
    TaskRetried: Hearing._retried,
    TaskRescheduled: Hearing._rescheduled,
    QueueConfigured: Hearing._configured,
    QueueOpened: Hearing._queue_opened,
    QueueParkedUntil: Hearing._parked,
    TasksPruned: Hearing._pruned,
    TaskReprioritised: Hearing._order,
    QueuePaused: Hearing._order,
    QueueResumed: Hearing._order,
    DependencyMet: Hearing._order,
}

__all__ = ["Hearing"]
