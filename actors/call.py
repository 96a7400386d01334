"""A question to an actor and its answer: the smallest future that trio allows.

A `trio.Event` and a memory channel a call cost five times as much as parking the caller itself.  A call is settled once, after the
commit of whatever its answer rests on (law 3), and always from the loop's thread.  A caller that is cancelled while it waits goes;
what it asked for may happen all the same ("outcome unknown": give an `id=` and ask again).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar, cast

import outcome
import trio

T = TypeVar("T")


class Call(Generic[T]):
    """One answer for one waiting task.

    A call that was answered is its own outcome: trio asks nothing of what wakes a task but `unwrap`, and an `outcome.Value` for each costs
    more than waking it.  It is never asked twice, so it need not count.
    """

    __slots__ = ("_outcome", "_waiter", "answer", "keepsake")

    def __init__(self) -> None:
        self._waiter: trio.lowlevel.Task | None = None
        self._outcome: outcome.Outcome[T] | Call[T] | None = None
        self.answer: Any = None  # what the actor decided; becomes visible when settled
        self.keepsake: Any = None  # of the task that the answer names, where that is another than the one submitted

    def settle(self) -> None:
        """Let the caller go with `answer`.  As `_finish`, without the call: every submit ends here."""
        if self._outcome is None:
            self._outcome = self
            if self._waiter is not None:
                waiter, self._waiter = self._waiter, None
                trio.lowlevel.reschedule(waiter, self)  # type: ignore[arg-type]  # it has what is used of an outcome

    def unwrap(self) -> T:
        """The answer of a settled call."""
        return cast("T", self.answer)

    def fail(self, error: BaseException) -> None:
        self._finish(outcome.Error(error))

    def _finish(self, result: outcome.Outcome[T]) -> None:
        if self._outcome is None:
            self._outcome = result
            if self._waiter is not None:
                waiter, self._waiter = self._waiter, None
                trio.lowlevel.reschedule(waiter, result)

    @property
    def settled(self) -> bool:
        return self._outcome is not None

    def wait(self) -> Coroutine[Any, Any, T]:
        """The answer, or the error it failed with.  To be awaited at once: no coroutine of its own, for every submit waits here."""
        if self._outcome is not None:
            return self._settled(self._outcome)
        self._waiter = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - who called awaits it

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _settled(self, result: outcome.Outcome[T] | Call[T]) -> T:
        await trio.lowlevel.checkpoint()
        return result.unwrap()

    async def wait_through(self) -> T:
        """As `wait`, and no cancel ends it sooner."""
        if self._outcome is not None:  # as it mostly is: a scope costs more than all the rest
            await trio.lowlevel.cancel_shielded_checkpoint()
            return self._outcome.unwrap()
        with trio.CancelScope(shield=True):
            return await self.wait()
        raise AssertionError("a shielded wait is not cancelled")
