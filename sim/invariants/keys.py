"""Serialization keys: so many at a time, and in order."""

from __future__ import annotations

from collections import Counter
from typing import Any

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work


class KeysWithinLimit(Invariant):
    """At every instant at most `per_key` attempts of one key run, in the journal and inside handlers."""

    name = "serialization keys within their limit"
    of_option = "key"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._inside: Counter[tuple[str, str]] = Counter()

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or (key := work.options.get("key")) is None:
            return
        lane = self.oracle.lane(event.queue)
        limit = lane.limit("per_key", 1)
        running = sum(mate.state == "running" for mate in lane.keyed.get(key, {}).values())
        if running >= limit:
            self.broken(f"{work} is started at seq {seq} while {running} of {limit} with key {key!r} run in {event.queue!r}")

    def entered(self, work: Work) -> None:
        key = work.options.get("key")
        if key is None:
            return
        self._inside[work.queue, key] += 1
        lane = self.oracle.lane(work.queue)
        running = sum(mate.state == "running" for mate in lane.keyed.get(key, {}).values())
        inside, limit = self._inside[work.queue, key], lane.limit("per_key", 1)
        if inside > max(limit, running):  # more may run when the limit has been lowered
            self.broken(f"{inside} handlers with key {key!r} are inside in {work.queue!r}, which allows {limit}")

    def left(self, work: Work) -> None:
        key = work.options.get("key")
        if key is not None:
            self._inside[work.queue, key] -= 1

    def crashed(self, boot: Any) -> None:
        self._inside.clear()

    booted = crashed


class KeysInOrder(Invariant):
    """A task starts only when fewer than `per_key` of its key are running or come before it: unfinished, due once, with an earlier first
    due instant (or an earlier submission).  One that still waits for another task (`after`) has no
    part in it yet.  With key_order="relaxed", those that wait for a later instant or are parked let others pass.
    """

    name = "serialization keys in order"
    of_option = "key"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or (key := work.options.get("key")) is None:
            return
        lane = self.oracle.lane(event.queue)
        limit = lane.limit("per_key", 1)
        relaxed = lane.policy.get("key_order") == "relaxed"
        before = [mate for mate in lane.keyed.get(key, {}).values() if mate is not work and self._before(mate, work, event.at, relaxed)]
        if len(before) >= limit:
            self.broken(f"{work} is started at seq {seq} ahead of {before[0]}, which has the same key {key!r}")
        if before or len(lane.keyed[key]) > 1:
            self.witness.reach("others of its key wait")

    def _before(self, mate: Work, work: Work, now: int, relaxed: bool) -> bool:
        if mate.state == "running":
            return True
        if mate.waits_for or (mate.first_due, mate.place) > (work.first_due, work.place):
            return False
        if relaxed:
            return mate.due_at <= now and not self.witness.parked(mate)
        return mate.due_at <= now or mate.attempt > 0


__all__ = ["KeysInOrder", "KeysWithinLimit"]
