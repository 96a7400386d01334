"""Dying at a chosen place, without a line in the product for it.

The engine takes its store as a parameter.  Here that store is wrapped, and the wrapper kills the process with SIGKILL at the n-th
commit of the wanted kind, before it is handed over or after it is durable but before the engine hears of it.  What a commit is about
can be read off the tables it touches.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

from journeyman.journal.store import Batch, Done, Store, Table

INDEXES = {Table.LIVE, Table.TASKS, Table.BY_STATE, Table.BY_EXPIRY}

# Name -> what it means, for the report.
MARKS = {
    "before": "before a commit",
    "after": "after a commit, before the reply",
    "handler": "in a handler",
    "snapshot": "in a snapshot, before a chunk is durable",
    "snapshot-after": "in a snapshot, between two chunks",
    "prune": "in a prune, before it is durable",
    "prune-after": "in a prune, after it is durable",
    "grow": "when the map is full, before it grows",
    "grow-after": "when the map has grown, before the retried commit",
}


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def is_snapshot(batch: Batch) -> bool:
    return any(table in INDEXES for table, _, _ in batch.puts)


def is_prune(batch: Batch) -> bool:
    return any(table is Table.EVENTS for table, _ in batch.deletes)


@dataclass
class Mark:
    """Die the `left`-th time `kind` comes by."""

    kind: str
    left: int

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        if not text:
            return None
        kind, _, number = text.partition(":")
        if kind not in MARKS:
            raise ValueError(f"no such mark: {kind}; there are {', '.join(MARKS)}")
        return cls(kind, int(number or 1))

    @property
    def needs_store(self) -> bool:
        return self.kind not in ("handler", "grow", "grow-after")

    def passed(self) -> None:
        self.left -= 1
        if self.left <= 0:
            die()

    def entered(self, _number: int) -> None:
        """A handler was entered (called by the trace, from within the handler)."""
        if self.kind == "handler":
            self.passed()

    def wants(self, batch: Batch) -> bool:
        kind = self.kind.removesuffix("-after")
        if kind == "snapshot":
            return is_snapshot(batch)
        if kind == "prune":
            return is_prune(batch)
        return True


class MarkedStore:
    """A store that passes everything on, and dies at its mark."""

    def __init__(self, inner: Store, mark: Mark) -> None:
        self._inner = inner
        self._mark = mark
        self._late = mark.kind == "after" or mark.kind.endswith("-after")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def begin_append(self, batch: Batch, done: Done) -> None:
        if not self._mark.wants(batch):
            self._inner.begin_append(batch, done)
            return
        if not self._late:
            self._mark.passed()
            self._inner.begin_append(batch, done)
            return

        def durable(error: BaseException | None) -> None:
            self._mark.passed()
            done(error)

        self._inner.begin_append(batch, durable)


def store_for(path: str, mark: Mark) -> Any:
    from journeyman.journal.opening import open_store

    return MarkedStore(open_store(path), mark)
