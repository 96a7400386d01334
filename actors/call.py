"""A question to an actor and its answer: the smallest future that trio allows.

A `trio.Event` and a memory channel a call cost five times as much as parking the caller itself.  A call is settled once, after the
commit of whatever its answer rests on (law 3), and always from the loop's thread.  A caller that is cancelled while it waits goes;
what it asked for may happen all the same ("outcome unknown": give an `id=` and ask again).
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Generic, TypeVar, cast

import trio

T = TypeVar("T")


class Call(Generic[T]):
    """One answer for one waiting task.

    A call that was answered is its own outcome: trio asks nothing of what wakes a task but `unwrap`, and an `outcome.Value` for each costs
    more than waking it.  It does not hold itself, though: what is in a cycle waits for the collector.
    """

    __slots__ = ("_error", "_waiter", "answer", "keepsake", "settled")

    def __init__(self) -> None:
        self._waiter: trio.lowlevel.Task | None = None
        self._error: BaseException | None = None
        self.settled = False
        self.answer: Any = None  # what the actor decided; becomes visible when settled
        self.keepsake: Any = None  # of the task that the answer is about, where its queue drops it at once

    def settle(self) -> None:
        """Let the caller go with `answer`."""
        if not self.settled:
            self.settled = True
            if self._waiter is not None:
                waiter, self._waiter = self._waiter, None
                trio.lowlevel.reschedule(waiter, self)  # type: ignore[arg-type]  # it has what is used of an outcome

    def fail(self, error: BaseException) -> None:
        """Let the caller go with this error."""
        if not self.settled:
            self._error = error
            self.settle()

    def unwrap(self) -> T:
        """The answer of a settled call, or the error it failed with."""
        if self._error is None:
            return cast("T", self.answer)
        try:
            raise self._error
        finally:
            del self  # the error's traceback leads to this frame: no cycle here either

    def wait(self) -> Coroutine[Any, Any, T]:
        """The answer, or the error it failed with.  To be awaited at once: no coroutine of its own, for every submit waits here."""
        if self.settled:
            return self._settled()
        self._waiter = trio.lowlevel.current_task()
        return trio.lowlevel.wait_task_rescheduled(self._abort)  # noqa: ASYNC105 - who called awaits it

    def _abort(self, _: object) -> trio.lowlevel.Abort:
        self._waiter = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def _settled(self) -> T:
        await trio.lowlevel.checkpoint()
        return self.unwrap()

    async def wait_through(self) -> T:
        """As `wait`, and no cancel ends it sooner."""
        if self.settled:  # as it mostly is: a scope costs more than all the rest
            await trio.lowlevel.cancel_shielded_checkpoint()
            return self.unwrap()
        with trio.CancelScope(shield=True):
            return await self.wait()
        raise AssertionError("a shielded wait is not cancelled")
