"""A bug in a queue's own code: the step it strikes in is undone, the queue is read anew, and nothing of the half-done step is ever written.

Simulation has no fault for this, for it simulates the world and not our mistakes; so the mistake is planted.
"""

from __future__ import annotations

import contextlib
from random import Random

import pytest
import trio

from journeyman import Constant, Context, Queue, QueueBroken, Retention, Retry
from journeyman.actors.recorder import Recorder
from journeyman.sim import Faults, World, simulate
from tests.sim.planted import Bug, planted


def half(every: int, where: str = "kind not in (QueueOpened, TasksPruned)") -> Bug:
    """Every so many events a step of queue "media" fails when it has applied a part; `where`: only at these."""
    mistake = f"""    step.items.append((seq, event))
    shell.taken = getattr(shell, "taken", 0) + 1
    if shell.taken % {every} == 0 and actor.name == "media" and {where}:
        raise RuntimeError("a bug")
    return seq"""
    return Bug("half a step", ((Recorder.take, "    step.items.append((seq, event))\n    return seq", mistake),))


@pytest.mark.parametrize("seed", range(12))
def test_nothing_of_a_failed_step_is_written(seed: int) -> None:
    chance = Random(seed)
    retention = Retention(succeeded=chance.choice((0, 5, None)), failed=20)
    queues = [Queue(name, concurrency=3, retry=Retry(attempts=2, backoff=Constant(3)), retention=retention) for name in ("mail", "media")]
    send, play = (queue.handler(_handler, name=queue.name) for queue in queues)
    died = 0

    async def scenario(world: World) -> None:
        nonlocal died
        async with world.engine(queues=queues) as engine:
            for n in range(40):
                try:
                    target = chance.choice((send, play))
                    if chance.random() < 0.3:
                        await engine.submit_many([send.bind(n), play.bind(n)])
                    else:
                        await engine.submit(target.using(delay=chance.choice((0, 0, 5))), n)
                    await trio.sleep(chance.choice((0, 0.01, 1)))
                    if chance.random() < 0.3:
                        await engine.prune(older_than=0)
                except QueueBroken:
                    died += 1
            await trio.sleep(300)
            assert (await engine.stats())["mail"].broken is False
            assert await engine.count(queue="mail", state=("pending", "scheduled", "retrying", "running")) == 0

    with planted(half(23)):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))


async def _handler(n: int) -> int:
    await trio.sleep(0.1)
    if n % 5 == 0:
        raise ValueError("not this one")
    return n


@pytest.mark.parametrize("seed", range(6))
def test_a_queue_that_was_given_up_leaves_its_slots_to_others(seed: int) -> None:
    queues = [Queue(name, concurrency=3) for name in ("mail", "media")]
    send, play = (queue.handler(_handler, name=queue.name) for queue in queues)

    async def scenario(world: World) -> None:
        async with world.engine(queues=queues, max_concurrency=1) as engine:
            for n in range(30):
                with contextlib.suppress(QueueBroken):
                    await engine.submit(play, n)
                await engine.submit(send, n)
            await trio.sleep(60)
            assert (await engine.stats())["media"].broken
            assert await engine.count(queue="mail", state=("pending", "running")) == 0

    with planted(half(1, "kind.__name__ == 'AttemptStarted'")):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))


@pytest.mark.parametrize("seed", range(8))
def test_what_reaches_into_a_queue_in_doubt_waits_until_it_is_read_anew(seed: int) -> None:
    """A schedule that is declared on it, and a task that another queue's handler submits to it with its success."""
    chance = Random(seed)
    mail, media = Queue("mail", concurrency=3), Queue("media", concurrency=3)
    play = media.handler(_handler, name="media")

    @mail.handler
    async def send(ctx: Context, n: int) -> None:
        await trio.sleep(chance.choice((0, 0.05, 0.1)))
        ctx.submit(play, n)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[mail, media]) as engine:
            for n in range(40):
                try:
                    await engine.submit(chance.choice((send, play)), n)
                    if chance.random() < 0.5:
                        await engine.schedule("hourly", play, every=chance.choice((60, 3600)), args=(1,))
                except QueueBroken:
                    pass
                await trio.sleep(chance.choice((0, 0.01, 0.3)))
            await trio.sleep(300)
            sent = await engine.count(handler="send", state="succeeded")
            assert sent == await engine.count(handler="send")
            children = [task for task in await engine.list(queue="media", limit=1_000) if task.parent is not None]
            assert len(children) == sent, "a task of a success is recorded with it, or not at all"

    with planted(half(29, "kind.__name__ in ('AttemptStarted', 'AttemptFailed', 'TaskSucceeded')")):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))


@pytest.mark.parametrize("seed", range(8))
def test_no_question_is_answered_from_a_failed_step(seed: int) -> None:
    chance = Random(seed)
    media = Queue("media", concurrency=3)
    play = media.handler(_handler, name="media")

    async def scenario(world: World) -> None:
        async with world.engine(queues=[media]) as engine:
            handles = await engine.submit_many([play.bind(n) for n in range(1, 5)])
            for n in range(120):
                one = chance.choice(handles)
                question = chance.choice((
                    lambda one=one: engine.get(one.id), lambda one=one: engine.explain(one.id), lambda one=one: engine.history(one.id),
                    lambda one=one: engine.wait(one.id), engine.list, engine.count, engine.stats,
                ))  # fmt: skip
                with contextlib.suppress(QueueBroken), trio.move_on_after(chance.choice((0.05, 1))):
                    await question()
                with contextlib.suppress(QueueBroken):
                    handles.append(await engine.submit(play, n))
                if n % 10 == 0:
                    await engine.drain()
                    assert (await engine.stats())["media"].broken or not await engine.count(state=("pending", "running", "retrying"))
                await trio.sleep(chance.choice((0, 0.01, 0.1)))

    with planted(half(9)):
        simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.0, 0.05)))
