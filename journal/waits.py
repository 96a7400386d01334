"""Why a task waited: the past, asked the same question as the present.

Problem.  A task was submitted at four and started at ten past.  No event says why: the engine journals what it decides, and it decided
nothing about this one for ten minutes.  Guessing from the task's own events (due, paused?) names what is easy to find, not what held it.

Choice: fold the journal through the wait and ask `kernel.explain` whenever something happened, as an operator would have asked then.  The
time until the next event is put down to the reason that would have held it even if all others were gone: first what is its own (not due,
backoff, dependencies), then that no engine ran, then its queue's pause, its key, the rates, the slots, and last the order among others.
Causes add up by kind, the longest first.

What the journal cannot say is inferred, and marked so: `next` (nothing in the journal held it: a slot of the whole engine, a handler this
process had not, a thread that outlived its time-out, a busy machine), and when an engine died without a word: put at its last event.

Costs the fold from the newest checkpoint before the wait, or from the first event; `distance` says how many seqs that is.  In a wait of
very many events not every one is asked about: `STRIDE`.

Rejected: reading only the wait's own stretch of events (who ran, and who stood in line, was decided before it began).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from journeyman.journal.checkpoint import CHECKPOINT
from journeyman.journal.collector import without_collector
from journeyman.journal.log import LOOSE_KINDS
from journeyman.journal.past import Tell, Walk
from journeyman.journal.row import decode_named
from journeyman.journal.store import Store, Table
from journeyman.kernel.commands import Env
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptReleased,
    AttemptSnoozed,
    AttemptStarted,
    ClockStepped,
    EngineBooted,
    EngineClosed,
    Event,
    TaskCancelled,
    TaskRetried,
    TaskSubmitted,
)
from journeyman.kernel.explain import Reason, explain
from journeyman.kernel.namespace import namespace_of
from journeyman.kernel.state import QueueState
from journeyman.kernel.world import JournalState

if TYPE_CHECKING:
    from journeyman.journal.view import JournalView

STRIDE: Final = 20_000  # questions about one wait; with more events than that, every second, third ... is asked about
_BEGIN: Final = (TaskSubmitted, AttemptFailed, AttemptLost, AttemptReleased, AttemptSnoozed, TaskRetried)
_END: Final = (AttemptStarted, TaskCancelled)
_OWN: Final = ("not due", "backoff", "waits for")
_BINDING: Final = (
    *_OWN, "engine down", "paused", "parked until", "unfit", "key busy", "key rate limited until", "suspect", "rate limited until",
    "no free slot", "order", "deadline", "next",
)  # fmt: skip
_DOWN: Final = "engine down"
_NOTHING: Final = "nothing on record: a slot of the whole engine, a handler it had not, or a busy process"


@dataclass(frozen=True, slots=True)
class Cause:
    """One kind of reason (those of `kernel.explain`, and "engine down"), for how long in all, and its words of the longest stretch.
    `inferred`: part of it is not on record.
    """

    kind: str
    text: str
    us: int
    inferred: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """One wait of a task, microseconds UTC.  `after`: seq of the event that began it.  `until`: seq of the one that ended it, None for a
    task that waits still.  `causes`: the longest first; none for a wait that was not looked into, or of no length by the journal's instants
    (less than none, where the clock was stepped back meanwhile).
    """

    after: int
    from_at: int
    until: int | None
    to_at: int
    causes: tuple[Cause, ...] = ()

    @property
    def us(self) -> int:
        return self.to_at - self.from_at


def waits(events: Sequence[tuple[int, Event]], now: int) -> list[Wait]:
    """The waits of one task, from its own events; without causes."""
    found: list[Wait] = []
    begun: tuple[int, Event] | None = None
    for seq, event in events:
        if begun is not None and isinstance(event, _END):
            found.append(Wait(begun[0], begun[1].at, seq, event.at))
            begun = None
        if isinstance(event, _BEGIN):
            begun = (seq, event)
    if begun is not None:
        found.append(Wait(begun[0], begun[1].at, None, max(now, begun[1].at)))
    return found


def distance(store: Store, some: Sequence[Wait], last: int) -> int:
    """How many seqs `explained` would go through; `last` is the journal's."""
    asked = [wait for wait in some if wait.us > 0]
    if not asked:
        return 0
    base = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
    start = base["seq"] if base is not None and base["seq"] <= asked[0].after else 0
    return (asked[-1].until or last) - int(start)


def explained(view: JournalView, queue: str, id: bytes, some: Sequence[Wait], tell: Tell | None = None) -> list[Wait]:
    """The same waits of task `id` of `queue`, with their causes."""
    asked = [wait for wait in some if wait.us > 0]
    if not asked:
        return list(some)
    with without_collector():
        with view.snapshot():
            walk = Walk(view.store, asked[0].after, ended=False)
        walk.run(asked[0].after, tell or (lambda seq: None))
        last = view.last_seq
        causes: dict[int, tuple[Cause, ...]] = {}
        for wait in asked:
            walk.run(wait.after)
            causes[wait.after] = _Inquiry(walk, queue, id, wait, last).run(view.owner is not None, tell)
    return [Wait(w.after, w.from_at, w.until, w.to_at, causes.get(w.after, ())) for w in some]


