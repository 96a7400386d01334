"""The engine's questions: one task, many tasks, how the queues are doing.

Answers obey law 3: what was read from memory is said only when the commit it rests on is durable.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import trio

from journeyman.actors.budget import Budget
from journeyman.actors.queue_actor import QueueActor
from journeyman.engine.aim import has_ended, no_task
from journeyman.engine.errors import REFUSALS, EngineStopped, JourneymanError, QueueNotFound, TaskNotFound, given_up
from journeyman.engine.handler import Handler, NamedHandler
from journeyman.engine.ids import id_bytes
from journeyman.engine.measures import Measures, measure, tally
from journeyman.engine.reading import Filters
from journeyman.engine.scope import Scope
from journeyman.engine.stats import QueueStats, stats_of
from journeyman.engine.task import Task
from journeyman.journal.history import HistoryEvent, history_of
from journeyman.kernel.commands import Accepted, Answer, Refused
from journeyman.kernel.explain import Reason, explain, key_held
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.taskstate import TaskState

StateLike = State | str
_ON_ITS_WAY: Final = ("running", "order", "next")  # reasons of what its queue would go on with


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a task is not running (or that it is): one or more reasons, each with `kind`, `text` and, where time alone lifts it,
    `until_at`.
    """

    id: str
    reasons: tuple[Reason, ...]

    def __str__(self) -> str:
        return "; ".join(reason.text for reason in self.reasons)


