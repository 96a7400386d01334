"""One entry of an engine: the journal opened, the runtime started, both undone.

Problem.  `async with Engine(...)` must give the caller's own errors back bare, end the block when the journal fails, survive
the block being cancelled, and never leave a lock behind.  Choice: the block runs inside a nursery whose only child is the
runtime, shielded; a failure of the runtime cancels the block and is raised, bare, when it has ended; an error of the block
stops the engine and goes on unchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any, Literal, NamedTuple

import trio

from journeyman.actors.attempt import Attempt
from journeyman.actors.clock import Clock, KernelClock, SystemClock
from journeyman.actors.ending import leaves
from journeyman.actors.keepsake import Keepsake
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.runtime import CLEANUP_SECONDS, Runtime
from journeyman.actors.shell import Shell
from journeyman.actors.threads import RealThreads, ThreadRunner
from journeyman.engine.errors import EngineStopped, HandlerExists, QueueExists, broken_error
from journeyman.engine.handler import Handler, NamedHandler, named_handler
from journeyman.engine.ids import IdSource, thread_source
from journeyman.engine.lane import DeclaredLane
from journeyman.engine.limits import NamespaceScope, Terms
from journeyman.engine.queue import Queue
from journeyman.engine.scope import Scope
from journeyman.engine.task import Task
from journeyman.journal.collector import set_aside
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.log import Journal
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.opening import open_store
from journeyman.journal.recovery import Recovered, recover, reload_queue
from journeyman.journal.store import Store
from journeyman.kernel.bounds import FREEZE_TASKS
from journeyman.kernel.events import AttemptStarted
from journeyman.kernel.ids import id_text
from journeyman.kernel.limiters import check_shared
from journeyman.kernel.namespace import SEPARATOR, namespace_of
from journeyman.kernel.state import QueueState, TaskState
from journeyman.kernel.world import JournalState


class Settings(NamedTuple):
    """What `Engine(...)` was given."""

    path: Path | None
    max_concurrency: int | None
    durability: Literal["full", "relaxed"]
    grace: float
    clock: Clock | None
    store: Store | None
    threads: ThreadRunner | None
    entropy: Callable[[int], bytes] | None
    allow_unsafe_fs: bool


class Session:
    """From `__aenter__` to `__aexit__`."""

    def __init__(self, settings: Settings, queues: Sequence[Queue], context: Callable[[Attempt], Any]) -> None:
        self._settings = settings
        self.lanes = read_lanes(queues)
        self.owner = Scope(self)
        self.owner.handlers = {n: h for lane in self.lanes.values() for n, h in lane.handlers.items()}
        self.namespaces: dict[str, NamespaceScope] = {}
        self._context = context
        own = settings.clock is not None or settings.entropy is not None  # what a clock of its own says is nothing for others to go by
        self.ids = IdSource(settings.entropy or os.urandom) if own else thread_source()
        self.shell: Shell
        self.runtime: Runtime
        self._nursery_manager: Any = None
        self._nursery: trio.Nursery
        self._block: trio.CancelScope | None = None
        self._bring_back: Callable[[], None] = lambda: None
        self.open = False
        self.thread = get_ident()

    def namespace(self, terms: Terms) -> NamespaceScope:
        """The namespace of that name, opened on first sight.  ValueError if it was opened on other terms."""
        found = self.namespaces.get(terms.name)
        if found is None:
            found = self.namespaces[terms.name] = NamespaceScope(self, terms)
        elif found.terms != terms:
            raise ValueError(f"namespace {terms.name!r} is open already, on other terms: {found.terms}")
        return found

    def keepsake(self, actor: QueueActor, task_id: bytes) -> Keepsake | None:
        """For a handle of a task whose queue may drop it the moment it ends."""
        return self.shell.keepsakes.of(task_id) if actor.drops_at_once else None

    def task(self, task: TaskState, called: Callable[[str], str], result: bytes | None = None) -> Task:
        """The public form of a task, with its arguments, its result (if at hand: its bytes) and the progress of this very moment.

        `called`: what the asker calls its queue.
        """
        shell = self.shell
        actor = shell.actors[task.queue]
        queue, namespace = called(task.queue), namespace_of(task.queue)
        scope = self.namespaces.get(namespace) if namespace else self.owner
        handler = (scope.handlers.get(task.handler) if scope is not None else None) or named_handler(task.handler, queue)
        attempt = actor.attempts.get(task.id)
        progress = None
        if attempt is not None and attempt.number == task.attempt and attempt.last_words() is not None:
            progress = (attempt.fraction_ppm, attempt.message)
        return Task.of(
            task,
            shell.now(),
            queue=queue,
            attempts=actor.state.policy.attempts,
            payload=partial(self._payload, handler, task, actor.fresh.held.get(task.id)),
            # Its values as of now: the task lives on, and a picture of a running one must not look for the result it will have.
            result=partial(self._result, handler, task.id, task.result_seq, task.result_len, task.result_digest, result),
            progress=progress,
        )

    def _payload(self, handler: Handler[..., Any] | NamedHandler, task: TaskState, fresh: bytes | None) -> Any:
        data = fresh if fresh is not None else self.shell.journal.payload(task.payload_seq, task.payload_digest)
        if data is None:
            return None
        try:
            return handler.decode_call(data)
        except (TypeError, ValueError):
            return named_handler(handler.name, handler.queue_name).decode_call(data)

    def _result(
        self, handler: Handler[..., Any] | NamedHandler, id: bytes, seq: int, length: int, digest: bytes, at_hand: bytes | None
    ) -> Any:
        journal = self.shell.journal
        data = at_hand or (journal.payload(seq, digest) if seq else None)
        if data is None and seq and length and journal.event(seq) is not None:  # prune would have taken both
            raise JournalCorrupt(f"the result of task {id_text(id)} (record {seq}) is not stored any more: restore a backup", seq)
        return None if data is None else handler.decode_result(data)

    async def forget_expired(self, ids: Iterable[bytes]) -> bool:
        """Make room for ids that callers chose again after retention had dropped their tasks: what has expired is deleted now.

        Whether there was anything to delete, which takes a while.
        """
        if not self.shell.expired(ids):
            return False
        await self.runtime.snapshotter.take()
        await self.runtime.housekeeper.prune_expired()
        return True

    async def create_queue(self, queue: Queue) -> None:
        if not isinstance(queue, Queue):
            raise TypeError(f"create_queue takes a Queue, not {type(queue).__name__}")
        if queue.name in self.lanes or ("/" in queue.name and self._of_namespace(queue.name) in self.shell.actors):
            raise QueueExists(f"queue {queue.name!r} is declared already; names are unique in an engine")
        await self.declare(DeclaredLane(queue), self.owner)

    async def declare(self, lane: DeclaredLane, scope: Scope) -> None:
        """Take in a queue while the engine runs.  What it takes is done before the first await.  HandlerExists, or ValueError for a
        shared limiter of other numbers."""
        for name in lane.runnables:
            if (other := scope.handlers.get(name)) is not None:
                raise HandlerExists(_twice(name, other.queue_name, lane.queue.name))
        check_shared((each.name, each.policy) for each in (*self.lanes.values(), lane) if each is lane or each.name != lane.name)
        self.lanes[lane.name] = lane
        scope.handlers.update(lane.handlers)
        await self.runtime.declare(lane)

    @staticmethod
    def _of_namespace(name: str) -> str:
        """How the queue of a namespace is stored that people would call `name`."""
        return name.replace("/", SEPARATOR, 1)

    # --- open ---------------------------------------------------------------------------------------------------------

    async def enter(self) -> None:
        await self._open_journal()
        self._nursery_manager = trio.open_nursery()
        self._nursery = await self._nursery_manager.__aenter__()
        self._block = self._nursery.cancel_scope
        booted = trio.Event()
        self._nursery.start_soon(self._guarded, booted)
        try:
            await booted.wait()
        except BaseException as error:  # the caller was cancelled or interrupted; or the boot failed, which cancels the block
            await self.leave(error)
            raise
        if self.runtime.failure is not None:
            await self.leave(None)
        self.open = True

    async def _open_journal(self) -> None:
        """Open the store, recover the state, wire the shell.  Whatever fails, the store does not stay open.

        A long tail takes seconds to read, so a real journal is read in a thread: the program's other tasks go on meanwhile.
        """
        s = self._settings
        if s.store is not None or s.path is None:
            store: Store = s.store if s.store is not None else MemoryStore()
            try:
                found = recover(store, self._prepare)
                self._assemble(store, store.entered(found.journal.sealed), found)
            except BaseException:
                store.close()
                raise
            return
        opened = await trio.to_thread.run_sync(self._read_journal, s.path)
        try:
            self._assemble(*opened)
        except BaseException:
            opened[0].close()
            raise

    def _read_journal(self, path: Path) -> tuple[Store, set[int], Recovered]:
        store = open_store(path, durability=self._settings.durability, allow_unsafe_fs=self._settings.allow_unsafe_fs)
        try:
            found = recover(store, self._prepare)
            return store, store.entered(found.journal.sealed), found
        except BaseException:
            store.close()
            raise

    @trio.lowlevel.enable_ki_protection
    async def _guarded(self, booted: trio.Event) -> None:
        try:
            await self.runtime.run(booted)
        except BaseException as error:
            if self.runtime.failure is None:
                self.runtime.failure = bare(error)
        finally:
            self.open = False
            self._bring_back()
            booted.set()
            if self.runtime.failure is not None and self._block is not None:
                self._block.cancel()

    def _assemble(self, store: Store, marks: set[int], found: Recovered) -> None:
        s = self._settings
        for name in self.lanes:
            if "/" in name and self._of_namespace(name) in found.state.queues:
                raise QueueExists(f"queue {name!r} is what a stored queue of a namespace is called; give the engine's own another name")
        clock = KernelClock(s.clock or SystemClock(), found.state.last_at)
        self.shell = Shell(
            store=store,
            journal=found.journal,
            world=found.state,
            catalog=found.catalog,
            checkpoint=found.checkpoint,
            clock=clock,
            threads=s.threads or RealThreads(),
            context=self._context,
            mint=self.ids.mint,
            max_concurrency=s.max_concurrency,
            on_failure=lambda error: self.runtime.fail(error),
        )
        if sum(len(state.tasks) for state in found.state.queues.values()) >= FREEZE_TASKS:
            self._bring_back = set_aside()
        self.runtime = Runtime(
            self.shell,
            self.lanes,
            entered=entered_tasks(found.state, marks, found.journal),
            clean=found.state.clean,
            facts={"durability": s.durability},
            reload=lambda name: reload_queue(store, found.journal, found.tally, name, self._prepare),
            broken_error=broken_error,
            stopped_error=stopped_error,
        )
        self.shell.on_interrupt = self._interrupted

    def _prepare(self, state: QueueState) -> None:
        """Before a queue's tasks are read: what this process can run, so that nothing is indexed twice."""
        lane = self.lanes.get(state.name)
        state.set_handlers(frozenset(lane.runnables) if lane is not None else frozenset())

    def _interrupted(self) -> None:
        """A handler was hit by Ctrl-C: the block ends, and with it the engine."""
        if self._block is not None:
            self._block.cancel()

    # --- close --------------------------------------------------------------------------------------------------------

    async def leave(self, error: BaseException | None) -> bool:
        """End the runtime; whether the block's own error must be swallowed because it was only the news of ours.  Raises ours, bare.

        The work is done by a task of the nursery while this one waits for it there.  A Ctrl-C is delivered to the main task at any
        await of its own, however protected that is; the one in a nursery's end is kept until all children have ended.
        """
        gentle = error is None and self.runtime.failure is None and self.shell.interruption is None
        self._nursery.start_soon(self._stop, self._settings.grace if gentle else None)
        swallowed = await self._close_nursery(error)
        if self.shell.interruption is not None and (error is None or swallowed):
            raise self.shell.interruption
        if self.runtime.failure is not None and (error is None or swallowed):
            raise self.runtime.failure
        return swallowed

    @trio.lowlevel.enable_ki_protection
    async def _stop(self, grace: float | None) -> None:
        """Stop the runtime, in good order with a `grace`.  A cancelled surrounding scope, a Ctrl-C and a journal that fails cut the
        grace short, for all of them cancel the nursery.
        """
        try:
            if grace is not None:
                await self.runtime.stop(grace)
        finally:
            with trio.CancelScope(shield=True):
                try:
                    with trio.move_on_after(CLEANUP_SECONDS):
                        await self.runtime.stop(0.0)
                finally:
                    self.runtime.close_now()

    async def _close_nursery(self, error: BaseException | None) -> bool:
        """Leave the nursery with the block's error; whether it was our own cancellation."""
        own = error is not None and not has_cancelled(error)
        kind, told = (None, None) if own or error is None else (type(error), error)
        try:
            # An error of the block's own is not told: a nursery would wrap it, and take a group of the caller's own apart.
            swallowed = bool(await self._nursery_manager.__aexit__(kind, told, told.__traceback__ if told else None))
        except BaseException as wrapped:
            found = bare(wrapped)
            if found is error:
                return False
            pressed = interruption_in(found)
            if pressed is None:
                raise found from None
            if isinstance(error, KeyboardInterrupt):
                return False  # pressed again: the first goes on
            raise pressed from (error if own else None)
        return swallowed and told is not None


