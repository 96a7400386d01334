"""What is in a journal, in numbers: `journeyman stats` and `journeyman queues`.

Counts by queue and state come from memory's tasks and the tally, so they cost no more than recovery.  Events by kind, their bytes and the
rates are one pass over table EVENTS that looks at the header and one field of each record; it may be left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

from journeyman.journal.cbor import decode
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.store import Gauge, Table
from journeyman.journal.view import JournalView
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.namespace import namespace_of, shown_name
from journeyman.kernel.state import QueueState
from journeyman.kernel.tags import TAGS

_PAGE = 5_000
_HEADER, _FIRST_HEADER, _FIRST = 8, 24, 1


@dataclass(frozen=True, slots=True)
class QueueSummary:
    """One queue as it stands.  Durations in microseconds; `oldest_pending_us` None if nothing is due."""

    name: str  # with that of its namespace: plugin/mail
    namespace: str  # "": the owner's
    counts: dict[State, int]
    oldest_pending_us: int | None
    concurrency: int
    paused: tuple[str, str, int] | None  # by, reason, at
    parked_until: int
    keys: int  # serialization keys that wait or run
    schedules: int
    live_change: bool  # an operator's `configure` is in force


@dataclass(slots=True)
class EventCount:
    """Events by kind, and what they weigh."""

    kinds: dict[str, int] = field(default_factory=dict)
    bytes: int = 0
    records: int = 0
    first_at: int = 0
    last_at: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """A whole journal."""

    path: str
    owner: int | None
    boots: int
    clean: bool
    first_seq: int
    last_seq: int
    checkpoint_seq: int
    tail: int  # events after the newest checkpoint: what the next open folds
    queues: list[QueueSummary]
    gauge: Gauge
    file_bytes: int
    expired: int  # ended tasks whose retention is over: nobody sees them, and the next prune takes them

    @property
    def tasks(self) -> int:
        return sum(sum(queue.counts.values()) for queue in self.queues)


def summary(view: JournalView) -> Summary:
    """Counts, sizes and where it stands.  Costs what recovery costs."""
    now = view.now()
    with view.newest() as found:
        settled = found.catalog.counts(now)
        queues = [_queue(queue, settled.get(name, {}), now) for name, queue in sorted(found.state.queues.items())]
        state, report, last = found.state, found.report, found.journal.sealed
        held = sum(len(queue.tasks) for queue in state.queues.values())
        held += sum(found.tally.count(name, ended) for name in found.tally.ordinals for ended in TERMINAL)
    gauge = view.gauge()
    return Summary(
        path=view.path,
        owner=view.owner,
        boots=state.boots,
        clean=state.clean,
        first_seq=view.first_seq,
        last_seq=last,
        checkpoint_seq=report.checkpoint_seq,
        tail=report.tail,
        queues=queues,
        gauge=gauge,
        file_bytes=view.file_bytes,
        expired=held - sum(sum(queue.counts.values()) for queue in queues),
    )


def _queue(queue: QueueState, settled: dict[State, int], now: int) -> QueueSummary:
    counts = dict(queue.counts(now))
    for state in TERMINAL:
        expired = sum(1 for task in queue.listed(state, now) if task.expires_at is not None and task.expires_at <= now)
        counts[state] += settled.get(state, 0) - expired
    pending = [task.due_at for task in queue.listed(State.PENDING, now)]
    keys = {task.options["key"] for task in queue.tasks.values() if task.options and "key" in task.options and task.state not in TERMINAL}
    return QueueSummary(
        name=shown_name(queue.name),
        namespace=namespace_of(queue.name),
        counts=counts,
        oldest_pending_us=now - min(pending) if pending else None,
        concurrency=queue.policy.concurrency,
        paused=queue.paused,
        parked_until=queue.parked_until if queue.parked_until > now else 0,
        keys=len(keys),
        schedules=len(queue.schedules),
        live_change=queue.changed_live,
    )


def count_events(view: JournalView, tell: Callable[[int], object] = lambda count: None) -> EventCount:
    """One pass over all records, without decoding them.  `tell` hears how many are done, now and then."""
    found = EventCount()
    tags = [0] * 256
    first, edge = 0, b""
    while pairs := view.records(first, (1 << 64) - 2, _PAGE):
        for _, value in pairs:
            if len(value) < _HEADER:
                raise JournalCorrupt("a record is shorter than its header: run `journeyman verify`")
            tags[value[1]] += 1
            found.bytes += len(value)
        if not found.records:
            found.first_at = _instant(pairs[0][1])
        found.records += len(pairs)
        edge = pairs[-1][1]
        first = int.from_bytes(pairs[-1][0], "big") + 1
        tell(found.records)
    if edge:
        found.last_at = _instant(edge)
    found.kinds = {TAGS[tag].__name__ if tag in TAGS else f"kind {tag}": n for tag, n in enumerate(tags) if n}
    return found


def _instant(value: bytes) -> int:
    fields = decode(value[_FIRST_HEADER if value[2] & _FIRST else _HEADER :])
    return int(fields[0]) if isinstance(fields, list) and fields and isinstance(fields[0], int) else 0


def payload_bytes(view: JournalView, tell: Callable[[int], object] = lambda count: None) -> int:
    """Bytes of all arguments and results.  One pass over table PAYLOADS."""
    total, start, done = 0, b"", 0
    while pairs := view.store.scan(Table.PAYLOADS, start, limit=256):
        total += sum(len(value) for _, value in pairs)
        done += len(pairs)
        start = pairs[-1][0] + b"\0"
        tell(done)
    return total


def per_second(count: int, first_at: int, last_at: int) -> float:
    """Events a second between two instants; NaN if they are one."""
    return count / (last_at - first_at) * 1e6 if last_at > first_at else math.nan


__all__ = ["EventCount", "QueueSummary", "Summary", "count_events", "payload_bytes", "per_second", "summary"]
