"""A shop whose orders, totals and letters are one transaction after another: a workload for what transactions promise."""

from __future__ import annotations

import trio

from journeyman.engine import Context, Queue, Retry, TransactionConflict
from journeyman.journal.store import Table
from journeyman.kernel.policy import Constant
from journeyman.sim import EngineCrashed, Faults, World, simulate
from journeyman.sim.engine import SimEngine

ORDERS = 3


def shop() -> Queue:
    queue = Queue("shop", concurrency=3, retry=Retry(attempts=100, crashes=1_000, backoff=Constant(0.01)))

    @queue.handler
    async def bill(ctx: Context, order: int) -> None:
        total = int(ctx.get(b"total") or b"0")
        await trio.sleep(0.01)
        ctx.put(b"total", b"%d" % (total + order))
        ctx.put(b"billed/%d" % order, ctx.id.encode())
        ctx.submit(post, order)

    @queue.handler
    def post(ctx: Context, order: int) -> None:
        ctx.put(b"posted", b"%d" % (int(ctx.get(b"posted") or b"0") + 1))

    return queue


async def patiently(engine: SimEngine, order: int) -> None:
    """An idempotent consumer: whatever happens to the process, one order is taken in once."""
    while True:
        try:
            async with engine.transaction() as tx:
                if tx.get(b"seen/%d" % order) is not None:
                    return
                tx.put(b"seen/%d" % order, b"")
                tx.put(b"last", b"%d" % order)
                tx.submit("bill", order)
            return
        except (EngineCrashed, TransactionConflict):
            await engine.ready()


async def whole(world: World) -> None:
    async with world.engine(queues=[shop()]) as engine:
        for order in range(1, ORDERS + 1):
            await patiently(engine, order)
        values: dict[bytes, bytes] = {}
        while True:
            try:
                await engine.drain()
                values = dict(await engine.values())
                tasks = await engine.list()
                break
            except EngineCrashed:
                await engine.ready()
        assert values[b"total"] == b"%d" % sum(range(1, ORDERS + 1))
        assert values[b"posted"] == b"%d" % ORDERS
        assert values[b"last"] == b"%d" % ORDERS
        billed = {values[b"billed/%d" % order].decode() for order in range(1, ORDERS + 1)}
        assert billed == {task.id for task in tasks if task.handler == "bill"}
        assert len(tasks) == 2 * ORDERS


async def days(world: World) -> None:
    """Three keys that are put all day long leave a journal that does not grow."""
    async with world.engine(queues=[shop()]) as engine:
        for n in range(3_000):
            async with engine.transaction() as tx:
                tx.put(b"k%d" % (n % 3), b"%d" % n)
                if n % 7 == 0:
                    tx.delete(b"k0")
            if n % 100 == 0:
                await trio.sleep(60)
        await trio.sleep(3_600)
        assert engine.machine.disk.count(Table.EVENTS) < 400
        assert await engine.values() == [(b"k0", b"2997"), (b"k1", b"2998"), (b"k2", b"2999")]


def run_whole(seed: int) -> None:
    simulate(whole, seed=seed, faults=Faults(crash=0.02, torn_commit=0.1, disk_latency=(0.0001, 0.02)))


def run_days(seed: int) -> None:
    simulate(days, seed=seed)


async def gathered(world: World) -> None:
    """Many at once, on a disk that is slow: what gathers shares a commit."""
    async with world.engine(queues=[shop()]) as engine, trio.open_nursery() as nursery:

        async def put(n: int) -> None:
            async with engine.transaction() as tx:
                tx.put(b"k", b"%d" % n)

        for n in range(20):
            nursery.start_soon(put, n)


def run_gathered(seed: int) -> None:
    simulate(gathered, seed=seed, faults=Faults(disk_latency=(0.01, 0.02)))
