"""What the queues of one namespace may use together: attempts at a time, and tasks that wait.

Both are derived from the queues at each decision (law 7).  Attempts are granted as the engine's own slots are, from a line, so that no
queue of the namespace starves another; usually there is nothing to wait for, because the concurrencies of its queues add up to no more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from journeyman.actors.slots import Slots
from journeyman.kernel.commands import Env

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor


class Budget:
    """`attempts`, `pending`: None means no bound.  `queues`: those of the namespace, stored ones too."""

    def __init__(self, namespace: str, attempts: int | None, pending: int | None, queues: Callable[[], Sequence[QueueActor]]) -> None:
        self.namespace = namespace
        self.attempts = attempts
        self.pending = pending
        self.slots = Slots(attempts, lambda: list(queues()))
        self.promised = 0  # tasks of queues that the same step has decided on, and not applied yet
        self._queues = queues

    def room(self) -> int | None:
        """How many more tasks may wait; None: as many as each queue allows."""
        if self.pending is None:
            return None
        return self.pending - self.promised - sum(actor.state.agenda.waiting + actor.reserved for actor in self._queues())


def tighter(one: int | None, other: int | None) -> int | None:
    """The smaller of two bounds, of which None is none."""
    return other if one is None else one if other is None else min(one, other)


def with_room(env: Env, budget: Budget | None) -> Env:
    """For submits: what the namespace has left, if the queue is in one."""
    return env if budget is None else env._replace(room=budget.room())


__all__ = ["Budget", "tighter", "with_room"]
