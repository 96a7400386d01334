"""The whole journal as one state: boots, clock steps, and a `QueueState` for each queue that any event named.

`fold` is what recovery runs over the tail, what `verify` runs over everything and what a simulation compares with the live
state.  It routes; what a queue's events mean is `apply`'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from journeyman.kernel.apply import apply
from journeyman.kernel.events import (
    DUE_BY_DURATION,
    ClockStepped,
    EngineBooted,
    EngineClosed,
    Event,
    JournalCompacted,
    ValuePut,
    deadline_moved,
)
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.schedule import schedules_stepped
from journeyman.kernel.state import QueueState


class JournalState:
    """The fold of a journal.  `last_at`: the newest instant in it (kernel time never goes back behind it, but for a journalled step)."""

    __slots__ = ("boots", "clean", "compacted_seq", "gone_seq", "last_at", "queues", "through_seq")

    def __init__(self) -> None:
        self.boots = 0
        self.clean = True  # whether the last boot ended in good order
        self.last_at = 0
        self.compacted_seq = 0  # of the newest JournalCompacted
        self.through_seq = 0  # what that one speaks for
        self.gone_seq = 0  # the newest event of no queue that compaction took
        self.queues: dict[str, QueueState] = {}

    def __repr__(self) -> str:
        return f"<JournalState boots={self.boots} last_at={self.last_at} queues={sorted(self.queues)}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JournalState) and self.facts() == other.facts() and self.queues == other.queues

    __hash__ = None  # type: ignore[assignment]

    def facts(self) -> dict[str, Any]:
        """What it knows apart from the queues; CBOR-able."""
        return {
            "boots": self.boots,
            "clean": self.clean,
            "last_at": self.last_at,
            "compacted_seq": self.compacted_seq,
            "through_seq": self.through_seq,
            "gone_seq": self.gone_seq,
        }

    def load_facts(self, facts: dict[str, Any]) -> None:
        """Take over `facts()` of a checkpoint."""
        self.boots, self.clean, self.last_at = facts["boots"], facts["clean"], facts["last_at"]
        self.compacted_seq, self.through_seq = facts["compacted_seq"], facts["through_seq"]
        self.gone_seq = facts.get("gone_seq", 0)

    def queue(self, name: str) -> QueueState:
        """The queue of that name, created on first sight."""
        found = self.queues.get(name)
        if found is None:
            found = self.queues[name] = QueueState(name)
        return found

    def rebuild(self) -> None:
        """All indexes anew, after rows were adopted."""
        for queue in self.queues.values():
            queue.rebuild()


def fold(state: JournalState, event: Event, seq: int) -> None:
    """Fold one event of any kind, which the journal holds at `seq`, into `state`."""
    if event[0] > state.last_at:
        state.last_at = event[0]
    of_journal = _JOURNAL.get(type(event))
    if of_journal is not None:
        of_journal(state, event, seq)
        return
    queue = state.queues.get(event[1])
    if queue is None:
        queue = state.queue(event[1])
    apply(queue, event, seq)  # type: ignore[arg-type]  # what is not in _JOURNAL concerns a queue


def replay(events: Iterable[tuple[int, Event]], state: JournalState | None = None) -> JournalState:
    """The state after (seq, event) pairs in order, beginning from `state` or from nothing."""
    state = state or JournalState()
    for seq, event in events:
        fold(state, event, seq)
    return state


def _booted(state: JournalState, event: EngineBooted, _seq: int) -> None:
    state.boots = max(state.boots, event.epoch)
    state.clean = False


def _closed(state: JournalState, _event: EngineClosed, _seq: int) -> None:
    state.clean = True


def _stepped(state: JournalState, event: ClockStepped, seq: int) -> None:
    """Kernel time jumps by delta: what was so many seconds away stays as far away, what was an instant stays that instant."""
    state.last_at = event.at
    for queue in state.queues.values():
        rebase(queue, event.delta_us, seq)
        schedules_stepped(queue, event.delta_us, event.at, seq)


def rebase(queue: QueueState, delta_us: int, seq: int) -> None:
    """Move the due instants and deadlines that came from durations, the end of a parking and the rate limiter by `delta_us`."""
    for task in queue.tasks.values():
        if task.state in TERMINAL:
            continue
        if task.due_kind == DUE_BY_DURATION:
            task.due_at += delta_us
            task.first_due += delta_us
        if task.latest_at is not None:
            task.latest_at += delta_us
        if task.options is not None and "deadline_kind" in task.options:
            task.options = deadline_moved(task.options, delta_us)
    if queue.parked_until:
        queue.parked_until += delta_us
        queue.parked_seq = seq
    if queue.tat_at:
        queue.tat_at += delta_us
        queue.tat_seq = seq
    queue.limiters.move(delta_us, seq)
    queue.key_tats.move(delta_us, seq)
    queue.claims.move(delta_us)
    queue.rebuild()


def _compacted(state: JournalState, event: JournalCompacted, seq: int) -> None:
    state.boots = max(state.boots, event.totals.get("boots", 0))
    state.compacted_seq, state.through_seq = seq, event.through_seq
    state.gone_seq = max(state.gone_seq, (event.options or {}).get("gone_seq", 0))
    for name, facts in event.queues.items():
        queue = state.queue(name)
        queue.merge_facts(facts)
        queue.claims.pass_by(event.at)


def _value_put(_state: JournalState, _event: ValuePut, _seq: int) -> None:
    """Memory holds no values: table KEYVALUES is their fold, and goes with the event in its commit (journal/values.py)."""


_JOURNAL: Final[dict[type, Callable[[JournalState, Any, int], None]]] = {
    EngineBooted: _booted,
    EngineClosed: _closed,
    ClockStepped: _stepped,
    JournalCompacted: _compacted,
    ValuePut: _value_put,
}

__all__ = ["JournalState", "fold", "rebase", "replay"]
