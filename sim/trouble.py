"""Handlers that misbehave on order: they raise, hang, or take longer.

The user's functions are wrapped for the length of a simulation and put back at its end.  Nothing of the engine is touched.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import trio

from journeyman.engine import Queue
from journeyman.engine.handler import Handler
from journeyman.sim.errors import HandlerTrouble

if TYPE_CHECKING:
    from journeyman.sim.world import World

SLOW = 60.0


class Troubles:
    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[Handler[..., Any], Callable[..., Any]] = {}

    def bring(self, queues: Sequence[Queue]) -> None:
        """Wrap the handlers of `queues`, if the plan has trouble for handlers."""
        dice = self._world.dice
        if not any(dice.possible(name) for name in ("handler_error", "handler_hang", "handler_slow")):
            return
        for queue in queues:
            for handler in queue.handlers.values():
                if handler not in self._before:
                    self._before[handler] = handler.function
                    handler.function = self._wrapped(handler.function, handler.threaded)

    def leave(self) -> None:
        """Put every function back."""
        for handler, function in self._before.items():
            handler.function = function
        self._before.clear()

    def _wrapped(self, function: Callable[..., Any], threaded: bool) -> Callable[..., Any]:
        if threaded:

            @functools.wraps(function)
            def in_line(*args: Any, **kwargs: Any) -> Any:
                self._maybe_raise()
                return function(*args, **kwargs)

            return in_line

        @functools.wraps(function)
        async def around(*args: Any, **kwargs: Any) -> Any:
            world, dice = self._world, self._world.dice
            if dice.strikes("handler_hang"):
                world.note("fault", f"{function.__name__} hangs")
                await trio.sleep_forever()
            if dice.strikes("handler_slow"):
                seconds = dice.within("handler_slow", SLOW)
                world.note("fault", f"{function.__name__} takes {seconds:.3f} s longer")
                await trio.sleep(seconds)
            self._maybe_raise()
            return await function(*args, **kwargs)

        return around

    def _maybe_raise(self) -> None:
        if self._world.dice.strikes("handler_error"):
            raise HandlerTrouble("trouble, by the fault plan")
