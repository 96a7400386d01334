"""Workloads for what the swarm draws seldom or not at all: late words, the cap of a backoff, suspects in two queues, crowds."""

from __future__ import annotations

import contextlib
from random import Random
from typing import Any

import trio

from journeyman.engine import (
    AttemptOver,
    Context,
    DuplicateTask,
    EngineStopped,
    Exponential,
    NotWaiting,
    Queue,
    Rate,
    Retention,
    Retry,
    Snooze,
    TaskNotFound,
)
from journeyman.journal.errors import JournalError
from journeyman.sim import EngineCrashed, Faults, World, simulate
from journeyman.sim.trace import Trace


def leaky(seed: int) -> Trace:
    """Handlers give their context away, and whoever has it speaks when the attempt is long over."""
    chance = Random(seed)
    kept = chance.choice((60.0, 600.0, None))
    policy = Retention(succeeded=kept, failed=None, cancelled=None)
    mail = Queue("mail", concurrency=3, retry=Retry(attempts=chance.choice((1, 3))), retention=policy)
    contexts: list[Any] = []

    @mail.handler
    async def send(ctx: Context, how: str) -> str:
        contexts.append(ctx)
        ctx.progress(0.1, "begun")
        await trio.sleep(0.5)
        if how == "fail":
            raise OSError("no")
        if how == "snooze" and ctx.attempt < 3:
            raise Snooze(10)
        return how

    def speak(words: str) -> None:
        for context in chance.sample(contexts, min(3, len(contexts))):
            context.progress(chance.random(), words)
            context.heartbeat()

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            for n in range(8):
                handle = await engine.submit(send.using(delay=chance.choice((0, 0, 2))), chance.choice(("well", "fail", "snooze")))
                if n == 2:
                    await handle.cancel("enough")
                await trio.sleep(chance.uniform(0, 3))
                speak("late")
            await trio.sleep(3)
            speak("later")
            await engine.pause("mail")
            for ended in await engine.list(state=("failed", "cancelled")):
                await engine.retry(ended.id)
            speak("while it waits")
            await engine.resume("mail")
            await engine.drain()
            speak("at last")

    return simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))


def stubborn(seed: int) -> Trace:
    """Tasks that fail until their pauses are at the cap."""
    chance = Random(seed)
    mail = Queue("mail", retry=Retry(attempts=chance.choice((9, 12)), backoff=Exponential(1, factor=3, cap=chance.choice((60, 600)))))

    @mail.handler
    async def send() -> None:
        raise OSError("no")

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            handle = await engine.submit(send)
            assert (await handle.wait()).failures >= 9

    return simulate(scenario, seed=seed)


def suspects(seed: int) -> Trace:
    """Two queues of long tasks, which crash after crash takes to the edge of their budgets."""
    chance = Random(seed)
    queues = [Queue(name, concurrency=2, retry=Retry(crashes=1)) for name in ("mail", "media")]

    async def work(seconds: float) -> None:
        await trio.sleep(seconds)

    works = [queue.handler(name=f"{queue.name}.work")(work) for queue in queues]

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues) as engine:
            for _ in range(4):
                await engine.submit(chance.choice(works), chance.choice((50.0, 300.0)))
            for _ in range(2):
                await trio.sleep(chance.uniform(1, 30))
                await world.crash()
                await engine.ready()
            await engine.drain(timeout=5_000)

    return simulate(scenario, seed=seed)


def shared(seed: int) -> Trace:
    """One slot for two queues, one of which has a slow rate."""
    chance = Random(seed)
    slow, quick = Queue("slow", rate=Rate(1, per=60)), Queue("quick", concurrency=4)

    async def work() -> None:
        await trio.sleep(0.5)

    works = [slow.handler(name="slow.work")(work), quick.handler(name="quick.work")(work)]

    async def scenario(world: World) -> None:
        async with world.engine(queues=[slow, quick], max_concurrency=1) as engine:
            for _ in range(12):
                await engine.submit(chance.choice(works))
                await trio.sleep(chance.choice((0, 0, 1)))
            await trio.sleep(1_000)
            assert await engine.count(state="succeeded") == 12, "something is left lying"

    return simulate(scenario, seed=seed)