class Questions:
    """What can be asked of an open engine."""

    def _opened(self) -> Scope:
        """What this door reaches.  EngineStopped while the engine is not open."""
        raise NotImplementedError

    async def get(self, id: str) -> Task:
        """The task as it stands.  TaskNotFound when it is unknown, or retention has dropped it."""
        session, task = await self._found(id_of(id))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(no_task(id))
        seen = session.task(task)
        await self._seen(session)
        return seen.read()

    async def explain(self, id: str) -> Explanation:
        """Why a task is not running: `.reasons`, each with `kind` and `text`."""
        session, task = await self._found(id_of(id))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(no_task(id))
        actor = session.shell.actors[task.queue]
        found = explain(actor.state, task.id, session.shell.now(), actor.view())
        if actor.budget is not None:
            found = [_of_namespace(reason, actor.budget) for reason in found]
        if task.state not in TERMINAL:
            found = _of_dead_actors(session, task, actor, _of_disk(session, found))
        await self._seen(session)
        gone = [] if found else [Reason("ended", f"it has ended: {task.state}"), *key_held(actor.state, task, session.shell.now())]
        return Explanation(id, tuple(found or gone))

    async def history(self, id: str) -> list[HistoryEvent]:
        """The task's whole life, from the journal, oldest first."""
        session, task = await self._found(id_of(id))
        seqs = [] if task is None else list(task.seqs)
        await self._seen(session)
        if task is None or session.reader.find(task.id) is None:  # ended and dropped, or pruned, while we waited
            await self._seen(session)  # and that must be durable before it is said
            raise TaskNotFound(no_task(id))
        found = (history_of(seq, event, session.called(task.queue)) for seq, event in session.shell.journal.events(seqs))
        return [event for event in found if event is not None]

    # --- many tasks ---------------------------------------------------------------------------------------------------

    async def list(
        self,
        queue: str | None = None,
        state: StateLike | Iterable[StateLike] | None = None,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        limit: int = 100,
        before: Task | str | int | None = None,
        parent: str | None = None,
        unique: str | None = None,
    ) -> list[Task]:
        """Matching tasks, newest first.  `before` (a Task, an id or a seq) goes on from an earlier page.  QueueNotFound for an
        unknown queue.
        """
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= 10_000:
            raise ValueError(f"limit must be a whole number from 1 to 10,000, not {limit!r}")
        session = self._opened()
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key, unique=unique)
        seq = await self._seq_of(session, before)
        session = await self._sound(session, filters.queue)
        found: list[Task] = []
        for task in session.reader.newest(filters, seq):
            found.append(session.task(task))
            if len(found) == limit:
                break
        await self._seen(session)
        return found

    async def count(
        self,
        queue: str | None = None,
        state: StateLike | Iterable[StateLike] | None = None,
        handler: str | None = None,
        owner: tuple[str, str] | None = None,
        source: str | None = None,
        tag: str | None = None,
        key: str | None = None,
        parent: str | None = None,
        unique: str | None = None,
    ) -> int:
        """How many tasks match.  Cheap for queue and state; other filters look at every task of those."""
        session = self._opened()
        filters = self._filters(session, queue, state, owner, parent, handler=handler, source=source, tag=tag, key=key, unique=unique)
        session = await self._sound(session, filters.queue)
        number = session.reader.count(filters)
        await self._seen(session)
        return number

    async def stats(self) -> dict[str, QueueStats]:
        """Every queue, stored or declared: counts by state, ages, rates, durations."""
        session = await self._sound(self._opened())
        now = session.shell.now()
        actors = sorted((session.called(actor.name), actor) for actor in session.queues())
        found = {name: stats_of(actor, name, session.reader.counts(actor), now) for name, actor in actors}
        await self._seen(session)
        return found

    def tally(self) -> None:
        """Count from now on what `measures` tells of tasks and attempts, until the engine is closed.  A second call changes nothing."""
        tally(self._opened())

    async def measures(self) -> Measures:
        """What a monitoring system wants to know of each queue, and of the journal; engine/metrics.py gives it to Prometheus."""
        session = await self._sound(self._opened())
        found = measure(session)
        await self._seen(session)
        return found

    # --- inside -------------------------------------------------------------------------------------------------------

    async def _found(self, id: bytes) -> tuple[Scope, TaskState | None]:
        """The task that this door reaches under that id, looked for where memory can be trusted."""
        session = self._opened()
        task = session.find(id)
        doubted = not session.shell.sound if task is None else session.shell.actors[task.queue].doubtful
        if doubted:
            await session.sound()
            session = self._opened()
            task = session.find(id)
        return session, task

    async def _sound(self, session: Scope, queue: str | None = None) -> Scope:
        """`session`, once what memory holds of its queues (or of one, by its stored name) is what the journal says.

        A step that failed half-way leaves behind what was never handed over, and so will never be durable (law 3), until its queue has been
        read anew.
        """
        if any(actor.doubtful for actor in session.queues() if queue is None or actor.name == queue):
            await session.sound()
            return self._opened()
        return session

    async def _seen(self, session: Scope) -> None:
        """Wait until everything applied so far is durable (law 3).  Always a checkpoint."""
        shell = session.shell
        if shell.writer.idle:
            await trio.lowlevel.checkpoint()
        else:
            try:
                await shell.writer.settled()
            except JourneymanError:
                raise
            except Exception as error:
                raise EngineStopped(f"the journal failed: {error}") from error

    @staticmethod
    def _actor(session: Scope, queue: str) -> QueueActor:
        actor = session.actor(queue) if isinstance(queue, str) else None
        if actor is None:
            raise QueueNotFound(f"no queue {queue!r}: neither declared in this process nor stored in the journal")
        return actor

    async def _owner(self, session: Scope, id: str, ended_error: type[JourneymanError]) -> QueueActor:
        """The actor that holds an unfinished task; errors for tasks that are gone or ended."""
        task = session.reader.find(id_of(id))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(no_task(id))
        if task.state in TERMINAL and task.id not in session.shell.actors[task.queue].state.tasks:
            await self._seen(session)
            raise ended_error(has_ended(id, task))
        return session.shell.actors[task.queue]

    def _filters(
        self,
        session: Scope,
        queue: str | None,
        state: StateLike | Iterable[StateLike] | None,
        owner: tuple[str, str] | None = None,
        parent: str | None = None,
        **plain: str | None,
    ) -> Filters:
        """What `list` and `count` were given, checked.  `plain`: filters that are a str; a handler may be given as itself."""
        handler: object = plain.get("handler")
        if isinstance(handler, (Handler, NamedHandler)):
            plain["handler"] = handler.name
        for what, value in (("queue", queue), ("parent", parent), *plain.items()):
            if value is not None and not isinstance(value, str):
                raise ValueError(f"the filter {what} must be a str, not {value!r}")
        stored = None if queue is None else self._actor(session, queue).name
        if owner is not None and (isinstance(owner, str) or len(owner) != 2):
            raise ValueError(f"owner must be a pair (kind, id) of str, not {owner!r}")
        if state is not None and not isinstance(state, str | Iterable):
            raise ValueError(f"state must be a state or several of them, not {state!r}")
        states = None if state is None else frozenset({State(state)} if isinstance(state, str) else (State(one) for one in state))
        pair = None if owner is None else (owner[0], owner[1])
        of = plain.get
        parent_id = None if parent is None else id_of(parent)
        return Filters(stored, states, of("handler"), pair, of("source"), of("tag"), of("key"), parent_id, of("unique"))

    async def _seq_of(self, session: Scope, before: Task | str | int | None) -> int | None:
        if before is None or isinstance(before, int):
            return None if before is None else max(0, min(before, (1 << 63) - 1))
        if isinstance(before, Task):
            return before.seq
        task = session.reader.find(id_of(before))
        if task is None:
            await self._seen(session)
            raise TaskNotFound(f"no task {before} to page from: retention may have dropped it since; page by seq instead")
        return task.seq


