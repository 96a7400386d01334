"""What operators order: it is done, it is on the record, and it stays."""

from __future__ import annotations

from typing import Any

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work

_PLAIN = ("concurrency", "on_crash", "max_pending", "max_payload")


class PolicyStaysAsOrdered(Invariant):
    """An acknowledged `configure` is in force, over restarts too, until the program declares another policy than before."""

    name = "a live change stays until another policy is declared"
    calls = frozenset({"configure"})

    def configured(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.oracle.lane(event.queue)
        if (event.options or {}).get("live"):
            self.witness.reach("a policy changed live")
        elif lane.declared is not None and dict(lane.declared) == dict(event.policy):
            self.broken(f"{event.queue!r} is given its declared policy at seq {seq}, which is the one that it was declared with before")

    def opened(self, seq: int, event: Any, work: Work | None) -> None:
        lane = self.oracle.lane(event.queue)
        self.witness.reach("a live change over a restart", lane.declared is not None and lane.policy != lane.declared)

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if error is not None or asked.name != "configure":
            return
        lane = self.oracle.lane(asked.stored(asked.value("queue", 0)))
        if not (asked.alone and self.witness.alone(asked)):
            return  # it may have been changed again
        for name in _PLAIN:
            durable, told = lane.policy.get(name), getattr(answer, name)
            if told != durable:
                self.broken(f"configure() told {name}={told!r} of {lane.name!r}, durable is {durable!r}")
            if asked.kwargs.get(name, durable) != durable and not asked.namespace:  # a namespace may be granted less
                self.broken(f"configure({lane.name!r}) ordered {name}={asked.kwargs[name]!r}, durable is {durable!r}")


_DOES = {
    "cancel_all": ("TaskCancelled", "CancelRequested"), "reschedule_all": ("TaskRescheduled",), "reprioritise_all": ("TaskReprioritised",),
    "retry_all": ("TaskRetried",), "clear": ("TaskCancelled",), "reschedule": ("TaskRescheduled",), "reprioritise": ("TaskReprioritised",),
}  # fmt: skip


class OrdersAreDone(Invariant):
    """What an acknowledged order says that it did is in the journal, task by task, and a dry run does nothing; nothing else is done, to
    nobody that the caller cannot see.
    """

    name = "an operator's orders are done, and no more than that"
    calls = frozenset(_DOES)

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._done: list[tuple[int, str, str]] = []  # seq, kind, stored queue: events by operators, the newest of them

    def _note(self, seq: int, event: Any, work: Work | None) -> None:
        self._done.append((seq, type(event).__name__, event.queue))
        if len(self._done) > 20_000:
            del self._done[:10_000]

    cancelled = cancel_requested = retried = rescheduled = reprioritised = _note

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        kinds = _DOES.get(asked.name)
        if error is not None or kinds is None:
            return
        done = [queue for seq, kind, queue in reversed(self._done) if seq > asked.seq and kind in kinds]
        if asked.name in ("reschedule", "reprioritise"):
            self._one(asked)
        elif asked.kwargs.get("dry_run"):
            if done and asked.alone and self.witness.alone(asked) and asked.name in ("reschedule_all", "reprioritise_all"):
                self.broken(f"a dry run of {asked.name}() touched {len(done)} tasks")
        else:
            seen = sum(asked.called(queue) is not None for queue in done)
            if answer > seen:
                self.broken(f"{asked.name}() says that it touched {answer} tasks; {seen} such events are durable that it can have meant")
            self.witness.reach("many tasks ordered about", answer > 1)

    def _one(self, asked: Any) -> None:
        work = self.oracle.known(asked.task)
        self.witness.reach("a task moved by an operator")
        if work is None or not (asked.alone and self.witness.alone(asked)):
            return
        since = [event for seq, event in work.events if seq > asked.seq]
        wanted = asked.value("priority", 1)
        if asked.name == "reschedule" and not any(type(event).__name__ == "TaskRescheduled" for event in since):
            self.broken(f"{work} was to be rescheduled, which was acknowledged and is not in the journal")
        if asked.name == "reprioritise" and work.priority != wanted:
            self.broken(f"{work} was given priority {wanted}, which was acknowledged; it has {work.priority}")


__all__ = ["OrdersAreDone", "PolicyStaysAsOrdered"]