def tokens(seed: int) -> Trace:
    """Three queues that draw from one limiter, some of their tasks dear; one of them is paused for a while."""
    chance = Random(seed)
    queues = [Queue(name, concurrency=2, rate=Rate(1, per=10, burst=2, name="llm")) for name in ("a", "b", "c")]

    async def work() -> None: ...

    works = [queue.handler(name=f"{queue.name}.work")(work) for queue in queues]

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues) as engine:
            for _ in range(15):
                await engine.submit(chance.choice(works).using(cost=chance.choice((1, 1, 3))))
                await trio.sleep(chance.choice((0, 0, 9)))
            await engine.pause("b")
            await trio.sleep(50)
            await engine.resume("b")
            await trio.sleep(1_000)
            assert await engine.count(state="succeeded") == 15, "something is left lying"

    return simulate(scenario, seed=seed)


def tenants(seed: int) -> Trace:
    """A flood of one owner, a few tasks of others, and a crash among them."""
    chance = Random(seed)
    mail = Queue("mail", concurrency=chance.choice((1, 3)), fair_by="owner", rate=chance.choice((None, Rate(5, burst=3))))

    @mail.handler
    async def send() -> None:
        await trio.sleep(chance.choice((0.2, 3)))

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            await engine.submit_many([(send.using(owner=("user", "flood")),)] * 60)
            for n in range(12):
                await engine.ready()
                with contextlib.suppress(EngineCrashed):
                    await engine.submit(send.using(owner=("user", chance.choice("abc"))))
                    await trio.sleep(chance.uniform(0, 3))
                if n == 6:
                    await world.crash()
            await engine.ready()
            await engine.drain(timeout=5_000)

    return simulate(scenario, seed=seed)


def crowd(seed: int) -> Trace:
    """Odd seeds: many prunes, until they are folded into one record.  Even ones: more tasks than fit one piece of a checkpoint, and crashes
    among them.  Either way an id that is used again when its task has expired.
    """
    chance = Random(seed)
    rounds, sizes, torn = (260, (1,), 0.0) if seed % 2 else (30, (1, 80, 150), 0.03)
    kept = chance.choice((30.0, 60.0))
    mail = Queue("mail", concurrency=50, retention=Retention(succeeded=kept))

    @mail.handler
    async def send() -> None: ...

    async def scenario(world: World) -> None:
        chosen = "01890000-0000-7000-8000-000000000001"
        async with world.engine(queues=[mail]) as engine:
            for _ in range(rounds):
                await engine.ready()
                with contextlib.suppress(EngineCrashed, DuplicateTask):
                    await engine.submit_many([(send,)] * chance.choice(sizes))
                    await engine.submit(send.using(id=chosen, delay=chance.choice((0, 5_000))))
                    await engine.submit(engine.handler("other", queue="mail").using(id=chosen))
                await trio.sleep(chance.uniform(50, 120))

    return simulate(scenario, seed=seed, faults=Faults(torn_commit=torn, disk_latency=(0.0, 0.01)))


def retained(seed: int) -> Trace:
    """Tasks that are kept for a while or for ever, looked for before and after."""
    chance = Random(seed)
    mail = Queue("mail", retention=Retention(succeeded=chance.choice((90.0, 100.0, None))))

    @mail.handler
    async def send() -> None: ...

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            for _ in range(12):
                handle = await engine.submit(send)
                await trio.sleep(chance.uniform(1, 130))
                with contextlib.suppress(TaskNotFound):
                    await engine.get(handle.id)
                await engine.list()
                await engine.count()

    return simulate(scenario, seed=seed)


def cut_off(seed: int) -> Trace:
    """A queue whose runs are never made again: crashes interrupt them, an operator retries some, and reads of the disk go wrong."""
    chance = Random(seed)
    mail = Queue("mail", concurrency=2, on_crash="interrupt")

    @mail.handler
    async def send() -> None:
        await trio.sleep(20)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            for _ in range(6):
                with contextlib.suppress(EngineCrashed, EngineStopped, JournalError):
                    await engine.ready()
                    await engine.submit(send)
                    await trio.sleep(chance.uniform(0, 30))
                    await world.crash()
                    await engine.ready()
                    await engine.retry_all("mail", "interrupted")

    return simulate(scenario, seed=seed, faults=Faults(bit_flip=0.01, read_error=0.01))


