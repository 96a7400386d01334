"""The smallest program: one queue, one handler, one task, its result."""

import tempfile

import trio

from journeyman import Engine, Queue

mail = Queue("mail")


@mail.handler
async def send(to: str, subject: str = "hi") -> str:
    print(f"sending {subject!r} to {to}")
    return "250 ok"


async def main(journal: str) -> None:
    async with Engine(journal, queues=[mail]) as engine:
        handle = await engine.submit(send, "ada@example.org", subject="your draft")
        # From here on the task is on disk.  Whatever happens to this process, it will be run.
        print("answer:", await handle.result())

        task = await engine.get(handle.id)
        print(f"{task.handler} in {task.queue}: {task.state}, attempt {task.attempt}")
        for event in await engine.history(task.id):
            print("  ", event.kind)


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# sending 'your draft' to ada@example.org
# answer: 250 ok
# send in mail: succeeded, attempt 1
#    TaskSubmitted
#    AttemptStarted
#    TaskSucceeded
