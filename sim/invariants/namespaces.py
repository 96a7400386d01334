"""Namespaces: no plugin gets more than it was given, and none reaches what is another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from journeyman.kernel.namespace import namespace_of
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Lane, Work


class NamespaceWithinBudget(Invariant):
    """The queues of a namespace run no more attempts together than its `max_concurrency`, no submit from outside is taken in beyond its
    `pending`, and what its queues may run adds up to no more than its budget.
    """

    name = "a namespace keeps to its budget"

    def _terms(self, queue: str) -> Any:
        """The terms of the namespace of a queue, if it has one that is open."""
        namespace = namespace_of(queue)
        boot = self.witness.boot
        session = None if boot is None or not namespace else boot.engine._session
        scope = None if session is None else session.namespaces.get(namespace)
        return None if scope is None else scope.terms

    def _lanes(self, queue: str) -> Iterator[Lane]:
        namespace = namespace_of(queue)
        return (lane for name, lane in self.oracle.lanes.items() if namespace_of(name) == namespace)

    def started(self, seq: int, event: Any, work: Work | None) -> None:
        terms = self._terms(event.queue)
        if terms is None:
            return
        self.witness.reach("a task of a namespace started")
        running = sum(len(lane.running) for lane in self._lanes(event.queue))
        if terms.max_concurrency is not None and running >= terms.max_concurrency:
            self.broken(f"{work} is started at seq {seq} while {running} of {terms.max_concurrency} run in its namespace")

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        terms = self._terms(event.queue)
        if terms is None or terms.limits.pending is None or (event.options or {}).get("parent"):
            return
        waiting = sum(lane.waiting for lane in self._lanes(event.queue))
        if waiting >= terms.limits.pending:
            self.broken(f"a submit is taken in at seq {seq} while {waiting} wait in its namespace, which allows {terms.limits.pending}")

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        work = None if asked.task is None else self.oracle.known(asked.task)
        if work is not None and asked.called(work.queue) is None and asked.name not in ("submit", "wait"):
            self.witness.reach("a plugin asked for another's task")
            if error is None:
                self.broken(f"{asked.name}() of namespace {asked.namespace!r} was given {work}")
        if error is None and asked.namespace and asked.name in ("create_queue", "configure"):
            self._adds_up(asked)

    def _adds_up(self, asked: Any) -> None:
        boot = self.witness.boot
        session = None if boot is None else boot.engine._session
        scope = None if session is None else session.namespaces.get(asked.namespace)
        if scope is None or scope.terms.max_concurrency is None:
            return
        granted = [actor.state.policy.concurrency for actor in scope.queues() if actor.lane is not None]
        if sum(granted) > scope.terms.max_concurrency and asked.alone and self.witness.alone(asked):
            self.broken(f"queues of namespace {asked.namespace!r} may run {granted}, its budget is {scope.terms.max_concurrency}")


__all__ = ["NamespaceWithinBudget"]
