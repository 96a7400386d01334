"""A journal of tasks with eventful lives, made by real engines in three processes, for tests of what is made of them.

The first process dies, the second is stopped in good order, the third finishes.  Ids follow from names: `id_of("flaky")`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import Any

import trio

from journeyman.engine import Cancel, Constant, Context, Engine, Fatal, Queue, Retry, RetryLater, Snooze


class Refused(OSError):
    """An error of our own."""


def id_of(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


jobs = Queue("jobs", concurrency=16, retry=Retry(attempts=3, backoff=Constant(0.05), jitter=0.2), timeout=5)
picky = Queue("picky", retry=Retry(attempts=3, backoff=lambda n: 0.03 * n, on=(OSError,)))
frail = Queue("frail", on_crash="interrupt")
held = Queue("held")
narrow = Queue("narrow")
pulse = Queue("pulse", heartbeat=0.4)


@jobs.handler
async def succeed(n: int, *, token: str) -> dict[str, Any]:
    await trio.sleep(0.02)
    return {"n": n, "token": token, "said": 'it is "done"\n'}


@jobs.handler
async def flaky() -> None:
    raise Refused("the partner's line is \u201cdead\u201d: " + "x" * 150)


@jobs.handler
async def doze(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise Snooze(0.1)


@jobs.handler
async def hang(cleanup: float = 0) -> None:
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(cleanup)


@jobs.handler(timeout=0.1)
async def overrun() -> None:
    await trio.sleep_forever()


@jobs.handler
async def fatal(ctx: Context) -> str:
    if ctx.attempt == 1:
        raise Fatal from KeyError("x")
    return "mended"


@jobs.handler
async def later(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise RetryLater(ConnectionError("busy"), 0.12)


@jobs.handler
async def gives_up() -> None:
    raise Cancel("nobody wants it")


@jobs.handler
async def nap(seconds: float) -> None:
    await trio.sleep(seconds)


@jobs.handler
async def lost(ctx: Context, runs: int) -> int:
    if ctx.attempt <= runs:
        await trio.sleep_forever()
    return ctx.attempt


@picky.handler
async def choosy(ctx: Context) -> None:
    if ctx.attempt == 1:
        raise OSError("again")
    raise ValueError("never")


@frail.handler
async def once() -> None:
    await trio.sleep_forever()


@held.handler
async def wait() -> None: ...


@narrow.handler
async def squeeze(seconds: float) -> None:
    await trio.sleep(seconds)


@pulse.handler
async def beat(ctx: Context) -> None:
    for _ in range(3):
        ctx.heartbeat()
        await trio.sleep(0.2)


QUEUES = [jobs, picky, frail, held, narrow, pulse]


async def first(engine: Engine) -> None:
    await engine.submit(lost.using(id=id_of("lost")), 1)
    await engine.submit(once.using(id=id_of("once")))
    await engine.submit(hang.using(id=id_of("deaf")), 30)
    await engine.submit(nap.using(key="k"), 0.3)
    await engine.submit(squeeze, 0.2)
    await engine.submit(squeeze.using(id=id_of("squeezed")), 0.01)
    await engine.submit(squeeze.using(priority=9), 0.2)
    await engine.pause("held", by="ops")
    await engine.submit_many(
        [
            succeed.using(id=id_of("succeed"), tags=["a"], owner=("user", "ada"), meta={"password": "m"}).bind(7, token="geheim"),
            flaky.using(id=id_of("flaky"), priority=9).bind(),
            doze.using(id=id_of("doze")).bind(),
            hang.using(id=id_of("hang")).bind(0.05),
            hang.using(id=id_of("never begun"), delay=3600).bind(),
            overrun.using(id=id_of("overrun"), attempts=2).bind(),
            fatal.using(id=id_of("fatal")).bind(),
            later.using(id=id_of("later")).bind(),
            gives_up.using(id=id_of("gives up")).bind(),
            choosy.using(id=id_of("choosy")).bind(),
            nap.using(id=id_of("keyed"), key="k").bind(0.01),
            nap.using(id=id_of("moved"), delay=3600).bind(0.01),
            wait.using(id=id_of("held")).bind(),
            wait.using(id=id_of("late"), deadline=0.15).bind(),
            wait.using(id=id_of("cancelled while held")).bind(),
            beat.using(id=id_of("beat")).bind(),
        ]
    )
    await trio.sleep(0.3)
    await engine.cancel(id_of("hang"), "too long", by="ops")
    await engine.cancel(id_of("deaf"))
    await engine.cancel(id_of("never begun"))
    await engine.cancel(id_of("cancelled while held"), "not needed")
    await engine.reprioritise(id_of("moved"), 20)
    await engine.reschedule(id_of("moved"), delay=0.05, reason="now")
    await engine.resume("held")
    for name in ("hang", "flaky", "doze", "fatal", "later", "choosy", "keyed", "squeezed", "moved", "held", "overrun", "beat"):
        await engine.wait(id_of(name), timeout=20)
    await engine.retry(id_of("fatal"), reason="mended", by="ops")
    await engine.wait(id_of("fatal"), timeout=20)


async def second(engine: Engine) -> None:
    await engine.wait(id_of("lost"), timeout=20)
    await engine.submit(lost.using(id=id_of("stopped")), 1)
    await trio.sleep(0.05)


async def third(engine: Engine) -> None:
    await engine.wait(id_of("stopped"), timeout=20)


async def main(path: str, life: str) -> None:
    async with Engine(path, QUEUES, grace=0) as engine:
        await {"first": first, "second": second, "third": third}[life](engine)
        if life == "first":
            os._exit(0)


def record(path: Path) -> Path:
    """Make the journal."""
    root = Path(__file__).resolve().parents[2]
    for life in ("first", "second", "third"):
        subprocess.run([sys.executable, "-m", "tests.cli.recorded", str(path), life], cwd=root, check=True, timeout=60)
    return path


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
