"""What runs when: priority first, then age; a delayed task joins when it is due."""

import tempfile

import trio

from journeyman import Engine, Priority, Queue

desk = Queue("desk")  # concurrency 1: one after another, so the order can be seen


@desk.handler
async def serve(who: str) -> None:
    print("serving", who)


async def main(journal: str) -> None:
    async with Engine(journal, queues=[desk]) as engine:
        await engine.pause("desk")  # until everybody is in line
        await engine.submit(serve, "Ada")
        await engine.submit(serve.using(priority=Priority.LOW), "Bob, who has time")
        await engine.submit(serve.using(priority=Priority.URGENT), "Cleo, who is bleeding")
        await engine.submit(serve, "Dan, after Ada")
        late = await engine.submit(serve.using(delay=0.3, priority=Priority.URGENT), "Eve, who comes later")

        print((await engine.get(late.id)).state)
        print([reason.kind for reason in (await engine.explain(late.id)).reasons])
        await engine.resume("desk")
        await late.wait()


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# scheduled
# ['not due', 'paused']
# serving Cleo, who is bleeding
# serving Ada
# serving Dan, after Ada
# serving Bob, who has time
# serving Eve, who comes later