class _Inquiry:
    """One wait, looked into."""

    def __init__(self, walk: Walk, queue: str, id: bytes, wait: Wait, last: int) -> None:
        self._walk, self._queue, self._id, self._wait = walk, queue, id, wait
        self._last = last if wait.until is None else wait.until
        self._stride = 1 + (self._last - wait.after) // STRIDE
        self._at = wait.from_at
        self._spent: dict[str, int] = {}
        self._longest: dict[str, tuple[int, str]] = {}
        self._inferred: set[str] = set()
        self._held: Reason | None = None  # the answer to the last question, if the next may be spared

    def run(self, owned: bool, tell: Tell | None) -> tuple[Cause, ...]:
        walk, unasked = self._walk, 0
        for seq, event in walk.events(self._last, tell or (lambda seq: None)):
            if event.at > self._at:
                self._spend(min(event.at, self._wait.to_at), before=type(event))
            elif type(event) is ClockStepped:
                self._at = event.at
            if seq == self._wait.until or (self._wait.until is None and event.at > self._wait.to_at):
                break
            walk.take(seq, event)
            unasked += 1
            if unasked >= self._stride or type(event) in LOOSE_KINDS:
                unasked, self._held = 0, None
        else:
            if self._wait.to_at > self._at:
                self._spend(self._wait.to_at, before=None if owned else EngineBooted)
        walk.seq = self._last if self._wait.until is None else self._last - 1
        return tuple(
            Cause(kind, self._longest[kind][1], us, kind in self._inferred)
            for kind, us in sorted(self._spent.items(), key=lambda pair: -pair[1])
        )

    def _spend(self, until: int, before: type[Event] | None) -> None:
        """The time up to `until`, when an event of kind `before` came, goes to what holds it now."""
        down = before is EngineBooted
        while self._at < until:
            reason = self._held or self._ask()
            inferred = reason.kind == "next"
            stop = until
            if reason.until_at is not None and self._at < reason.until_at:
                stop = min(until, reason.until_at)
            if down and reason.kind not in _OWN:
                reason, inferred, stop = _engine_down(self._walk.state), not self._walk.state.clean, until
            elif before is EngineClosed and reason.kind == "next":
                reason, inferred = Reason("stopping", "the engine was stopping, and started nothing more"), True
            if self._stride > 1 and reason.until_at is None:
                self._held, inferred = reason, True
            self._put_down(reason, stop - self._at, inferred)
            self._at = stop
        if down:
            self._held = None

    def _put_down(self, reason: Reason, spent: int, inferred: bool) -> None:
        self._spent[reason.kind] = self._spent.get(reason.kind, 0) + spent
        if inferred:
            self._inferred.add(reason.kind)
        if spent > self._longest.get(reason.kind, (0, ""))[0]:
            self._longest[reason.kind] = (spent, reason.text)

    def _ask(self) -> Reason:
        state = self._walk.state
        queue = state.queues[self._queue]
        found = explain(queue, self._id, self._at, surroundings(state, queue))
        reason = min(found, key=_binding, default=Reason("next", ""))
        return reason._replace(text=_words(reason, queue))


def _binding(reason: Reason) -> int:
    return _BINDING.index(reason.kind) if reason.kind in _BINDING else len(_BINDING)


def _engine_down(state: JournalState) -> Reason:
    if state.clean:
        return Reason(_DOWN, "no engine was running: the last one had closed in good order")
    return Reason(_DOWN, "no engine was running: the last one died, at its last event or later")


def _words(reason: Reason, queue: QueueState) -> str:
    """What explain says, without what is true of one instant only."""
    match reason.kind:
        case "not due":
            return "it was not due"
        case "backoff":
            return "it had failed, and waited for its backoff"
        case "parked until":
            return f"a handler had parked the queue: {queue.parked_why}"
        case "next":
            return _NOTHING
        case "rate limited until" | "key rate limited until":
            return reason.text.split(";")[0]
        case _:
            return reason.text


def surroundings(state: JournalState, queue: QueueState) -> Env:
    """What `explain` must know of the world around a queue, as far as a journal says: which slots the engine has, and which handlers, it
    does not.
    """
    suspects = sum(len(other.agenda.suspects_out) for other in state.queues.values())
    name = queue.policy.limiter
    if name is None:
        return Env(suspects_running=suspects)
    return Env(suspects_running=suspects, limiter_at=max(other.limiters.get(name) for other in _siblings(state, queue)))


def _siblings(state: JournalState, queue: QueueState) -> Iterator[QueueState]:
    namespace = namespace_of(queue.name)
    return (other for name, other in state.queues.items() if namespace_of(name) == namespace)


__all__ = ["Cause", "Wait", "distance", "explained", "surroundings", "waits"]
