"""The line of a queue that is shared by tenants: each in its turn, whatever the others have waiting.

Problem.  One tenant sends 100,000 tasks, and another's first waits behind all of them, though each was promised a service.  Choice: with
`fair_by`, the tasks that may start stand in one line for each tenant (their owner, or their serialization key; those that have none are a
tenant too), ordered as ever, and the tenants stand in a ring.  Next is the best task of the tenant with the fewest runs under way; among
equals, of the one whose turn was longest ago.  So slots are shared (a tenant with hour-long tasks does not keep all of them as they come
free), and so is what a rate lets through.  Priority counts within a tenant.  A tenant that comes, or comes back, joins the end of the
ring: its first task waits for at most one task of each of the others that wait.

A tenant is here while something of its waits or runs, so there are no more of them than tasks.  Joining, leaving and the pick cost
O(log tenants).  Turns are derived and not stored: after a restart the ring begins anew, in the order of the tenants' best tasks.
Rejected: the start times of past tasks as the measure (they are pruned); a rotating pointer into a list (what leaves moves it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from heapq import heapify, heappop, heappush, merge
from itertools import islice
from typing import Final

from journeyman.kernel.bounds import STALE_MIN
from journeyman.kernel.policy import FairBy
from journeyman.kernel.ready import Place as Stand
from journeyman.kernel.ready import Ready
from journeyman.kernel.taskstate import TaskState

NOBODY: Final = ""


def tenant_of(task: TaskState, fair_by: FairBy) -> str:
    """Whose task it is: its owner as one text, or its serialization key; "" if it has none."""
    options = task.options
    if options is None:
        return NOBODY
    if fair_by == "key":
        return options.get("key") or NOBODY
    owner = options.get("owner")
    return NOBODY if owner is None else f"{owner[0]}\x1f{owner[1]}"


class Tenant:
    """One of them.  `turn`: its place in the ring.  `entry`: its live entry in the heap of those that wait."""

    __slots__ = ("entry", "line", "name", "running", "turn")

    def __init__(self, name: str, aging_us: int | None) -> None:
        self.name = name
        self.line = Ready(aging_us)
        self.running = 0
        self.turn = 0
        self.entry: Place | None = None

    def __lt__(self, other: Tenant) -> bool:
        """Places never tie; a heap wants to know all the same."""
        return self.name < other.name


Place = tuple[int, int, Tenant]  # runs under way, place in the ring


class Shares:
    """Tasks in order, tenant by tenant.  Each is in at most one line, under `task.entry`, as in `Ready`."""

    __slots__ = ("_aging_us", "_dead", "_fair_by", "_order", "_ring", "_tenants", "_turns", "count")

    def __init__(self, fair_by: FairBy, aging_us: int | None = None) -> None:
        self._fair_by: FairBy = fair_by
        self._aging_us = aging_us
        self._order = Ready(aging_us)  # for its key; nobody stands in it
        self._tenants: dict[str, Tenant] = {}
        self._ring: list[Place] = []
        self._dead = 0
        self._turns = 0
        self.count = 0

    def __len__(self) -> int:
        """Entries kept, dead ones included: what it costs, not how many wait here (that is `count`)."""
        return len(self._ring) + sum(len(tenant.line) for tenant in self._tenants.values())

    def key(self, task: TaskState) -> Stand:
        """Its place in the line of its tenant."""
        return self._order.key(task)

    @property
    def tenants(self) -> int:
        """How many there are."""
        return len(self._tenants)

    # --- changes ----------------------------------------------------------------------------------------------------------

    def push(self, task: TaskState) -> None:
        """`task` joins the line of its tenant."""
        tenant = self._tenant(task)
        tenant.line.push(task)
        self.count += 1
        if tenant.line.count == 1:
            self._turns += 1
            tenant.turn = self._turns
            self._place(tenant)

    def push_all(self, tasks: Iterable[TaskState]) -> None:
        """As `push`, for each."""
        for task in tasks:
            self.push(task)

    def remove(self, task: TaskState) -> None:
        """`task`, which is in a line, leaves it."""
        tenant = self._tenants[tenant_of(task, self._fair_by)]
        tenant.line.remove(task)
        self.count -= 1
        if not tenant.line.count:
            self._unplace(tenant)
            self._drop(tenant)

    def began(self, task: TaskState) -> None:
        """A run of `task` is under way: its tenant has had its turn."""
        tenant = self._tenant(task)
        tenant.running += 1
        self._turns += 1
        tenant.turn = self._turns
        if tenant.line.count:
            self._place(tenant)

    def ended(self, task: TaskState) -> None:
        """That run is over."""
        tenant = self._tenants[tenant_of(task, self._fair_by)]
        tenant.running -= 1
        if tenant.line.count:
            self._place(tenant)
        self._drop(tenant)

    def _tenant(self, task: TaskState) -> Tenant:
        name = tenant_of(task, self._fair_by)
        tenant = self._tenants.get(name)
        if tenant is None:
            tenant = self._tenants[name] = Tenant(name, self._aging_us)
        return tenant

    def _drop(self, tenant: Tenant) -> None:
        if not tenant.line.count and not tenant.running:
            del self._tenants[tenant.name]

    def _place(self, tenant: Tenant) -> None:
        self._unplace(tenant)
        tenant.entry = entry = (tenant.running, tenant.turn, tenant)
        heappush(self._ring, entry)

    def _unplace(self, tenant: Tenant) -> None:
        if tenant.entry is None:
            return
        tenant.entry = None
        self._dead += 1
        ring = self._ring
        while ring and ring[0][2].entry is not ring[0]:
            heappop(ring)
            self._dead -= 1
        if self._dead > STALE_MIN and self._dead * 2 > len(ring):
            self._ring = [place for place in ring if place[2].entry is place]
            heapify(self._ring)
            self._dead = 0

    def load(self, tasks: list[TaskState]) -> None:
        """Replace everything that waits by `tasks`; what runs has been told before (`began`)."""
        lines: dict[str, list[TaskState]] = {}
        for task in sorted(tasks, key=self.key):
            lines.setdefault(tenant_of(task, self._fair_by), []).append(task)
        for waiting in lines.values():  # in the order of their best tasks
            tenant = self._tenant(waiting[0])
            tenant.line.load(waiting)
            self._turns += 1
            tenant.turn = self._turns
            self._place(tenant)
        self.count = len(tasks)

    # --- the pick ---------------------------------------------------------------------------------------------------------

    def best(self, n: int, may: Callable[[TaskState], bool] | None = None, guest: TaskState | None = None) -> list[TaskState]:
        """The next `n` for which `may` holds, as if each had started before the next was chosen.  Costs by what it passes, changes nothing.

        `guest`: one that stands elsewhere, and is to have the place that it would have here.
        """
        if not self.count:
            return [] if guest is None else [guest][:n]
        return list(islice(self._in_turn(may, guest), n))

    def _in_turn(self, may: Callable[[TaskState], bool] | None, guest: TaskState | None) -> Iterator[TaskState]:
        """A best-first walk of the ring's heap, beside a heap of those that have had a turn in this walk."""
        ring, turns = self._ring, self._turns
        front: list[tuple[Place, int]] = [(ring[0], 0)] if ring else []
        again: list[tuple[int, int, Iterator[TaskState], TaskState]] = []
        line: Iterator[TaskState]
        host = None if guest is None else self._tenants.get(tenant_of(guest, self._fair_by))
        if guest is not None and (host is None or host.entry is None):
            again.append((0, 0, iter(()), guest) if host is None else (host.running, host.turn, iter(()), guest))
        while front or again:
            if again and (not front or again[0][:2] < front[0][0][:2]):
                running, _, line, task = heappop(again)
            else:
                place, index = heappop(front)
                for child in (2 * index + 1, 2 * index + 2):
                    if child < len(ring):
                        heappush(front, (ring[child], child))
                tenant = place[2]
                if tenant.entry is not place:
                    continue
                running = tenant.running
                line = filter(may, tenant.line.in_order())
                if guest is not None and tenant is host:
                    line = merge(line, (guest,), key=self.key)
                first = next(line, None)
                if first is None:
                    continue
                task = first
            yield task
            following = next(line, None)
            if following is not None:
                turns += 1
                heappush(again, (running + 1, turns, line, following))


__all__ = ["NOBODY", "Shares", "tenant_of"]