def id_of(id: str) -> bytes:
    try:
        return id_bytes(id)
    except ValueError as error:
        raise TaskNotFound(str(error)) from None


def _of_namespace(reason: Reason, budget: Budget) -> Reason:
    """A slot that is missing because the namespace, and not the engine, has none left."""
    if reason.kind != "no engine slot" or (free := budget.slots.free()) is None or free > 0:
        return reason
    return Reason(
        "no namespace slot", f"namespace {budget.namespace!r} runs as many attempts as its max_concurrency={budget.attempts} allows"
    )


def _of_disk(session: Scope, found: list[Reason]) -> list[Reason]:
    """`found`, where the disk is so full that nothing starts: then nothing is about to."""
    if not session.shell.room.holds_starts or any(reason.kind in ("running", "cancelling") for reason in found):
        return found
    full = Reason("disk full", "the disk of the journal is full, and nothing starts until there is room: prune ended tasks, or free some")
    return [full, *(reason for reason in found if reason.kind not in _ON_ITS_WAY)]


def _of_dead_actors(session: Scope, task: TaskState, actor: QueueActor, found: list[Reason]) -> list[Reason]:
    """`found`, where an actor has died, its own or that of a task it waits for: then nothing is about to start, whatever the queue says."""
    dead: list[Reason] = []
    if actor.broken is not None:
        dead.append(Reason("queue broken", given_up(session.called(actor.name), actor.broken)))
    elif actor.resting is not None:
        error, until = actor.resting
        text = f"the actor of queue {session.called(actor.name)!r} died of {type(error).__name__}: {error}; it goes on in "
        dead.append(Reason("restarting", f"{text}{max(0, until - session.shell.now()) / 1e6:.6g} s", until))
    for other in session.shell.actors.values() if task.waits_for else ():
        if other is actor or other.broken is None:
            continue
        awaited = filter(None, map(other.state.tasks.get, task.waits_for or ()))
        if any(first.state not in TERMINAL for first in awaited):
            dead.append(Reason("queue broken", f"what it runs after cannot run: {given_up(session.called(other.name), other.broken)}"))
    return [*dead, *(reason for reason in found if reason.kind not in _ON_ITS_WAY)] if dead else found


def refusal(refused: Refused) -> JourneymanError:
    return REFUSALS[refused.error](*(refused.figures or (refused.message,)))


def unless_refused(answer: Answer) -> Accepted:
    if type(answer) is Refused:
        raise refusal(answer)
    assert type(answer) is Accepted
    return answer
