"""The engine's operator actions on one task or one queue: cancel, retry, reschedule, pause, configure and others.

Each is an event that names who acted and why.  Orders about many tasks are in engine/bulk.py.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Literal

from journeyman.actors.following import follow_for_named
from journeyman.engine.aim import due_of, no_task
from journeyman.engine.errors import NotCancellable, NotWaiting, TaskNotFound
from journeyman.engine.names import check_words
from journeyman.engine.policy import QueuePolicy, changes_of, policy_in_force
from journeyman.engine.questions import Questions, id_of, unless_refused
from journeyman.engine.spec import UNSET, Limit, Unset, whole
from journeyman.kernel import commands
from journeyman.kernel.bounds import OPERATION_CHUNK, PRIORITY_MAX, PRIORITY_MIN
from journeyman.kernel.commands import Cancel, Clear, Command, Configure, Pause, Refused, Reprioritise, Reschedule, Resume
from journeyman.kernel.duration import Seconds
from journeyman.kernel.limiters import check_shared
from journeyman.kernel.policy import FairBy, OnCrash, Policy, Rate, Retention, Retry


class Operations(Questions):
    """What an operator may do to tasks and queues of an open engine."""

    async def cancel(self, id: str, reason: str = "", *, running: bool = True, by: str = "api") -> None:
        """Cancel a task.  One that waits ends at once; one that runs is signalled and ends when its handler does.

        NotCancellable for one that has ended, and with `running=False` for one that runs.  TaskNotFound.
        """
        check_words(reason, by)
        session = self._opened()
        actor = await self._owner(session, id, NotCancellable)
        answer = await actor.ask(Cancel(id_of(id), reason, by, running)).wait()
        if type(answer) is Refused and answer.error == "TaskNotFound":
            await self._owner(session, id, NotCancellable)  # ended, and let go of by a checkpoint, before the queue came to decide
        unless_refused(answer)

    async def retry(self, id: str, *, reason: str = "", by: str = "api") -> None:
        """Give an ended task a fresh budget and send it to the back of its queue.  NotRetryable unless it failed, was cancelled
        or interrupted.
        """
        check_words(reason, by)
        session = self._opened()
        task = session.reader.find(id_of(id))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(no_task(id))
        actor = session.shell.actors[task.queue]
        unless_refused(await actor.ask(commands.Retry(task.id, reason, by)).wait())

    async def reschedule(
        self, id: str, *, delay: Seconds | None = None, at: datetime | None = None, reason: str = "", by: str = "api"
    ) -> None:
        """Let a task that waits be due `delay` seconds from now, or `at` an aware instant; past ones mean now.  It takes that place in
        the order.

        NotWaiting for one that runs or has ended, TaskNotFound; ValueError unless exactly one of the two is given.
        """
        check_words(reason, by)
        delay_us, due_at = due_of(delay, at)
        if due_at is not None:
            follow_for_named(self._opened().shell)
        await self._change(id, lambda task: Reschedule(task, delay_us, due_at, reason, by))

    async def reprioritise(self, id: str, priority: int, *, reason: str = "", by: str = "api") -> None:
        """Give a task that waits another priority: higher first.  NotWaiting for one that runs or has ended, TaskNotFound."""
        check_words(reason, by)
        chosen = whole(priority, "priority", PRIORITY_MIN, PRIORITY_MAX)
        await self._change(id, lambda task: Reprioritise(task, chosen, reason, by))

    async def _change(self, id: str, order: Callable[[bytes], Command]) -> None:
        """Give an order about a task that should be waiting."""
        session = self._opened()
        actor = await self._owner(session, id, NotWaiting)
        answer = await actor.ask(order(id_of(id))).wait()
        if type(answer) is Refused and answer.error == "TaskNotFound":
            await self._owner(session, id, NotWaiting)  # ended, and let go of by a checkpoint, before the queue came to decide
        unless_refused(answer)

    async def clear(self, queue: str, *, reason: str = "cleared", by: str = "api") -> int:
        """Cancel everything of `queue` that waits; running tasks are untouched.  How many were cancelled."""
        check_words(reason, by)
        session = self._opened()
        actor = self._actor(session, queue)
        left = actor.state.agenda.waiting + actor.backlog  # what waits now; what comes while we work is not meant
        total = 0
        while left > 0:
            session.shell.room.check_order()
            count = unless_refused(await actor.ask(Clear(reason, by, min(left, OPERATION_CHUNK))).wait()).count
            total += count
            left -= OPERATION_CHUNK
            if not count:
                break
        await self._seen(session)
        return total

    async def pause(self, queue: str, *, reason: str = "", by: str = "api") -> None:
        """Start nothing more on `queue` until `resume`, restarts included.  What runs goes on."""
        check_words(reason, by)
        session = self._opened()
        unless_refused(await self._actor(session, queue).ask(Pause(by, reason)).wait())

    async def resume(self, queue: str, *, reason: str = "", by: str = "api") -> None:
        """Let `queue` start tasks again: undoes `pause`, and a handler's RetryLater(scope="queue")."""
        check_words(reason, by)
        session = self._opened()
        unless_refused(await self._actor(session, queue).ask(Resume(by, reason)).wait())

    async def configure(
        self,
        queue: str,
        *,
        concurrency: int | Unset = UNSET,
        retry: Retry | Unset = UNSET,
        on_crash: OnCrash | Unset = UNSET,
        rate: Rate | Unset | None = UNSET,
        timeout: Limit = UNSET,
        heartbeat: Limit = UNSET,
        retention: Retention | Unset = UNSET,
        max_pending: int | Unset | None = UNSET,
        max_payload: int | Unset = UNSET,
        per_key: int | Unset = UNSET,
        key_order: Literal["strict", "relaxed"] | Unset = UNSET,
        aging: Limit = UNSET,
        fair_by: FairBy | Unset | None = UNSET,
        weight: int | Unset = UNSET,
        rate_per_key: Rate | Unset | None = UNSET,
        reason: str = "",
        by: str = "api",
    ) -> QueuePolicy:
        """Change the policy of a queue, declared here or only stored, from now on; what is not given stays as it is.

        Parameters are those of `Queue`.  It takes effect at once (a higher concurrency starts more, a lower one lets what runs finish),
        is on the record, and stays over restarts until the program declares another policy than before.  Instants already decided (a
        backoff, an expiry) stay.  Returns the policy in force.  ValueError for a value out of range, and then nothing has changed;
        QueueNotFound.
        """
        check_words(reason, by)
        given = {
            "concurrency": concurrency, "retry": retry, "on_crash": on_crash, "rate": rate, "timeout": timeout, "heartbeat": heartbeat,
            "retention": retention, "max_pending": max_pending, "max_payload": max_payload, "per_key": per_key, "key_order": key_order,
            "aging": aging, "fair_by": fair_by, "weight": weight, "rate_per_key": rate_per_key,
        }  # fmt: skip
        session = self._opened()
        actor = self._actor(session, queue)
        changes = changes_of({name: value for name, value in given.items() if value is not UNSET}, actor)
        changed = {actor.name: Policy.from_facts({**actor.state.policy.facts(), **changes})}
        declared = [other for other in session.shell.actors.values() if other.lane is not None]
        check_shared((other.name, changed.get(other.name, other.state.policy)) for other in declared)
        unless_refused(await session.configure(actor, Configure(changes, by, reason)))
        policy = policy_in_force(actor)
        await self._seen(session)
        return policy
