"""No more than 20 starts a second, smoothly, and the limit survives a restart: it is derived from the journalled starts."""

import tempfile
from datetime import timedelta
from itertools import pairwise

import trio

from journeyman import Engine, Queue, Rate

api = Queue("api", concurrency=8, rate=Rate(20, per=1.0))


@api.handler
async def call(number: int) -> None:
    pass


async def main(journal: str) -> None:
    async with Engine(journal, queues=[api]) as engine:
        await engine.submit_many([(call, (number,), {}) for number in range(6)])
        await engine.drain()

    async with Engine(journal, queues=[api]) as engine:
        await engine.submit_many([(call, (number,), {}) for number in range(6, 9)])
        await engine.drain()

        started = sorted(task.started_at for task in await engine.list(queue="api") if task.started_at)
        print(len(started), "calls")
        print("all of them 50 ms apart:", all(after - before >= timedelta(milliseconds=50) for before, after in pairwise(started)))


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# 9 calls
# all of them 50 ms apart: True
