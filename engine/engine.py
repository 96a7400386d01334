"""The public door: `async with Engine(path, queues=[...]) as engine`.

The engine decides nothing and stores nothing.  It turns calls into commands, hands them to the queue that owns them, and waits
for the commit their answer rests on; reads are answered when what they saw is durable (law 3).  Opening and closing are in
engine/session.py, the reads in engine/reading.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from types import TracebackType
from typing import Any, ClassVar, Literal, ParamSpec, Self, TypeVar, overload

import trio

from journeyman.actors.attempt import Attempt, current_attempt
from journeyman.actors.call import Call
from journeyman.actors.clock import Clock
from journeyman.actors.keepsake import Keepsake
from journeyman.actors.submission import Submission
from journeyman.actors.threads import ThreadRunner
from journeyman.actors.writer import Step
from journeyman.engine.bulk import Bulk
from journeyman.engine.context import Context
from journeyman.engine.errors import DuplicateTask, EngineStopped, QueueBroken, QueueFull, TaskNotFound, given_up
from journeyman.engine.feed import Feeds
from journeyman.engine.handle import Handle
from journeyman.engine.handler import Handler, NamedHandler, named_handler
from journeyman.engine.limits import Limits, Terms
from journeyman.engine.portable import context_of
from journeyman.engine.questions import id_of, refusal
from journeyman.engine.queue import Queue, queues_of
from journeyman.engine.schedule import Schedules
from journeyman.engine.scope import Scope
from journeyman.engine.session import Session, Settings
from journeyman.engine.spec import Item, Submittable
from journeyman.engine.submitting import prepare, prepare_many
from journeyman.engine.task import Task
from journeyman.engine.transaction import Transactions
from journeyman.journal.collector import without_collector
from journeyman.journal.store import Store
from journeyman.kernel.commands import NEW, Accepted, Refused
from journeyman.kernel.duration import Seconds, microseconds, patience, seconds
from journeyman.kernel.ids import id_text
from journeyman.kernel.lifecycle import TERMINAL
from journeyman.kernel.namespace import namespace_of

P = ParamSpec("P")
R = TypeVar("R")


class Door(Bulk, Schedules, Feeds, Transactions):
    """What can be done with an open engine, by its owner (`Engine`) or by a plugin (`Namespace`): the same calls, on what each reaches."""

    # --- submit -------------------------------------------------------------------------------------------------------

    @overload
    async def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    async def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def submit(self, handler: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Record a task and return when it is durable.

        `handler` is a handler, `handler.using(...)`, or a handler's name.  Raises TypeError or InvalidPayload for a call that does not fit,
        PayloadTooLarge, QueueFull, DuplicateTask, QueueNotFound, HandlerNotFound, JournalFull, EngineStopped.
        A caller that is cancelled while it waits cannot know whether the task exists; with `id=` it can ask again safely.
        """
        session = self._opened()
        chosen: bytes | None = None if type(handler) is Handler else getattr(handler, "task", None)
        if chosen is not None and await session.forget_expired([chosen]):
            session = self._opened()
        actor, command, payload, _ = prepare(session, handler, args, kwargs)
        call = actor.submit(command, payload)
        answer = await call.wait()
        if answer is NEW:
            return Handle(self, command.task, None, call.keepsake)
        if type(answer) is Refused:
            raise refusal(answer)
        assert type(answer) is Accepted
        return Handle(self, answer.task or command.task, None, call.keepsake)  # another's, where its unique key was taken

    async def submit_many(self, items: Iterable[Item]) -> list[Handle[Any]]:
        """Record many tasks, over any number of queues, in one commit: all or none.  Handles come in the order of the items.

        An item is `(handler, args, kwargs)` or `handler.bind(*args, **kwargs)`.  Raises what `submit` raises, and then nothing was stored.
        """
        session = self._opened()
        with without_collector():
            submissions, chosen = prepare_many(session, items)
        if chosen and await session.forget_expired(chosen):
            session = self._opened()
        await session.sound()
        session = self._opened()
        with without_collector():
            outcome, handles = self._record_many(session, submissions, chosen)
        call: Call[None] = Call()
        session.shell.writer.after(Call.settle, call)
        await call.wait()
        if isinstance(outcome, Refused):
            raise refusal(outcome)
        return handles

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C between applying and recording would leave memory ahead of the disk
    def _record_many(
        self, session: Scope, submissions: Sequence[Submission], chosen: Iterable[bytes]
    ) -> tuple[Step | Refused, list[Handle[Any]]]:
        shell = session.shell
        for id in chosen:
            shell.choose(id)
        outcome = shell.submit_together(submissions) if submissions else (Step(), {})
        if isinstance(outcome, Refused):
            return outcome, []
        step, taken = outcome
        handles = self._handles(session, submissions, taken)
        shell.writer.record(step)
        shell.recorded()
        shell.dependencies.tell(step)
        return step, handles

    def _handles(self, session: Scope, submissions: Sequence[Submission], taken: Mapping[bytes, bytes]) -> list[Handle[Any]]:
        if not taken and not any(actor.drops_at_once for actor in {each.actor for each in submissions}):
            return [Handle(self, each.command.task) for each in submissions]
        named = [(each.actor, taken.get(each.command.task, each.command.task)) for each in submissions]
        return [Handle(self, task, keepsake=session.keepsake(actor, task)) for actor, task in named]

    @trio.lowlevel.enable_ki_protection  # what is reserved must be in the list that gives it back
    def submit_from(self, attempt: Attempt, handler: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Handle[Any]:
        """For `ctx.submit`: find out now what would refuse it, and keep room for it until the attempt ends."""
        session = self._opened()
        if not attempt.current:
            raise RuntimeError("this attempt is over, so nothing can be submitted with its success; use engine.submit")
        ready = prepare(session, handler, args, kwargs, parent=attempt)
        actor = ready.actor
        limit = actor.state.policy.max_pending
        if limit is not None and actor.state.agenda.waiting + actor.reserved >= limit:
            raise QueueFull(f"queue {session.called(actor.name)!r} has {limit} tasks waiting, its max_pending")
        if actor.budget is not None and (room := actor.budget.room()) is not None and room <= 0:
            raise QueueFull(f"namespace {actor.budget.namespace!r} has {actor.budget.pending} tasks waiting, as many as its limits allow")
        if session.shell.expired([ready.command.task]):
            session.shell.checkpoint_wanted()  # which prunes
            raise DuplicateTask(
                f"task {id_text(ready.command.task)} has expired and is being deleted; use another id, try again in a moment, "
                "or use ctx.engine.submit, which waits for that"
            )
        answer = session.shell.foreseen(ready, attempt.submits)
        if type(answer) is Refused:
            raise refusal(answer)
        assert type(answer) is Accepted
        task = answer.task or ready.command.task
        # A taken unique key promises nothing: that task is there.  A debounced submit will move it, or make one, at the end.
        if task != ready.command.task and "debounce_us" not in (ready.command.options or {}):
            other = next((each for each in attempt.submits if each.command.task == task), None)
            if other is None or other.told is None:
                return Handle(self, task, None, session.keepsake(actor, task))
            shared: Handle[Any] = Handle(self, task, attempt)
            other.told.append(shared)
            return shared
        actor.reserved += 1
        handle: Handle[Any] = Handle(self, task, attempt)
        attempt.submits.append(ready._replace(told=[handle]))
        return handle

    # --- one task -----------------------------------------------------------------------------------------------------

    async def wait(self, id: str, timeout: Seconds | None = None) -> Task:
        """The task once it has ended, however it ended: for a task of an earlier opening, or of which only the id was kept.

        Raises what `Handle.wait` raises; TaskNotFound at once for an unknown id.
        """
        return await self.wait_for(id_of(id), patience(timeout))

    async def wait_for(
        self, task_id: bytes, timeout: float | None, pending_in: Attempt | None = None, keepsake: Keepsake | None = None
    ) -> Task:
        """For `Handle.wait`.  `timeout`: seconds."""
        if pending_in is not None and current_attempt.get() is pending_in:
            raise RuntimeError(
                "a task from ctx.submit exists only once this attempt has succeeded; to wait for a task in here use ctx.engine.submit"
            )
        session, task = await self._found(task_id)
        if keepsake is not None and keepsake.task is not None and (task is None or task.seq != keepsake.task.seq):
            await self._seen(session)  # dropped, and perhaps its id is another's by now
            return session.task(keepsake.task, keepsake.result).read()
        if task is None:
            await self._seen(session)
            raise TaskNotFound(f"no task {id_text(task_id)}: it was never submitted here, or retention has dropped it")
        if task.state in TERMINAL:
            seen = session.task(task)
            await self._seen(session)
            return seen.read()
        if (cause := session.shell.actors[task.queue].broken) is not None:
            await self._seen(session)
            raise QueueBroken(given_up(session.called(task.queue), cause)) from cause
        call: Call[Any] = Call()
        waiting = session.shell.waiters.setdefault(task_id, [])
        waiting.append(call)
        try:
            if timeout is None:
                ended = await call.wait()
            else:
                with trio.fail_after(timeout):
                    ended = await call.wait()
        finally:
            if call in waiting:
                waiting.remove(call)
            if not waiting and session.shell.waiters.get(task_id) is waiting:
                del session.shell.waiters[task_id]
        return session.task(ended, None if keepsake is None else keepsake.result).read()

    async def drain(self, timeout: Seconds | None = None) -> None:
        """Wait until nothing is left that can move by itself: pending, running, retrying and snoozed tasks; not what is
        scheduled, paused, parked, or waits for such a task.

        Raises trio.TooSlowError after `timeout` (seconds, or a timedelta); ValueError for one that is no duration; RuntimeError inside a
        handler of one of these queues, for it would wait for itself.
        """
        session, limit = self._opened(), patience(timeout)
        inside = current_attempt.get()
        if inside is not None and inside.current and any(actor is inside.actor for actor in session.queues()):
            raise RuntimeError("drain() from inside a handler would wait for the handler itself; drain from outside")
        deadline = math.inf if limit is None else trio.current_time() + limit
        while True:
            with trio.fail_at(deadline):
                session = await self._sound(session)
                if not any(actor.moving() for actor in session.queues()):
                    break
                await session.shell.next_news()
            session = self._opened()
        await self._seen(session)

    # --- queues -------------------------------------------------------------------------------------------------------

    async def create_queue(self, queue: Queue) -> None:
        """Declare a queue while the engine runs; durable on return.  QueueExists, HandlerExists; BudgetExhausted in a namespace."""
        session = self._opened()
        await session.create_queue(queue)

    def handler(self, name: str, queue: str) -> NamedHandler:
        """A handler of `queue` by name, for work that another process will run: it can be submitted, `.using(...)` and `.bind(...)`."""
        return named_handler(name, queue)


class Engine(Door):
    """Durable tasks in one directory.

    path: where the journal lives (created, private to this user); None keeps everything in memory, with the same code above the
    store. queues: the queues this process declares.  max_concurrency: attempts of all queues together, shared fairly; None for
    no bound beyond each queue's own.  durability: "full" (what was acknowledged survives power loss) or "relaxed" (the last
    commit may vanish on power loss, never corruption).  grace: seconds (or a timedelta) that running handlers have to finish
    when the block is left.  ValueError for a value that cannot be meant, TypeError for queues that are none.

    Enter it with `async with`.  Entering raises JournalLocked, JournalCorrupt, JournalVersion, JournalFull; QueueExists and
    HandlerExists for names declared twice.  Leaving it stops it.  Not reentrant: one entry at a time (a later one is fine).
    """

    _context_kind: ClassVar[type[Context]] = Context  # what handlers are given

    def __init__(
        self,
        path: str | Path | None,
        queues: Iterable[Queue] = (),
        *,
        max_concurrency: int | None = None,
        durability: Literal["full", "relaxed"] = "full",
        grace: Seconds = 10.0,
        clock: Clock | None = None,
        store: Store | None = None,
        threads: ThreadRunner | None = None,
        entropy: Callable[[int], bytes] | None = None,
        allow_unsafe_fs: bool = False,
    ) -> None:
        if durability not in ("full", "relaxed"):
            raise ValueError(f'durability must be "full" or "relaxed", not {durability!r}')
        if max_concurrency is not None and (
            isinstance(max_concurrency, bool) or not isinstance(max_concurrency, int) or max_concurrency < 1
        ):
            raise ValueError(f"max_concurrency must be a whole number of at least 1, or None, not {max_concurrency!r}")
        self._queues = queues_of(queues)
        if path == "":
            raise ValueError('an empty path would be the current directory: give a directory such as "var/jobs", or None for memory')
        place = None if path is None else Path(path)
        self._settings = Settings(
            place, max_concurrency, durability, seconds(grace, "grace"), clock, store, threads, entropy, allow_unsafe_fs
        )
        self._session: Session | None = None

    # --- open and close -----------------------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def __aenter__(self) -> Self:
        if self._session is not None:
            raise RuntimeError("this Engine is already entered; make another object, on another path or after this one has been left")
        session = Session(self._settings, self._queues, lambda attempt: context_of(self._door_of(attempt), attempt, self._context_kind))
        self._session = session
        try:
            await session.enter()
        except BaseException:
            self._session = None
            raise
        return self

    @trio.lowlevel.enable_ki_protection
    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> bool | None:
        session = self._session
        assert session is not None
        try:
            return await session.leave(error)
        finally:
            self._session = None

    async def stop(self, grace: Seconds | None = None) -> bool:
        """Stop now: start nothing new, wait `grace` seconds (default: the engine's), tell the rest to end, uncharged.

        True if everything that was running could finish.  Leaving the block does the same.
        """
        if current_attempt.get() is not None:
            raise RuntimeError(
                "stop() from inside a handler would wait for the handler itself; stop the engine from the task that opened it"
            )
        session = self._session or self._opened()
        return await session.runtime.stop(self._settings.grace if grace is None else microseconds(grace, "grace") / 1_000_000)

    def _opened(self) -> Scope:
        session = self._session
        if session is None or not session.open or session.runtime.closing:
            if (cause := getattr(getattr(session, "runtime", None), "failure", None)) is not None:
                raise EngineStopped(f"this engine has ended because of an error ({type(cause).__name__}: {cause})") from cause
            raise EngineStopped("this engine is not open; use it inside `async with Engine(...) as engine`")
        if get_ident() != session.thread:
            raise RuntimeError(
                "this engine belongs to the thread that opened it, and was called from another; "
                "there use trio.from_thread.run(engine.submit, ...) with that thread's trio token"
            )
        return session.owner

    def _door_of(self, attempt: Attempt) -> Door:
        """What a handler's `ctx.engine` is."""
        name = namespace_of(attempt.actor.name)
        if not name or self._session is None:
            return self
        return Namespace(self, self._session.namespaces[name].terms)

    # --- namespaces ---------------------------------------------------------------------------------------------------

    def namespace(self, name: str, *, max_concurrency: int | None = None, limits: Limits | None = None) -> Namespace:
        """A door for a plugin: own names of queues and handlers, own tasks, within the given bounds.

        max_concurrency: what the concurrencies of its queues add up to at most.  limits: see `Limits`.  Asking again for a name that is
        open gives the same namespace; ValueError for other terms than before.  Its queues are created with `create_queue` at each start,
        as handlers are code.  InvalidName.
        """
        terms = Terms(name, max_concurrency, Limits() if limits is None else limits)
        self._opened().session.namespace(terms)
        return self._plugin(terms)

    def _plugin(self, terms: Terms) -> Namespace:
        return Namespace(self, terms)


class Namespace(Door):
    """A plugin's door to the engine of its host.  Made by `Engine.namespace`; it has the calls of an Engine, but for opening and closing.

    Tasks and queues of others are not there: TaskNotFound, QueueNotFound.
    """

    def __init__(self, engine: Engine, terms: Terms) -> None:
        self._engine = engine
        self._terms = terms

    def __repr__(self) -> str:
        return f"<Namespace {self.name!r}>"

    @property
    def name(self) -> str:
        return self._terms.name

    def _opened(self) -> Scope:
        return self._engine._opened().session.namespace(self._terms)
