"""The named limiters of an engine: their gates, and whose turn it is among the queues that share one.

A limiter's time is the latest that any queue has folded for it (kernel/limiters.py).  A queue that was refused a token stands in line
(actors/turns.py); only the first of the line sets an alarm for the next token, and whoever leaves the line, served or not, wakes the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from journeyman.actors.gate import Gate
from journeyman.actors.turns import Turns
from journeyman.kernel.namespace import namespace_of
from journeyman.kernel.ratelimit import conforming

if TYPE_CHECKING:
    from journeyman.actors.queue_actor import QueueActor


class SharedLimiter:
    """One of them.  `actors`: all queues of the engine, for any may have used it, in an earlier boot too."""

    def __init__(self, name: str, actors: Callable[[], Iterable[QueueActor]], now: Callable[[], int]) -> None:
        self.name = name
        self.gate = Gate()
        self._actors = actors
        self._now = now
        self._turns: Turns[QueueActor] = Turns()

    @property
    def tat_at(self) -> int:
        """Its theoretical arrival time."""
        name = self.name
        return max((actor.state.limiters.get(name) for actor in self._actors()), default=0)

    def resume(self) -> None:
        """Entries go on where the journal says that starts stand."""
        if tat_at := self.tat_at:
            self.gate.resume((tat_at - self._now()) / 1_000_000)

    def tokens(self, actor: QueueActor, now: int) -> int | None:
        """How much cost `actor` may start now; None: as much as conforms, for nobody else waits."""
        turns = self._turns
        if not len(turns) or (len(turns) == 1 and actor in turns):
            return None
        rate = actor.state.policy.rate
        assert rate is not None
        return turns.share(actor, max(1, conforming(rate, self.tat_at, now)))

    def used(self, actor: QueueActor, cost: int, wants_more: bool) -> None:
        """What became of it: `actor` started so much, and whether only tokens keep the rest waiting."""
        turns = self._turns
        passes_on = bool(cost) or (actor in turns and not wants_more)
        turns.heard(actor, cost, wants_more)
        if passes_on:
            self._call()

    def forget(self, actor: QueueActor) -> None:
        """It is gone, or uses another limiter now."""
        if self._turns.leave(actor):
            self._call()

    def _call(self) -> None:
        for first in self._turns.first():
            first.wake()


class Tap:
    """How one queue draws from the limiter of its rate, its own or a shared one."""

    __slots__ = ("_actor", "_own", "gate", "limiter")

    def __init__(self, actor: QueueActor) -> None:
        self._actor = actor
        self._own = self.gate = Gate()
        self.limiter: SharedLimiter | None = None

    def turn(self) -> None:
        """The queue has a policy, perhaps another one: what is decided from here on goes by it."""
        actor = self._actor
        policy = actor.state.policy
        limiter = None if policy.limiter is None else actor.shell.limiters.of(policy.limiter, actor.name)
        if self.limiter is not None and self.limiter is not limiter:
            self.limiter.forget(actor)
        self.limiter = limiter

    def regulate(self) -> None:
        """That policy is durable: entries go by it too.  What was started before it has entered by then, or waits at the gate."""
        actor, limiter = self._actor, self.limiter
        policy = actor.state.policy
        self.gate = self._own if limiter is None else limiter.gate
        if limiter is None or actor.lane is not None:  # one that is only stored starts nothing, and its numbers may be old
            self.gate.set(*(policy.rate or (0, 1, 1)))

    def resume(self) -> None:
        """At a boot: the queue's own entries go on where the journal says that its starts stand."""
        if tat_at := self._actor.state.tat_at:
            self._own.resume((tat_at - self._actor.shell.now()) / 1_000_000)

    def used(self, cost: int, wants_more: bool = False) -> None:
        """See `SharedLimiter.used`."""
        if self.limiter is not None:
            self.limiter.used(self._actor, cost, wants_more)


class Limiters:
    """All of them, by namespace and name."""

    def __init__(self, actors: Callable[[], Iterable[QueueActor]], now: Callable[[], int]) -> None:
        self._actors = actors
        self._now = now
        self._named: dict[tuple[str, str], SharedLimiter] = {}

    def of(self, name: str, queue: str) -> SharedLimiter:
        """The limiter of that name in the namespace of `queue`."""
        namespace = namespace_of(queue)
        found = self._named.get((namespace, name))
        if found is None:
            found = SharedLimiter(name, lambda: (actor for actor in self._actors() if namespace_of(actor.name) == namespace), self._now)
            self._named[namespace, name] = found
            found.resume()
        return found

    def resume(self) -> None:
        """At a boot, when all queues are there: any may have been the last to use a limiter that others use now."""
        for limiter in self._named.values():
            limiter.resume()

    def forget(self, actor: QueueActor) -> None:
        for limiter in self._named.values():
            limiter.forget(actor)


__all__ = ["Limiters", "SharedLimiter", "Tap"]
