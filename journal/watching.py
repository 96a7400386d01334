"""What `journeyman top` shows, as the fold of events: a model that is fed and asked, and reads nothing itself.

Problem.  Counts by state, what runs, what is due: of 200,000 tasks, every second, without reading them again.  Choice: the kernel's own
fold. The state is that of recovery, each new event is applied to it as an engine applies its own, and all counts are read off the
indexes that the kernel keeps.  So the screen cannot disagree with the engine about what an event means.  Beside it stand the figures
that no state holds: rates, percentiles, the newest events and dead letters.  Everything but the state is bounded.

Records that prune has taken are the one thing a follower sees differently: a task whose submit was read, and whose other events were
gone before they could be.  `TasksPruned` names it, and it is forgotten there.

Rejected: a fold of its own with a few counters (a second opinion about twenty kinds of events, wrong whenever the kernel learns
another).
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Final

from journeyman.journal.activity import MINUTE, Activity, Pace, Rates, Spread, spread
from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.events import (
    Event,
    TaskCancelled,
    TaskFailed,
    TaskInterrupted,
    TaskRetried,
    TasksPruned,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.state import QueueState
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState, fold

SHOWN_RUNS: Final = 200
SHOWN_DEAD: Final = 200
SHOWN_EVENTS: Final = 200
_MANY: Final = 20_000  # pending tasks beyond which the oldest of them is looked for only now and then
_PATIENCE: Final = 5 * SECOND_US

_ENDS: Final = (TaskSucceeded, TaskFailed, TaskCancelled, TaskInterrupted)
Settled = Mapping[str, Mapping[State, int]]


@dataclass(frozen=True, slots=True)
class QueuePicture:
    """A queue at one instant."""

    name: str
    counts: Mapping[State, int]
    oldest_due_us: int | None  # how long the task that is due longest has waited
    rates: Rates
    durations: Spread
    waits: Spread
    concurrency: int
    paused: tuple[str, str, int] | None
    parked_until: int

    @property
    def busy(self) -> int:
        """How much there is to see."""
        waiting = self.counts[State.PENDING] + self.counts[State.RETRYING]
        return sum(self.rates) + self.counts[State.RUNNING] + (waiting > 0) + self.counts[State.FAILED]


@dataclass(frozen=True, slots=True)
class RunPicture:
    """An attempt that is under way."""

    task: bytes
    queue: str
    handler: str
    attempt: int
    age_us: int
    progress_ppm: int | None
    message: str | None
    cancelling: bool


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A task that failed for good."""

    task: bytes
    seq: int  # of its submission
    queue: str
    handler: str
    at: int
    expires_at: int | None
    runs: int
    reason: str
    error: str


@dataclass(frozen=True, slots=True)
class Picture:
    """Everything at one instant.  Rates are those of `window_us` before it."""

    now: int
    last_seq: int
    events: int  # in the window
    window_us: int
    queues: list[QueuePicture]
    runs: list[RunPicture]  # the oldest ones first
    running: int
    dead: list[DeadLetter]  # the newest ones first
    newest: list[tuple[int, Event]]  # the newest ones first
    note: str = ""  # what it does not show yet

    def total(self, state: State) -> int:
        return sum(queue.counts[state] for queue in self.queues)


