"""How long ended tasks are kept: not a moment less, and not much more."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Final

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work

LATE_SECONDS: Final = 900.0  # prunes come every ten minutes at least; a large step of the clock must be confirmed; disks are slow at times

_KEPT: Final = {
    "TaskSucceeded": "keep_succeeded_us",
    "TaskFailed": "keep_failed_us",
    "TaskCancelled": "keep_cancelled_us",
    "TaskInterrupted": "keep_interrupted_us",
}
_DEFAULT: Final = {name: (168 if name in ("keep_failed_us", "keep_interrupted_us") else 1) * 3_600_000_000 for name in _KEPT.values()}


class ExpiryIsThePolicys(Invariant):
    """A task expires as long after its end as its queue's policy says, and keeps its arguments where the policy says so."""

    name = "expiry as the policy says"

    def _ended(self, seq: int, event: Any, work: Work | None) -> None:
        kind = type(event).__name__
        policy = self.oracle.lane(event.queue).policy
        keep = policy.get(_KEPT[kind], _DEFAULT[_KEPT[kind]])
        expected = None if keep is None else event.at + keep
        if event.expires_at != expected:
            self.broken(f"{kind} at seq {seq}: {work} expires at {event.expires_at}, by its policy at {expected}")
        payload = policy.get("payload", True)
        keeps = kind in ("TaskFailed", "TaskInterrupted") if payload == "failed" else payload
        if event.keep_payload is not keeps:
            self.broken(f"{kind} at seq {seq}: the arguments of {work} are {'kept' if event.keep_payload else 'dropped'}")

    succeeded = dead = cancelled = interrupted = _ended


class NothingPrunedEarly(Invariant):
    """Retention deletes a task only when it has ended and its time has come, an operator only one that has ended; whole, and on record."""

    name = "nothing is pruned early"

    def pruned(self, seq: int, event: Any, work: Work | None) -> None:
        for first, last, count in event.entries:
            gone = self.oracle.by_seq.get(first)
            if gone is None:
                self.broken(f"the prune at seq {seq} names a task submitted at {first}, and there is none")
                continue
            if not gone.ended:
                self.broken(f"the prune at seq {seq} takes {gone}")
            elif event.by == "retention" and not gone.expired(event.at):
                early = "for ever" if gone.expires_at is None else f"{(gone.expires_at - event.at) / 1e6:g} s longer"
                self.broken(f"the prune at seq {seq} takes {gone}, which is kept {early}")
            own = [at for at, other in gone.events if type(other).__name__ != "ClockStepped"]
            if (last, count) != (own[-1], len(own)):
                self.broken(f"the prune at seq {seq} names {count} records up to {last} of {gone}, which has {len(own)} up to {own[-1]}")
            self.witness.pruned.update(own)


class NothingKeptLate(Invariant):
    """What has expired is deleted within a quarter of an hour of virtual time in which an engine is up, its disk works and its clock is
    not in doubt.
    """

    name = "nothing is kept late"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._line: list[tuple[int, int, Work]] = []

    def _ended(self, seq: int, event: Any, work: Work | None) -> None:
        if event.expires_at is not None and work is not None:
            heappush(self._line, (event.expires_at, work.seq, work))

    succeeded = dead = cancelled = interrupted = _ended

    def commit(self, batch: Any) -> None:
        line = self._line
        while line and (self.oracle.by_seq.get(line[0][1]) is not line[0][2] or line[0][2].expires_at != line[0][0]):
            heappop(line)
        if line and self.witness.up:
            self._look(*line[0])

    def _look(self, expires_at: int, seq: int, work: Work) -> None:
        late = min((self.oracle.last_at - expires_at) / 1e6, self.witness.quiet_seconds())
        if late > LATE_SECONDS:
            self.broken(f"{work} expired {(self.oracle.last_at - expires_at) / 1e6:g} s ago and is still in the journal")

    def closing(self, boot: Any) -> None:
        self.commit(None)


class PayloadsKeptAsPromised(Invariant):
    """Records leave the disk only with the prune of their task or a compaction, arguments also where the policy drops them at the end
    or where a debounced submit has brought later ones; and what a prune names is gone with it.
    """

    name = "records are kept as promised"

    def commit(self, batch: Any) -> None:
        pruned = self.witness.pruned
        if not batch.deletes and not pruned and not self.oracle.replaced:
            return
        replaced, self.oracle.replaced = self.oracle.replaced, set()
        deleted = self.witness.deleted(batch)
        for seq in deleted["EVENTS"] - pruned:
            if seq not in self.oracle.loose:
                self.broken(f"record {seq} of a task is deleted, and no prune names the task")
            elif not self.witness.compacted:
                self.broken(f"record {seq} is deleted, and no compaction replaces it")
        self.oracle.loose -= deleted["EVENTS"]
        missing = pruned - deleted["EVENTS"]
        if missing:
            self.broken(f"records {sorted(missing)} of pruned tasks are left on the disk")
        if replaced - deleted["PAYLOADS"]:
            self.broken(f"arguments {sorted(replaced - deleted['PAYLOADS'])} are left on the disk, and later ones have taken their place")
        for seq in deleted["PAYLOADS"] - pruned - replaced:
            work = self.oracle.by_payload.get(seq) or self.oracle.by_seq.get(seq)
            if work is None or not work.ended or work.keep_payload:
                self.broken(f"the payload of record {seq} is deleted: {work or 'no arguments of a task that is there'}")
