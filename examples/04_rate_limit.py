"""No more than 20 starts a second, smoothly, and the limit survives a restart: it is derived from the journalled starts."""

import tempfile
import time
from itertools import pairwise

import trio

from journeyman import Engine, Queue, Rate

api = Queue("api", concurrency=8, rate=Rate(20, per=1.0))
starts: list[float] = []


@api.handler
async def call(number: int) -> None:
    starts.append(time.monotonic())


async def main(journal: str) -> None:
    async with Engine(journal, queues=[api]) as engine:
        await engine.submit_many([(call, (number,), {}) for number in range(6)])
        await engine.drain()

    async with Engine(journal, queues=[api]) as engine:
        await engine.submit_many([(call, (number,), {}) for number in range(6, 9)])
        await engine.drain()

    gaps = [after - before for before, after in pairwise(starts)]
    print(len(starts), "calls")
    print("every gap at least 50 ms:", all(gap >= 0.0499 for gap in gaps))


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# 9 calls
# every gap at least 50 ms: True
