"""How much at once, how much in a row, and in which order."""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heappop, heappush
from typing import Any

from journeyman.sim.invariants.fairness import tenant_of
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.invariants.rates import key_token_at
from journeyman.sim.oracle import Work


class ConcurrencyWithinLimit(Invariant):
    """At every instant a queue runs no more attempts than its `concurrency`, in the journal and inside handlers."""

    name = "concurrency within the queue's limit"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._before: dict[str, int] = {}  # what ran when the limit was lowered below it: that may finish

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        running = len(self.oracle.lane(event.queue).running)
        if running > event.policy["concurrency"]:
            self._before[event.queue] = running
            self.witness.reach("a limit lowered below what runs")

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.oracle.lane(event.queue)
        limit = lane.limit("concurrency", 1)
        if len(lane.running) >= limit:
            self.broken(f"{work} is started at seq {seq} while {len(lane.running)} of {limit} run in {event.queue!r}")
        self._before.pop(event.queue, None)

    def entered(self, work: Work) -> None:
        limit = max(self.oracle.lane(work.queue).limit("concurrency", 1), self._before.get(work.queue, 0))
        inside = self.witness.inside_of.get(work.queue, 0)
        if inside > limit:
            self.broken(f"{inside} handlers are inside in {work.queue!r}, which allows {limit}")


class EngineWithinLimit(Invariant):
    """All queues together run no more attempts than `max_concurrency`."""

    name = "concurrency within the engine's limit"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        limit = self.witness.max_concurrency
        if limit is not None and len(self.oracle.starts) >= limit:
            self.broken(f"{work} is started at seq {seq} while {len(self.oracle.starts)} of {limit} run in the engine")

    def entered(self, work: Work) -> None:
        limit = self.witness.max_concurrency
        if limit is not None and sum(self.witness.inside_of.values()) > limit:
            self.broken(f"{sum(self.witness.inside_of.values())} handlers are inside, the engine allows {limit}")


class RoomWithinLimit(Invariant):
    """No submit from outside is taken in when `max_pending` tasks wait, nor arguments beyond `max_payload`."""

    name = "max_pending and max_payload"

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.oracle.lane(event.queue)
        limit = lane.policy.get("max_pending")
        if limit is not None and lane.waiting >= limit and not (event.options or {}).get("parent"):
            self.broken(f"a submit is taken in at seq {seq} while {lane.waiting} wait in {event.queue!r}, which allows {limit}")
        if event.payload_len > lane.limit("max_payload", 1 << 60):
            self.broken(f"{event.payload_len} bytes of arguments were taken in at seq {seq}")


class PauseIsKept(Invariant):
    """A paused queue starts nothing until it is resumed, restarts included."""

    name = "a paused queue starts nothing"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if self.oracle.lane(event.queue).paused:
            self.broken(f"{work} is started at seq {seq} while {event.queue!r} is paused")

    def boot_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        self.witness.reach("paused over a restart", sum(lane.paused for lane in self.oracle.lanes.values()))


class ParkingIsKept(Invariant):
    """A queue that a handler has parked starts nothing before that instant, restarts included, unless it is resumed.

    The longest parking stands: no later one ends it sooner.
    """

    name = "a parked queue starts nothing"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        until_at = self.oracle.lane(event.queue).parked_until
        if event.at < until_at:
            self.broken(f"{work} is started at seq {seq}, {until_at - event.at} us before the end of the parking of {event.queue!r}")

    def parked(self, seq: int, event: Any, work: Work | None) -> None:
        if event.until_at <= max(event.at, self.oracle.lane(event.queue).parked_until):
            self.broken(f"the parking of {event.queue!r} at seq {seq} ends before one that stands")

    def boot_recorded(self, seq: int, event: Any, work: Work | None) -> None:
        self.witness.reach("parked over a restart", sum(lane.parked_until > event.at for lane in self.oracle.lanes.values()))


class SuspectsOneByOne(Invariant):
    """Of the tasks that one more crash would end, at most one runs at a time, over all queues."""

    name = "suspects run one at a time"

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None or not self._suspect(work):
            return
        others = [other for other in self.oracle.starts.values() if self._suspect(other)]
        if others:
            self.broken(f"{work} is started at seq {seq} while {others[0]} runs, and one more crash would end either")
        self.witness.reach("a suspect runs alone")

    def _suspect(self, work: Work) -> bool:
        return work.crashes > 0 and work.crashes >= self.oracle.lane(work.queue).limit("crashes", 3)


