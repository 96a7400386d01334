"""What a namespace may ask for, and what it is given instead.

Problem.  A host runs plugins it did not write.  One that asks for too much must not fail to start for it (its author tried it on another
host), nor get it; and the host must be able to see that it did.  Choice: what is beyond the limits is brought back within them and
logged; only where nothing is left at all is the plugin told no (BudgetExhausted).  The owner outside has no limits, and values that mean
nothing anywhere (a concurrency of 0) are a ValueError for everybody.

The budget of attempts is the sum of the concurrencies in force of the queues that were created in this process, so it is derived (law 7)
and what a live change gives back can be asked for by another queue.  A name that is taken is reported before a budget that is used up:
whoever creates a queue twice has made a mistake, not an attempt to get more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from journeyman.actors.budget import Budget
from journeyman.actors.queue_actor import QueueActor
from journeyman.engine.errors import BudgetExhausted, InvalidName, QueueExists
from journeyman.engine.lane import DeclaredLane
from journeyman.engine.names import check_name
from journeyman.engine.queue import Queue
from journeyman.engine.scope import Scope
from journeyman.kernel.bounds import CONCURRENCY_MAX, PAYLOAD_MAX_BYTES
from journeyman.kernel.commands import Answer, Configure
from journeyman.kernel.duration import Seconds, microseconds
from journeyman.kernel.namespace import stored_name
from journeyman.kernel.policy import Policy

if TYPE_CHECKING:
    from journeyman.engine.session import Session

_KEPT = ("keep_succeeded_us", "keep_failed_us", "keep_cancelled_us", "keep_interrupted_us")


_PLAIN = Policy()


def _said(name: str, value: int | None) -> str:
    """A fact of a policy, for people."""
    if name not in _KEPT:
        return f"{name}={value}"
    return f"retention of {name.split('_')[1]} tasks " + ("for ever" if value is None else f"for {value / 1e6:g} s")


def _bound(value: int | None, what: str, least: int, most: int = 1 << 53) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most):
        raise ValueError(f"{what} must be a whole number from {least} to {most}, or None, not {value!r}")


@dataclass(frozen=True, slots=True)
class Limits:
    """What the queues of a namespace are held to; None: nothing beyond what holds for everybody.

    max_payload: bytes of a task's encoded arguments.  retention: the least and the most seconds that ended tasks are kept.  queues: how
    many queues it may have.  pending: how many tasks may wait in all of them together.
    """

    max_payload: int | None = None
    retention: tuple[Seconds, Seconds] | None = None
    queues: int | None = None
    pending: int | None = None

    def __post_init__(self) -> None:
        _bound(self.max_payload, "limit max_payload", 0, PAYLOAD_MAX_BYTES)
        _bound(self.queues, "limit queues", 1)
        _bound(self.pending, "limit pending", 0)
        if self.retention is not None:
            if not isinstance(self.retention, tuple) or len(self.retention) != 2:
                raise ValueError(f"limit retention must be a pair (least, most) of seconds, not {self.retention!r}")
            least, most = self._kept_us(self.retention)
            if least > most:
                raise ValueError(f"limit retention must be (least, most), not {self.retention!r}")

    @staticmethod
    def _kept_us(retention: tuple[Seconds, Seconds]) -> tuple[int, int]:
        return microseconds(retention[0], "least retention"), microseconds(retention[1], "most retention")

    def within(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        """Of `facts` of a policy, those that must be others, and what they are to be."""
        found: dict[str, Any] = {}
        if self.max_payload is not None and facts.get("max_payload", 0) > self.max_payload:
            found["max_payload"] = self.max_payload
        if self.retention is not None:
            least, most = self._kept_us(self.retention)
            for name in _KEPT:
                if name in facts:
                    kept = most if facts[name] is None else min(max(facts[name], least), most)
                    if kept != facts[name]:
                        found[name] = kept
        return found


@dataclass(frozen=True, slots=True)
class Terms:
    """On what terms a namespace is open."""

    name: str
    max_concurrency: int | None = None
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if "/" in check_name(self.name, "namespace name"):
            raise InvalidName(f'namespace name {self.name!r} holds a "/", which stands between a namespace and its queue')
        _bound(self.max_concurrency, "max_concurrency", 1, CONCURRENCY_MAX)
        if not isinstance(self.limits, Limits):
            raise ValueError(f"limits must be Limits(...), not {self.limits!r}")


class NamespaceScope(Scope):
    """What a plugin reaches, and may spend."""

    def __init__(self, session: Session, terms: Terms) -> None:
        super().__init__(session, terms.name)
        self.terms = terms
        self.budget = Budget(terms.name, terms.max_concurrency, terms.limits.pending, self.queues)
        self._asked: dict[QueueActor, int] = {}  # concurrency of changes that are under way
        for actor in self.queues():
            actor.budget = self.budget

    async def create_queue(self, queue: Queue) -> None:
        """Declare a queue of the namespace, within its budget; durable on return.

        QueueExists and HandlerExists for names that are taken; BudgetExhausted when nothing is left for it.
        """
        if not isinstance(queue, Queue):
            raise TypeError(f"create_queue takes a Queue, not {type(queue).__name__}")
        terms, session = self.terms, self.session
        name = stored_name(terms.name, queue.name)
        if name in session.lanes or f"{terms.name}/{queue.name}" in self.shell.actors:
            raise QueueExists(f"queue {queue.name!r} exists already in namespace {terms.name!r}")
        self._room_for_another(name)
        policy = self._granted(queue.name, queue.policy, self._left(None))
        await session.declare(DeclaredLane(queue, name=name, policy=policy, budget=self.budget), self)
        actor = self.shell.actors[name]
        changes = self._changes(queue.name, actor.state.policy.facts(), self._left(actor))
        if changes:  # a live change of an earlier boot is beyond what is left now
            await self.configure(actor, Configure(changes, "namespace", "beyond what the namespace is allowed"))

    async def configure(self, actor: QueueActor, command: Configure) -> Answer:
        """As far as the namespace is allowed; the rest is brought back within its limits, and logged."""
        changes = dict(command.policy)
        changes |= self._changes(self.called(actor.name), changes, self._left(actor))
        if "concurrency" in changes:
            self._asked[actor] = changes["concurrency"]
        try:
            return await actor.ask(command._replace(policy=changes)).wait()
        finally:
            self._asked.pop(actor, None)

    def _room_for_another(self, name: str) -> None:
        """BudgetExhausted unless there may be one more queue: those declared here count, and stored ones that still hold tasks."""
        limit = self.terms.limits.queues
        if limit is None:
            return
        held = [actor for actor in self.queues() if actor.name != name and (actor.lane is not None or self._holds_tasks(actor))]
        if len(held) >= limit:
            raise BudgetExhausted(f"{len(held)}/{limit} queues of namespace {self.terms.name!r} are taken")

    def _holds_tasks(self, actor: QueueActor) -> bool:
        return any(self.reader.counts(actor).values())

    def _left(self, actor: QueueActor | None) -> int | None:
        """What the other queues leave of the budget of attempts."""
        limit = self.terms.max_concurrency
        if limit is None:
            return None
        others = (one for one in self.queues() if one is not actor and one.lane is not None)
        return limit - sum(max(one.state.policy.concurrency, self._asked.get(one, 0)) for one in others)

    def _granted(self, queue: str, policy: Policy, left: int | None) -> Policy:
        if left is not None and left <= 0:
            limit = self.terms.max_concurrency
            assert limit is not None
            raise BudgetExhausted(f"{limit - left}/{limit} of the concurrency of namespace {self.terms.name!r} is allocated")
        facts = policy.facts()
        return Policy.from_facts({**facts, **self._changes(queue, facts, left)})

    def _changes(self, queue: str, facts: Mapping[str, Any], left: int | None) -> dict[str, Any]:
        """What must be other than in `facts`, each with a line in the log."""
        found = self.terms.limits.within(facts)
        if left is not None and facts.get("concurrency", 0) > max(left, 1):
            found["concurrency"] = max(left, 1)
        for name, value in found.items():
            if facts[name] == getattr(_PLAIN, name):
                continue  # nobody asked for it
            self.shell.log.warning(
                "namespace %r: queue %r asks for %s, beyond its limits, and is given %s", self.terms.name, queue,
                _said(name, facts[name]), _said(name, value), extra={"namespace": self.terms.name, "queue": queue},
            )  # fmt: skip
        return found


__all__ = ["Limits", "NamespaceScope", "Terms"]
