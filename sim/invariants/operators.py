"""What operators order: it is done, it is on the record, and it stays."""

from __future__ import annotations

from typing import Any

from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work

_PLAIN = ("concurrency", "on_crash", "max_pending", "max_payload")


class PolicyStaysAsOrdered(Invariant):
    """An acknowledged `configure` is in force, over restarts too, until the program declares another policy than before."""

    name = "a live change stays until another policy is declared"

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


__all__ = ["PolicyStaysAsOrdered"]
