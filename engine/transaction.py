"""`async with engine.transaction() as tx`: tasks and the application's own key-values, in one commit.

Problem.  A program that keeps a total, a cursor or "this message was seen" in one place and its tasks in another can be cut off between
the two.  Choice: both in the journal, in one commit, of which a crash leaves all or nothing.  The body of the block only collects: what it
reads is durable, what it puts and submits is decided when the block is left, over all queues and keys in one uninterrupted step
(Shell.submit_together, kernel/values.py), and refused whole if anything of it is refused, or if something that it has read has changed.
So the body may await what it likes, and holds nothing that others wait for.  What `ctx.put` collects in a handler goes the same way, in the
commit of the attempt's success.

A delay counts from the commit, when the task begins to exist; arguments are encoded at the call, so a wrong call fails where it stands.

Rejected: a lock a key (a body that awaits would hold it for as long as it likes); beginning anew by ourselves on a conflict (the body has
effects that we do not know of).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, Self, TypeVar, overload

import trio

from journeyman.actors.attempt import Attempt
from journeyman.actors.call import Call
from journeyman.actors.following import follow_for_named
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.room import ROOM_PER_TASK
from journeyman.actors.submission import Submission
from journeyman.actors.values import Changes, checked_key, size_of
from journeyman.actors.writer import Step
from journeyman.engine.after import ids_alone
from journeyman.engine.errors import EngineStopped, JourneymanError, PayloadTooLarge
from journeyman.engine.handle import Handle
from journeyman.engine.operating import Operations
from journeyman.engine.questions import refusal
from journeyman.engine.scope import Scope
from journeyman.engine.spec import SubmitSpec, Submittable
from journeyman.engine.submitting import admit, by_calendar, resolve
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalFull
from journeyman.kernel.bounds import OPERATION_CHUNK, SUBMIT_MANY_MAX, VALUE_MAX_BYTES
from journeyman.kernel.commands import Refused
from journeyman.kernel.duration import Seconds
from journeyman.kernel.namespace import namespace_of

if TYPE_CHECKING:
    from journeyman.engine.engine import Door
    from journeyman.engine.task import Task

P = ParamSpec("P")
R = TypeVar("R")

_OVER = "this transaction is over: what is put, read or submitted now would be in none; open another"


class _Wanted(NamedTuple):
    """A task that the transaction submits.  `said`: as the caller put it."""

    spec: SubmitSpec[..., Any]
    actor: QueueActor
    task: bytes
    payload: bytes
    handle: Handle[Any]
    said: tuple[Any, Sequence[Any], Mapping[str, Any]]


class TransactionHandle(Handle[R]):
    """Of a task that a transaction submits: it exists once the block has been left."""

    __slots__ = ("_transaction",)

    def __init__(self, engine: Door, task_id: bytes, transaction: Transaction) -> None:
        super().__init__(engine, task_id)
        self._transaction = transaction

    async def wait(self, timeout: Seconds | None = None) -> Task:
        """As `Handle.wait`.  RuntimeError within the block, TaskNotFound after one that was rolled back."""
        self._transaction.check_left("waited for")
        return await super().wait(timeout)

    async def cancel(self, reason: str = "", *, running: bool = True) -> None:
        """As `Handle.cancel`.  RuntimeError within the block, TaskNotFound after one that was rolled back."""
        self._transaction.check_left("cancelled")
        await super().cancel(reason, running=running)


class Transaction:
    """What `engine.transaction()` gives.  To be used in its block only, by the thread of the engine."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._scope: Scope | None = None
        self._over = False
        self.changes: Changes | None = None
        self.wanted: list[_Wanted] = []

    def __repr__(self) -> str:
        writes = 0 if self.changes is None else len(self.changes.writes)
        return f"<Transaction of {writes} changes and {len(self.wanted)} tasks{', over' if self._over else ''}>"

    async def __aenter__(self) -> Self:
        if self._scope is not None:
            raise RuntimeError("a transaction is entered once; open another with engine.transaction()")
        self._scope = scope = self._door._opened()
        self.changes = Changes(scope.shell.values, scope.namespace)
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over = True
        if error is None:
            await self._door.commit_transaction(self)

    # --- the application's values -------------------------------------------------------------------------------------

    def get(self, key: bytes) -> bytes | None:
        """The value of a key: what this transaction has put, else what is durable; None if there is none.

        If somebody else changes the key before this transaction is committed, and it changes anything itself, it is refused with
        TransactionConflict.  TypeError or ValueError for what cannot be a key (1 to 256 bytes), or for too many of them; RuntimeError
        outside of the block; EngineStopped, JournalCorrupt.
        """
        return self._collected().get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Let a key have this value from the commit on.  Errors as for `get`; PayloadTooLarge for more than 1 MiB."""
        self._collected().put(key, checked_value(value))

    def delete(self, key: bytes) -> None:
        """Let a key have no value from the commit on; that it has none now is no error.  Errors as for `get`."""
        self._collected().delete(key)

    # --- tasks --------------------------------------------------------------------------------------------------------

    @overload
    def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    def submit(self, handler: Any, /, *args: Any, **kwargs: Any) -> Handle[Any]:
        """Submit a task that exists from the commit on, from which its delay counts too.

        What is wrong with the call is raised here, as `Engine.submit` raises it; what the queue refuses (QueueFull, DuplicateTask) is
        raised when the block is left, and then nothing of the transaction was written.  ValueError beyond 100,000 tasks.
        """
        self._collected()
        scope = self.scope()
        spec, actor = resolve(scope, handler)
        payload = spec.handler.encode_call(args, kwargs)
        size, limit = len(payload), actor.state.policy.max_payload
        if size > limit:
            raise PayloadTooLarge(size, limit)
        ids_alone(spec.after)
        if len(self.wanted) >= SUBMIT_MANY_MAX:
            raise ValueError(f"a transaction submits at most {SUBMIT_MANY_MAX:,} tasks; submit in portions")
        task = spec.task or scope.ids.mint(scope.shell.now())
        handle: Handle[Any] = TransactionHandle(self._door, task, self)
        self.wanted.append(_Wanted(spec, actor, task, payload, handle, (handler, args, kwargs)))
        return handle

    # --- for the engine -----------------------------------------------------------------------------------------------

    def scope(self) -> Scope:
        """What its door reaches, in the opening of the engine in which it began.  EngineStopped if that is over."""
        assert self._scope is not None
        if self._door._opened() is not self._scope:
            raise self._door.opened_anew()
        return self._scope

    def check_left(self, what: str) -> None:
        """RuntimeError within the block."""
        if not self._over:
            raise RuntimeError(f"a task of a transaction exists once its block has been left: it cannot be {what} inside")

    def _collected(self) -> Changes:
        if self._over:
            raise RuntimeError(_OVER)
        if self.changes is None:
            raise RuntimeError("a transaction is used in its block: `async with engine.transaction() as tx: ...`")
        self.scope()
        return self.changes


def checked_value(value: bytes) -> bytes:
    """The value as it is now.  TypeError, PayloadTooLarge."""
    if (size := size_of(value)) > VALUE_MAX_BYTES:
        raise PayloadTooLarge(size, VALUE_MAX_BYTES, "value", "store it elsewhere, and a reference to it here")
    return bytes(value)


class Transactions(Operations):
    """What an open engine knows of the application's key-values."""

    def transaction(self) -> Transaction:
        """A block that ends in one commit: `async with engine.transaction() as tx`.

        Left normally, everything that `tx` was given is durable; left by an exception, nothing was written.  Leaving it raises
        TransactionConflict if somebody else has changed a key that was read in it (nothing was written: run the block again), and what
        `submit_many` raises.  Cancelled while it is left, its outcome is unknown, as that of a submit.
        """
        return Transaction(self)  # type: ignore[arg-type]  # every such door is a Door

    async def value(self, key: bytes) -> bytes | None:
        """The durable value of a key; None if there is none.  TypeError, ValueError; EngineStopped, JournalCorrupt."""
        key = checked_key(key)
        session = self._opened()
        await self._seen(session)
        session = self._opened()
        return session.shell.values.durable((session.namespace, key))[1]

    async def values(self, prefix: bytes = b"", *, after: bytes | None = None, limit: int = 100) -> list[tuple[bytes, bytes]]:
        """At most `limit` (1 to 1,000) durable keys that begin with `prefix`, with their values, ascending; those behind the key `after`.

        Others may change values between two such calls.  TypeError, ValueError; EngineStopped, JournalCorrupt.
        """
        if not isinstance(prefix, bytes) or not (after is None or isinstance(after, bytes)):
            raise TypeError("prefix and after are bytes, as keys are")
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= OPERATION_CHUNK:
            raise ValueError(f"limit must be a whole number from 1 to {OPERATION_CHUNK}, not {limit!r}")
        session = self._opened()
        await self._seen(session)
        session = self._opened()
        return session.shell.values.listed(session.namespace, prefix, after, limit)

    # --- for a transaction --------------------------------------------------------------------------------------------

    def opened_anew(self) -> JourneymanError:
        """For a transaction that began in an earlier opening of this engine."""
        return EngineStopped("the engine was closed and opened again since this transaction began; nothing of it was written: run it again")

    async def commit_transaction(self, tx: Transaction) -> None:
        """For `Transaction`, whose block is left: all of it, durable, or nothing."""
        session, changes = tx.scope(), tx.changes
        assert changes is not None
        if not changes.writes and not tx.wanted:
            await trio.lowlevel.checkpoint()
            return
        chosen = [one.spec.task for one in tx.wanted if one.spec.task is not None]
        if chosen and await session.forget_expired(chosen):
            session = tx.scope()
        await session.sound()
        session = tx.scope()
        refused = self._record_transaction(session, tx, changes, chosen)
        call: Call[None] = Call()
        session.shell.writer.after(Call.settle, call)
        await call.wait()
        if refused is not None:
            raise refusal(refused)

    @trio.lowlevel.enable_ki_protection  # a Ctrl-C between applying and recording would leave memory ahead of the disk
    def _record_transaction(self, session: Scope, tx: Transaction, changes: Changes, chosen: Iterable[bytes]) -> Refused | None:
        shell = session.shell
        _admit(session, tx.wanted, changes)
        if any(by_calendar(one.spec) for one in tx.wanted):
            follow_for_named(shell)
        plan = shell.values.plan(changes)
        if isinstance(plan, Refused):
            return plan
        now = shell.now()
        submissions = [_submission(one, now) for one in tx.wanted]
        for id in chosen:
            shell.choose(id)
        outcome = shell.submit_together(submissions) if submissions else (Step(), {})
        if isinstance(outcome, Refused):
            return outcome
        step, taken = outcome
        shell.values.record(plan, step)
        for one in tx.wanted:
            task = taken.get(one.task, one.task)
            one.handle.come_to(task, session.keepsake(one.actor, task))
        shell.writer.record(step)
        shell.recorded()
        shell.dependencies.tell(step)
        return None

    # --- for a handler's context --------------------------------------------------------------------------------------

    def changes_of(self, attempt: Attempt) -> Changes:
        """For `ctx.put` and `ctx.get`: what this attempt collects, to be recorded with its success."""
        session = self._opened()
        if not attempt.current:
            raise RuntimeError("this attempt is over, so nothing can be put or read with its success; use engine.transaction")
        if attempt.values is None:
            attempt.values = Changes(session.shell.values, namespace_of(attempt.actor.name))
        return attempt.values

    def put_from(self, attempt: Attempt, key: bytes, value: bytes) -> None:
        """For `ctx.put`."""
        changes, value = self.changes_of(attempt), checked_value(value)
        _room(self._opened(), len(value))
        changes.put(key, value)


def _submission(one: _Wanted, now: int) -> Submission:
    more = {"after": ids_alone(one.spec.after)} if one.spec.after else None
    return Submission(one.actor, one.spec.command(one.task, now, one.payload, digest(one.payload), more=more), one.payload)


def _admit(session: Scope, wanted: Sequence[_Wanted], changes: Changes) -> None:
    """QueueBroken or JournalFull, if this cannot be taken in now."""
    sizes: dict[QueueActor, int] = {}
    for one in wanted:
        sizes[one.actor] = sizes.get(one.actor, 0) + len(one.payload) + ROOM_PER_TASK
    for actor, total in sizes.items():
        admit(session, actor, total, lambda: max(len(one.payload) for one in wanted))
    values = [value for value in changes.writes.values() if value is not None]
    if values:
        _room(session, changes.bytes + ROOM_PER_TASK * len(values), lambda: max(map(len, values)))


def _room(session: Scope, size: int, largest: Callable[[], int] | None = None) -> None:
    """JournalFull, if there is none.  Deleting needs none that is worth asking for."""
    tight = session.shell.room.refuse(size, largest)
    if tight is not None:
        session.shell.prune_wanted()
        raise JournalFull(tight)


__all__ = ["Transaction", "Transactions"]
