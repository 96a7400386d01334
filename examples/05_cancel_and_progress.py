"""Watch a task, then cancel it: one that waits never starts, one that runs is told to stop."""

import tempfile

import trio

from journeyman import Context, Engine, Queue, TaskCancelled

films = Queue("films")
half_way = trio.Event()


@films.handler
async def encode(ctx: Context, film: str) -> None:
    for percent in range(0, 101, 10):
        await ctx.progress(percent / 100, f"scene {percent // 10}")
        if percent == 50:
            half_way.set()
            await trio.sleep_forever()  # a cancel arrives here, as trio.Cancelled


async def main(journal: str) -> None:
    async with Engine(journal, queues=[films]) as engine:
        running = await engine.submit(encode, "Metropolis")
        waiting = await engine.submit(encode, "Nosferatu")
        await half_way.wait()

        task = await engine.get(running.id)
        print(f"{task.state}: {task.progress:.0%}, {task.message}")
        print([reason.kind for reason in (await engine.explain(waiting.id)).reasons])

        await waiting.cancel("not needed")
        await running.cancel("wrong cut")
        for handle in (running, waiting):
            try:
                await handle.result()
            except TaskCancelled:
                task = await engine.get(handle.id)
                print(f"{task.state} after {task.attempt} attempts: {task.reason}")


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# running: 50%, scene 5
# ['no free slot']
# cancelled after 1 attempts: wrong cut
# cancelled after 0 attempts: not needed
