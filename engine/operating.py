"""The engine's operator actions: cancel, retry, clear, prune, pause, resume, configure.  Each is an event that names who acted and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from journeyman.actors.call import Call
from journeyman.engine.errors import NotCancellable, NotRetryable, TaskNotFound
from journeyman.engine.policy import QueuePolicy, changes_of, policy_in_force
from journeyman.engine.questions import Questions, StateLike, id_of, unless_refused
from journeyman.engine.spec import UNSET, Limit, Unset
from journeyman.kernel import commands
from journeyman.kernel.bounds import OPERATION_CHUNK
from journeyman.kernel.commands import Accepted, Answer, Cancel, Clear, Configure, Pause, Refused, Resume
from journeyman.kernel.duration import microseconds
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.limiters import check_shared
from journeyman.kernel.policy import OnCrash, Policy, Rate, Retention, Retry


class Operations(Questions):
    """What an operator may do to tasks and queues of an open engine."""

    async def cancel(self, id: str, reason: str = "", *, running: bool = True, by: str = "api") -> None:
        """Cancel a task.  One that waits ends at once; one that runs is signalled and ends when its handler does.

        NotCancellable for one that has ended, and with `running=False` for one that runs.  TaskNotFound.
        """
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
        session = self._opened()
        task = session.reader.find(id_of(id))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(f"no task {id}: it was never submitted here, or retention has dropped it")
        if task.state in TERMINAL and not task.keep_payload:
            raise NotRetryable(f"the arguments of task {id} were dropped at its end (Retention.payload); submit it anew")
        actor = session.shell.actors[task.queue]
        answer = await actor.ask(commands.Retry(task.id, reason, by, None if task.id in actor.state.tasks else task)).wait()
        if type(answer) is Refused and answer.error == "TaskNotFound" and (task := session.reader.find(task.id)) is not None:
            # A checkpoint has let go of it before the queue came to decide: now it must be given along.
            answer = await actor.ask(commands.Retry(task.id, reason, by, task)).wait()
        unless_refused(answer)

    async def retry_all(self, queue: str, state: StateLike = State.FAILED, *, reason: str = "", by: str = "api") -> int:
        """Retry every task of `queue` in `state` (failed, cancelled or interrupted); how many."""
        session = self._opened()
        filters = self._filters(session, queue, state)
        wanted = State(state)
        if wanted not in (State.FAILED, State.CANCELLED, State.INTERRUPTED):
            raise NotRetryable(f"tasks that are {wanted} cannot be retried; only failed, cancelled and interrupted ones can")
        actor = self._actor(session, queue)
        ids = [task.id for task in session.reader.newest(filters, None) if task.keep_payload]
        ids.reverse()  # oldest first, so that they keep their order
        count = 0
        for start in range(0, len(ids), OPERATION_CHUNK):
            calls: list[Call[Answer]] = []
            for task_id in ids[start : start + OPERATION_CHUNK]:
                task = session.reader.find(task_id)
                if task is not None and task.state is wanted:
                    calls.append(actor.ask(commands.Retry(task_id, reason, by, None if task_id in actor.state.tasks else task)))
            for call in calls:
                count += type(await call.wait()) is Accepted
        await self._seen(session)
        return count

    async def clear(self, queue: str, *, reason: str = "cleared", by: str = "api") -> int:
        """Cancel everything of `queue` that waits; running tasks are untouched.  How many were cancelled."""
        session = self._opened()
        actor = self._actor(session, queue)
        left = actor.state.agenda.waiting + actor.backlog  # what waits now; what comes while we work is not meant
        total = 0
        while left > 0:
            count = unless_refused(await actor.ask(Clear(reason, by, min(left, OPERATION_CHUNK))).wait()).count
            total += count
            left -= OPERATION_CHUNK
            if not count:
                break
        await self._seen(session)
        return total

    async def prune(
        self,
        older_than: float = 3600.0,
        queue: str | None = None,
        *,
        states: Iterable[StateLike] = ("succeeded", "cancelled"),
        by: str = "api",
    ) -> int:
        """Delete tasks that ended at least `older_than` seconds ago, whatever their retention says; how many.

        Succeeded and cancelled ones unless `states` names others.
        """
        session = self._opened()
        queues = [actor.name for actor in (session.queues() if queue is None else [self._actor(session, queue)])]
        wanted = frozenset(State(state) for state in ([states] if isinstance(states, str) else states))
        if wanted - TERMINAL:
            raise ValueError(f"only ended tasks can be pruned, not {', '.join(sorted(wanted - TERMINAL))}")
        ended_by = session.shell.now() - microseconds(older_than, "older_than")
        return await session.runtime.housekeeper.prune_by_hand(ended_by, queues, wanted, by)

    async def pause(self, queue: str, *, reason: str = "", by: str = "api") -> None:
        """Start nothing more on `queue` until `resume`, restarts included.  What runs goes on."""
        session = self._opened()
        unless_refused(await self._actor(session, queue).ask(Pause(by, reason)).wait())

    async def resume(self, queue: str, *, reason: str = "", by: str = "api") -> None:
        """Let `queue` start tasks again: undoes `pause`, and a handler's RetryLater(scope="queue")."""
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
        reason: str = "",
        by: str = "api",
    ) -> QueuePolicy:
        """Change the policy of a queue, declared here or only stored, from now on; what is not given stays as it is.

        Parameters are those of `Queue`.  It takes effect at once (a higher concurrency starts more, a lower one lets what runs finish),
        is on the record, and stays over restarts until the program declares another policy than before.  Instants already decided (a
        backoff, an expiry) stay.  Returns the policy in force.  ValueError for a value out of range, and then nothing has changed;
        QueueNotFound.
        """
        given = {
            "concurrency": concurrency, "retry": retry, "on_crash": on_crash, "rate": rate, "timeout": timeout, "heartbeat": heartbeat,
            "retention": retention, "max_pending": max_pending, "max_payload": max_payload, "per_key": per_key, "key_order": key_order,
            "aging": aging,
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
