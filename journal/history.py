"""A task's own life, read from the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from journeyman.journal.frozen import FrozenMap
from journeyman.journal.instants import instant_of
from journeyman.journal.record import Ignored
from journeyman.kernel.events import Event
from journeyman.kernel.ids import id_text

_NAMED: Final = frozenset({"at", "queue", "qseq", "epoch", "task", "attempt", "options"})


@dataclass(frozen=True, slots=True)
class HistoryEvent:
    """One event.  `details` holds the fields of its kind (docs/FORMAT.md), durations in microseconds, instants as microseconds UTC."""

    seq: int
    kind: str
    at: datetime
    queue: str
    epoch: int
    task: str | None
    attempt: int | None
    details: Mapping[str, Any] = field(hash=False)


@dataclass(frozen=True, slots=True)
class FeedEvent(HistoryEvent):
    """One event of a feed.  `queue` is "" for what concerns the whole journal.  `cursor`: where to go on behind it, opaque text."""

    cursor: str = field(default="", compare=False)

    @classmethod
    def of(cls, event: HistoryEvent, cursor: str) -> FeedEvent:
        return cls(event.seq, event.kind, event.at, event.queue, event.epoch, event.task, event.attempt, event.details, cursor)


def history_of(seq: int, event: Event | Ignored, queue: str) -> HistoryEvent | None:
    """The public form of a journalled event; None for a kind this version ignores.  `queue`: what the asker calls it."""
    if isinstance(event, Ignored):
        return None
    fields = event._asdict()
    details = {name: value for name, value in fields.items() if name not in _NAMED}
    details.update(fields.get("options") or {})
    task = fields.get("task")
    return HistoryEvent(
        seq=seq,
        kind=type(event).__name__,
        at=instant_of(event.at),
        queue=queue,
        epoch=event.epoch,
        task=None if task is None else id_text(task),
        attempt=fields.get("attempt"),
        details=FrozenMap(details),
    )
