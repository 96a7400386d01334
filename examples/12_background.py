"""A program without trio: the engine runs in a thread of its own, plain threads block for it, and asyncio awaits it."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from journeyman import Queue, TaskNotFound
from journeyman.engine.background import BackgroundEngine, TookTooLong

numbers = Queue("numbers", concurrency=8)


@numbers.handler
def square(n: int) -> int:
    return n * n


def ask(engine: BackgroundEngine, n: int) -> int:
    return engine.submit(square, n).result(timeout=10)


async def ask_many(engine: BackgroundEngine) -> int:
    handles = await asyncio.gather(*(engine.aio.submit(square, n) for n in range(100)))
    return sum(await asyncio.gather(*(each.result(timeout=10) for each in handles)))


with BackgroundEngine("var/background", queues=[numbers]) as engine:
    print("one:", ask(engine, 12))
    with ThreadPoolExecutor(4) as pool:
        print("threads:", list(pool.map(lambda n: ask(engine, n), range(8))))
    print("asyncio:", asyncio.run(ask_many(engine)))
    try:
        engine.get("01890a5d-ac96-774b-bcce-b302099a8057")
    except TaskNotFound:
        print("errors come out as themselves")
    later = engine.submit(square.using(delay=3600), 3)
    try:
        later.result(timeout=0.1)
    except TookTooLong as error:
        print("a TimeoutError:", isinstance(error, TimeoutError))

with BackgroundEngine("var/background", queues=[numbers]) as engine:
    print("kept:", engine.count(state="succeeded"), "done,", engine.get(later.id).state)

# Output:
# one: 144
# threads: [0, 1, 4, 9, 16, 25, 36, 49]
# asyncio: 328350
# errors come out as themselves
# a TimeoutError: True
# kept: 109 done, scheduled