def read_lanes(queues: Sequence[Queue]) -> dict[str, DeclaredLane]:
    """Read every declared queue.  QueueExists and HandlerExists for names that come twice, ValueError for one limiter with two rates."""
    lanes: dict[str, DeclaredLane] = {}
    names: dict[str, str] = {}
    for queue in queues:
        if queue.name in lanes:
            raise QueueExists(f"queue {queue.name!r} is declared twice; names are unique in an engine")
        lane = lanes[queue.name] = DeclaredLane(queue)
        for name in lane.runnables:
            if name in names:
                raise HandlerExists(_twice(name, names[name], queue.name))
            names[name] = queue.name
    check_shared((lane.name, lane.policy) for lane in lanes.values())
    return lanes


def _twice(handler: str, one: str, other: str) -> str:
    return f"handler {handler!r} is on queue {one!r} and on queue {other!r}; give one of them another name="


def entered_tasks(world: JournalState, marks: set[int], journal: Journal) -> dict[str, frozenset[bytes]]:
    """Which running tasks had their handler entered when the last boot ended, by queue.

    A mark of an earlier boot stays until its slot is used again, so a task may bear the mark of a run that was charged long ago: only that
    of its newest start counts.
    """
    found: dict[str, frozenset[bytes]] = {}
    for name, state in world.queues.items():
        marked = [(task, max(marks.intersection(task.seqs))) for task in state.running.values() if not marks.isdisjoint(task.seqs)]
        found[name] = frozenset(task.id for task, mark in marked if not _started_after(task, mark, journal))
    return found


def _started_after(task: TaskState, seq: int, journal: Journal) -> bool:
    return any(isinstance(event, AttemptStarted) for _, event in journal.events([later for later in task.seqs if later > seq]))


def bare(error: BaseException) -> BaseException:
    """An exception without the groups of one that nurseries wrap around it."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def interruption_in(error: BaseException) -> KeyboardInterrupt | None:
    """The Ctrl-C in an exception, alone or among others."""
    return next((each for each in leaves(error) if isinstance(each, KeyboardInterrupt)), None)


def has_cancelled(error: BaseException) -> bool:
    """Whether trio must see `error`, because some scope waits for a Cancelled in it."""
    return any(isinstance(each, trio.Cancelled) for each in leaves(error))


def stopped_error() -> BaseException:
    return EngineStopped("the engine is closed; what was acknowledged is in the journal and goes on at the next start")
