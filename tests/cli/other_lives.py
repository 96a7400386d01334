"""A journal of lives that `recorded.py` does not have: born of a schedule or a task, debounced, replaced, waiting for others, for rates,
keys and turns; a thread that overran, a handler that exits."""

from __future__ import annotations

import time
from pathlib import Path

import trio

from journeyman.engine import Constant, Context, Engine, Queue, Rate, Retry, RetryLater

plain, rated = Queue("plain", retry=Retry(attempts=2, backoff=Constant(0.02))), Queue("rated", rate=Rate(1, per=0.1))
keyed = Queue("keyed", rate_per_key=Rate(1, per=0.1), per_key=1)
stormy, fair = Queue("stormy", concurrency=1), Queue("fair", concurrency=1, fair_by="owner", aging=10)


@plain.handler
async def work(n: int = 0) -> int:
    return n


@plain.handler
async def fail() -> None:
    raise KeyError("no")


@plain.handler
async def parent(ctx: Context) -> None:
    ctx.submit(work, 5)


@plain.handler(timeout=0.05)
def overrun() -> None:
    time.sleep(0.2)


@plain.handler
async def exits() -> None:
    raise SystemExit(3)


@rated.handler
async def by_rate() -> None: ...


@keyed.handler
async def by_key() -> None: ...


@stormy.handler
async def storm(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise RetryLater(ConnectionError("storm"), 0.1, scope="queue")


@fair.handler
async def turn() -> None:
    await trio.sleep(0.02)


async def live(path: Path) -> None:
    async with Engine(path, [plain, rated, keyed, stormy, fair]) as engine:
        await engine.schedule("often", work, args=[3], every=0.2)
        done, failed = await engine.submit(work.using(delay=0.1), 1), await engine.submit(fail)
        await engine.submit(work.using(after=[done]), 2)
        await engine.submit(work.using(after=[done, failed]), 3)
        await engine.submit(work.using(after=[failed], after_failure="run"), 4)
        for handler in (parent, overrun, exits, by_rate, by_rate, by_key.using(key="k"), by_key.using(key="k"), storm, storm):
            await engine.submit(handler)
        for n in range(4):
            await engine.submit(turn.using(owner=("customer", str(n % 2)), priority=n))
        for n in range(2):
            await engine.submit(work.using(unique="u", on_conflict="replace", delay=0.2), n)
            await engine.submit(work.using(unique="d", debounce=0.1), n)
        await trio.sleep(0.6)
        await engine.retry(failed.id, reason="once more")
        await trio.sleep(0.2)
