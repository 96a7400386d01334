"""Whose turn it is: tenants of one queue."""

from __future__ import annotations

from collections import Counter
from typing import Any

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.invariants.rates import key_token_at
from journeyman.sim.oracle import Work


def tenant_of(work: Work, fair_by: str) -> Any:
    """Whose task it is."""
    if fair_by == "key":
        return work.options.get("key")
    owner = work.options.get("owner")
    return None if owner is None else tuple(owner)


class TenantsInTurn(Invariant):
    """With `fair_by`, no tenant that has something to start is passed over by one that runs more, or as many and has had its turn since.

    A turn is counted from where the queue was opened, configured or moved with the clock: there the ring begins anew.
    """

    name = "each tenant in its turn"
    of_policy = "fair_by"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._served: dict[tuple[str, Any], tuple[int, int]] = {}  # (queue, tenant) -> (seq, at) of its last start
        self._touched: dict[tuple[str, str], int] = {}  # (queue, key) -> seq of the last event of a task with that key

    def keyed(self, seq: int, event: Any, work: Work) -> None:
        self._touched[work.queue, work.options["key"]] = seq

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        if work is None:
            return
        lane = self.oracle.lane(event.queue)
        fair_by = lane.policy.get("fair_by")
        if fair_by is None:
            return
        mine = tenant_of(work, fair_by)
        before = self._served.get((work.queue, mine))
        self._served[work.queue, mine] = (seq, event.at)
        crashes = lane.limit("crashes", 3)
        if work.crashes and work.crashes >= crashes:
            return
        running = Counter(tenant_of(other, fair_by) for other in lane.running.values())
        for other in self.oracle.tasks.values():
            if other.queue != work.queue or not other.waits or other is work:
                continue
            theirs = tenant_of(other, fair_by)
            if theirs == mine or running[theirs] > running[mine] or self._stands_aside(other, event.at, crashes):
                continue
            if running[theirs] < running[mine]:
                self.broken(f"{work} is started at seq {seq} ahead of {other}, whose {fair_by} runs less")
                return
            last = self._served.get((work.queue, theirs), (0, 0))[0]
            if lane.policy.get("rate_per_key") is not None:
                continue  # when it had a token, and so joined the ring, is not told
            if before is not None and last < before[0] and self._ready_since(other) < before[0] and other.due_at <= before[1]:
                self.broken(f"{work} is started at seq {seq} ahead of {other}, whose {fair_by} has waited for its turn since seq {last}")
                return
        self.witness.reach("a tenant waits beside another", len({tenant_of(one, fair_by) for one in lane.running.values()} - {mine}))

    def _stands_aside(self, work: Work, now: int, crashes: int) -> bool:
        deadline = work.options.get("deadline_at")
        if work.due_at > now or (deadline is not None and deadline < now):
            return True
        if work.waits_for or (work.crashes and work.crashes >= crashes):
            return True
        key = work.options.get("key")
        if key is not None and len(self.oracle.lane(work.queue).keyed.get(key, {})) > 1:
            return True  # how that is decided is watched elsewhere (invariants/keys.py)
        token = key_token_at(self.oracle.lane(work.queue), work)
        return (token is not None and token > now) or self.witness.parked(work)

    def _ready_since(self, work: Work) -> int:
        key = work.options.get("key")
        return max(work.events[-1][0], 0 if key is None else self._touched.get((work.queue, key), 0))

    def _begin_anew(self, queue: str) -> None:
        for whom in [whom for whom in self._served if whom[0] == queue]:
            del self._served[whom]

    def opened(self, seq: int, event: Any, work: Work | None) -> None:
        self._begin_anew(event.queue)

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        self._begin_anew(event.queue)

    def clock_stepped(self, seq: int, event: Any, work: Work | None) -> None:
        self._served.clear()


__all__ = ["TenantsInTurn", "tenant_of"]