class TopModel:
    """Begins with a recovered state (which it takes over and changes), is fed every event after it."""

    def __init__(self, state: JournalState | None = None, last_seq: int = 0) -> None:
        self.state = JournalState() if state is None else state
        self.last_seq = last_seq
        self.seen_since: int | None = None  # the instant from which on events were seen
        self.called_back: set[bytes] = set()  # held here, while the tables may still hold them as they were
        self.ended: dict[bytes, str] = {}  # ended tasks that are held here -> queue
        self.settled: Settled = {}  # what the tables hold that is not held here
        self.note = ""
        self._activity: dict[str, Activity] = {}
        self._pace = Pace(1)
        self._newest: deque[tuple[int, Event]] = deque(maxlen=SHOWN_EVENTS)
        self._dead: dict[bytes, DeadLetter] = {}
        self._oldest: dict[str, tuple[TaskState, int, int]] = {}  # the task, its due instant, when it was found
        self._ids: dict[int, bytes] = {}  # of the tasks that are held here, by the seq of their submission
        for queue in self.state.queues.values():
            self.ended.update((task.id, queue.name) for task in queue.tasks.values() if task.state in TERMINAL)
            self._ids.update((task.seq, task.id) for task in queue.tasks.values())
        self._expiries: list[tuple[int, bytes]] = []  # a heap of (expires_at, id)
        for id in self.ended:
            self._note_expiry(id)

    # --- fed ----------------------------------------------------------------------------------------------------------

    def glance(self, seq: int, event: Event) -> None:
        """An event that the state holds already: only figures and the list of the newest are made of it."""
        if self.seen_since is None:
            self.seen_since = event.at
        self._newest.append((seq, event))
        self._pace.at(event.at)[0] += 1
        if event.queue:
            self.activity(event.queue).add(event)

    def feed(self, seq: int, event: Event) -> None:
        """The next event.  KeyError if it is about a task that was never heard of: then the journal must be recovered anew."""
        fold(self.state, event, seq)
        self.last_seq = seq
        self.glance(seq, event)
        if isinstance(event, TaskSubmitted):
            self._ids[seq] = event.task
            self.ended.pop(event.task, None)  # the same id, after the end of the first
        elif isinstance(event, _ENDS):
            self.ended[event.task] = event.queue
            self._note_expiry(event.task)
            if isinstance(event, TaskFailed):
                self.died(self.state.queues[event.queue].tasks[event.task])
        elif isinstance(event, TaskRetried):
            self.called_back.add(event.task)
            self._ids[self.state.queues[event.queue].tasks[event.task].seq] = event.task  # it may have been settled long ago
            self.ended.pop(event.task, None)
            self._dead.pop(event.task, None)
        elif isinstance(event, TasksPruned):
            self._pruned(event)
        elif isinstance(event, TransitionRejected) and event.task in self.ended:
            self.called_back.add(event.task)

    def died(self, task: TaskState) -> None:
        """A task is a dead letter; one by one, in the order in which they died."""
        error = "" if task.error is None else f"{task.error[0]}: {task.error[1]}"
        self._dead.pop(task.id, None)
        self._dead[task.id] = DeadLetter(
            task.id, task.seq, task.queue, task.handler, task.finished_at or 0, task.expires_at, task.attempt, task.reason or "", error
        )
        if len(self._dead) > SHOWN_DEAD:
            del self._dead[next(iter(self._dead))]

    def _pruned(self, event: TasksPruned) -> None:
        queue = self.state.queues[event.queue]
        for first, *_ in event.entries:
            id = self._ids.pop(first, None)
            if id is None:
                continue  # settled long ago
            self.ended.pop(id, None)
            ghost = queue.tasks.get(id)
            if ghost is not None and ghost.seq == first:
                self._forget(queue, ghost, event.at)
        gone = {entry[0] for entry in event.entries}
        for id in [id for id, letter in self._dead.items() if letter.seq in gone]:
            del self._dead[id]

    def _forget(self, queue: QueueState, ghost: TaskState, at: int) -> None:
        """A task whose end was pruned before it could be read: it ends here, however it did, and is gone."""
        qseq = queue.qseq
        end = TaskCancelled(at, queue.name, qseq, queue.epoch, ghost.id, ghost.attempt, 0, at, False, "pruned", "prune")
        fold(self.state, end, self.last_seq)
        queue.forget(queue.tasks[ghost.id])

    def _note_expiry(self, id: bytes) -> None:
        expires_at = self.state.queues[self.ended[id]].tasks[id].expires_at
        if expires_at is not None:
            heapq.heappush(self._expiries, (expires_at, id))

    def _expire(self, now: int) -> None:
        """Retention hides an ended task on time, whenever prune comes by."""
        while self._expiries and self._expiries[0][0] <= now:
            expires_at, id = heapq.heappop(self._expiries)
            if id not in self.ended or id in self.called_back:
                continue
            queue = self.state.queues[self.ended[id]]
            task = queue.tasks[id]
            if task.expires_at == expires_at:
                queue.settle([id])
                del self.ended[id], self._ids[task.seq]

    def let_go(self, through: int) -> None:
        """The journal's tables hold all tasks that ended by seq `through`: they need not be held here."""
        go: dict[str, list[TaskState]] = {}
        for id, name in self.ended.items():
            task = self.state.queues[name].tasks[id]
            if task.last_seq <= through:
                go.setdefault(name, []).append(task)
        for name, tasks in go.items():
            self.state.queues[name].settle([task.id for task in tasks])
            for task in tasks:
                del self.ended[task.id], self._ids[task.seq]

    # --- asked --------------------------------------------------------------------------------------------------------

    def activity(self, queue: str) -> Activity:
        found = self._activity.get(queue)
        if found is None:
            found = self._activity[queue] = Activity()
        return found

    def task(self, id: bytes) -> TaskState | None:
        """A task that is held here."""
        return next((queue.tasks[id] for queue in self.state.queues.values() if id in queue.tasks), None)

    def picture(self, now: int) -> Picture:
        """How it stands at `now`, kernel time."""
        now = max(now, self.state.last_at)
        self._expire(now)
        queues = [self._queue(queue, now) for _, queue in sorted(self.state.queues.items())]
        running = sum(len(queue.running) for queue in self.state.queues.values())
        oldest = heapq.nsmallest(SHOWN_RUNS, self._running(), key=attrgetter("started_at"))
        minute = now - MINUTE * SECOND_US
        since = minute if self.seen_since is None else max(self.seen_since, minute)
        return Picture(
            now=now,
            last_seq=self.last_seq,
            events=self._pace.minute(now)[0],
            window_us=max(0, now - since),
            queues=queues,
            runs=[_run(task, now) for task in oldest],
            running=running,
            dead=[letter for letter in reversed(self._dead.values()) if letter.expires_at is None or letter.expires_at > now],
            newest=list(reversed(self._newest)),
            note=self.note,
        )

    def _running(self) -> Iterator[TaskState]:
        for queue in self.state.queues.values():
            yield from queue.running.values()

    def _queue(self, queue: QueueState, now: int) -> QueuePicture:
        counts = dict(queue.counts(now))
        for state, count in self.settled.get(queue.name, {}).items():
            counts[state] += count
        activity = self._activity.get(queue.name)
        oldest = self._oldest_due(queue, now)
        return QueuePicture(
            name=shown_name(queue.name),
            counts=counts,
            oldest_due_us=None if oldest is None else max(0, now - oldest.due_at),
            rates=Rates() if activity is None else activity.rates(now),
            durations=Spread() if activity is None else spread(activity.durations),
            waits=Spread() if activity is None else spread(activity.waits),
            concurrency=queue.policy.concurrency,
            paused=queue.paused,
            parked_until=queue.parked_until if queue.parked_until > now else 0,
        )

    def _oldest_due(self, queue: QueueState, now: int) -> TaskState | None:
        """The pending task that is due longest.  Found anew when it has left; where very many are pending, not every second."""
        roster = queue.agenda.rosters[State.PENDING]
        if not roster.count:
            return None
        if (known := self._oldest.get(queue.name)) is not None:
            task, due_at, found_at = known
            if task.shown is State.PENDING and task.due_at == due_at:
                return task
            if roster.count > _MANY and now - found_at < _PATIENCE:
                return None
        found = min(queue.listed(State.PENDING, now), key=attrgetter("due_at"))
        self._oldest[queue.name] = (found, found.due_at, now)
        return found


def _run(task: TaskState, now: int) -> RunPicture:
    age = max(0, now - (task.started_at or now))
    return RunPicture(
        task.id, shown_name(task.queue), task.handler, task.attempt, age, task.progress_ppm, task.message, task.cancel is not None
    )


__all__ = ["DeadLetter", "Picture", "QueuePicture", "RunPicture", "TopModel"]
