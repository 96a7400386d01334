"""What the watch hears of durable steps.

A step that is run leaves no trace in the journal before it is done, so "never run again" cannot be read off the commits.  The contexts of
a simulated engine tell: a step's function is about to be called, its handler is about to have its value.  They are production's own, and do
nothing else than those.
"""

from __future__ import annotations

from typing import Any

import trio

from journeyman.actors.attempt import Attempt
from journeyman.engine.context import Context
from journeyman.engine.payload import ResultCodec
from journeyman.engine.steps import Steps
from journeyman.kernel.commands import Answer
from journeyman.sim.disk import BootStore


class TellingSteps(Steps):
    """Those of one attempt in a world."""

    __slots__ = ()

    def _begin(self, name: str) -> bytes | None:
        known = super()._begin(name)
        _tell(self._attempt, "step_begun" if known is None else "step_returned", name)
        return known

    def _returned(self, name: str, codec: ResultCodec, data: bytes, answer: Answer) -> Any:
        value = super()._returned(name, codec, data, answer)
        if trio.lowlevel.in_trio_run():  # and not in a thread that the handler has started itself
            _tell(self._attempt, "step_returned", name)
        return value


class TellingContext(Context):
    """A handler's context in a world."""

    __slots__ = ()
    steps_kind = TellingSteps


def _tell(attempt: Attempt, what: str, name: str) -> None:
    store = attempt.actor.shell.store
    if isinstance(store, BootStore) and not store._boot.dead:
        store._boot.world.watch.step(store._boot, what, attempt.seq, name)


__all__ = ["TellingContext"]
