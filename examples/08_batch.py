"""submit_many: all of the tasks or none of them, in one commit; a wrong call is found before anything is stored."""

import tempfile

import trio

from journeyman import Engine, Queue, QueueFull

resize = Queue("resize", concurrency=4, max_pending=1000)


@resize.handler
def thumbnail(name: str, width: int = 100) -> str:  # a plain function: it runs in a worker thread
    return f"{name}@{width}"


async def main(journal: str) -> None:
    async with Engine(journal, queues=[resize]) as engine:
        handles = await engine.submit_many([(thumbnail, (f"{number}.png",), {"width": 64}) for number in range(500)])
        print([await handle.result() for handle in handles[:2]], "... of", len(handles))
        await engine.drain()

        try:
            await engine.submit_many([thumbnail.bind("good.png"), (thumbnail, (), {"size": 64})])
        except TypeError:
            print("a wrong call: nothing was stored,", await engine.count(queue="resize"), "tasks as before")

        await engine.pause("resize")
        try:
            await engine.submit_many([thumbnail.bind(f"{number}.png") for number in range(1001)])
        except QueueFull:
            print("one too many: nothing was stored,", await engine.count(queue="resize", state="pending"), "wait")


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# ['0.png@64', '1.png@64'] ... of 500
# a wrong call: nothing was stored, 500 tasks as before
# one too many: nothing was stored, 0 wait
