"""The journal itself: numbers without gaps, a chain without breaks, time that does not run back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.record import Chain
from journeyman.journal.store import Items
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work


class NumbersWithoutGaps(Invariant):
    """Each record has the seq after the one before it, and each event of a queue the qseq after the last of its queue."""

    name = "seq without gaps"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._qseq: dict[str, int] = {}

    def records(self, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        last, numbers = self.oracle.newest_seq, self._qseq
        for seq, event in events:
            if seq != last + 1:
                self.broken(f"record {seq} follows record {last}")
            last = seq
            queue = event[1]
            if queue:
                if event[2] != numbers.get(queue, 0) + 1:
                    self.broken(f"record {seq} is number {event[2]} of {queue!r}, after {numbers.get(queue, 0)}")
                numbers[queue] = event[2]


class TimeGoesOn(Invariant):
    """`at` never decreases within a boot, but for a journalled step of the clock; epochs only rise."""

    name = "time goes on"

    def records(self, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        last_at = self.oracle.last_at
        for seq, event in events:
            if event[0] < last_at and type(event).__name__ not in ("ClockStepped", "EngineBooted"):
                self.broken(f"record {seq} is {last_at - event[0]} us older than the one before it")
            last_at = event[0]

    def opened(self, seq: int, event: Any, work: Work | None) -> None:
        if event.epoch <= self.oracle.lane(event.queue).epoch:
            self.broken(f"{event.queue!r} is opened at seq {seq} with epoch {event.epoch} again")

    def boot_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        if event.epoch <= self.oracle.boots:
            self.broken(f"boot {event.epoch} is recorded at seq {seq} after boot {self.oracle.boots}")
        if bool(event.facts.get("clean")) is not self.oracle.clean:
            self.broken(f"boot {event.epoch} says clean={event.facts.get('clean')}, the last record says {self.oracle.clean}")


class ChainHolds(Invariant):
    """Every commit carries the hash of the one before it, and ends whole."""

    name = "the chain holds"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._chain = Chain(1, bytes(16))

    def records(self, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        chain = self._chain
        try:
            chain.follow([int.from_bytes(key, "big") for key, _ in items], [value for _, value in items])
            chain.finish()
        except JournalCorrupt as error:
            self.broken(str(error))
