"""A feed in a simulated world: the production feed of one boot, which dies with it.

A feed is a call that never ends: when the process dies it raises EngineCrashed, and so does every later use of it.  Its reader opens
another one with the cursor of the last event that it has dealt with, as a process outside would.  Every event it gives, and every
FeedTruncated, is shown to the invariants.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from journeyman.engine.feed import EventFeed, Since
from journeyman.engine.scope import Scope
from journeyman.journal.history import FeedEvent
from journeyman.sim.errors import EngineCrashed

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot
    from journeyman.sim.engine import SimEngine


class SimFeed(EventFeed):
    def __init__(self, engine: SimEngine, boot: Boot, scope: Scope, since: Since, queue: str | None) -> None:
        super().__init__(scope, since, queue)
        self._engine = engine
        self._boot = boot

    async def __anext__(self) -> FeedEvent:
        engine, boot, place = self._engine, self._boot, self.place
        if engine._alive() is not boot:
            raise EngineCrashed("the process of this feed has died: open another one with since= the cursor of the last event you had")
        try:
            event: FeedEvent = await engine._call(boot, "events", super().__anext__)
        except Exception as error:
            engine.told(self, place, error)
            raise
        engine.told(self, place, event)
        return event


__all__ = ["SimFeed"]
