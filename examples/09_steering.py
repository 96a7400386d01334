"""What a handler can say besides returning or failing: not now, never, later at a time of my choosing, not at all."""

import tempfile

import trio

from journeyman import Cancel, Context, Engine, Fatal, Queue, Retry, RetryLater, Snooze

hooks = Queue("hooks", concurrency=4, retry=Retry(attempts=3))


@hooks.handler
async def deliver(ctx: Context, case: str) -> str:
    match case, ctx.attempt:
        case "busy", 1:
            raise RetryLater("429 Too Many Requests", delay=0.02)  # spends an attempt; the delay is what the other side asked for
        case "not yet", 1:
            raise Snooze(0.02)  # spends nothing
        case "gone", _:
            raise Fatal("410 Gone")  # no attempt will help: straight to the dead letter
        case "unwanted", _:
            raise Cancel("unsubscribed")  # ends as cancelled
    return "200 OK"


async def main(journal: str) -> None:
    async with Engine(journal, queues=[hooks]) as engine:
        cases = ("fine", "busy", "not yet", "gone", "unwanted")
        handles = await engine.submit_many([deliver.bind(case) for case in cases])
        for case, handle in zip(cases, handles, strict=True):
            task = await handle.wait()
            why = task.error.message if task.state == "failed" and task.error else task.result or task.reason
            print(f"{case:9} {task.state:10} runs {task.attempt}, failures {task.failures}: {why}")


with tempfile.TemporaryDirectory() as folder:
    trio.run(main, f"{folder}/journal")

# Output:
# fine      succeeded  runs 1, failures 0: 200 OK
# busy      succeeded  runs 2, failures 1: 200 OK
# not yet   succeeded  runs 2, failures 0: 200 OK
# gone      failed     runs 1, failures 1: 410 Gone
# unwanted  cancelled  runs 1, failures 0: unsubscribed
