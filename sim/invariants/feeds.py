"""What feeds show: each event once, in order, and none passed over in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from journeyman.engine import FeedEvent, FeedTruncated
from journeyman.journal.log import seq_key
from journeyman.journal.store import Items, Table
from journeyman.sim.invariants.invariant import Invariant


class FeedsMissNothing(Invariant):
    """A feed shows every durable event that is its, in order and once; where one has left the journal, and only there, it says so."""

    name = "a feed misses nothing"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._written: dict[int, tuple[str, str]] = {}  # seq -> queue, kind; of pruned ones too

    def records(self, items: Items, events: Sequence[tuple[int, Any]]) -> None:
        self._written.update((seq, (event[1], type(event).__name__)) for seq, event in events)

    def told(self, feed: Any, place: Any, said: FeedEvent | Exception) -> None:
        """A feed that stood at `place` has given an event, or raised."""
        written = self._written
        if isinstance(said, FeedTruncated):
            if not any(not self._there(seq) for seq in range(place.seq + 1, said.last + 1) if feed.shows(written[seq][0])):
                self.broken(f"a feed behind seq {place.seq} says that something up to {said.last} is gone, and nothing is")
        elif isinstance(said, FeedEvent):
            queue, kind = written.get(said.seq, ("", "nothing"))
            if kind != said.kind or not feed.shows(queue):
                self.broken(f"a feed shows {said.kind} at seq {said.seq}; durable there is {kind} of queue {queue!r}")
            if said.seq <= place.seq:
                self.broken(f"a feed behind seq {place.seq} shows seq {said.seq}")
            for seq in range(place.seq + 1, said.seq):
                if feed.shows(written[seq][0]) and (seq > place.known or self._there(seq)):
                    self.broken(f"a feed behind seq {place.seq} shows seq {said.seq} next, and has passed over {written[seq][1]} at {seq}")
                    break

    def _there(self, seq: int) -> bool:
        return self.witness.disk.get(Table.EVENTS, seq_key(seq)) is not None


__all__ = ["FeedsMissNothing"]