class BestFirst(Invariant):
    """Of what may start, the best starts first: higher priority, then earlier first due instant, then earlier submission.

    Tasks that stand aside are passed over: parked ones, those that wait for others, suspects, which wait for each other, and those whose
    key is another's.  With aging, the first due instant less `priority * aging` comes before all that.  With `fair_by`, all of it is said
    of the tasks of one tenant (invariants/fairness.py).
    """

    name = "the best ready task starts first"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._later: dict[str, list[tuple[int, int, int, Work]]] = {}  # by due instant
        self._ready: dict[str, list[tuple[int, int, int, int, Work]]] = {}  # by place in the order

    def commit(self, batch: Any) -> None:
        for work in self.witness.touched:
            if work.state == "pending" or work.state == "scheduled" or work.state == "retrying":
                if work.state == "pending":
                    self._join(work)
                else:
                    heappush(self._later.setdefault(work.queue, []), (work.due_at, work.seq, len(work.events), work))

    def _join(self, work: Work) -> None:
        heappush(self._ready.setdefault(work.queue, []), (*self._place(work), len(work.events), work))

    def _place(self, work: Work) -> tuple[int, int, int]:
        aging = self.oracle.lane(work.queue).policy.get("aging_us")
        rank = -work.priority if aging is None else work.first_due - work.priority * aging
        return (rank, work.first_due, work.place)

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        if self.witness.touched:
            self.commit(None)  # what this same commit has brought before
            self.witness.touched.clear()
        later, ready = self._later.get(event.queue, []), self._ready.setdefault(event.queue, [])
        while later and later[0][0] <= event.at:
            _, _, life, due = heappop(later)
            if due.waits and len(due.events) == life:
                self._join(due)
        while ready and not (ready[0][4].waits and len(ready[0][4].events) == ready[0][3]):
            heappop(ready)
        if not ready or ready[0][4] is work:
            return
        place = self._place(work)
        fair_by = self.oracle.lane(event.queue).policy.get("fair_by")
        for entry in sorted(self._ahead(ready, place), key=lambda entry: entry[:3]):
            other = entry[4]
            if fair_by is not None and tenant_of(other, fair_by) != tenant_of(work, fair_by):
                continue
            if not self._stands_aside(other, event.at):
                self.broken(f"{work} is started at seq {seq} ahead of {other}")
                return

    @staticmethod
    def _ahead(ready: list[tuple[int, int, int, int, Work]], place: tuple[int, int, int]) -> Iterator[tuple[int, int, int, int, Work]]:
        return (entry for entry in ready if entry[:3] < place and entry[4].waits and len(entry[4].events) == entry[3])

    def _stands_aside(self, work: Work, now: int) -> bool:
        deadline = work.options.get("deadline_at")
        if work.due_at > now or (deadline is not None and deadline < now):
            return True
        if work.waits_for or (work.crashes and work.crashes >= self.oracle.lane(work.queue).limit("crashes", 3)):
            return True
        token = key_token_at(self.oracle.lane(work.queue), work)
        if token is not None and token > now:
            return True
        return self._behind_others(work, now) or self.witness.parked(work)

    def _behind_others(self, work: Work, now: int) -> bool:
        """Whether its serialization key is, or may be, another's: how that is decided is watched elsewhere (invariants/keys.py)."""
        key = work.options.get("key")
        return key is not None and len(self.oracle.lane(work.queue).keyed.get(key, {})) > 1

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        """With another `aging` everybody has another place."""
        lane = self.oracle.lane(event.queue)
        if lane.policy.get("aging_us") != event.policy.get("aging_us"):
            self._later.pop(event.queue, None)
            self._ready.pop(event.queue, None)
            self.witness.touched.update(dict.fromkeys(one for one in self.oracle.tasks.values() if one.waits and one.queue == event.queue))

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        """Everything that waits has moved."""
        self._later.clear()
        self._ready.clear()
        self.witness.touched.update(dict.fromkeys(work for work in self.oracle.tasks.values() if work.waits))


__all__ = [
    "BestFirst", "ConcurrencyWithinLimit", "EngineWithinLimit", "ParkingIsKept", "PauseIsKept", "RoomWithinLimit", "SuspectsOneByOne",
]  # fmt: skip
