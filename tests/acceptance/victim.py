"""The program that tests/acceptance/processes.py starts, to be killed, interrupted or watched.  `victim.py MODE JOURNAL ...`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import trio

from journeyman.engine import Context, Engine, Queue, Retry

path = sys.argv[2]
calm = Queue("calm", concurrency=8, retry=Retry(crashes=2))
unrepeatable = Queue("unrepeatable", concurrency=8, on_crash="interrupt")
beating = Queue("beating")


@calm.handler
async def sleeper(ctx: Context) -> str:
    say(f"entered sleeper {ctx.attempt}")
    if ctx.attempt == 1 or len(sys.argv) > 4:
        await trio.sleep_forever()
    return "slept"


@calm.handler
async def poison(ctx: Context) -> None:
    await trio.sleep(0.05)  # its bystanders are entered too by now
    os._exit(9)


@calm.handler
async def bystander(ctx: Context, runs: int) -> str:
    if ctx.attempt <= runs:
        await trio.sleep(0.2)
    return "lived"


@calm.handler
def busy() -> None:
    say("ready")
    while True:
        pass


@unrepeatable.handler
async def once() -> None:
    say("ready")
    await trio.sleep_forever()


def say(line: str) -> None:
    print(line, flush=True)


async def report(engine: Engine) -> None:
    for task in await engine.list(limit=1000):
        error = f" error={task.error.type}: {task.error.message}" if task.error else ""
        kinds = ",".join(e.kind for e in await engine.history(task.id))
        say(
            f"{task.handler} {task.state} attempt={task.attempt} failures={task.failures} crashes={task.crashes} "
            f"reason={task.reason}{error}"
        )
        say(f"  {kinds}")


async def sigint(where: str) -> None:
    """`idle`: Ctrl-C finds the block waiting; `busy`: it finds a handler computing on the loop."""

    async with Engine(path, [calm]) as engine:
        await engine.submit(sleeper)
        if where == "busy":
            await trio.sleep(0.1)
            await engine.submit("spinning")
        else:
            await trio.sleep(0.1)
            say("ready")
        await trio.sleep_forever()


@calm.handler
async def spinning(ctx: Context) -> None:
    if ctx.attempt == 1:
        say("ready")
        while True:
            pass


async def look() -> None:
    """What is in the journal; nothing runs, because nothing is declared."""
    async with Engine(path) as engine:
        await report(engine)


async def crash() -> None:
    """One boot of the poison loop; exit code 9 while the poison lives."""
    async with Engine(path, [calm]) as engine:
        if not await engine.count():
            await engine.submit_many([(poison,), *[(bystander, (9,))] * 5])
        await engine.drain()
        await report(engine)


async def once_killed() -> None:
    async with Engine(path, [unrepeatable]) as engine:
        if await engine.count():
            await report(engine)
            return
        await engine.submit(once)
        await trio.sleep_forever()


async def idle() -> None:
    """An engine with nothing to do, and one scheduled task far away."""
    async with Engine(path, [calm]) as engine:
        await engine.submit(sleeper.using(delay=3600))
        await trio.sleep(0.5)
        say("ready")
        await trio.to_thread.run_sync(sys.stdin.read)


async def held() -> None:
    """Keep the journal open until killed."""
    async with Engine(path, [calm]) as engine:
        await engine.submit(sleeper)
        await trio.sleep(0.1)
        say("ready")
        await trio.sleep_forever()


async def unheard() -> None:
    """A task whose arguments do not fit any more: worth a warning, in a program that configured no logging."""
    queue = Queue("q")

    async def work() -> None: ...

    queue.handler(work)
    async with Engine(path, [queue]) as engine:
        await engine.submit(engine.handler("work", "q"), "too many", "arguments")
        await engine.drain(timeout=5)
        say(f"parked={(await engine.stats())['q'].parked}")


async def feed() -> None:
    """Write down what the feed shows, and go on behind the last line of the process before."""
    with Path(sys.argv[3]).open("a+", encoding="utf-8") as notes:  # noqa: ASYNC230
        notes.seek(0)
        lines = notes.read().splitlines()
        async with Engine(path, [calm]) as engine, trio.open_nursery() as nursery:
            nursery.start_soon(always_more, engine)
            shown = 0
            async for event in engine.events(lines[-1].split()[1] if lines else 0):
                notes.write(f"{event.seq} {event.cursor} {event.kind};\n")
                notes.flush()
                shown += 1
                if shown % 100 == 0:
                    say(f"shown {shown}")


async def always_more(engine: Engine) -> None:
    while True:
        await engine.submit_many([(bystander, (0,))] * 10)
        await trio.sleep(0.002)


async def stepping() -> None:
    """Three steps, each with an effect in a file; the first process dies inside the second."""
    queue = Queue("q")

    def effect(name: str) -> None:
        with open(sys.argv[3], "a") as file:
            file.write(f"{name}\n")

    @queue.handler
    async def order(ctx: Context) -> None:
        await ctx.step("first", effect, "first")
        await ctx.step("second", waits, ctx.attempt)
        await ctx.step("third", effect, "third")

    async def waits(attempt: int) -> None:
        effect("second")
        if attempt == 1:
            say("second step")
            await trio.sleep_forever()

    async with Engine(path, [queue]) as engine:
        if not await engine.list():
            await engine.submit(order)
        await engine.drain(timeout=30)
        await report(engine)


MODES = {
    "feed": feed, "steps": stepping, "unheard": unheard, "look": look, "crash": crash, "once": once_killed, "idle": idle, "held": held,
}  # fmt: skip

if __name__ == "__main__":
    # A shell that runs the tests in the background has them, and so us, ignore Ctrl-C; these programs are about it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.argv[1] == "sigint":
        try:
            trio.run(sigint, sys.argv[3])
        except KeyboardInterrupt:
            say("left the block with KeyboardInterrupt")
    else:
        trio.run(MODES[sys.argv[1]])
