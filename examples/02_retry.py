"""Retry with exponential backoff.  The delay that was chosen is part of the journal, not worked out again later."""

import tempfile

import trio

from journeyman import Context, Engine, Exponential, Queue, Retry

# At most 4 runs, 0.05 s, 0.1 s and 0.2 s apart.  Jitter (10 % by default) is off, so that this output is always the same.
calls = Queue("calls", retry=Retry(attempts=4, backoff=Exponential(0.05, factor=2.0), jitter=0))


@calls.handler
async def ring(ctx: Context, number: str) -> str:
    if ctx.attempt < 3:
        raise ConnectionError(f"{number} is busy")
    return "hello"


async def main(journal: str) -> None:
    async with Engine(journal, queues=[calls]) as engine:
        handle = await engine.submit(ring, "555-0100")
        print("answer:", await handle.result())

        task = await engine.get(handle.id)
        print(f"attempts {task.attempt} of {task.max_attempts}, of which failed: {task.failures}")
        for event in await engine.history(task.id):
            if event.kind == "AttemptFailed":
                wait = event.details["due_at"] / 1_000_000 - event.at.timestamp()
                print(f"  attempt {event.attempt}: {event.details['error'][1]}; again in {wait:.2f} s")


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# answer: hello
# attempts 3 of 4, of which failed: 2
#   attempt 1: 555-0100 is busy; again in 0.05 s
#   attempt 2: 555-0100 is busy; again in 0.10 s
