"""A task that failed for good is kept, with its error, until somebody repairs the cause and retries it by hand."""

import tempfile

import trio

from journeyman import Constant, Engine, Queue, Retry, TaskFailed

orders = Queue("orders", retry=Retry(attempts=2, backoff=Constant(0.02), jitter=0))
prices = {"bolt": 4}


@orders.handler
async def bill(item: str, pieces: int) -> int:
    return prices[item] * pieces


async def main(journal: str) -> None:
    async with Engine(journal, queues=[orders]) as engine:
        handle = await engine.submit(bill, "nut", 10)
        try:
            await handle.result()
        except TaskFailed as failed:
            print("result() raises", type(failed).__name__)

        for task in await engine.list(queue="orders", state="failed"):
            assert task.error
            assert task.payload
            arguments, _ = task.payload
            print(f"dead letter: {task.handler}{tuple(arguments)}: {task.error.type}: {task.error.message}, {task.failures} failures")

        prices["nut"] = 3
        await engine.retry(handle.id)
        print("after the repair:", await handle.result())
        print("attempt numbers are never used twice:", (await engine.get(handle.id)).attempt)


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# result() raises TaskFailed
# dead letter: bill('nut', 10): KeyError: 'nut', 2 failures
# after the repair: 30
# attempt numbers are never used twice: 3
