"""A random day at an engine: submits, every kind of ending, operators, checkpoints, prunes; one seed, one day.

Time is virtual (trio's MockClock), the disk is a memory store, so hours of retries and housekeeping pass in a moment.  The shell is reached
as a handler reaches it, through the attempt that is running.
"""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

import trio

from journeyman.actors.attempt import current_attempt
from journeyman.actors.shell import Shell
from journeyman.engine import (
    Cancel,
    Context,
    Engine,
    Exponential,
    Fatal,
    JourneymanError,
    Queue,
    Rate,
    Retention,
    Retry,
    RetryLater,
    Snooze,
)
from journeyman.journal.recovery import Recovered, fold_everything, recover, verify_rows
from journeyman.journal.store import Store
from tests.acceptance.virtual import TrioClock
from tests.journal.driver import assert_same, picture

CONCURRENCY = {"letters": 3, "parcels": 2}
MAX_CONCURRENCY = 4


class Errands:
    """Queues whose handlers do at random what handlers may do; `shell` is there once one has run."""

    prunes = True

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.shell: Shell | None = None
        retention = Retention(succeeded=90, failed=300, cancelled=0)
        letters = Queue("letters", concurrency=3, retry=Retry(attempts=3, backoff=Exponential(0.5)), retention=retention)
        parcels = Queue("parcels", concurrency=2, retry=Retry(attempts=2), rate=Rate(5, burst=2), retention=Retention(succeeded=40))
        self.queues = [letters, parcels]
        self.run, self.carry = letters.handler(name="run")(self._run), parcels.handler(name="carry")(self._carry)

    async def _run(self, ctx: Context, n: int) -> int:
        attempt = current_attempt.get()
        assert attempt is not None
        self.shell = attempt.actor.shell
        await trio.sleep(self.chance.choice([0, 0, 0.01, 2]))
        await ctx.progress(0.5, f"half of {n}")
        if self.chance.random() < 0.2:
            await ctx.submit(self.carry, n)
        raised = self.chance.choice(
            [None] * 6 + [ValueError("no"), Fatal("never"), RetryLater("busy", delay=3), Snooze(2), Cancel("enough")]
        )
        if raised is not None:
            raise raised
        return n

    async def _carry(self, n: int) -> None:
        await trio.sleep(self.chance.choice([0, 0.05]))
        if self.chance.random() < 0.3:
            raise KeyError(n)

    async def day(self, engine: Engine, steps: int = 120) -> None:
        """Random calls, one after another."""
        await (await engine.submit(self.run, 0)).wait()
        for n in range(steps):
            with suppress(JourneymanError):
                await self._call(engine, n)

    async def _call(self, engine: Engine, n: int) -> None:
        chance = self.chance
        target: Any = chance.choice([self.run, self.run, self.carry])
        known = [task.id for task in await engine.list(limit=20)]
        assert self.shell is not None
        match chance.randrange(14):
            case 0:
                await engine.submit_many([(self.run, (n,)), (self.carry, (n,)), (self.run.using(delay=1), (n,))])
            case 1 if known:
                await engine.cancel(chance.choice(known), "by chance")
            case 2 if known:
                await engine.retry(chance.choice(known))
            case 3:
                await engine.pause("parcels")
            case 4:
                await engine.resume("parcels")
            case 5:
                await engine.clear(chance.choice(["letters", "parcels"]))
            case 6:
                self.shell.checkpoint_wanted()
            case 7 if self.prunes:
                await engine.prune(older_than=chance.choice([0, 30]))
            case 8:
                await trio.sleep(chance.choice([0.131, 1.017, 70.039]))
            case _:
                await engine.submit(target.using(delay=chance.choice([0, 0, 5]), priority=chance.randrange(3)), n)

    def engine(self, store: Store) -> Engine:
        return Engine("x", self.queues, store=store, clock=TrioClock(), max_concurrency=MAX_CONCURRENCY)


def assert_recovered_is_live(store: Store, shell: Shell) -> None:
    """What the store adds up to, by checkpoint and tail and by the fold of everything, is what the engine has in memory."""
    again = recover(store)
    verify_rows(store, again.tally)
    live = picture(shell.world, again._replace(journal=shell.journal, catalog=shell.catalog, tally=shell.catalog.tally))
    assert_same(picture(again.state, again), live)
    assert_same(picture(fold_everything(shell.journal)), live)


def assert_consistent(store: Store) -> Recovered:
    """Checkpoint and tail give the state that the fold of everything gives."""
    found = recover(store)
    verify_rows(store, found.tally)
    assert_same(picture(found.state, found), picture(fold_everything(found.journal)))
    return found