def operated(seed: int) -> Trace:
    """An operator moves what waits for its backoff, lowers a limit below what runs, and a schedule meets a full queue."""
    chance = Random(seed)
    mail = Queue("mail", concurrency=4, retry=Retry(attempts=3, backoff=Exponential(30)), max_pending=6)

    @mail.handler
    async def send(how: str) -> None:
        await trio.sleep(5)
        if how == "fail":
            raise OSError("no")

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine:
            await engine.schedule("often", send, every=7, args=("well",), overlap="allow")
            handles = [await engine.submit(send, "fail") for _ in range(4)]
            await trio.sleep(1)
            await engine.configure("mail", concurrency=1)
            await trio.sleep(chance.uniform(5, 20))
            with contextlib.suppress(NotWaiting):
                await engine.reprioritise(handles[0].id, 20)
                await engine.reschedule(handles[1].id, delay=chance.choice((0, 100)))
            await engine.pause("mail")
            await trio.sleep(120)
            await engine.resume("mail")
            await engine.unschedule("often")
            await engine.drain()

    return simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))


def stepping(seed: int) -> Trace:
    """Handlers of both kinds in durable steps, which crashes cut off; and steps begun elsewhere, which outlive their attempt."""
    chance = Random(seed)
    contexts: list[Context] = []
    retention = Retention(succeeded=60, payload=chance.choice((True, False, "failed")))
    mail = Queue("mail", concurrency=3, retry=Retry(attempts=4, backoff=Exponential(5)), retention=retention, timeout=40)

    async def slow(n: int) -> str:
        await trio.sleep(n)
        return "x" * n

    def quick(n: int) -> int | None:
        return n or None

    @mail.handler
    async def several(ctx: Context, n: int) -> str:
        contexts.append(ctx)
        first = await ctx.step("first", quick, n)
        async with trio.open_nursery() as nursery:
            for k in range(3):
                nursery.start_soon(ctx.step, f"part {k}", slow, k * n)
        if ctx.attempt <= n % 3:
            raise OSError("no")
        return f"{first} {await ctx.step('last', slow, 1)}"

    @mail.handler
    def plain(ctx: Context, n: int) -> int:
        done = [ctx.step(f"part {k}", quick, k) for k in range(n)]
        if ctx.attempt <= n % 2:
            raise OSError("no")
        return len(done)

    async def elsewhere(ctx: Context, n: int) -> None:
        with contextlib.suppress(AttemptOver, EngineCrashed, EngineStopped, JournalError):
            await ctx.step(f"elsewhere {n}", slow, chance.randrange(1, 30))

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail]) as engine, trio.open_nursery() as nursery:
            for n in range(8):
                with contextlib.suppress(EngineCrashed, EngineStopped, JournalError):
                    await engine.ready()
                    await engine.submit(chance.choice((several, plain)), n)
                    await trio.sleep(chance.uniform(0, 9))
                if contexts:
                    nursery.start_soon(elsewhere, contexts[-1], n)
            with contextlib.suppress(EngineCrashed):
                await engine.retry_all("mail")
            await trio.sleep(1_300)

    return simulate(scenario, seed=seed, faults=Faults(crash=0.01, disk_latency=(0.0, 0.3), torn_commit=0.02))


OTHERS = (stepping, leaky, stubborn, suspects, shared, tokens, tenants, retained, cut_off, operated, crowd)


def recurring(seed: int) -> Trace:
    """Schedules through a crash and an error of the clock that is put right."""
    queue = Queue("reports", concurrency=4)

    @queue.handler
    async def report() -> None:
        await trio.sleep(1)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            await engine.schedule("cron", report, cron="*/10 * * * *", overlap="allow")
            await engine.schedule("every", report, every=700)
            await trio.sleep(3 * 3600)
            await world.crash()
            await engine.ready()
            await engine.schedules()
            for hours in (-2, 2, 8, -8):
                world.step_clock(hours * 3600)
                await trio.sleep(1300)
            for name in ("cron", "every"):
                await engine.unschedule(name)

    return simulate(scenario, seed=seed, converge=True)
