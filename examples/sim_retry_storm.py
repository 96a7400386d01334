"""A retry storm: a partner restarts, all calls under way fail in one instant, and 30 s later all of them come back in one instant.

The partner serves ten calls a second and refuses the rest; the refused ones come back together again, until their attempts are spent.
With jitter the same retries, as long apart on average, come one by one.
"""

import trio

from journeyman import Constant, Queue, Retry
from journeyman.sim import World, simulate

CALLS = 60
SERVED_A_SECOND = 10
TOGETHER = Retry(attempts=4, backoff=Constant(30), jitter=0)
SPREAD = Retry(attempts=4, backoff=Constant(30), jitter=0.5)  # 15 to 45 s


class Partner:
    def __init__(self) -> None:
        self.restarted = trio.Event()
        self.calls: list[float] = []  # when each came, since the restart

    async def ask(self) -> None:
        if not self.restarted.is_set():
            await self.restarted.wait()  # it was slow, and then it went away
            raise ConnectionResetError("the partner restarts")
        now = trio.current_time()
        within_a_second = sum(now - earlier < 1 for earlier in self.calls)
        self.calls.append(now)
        if within_a_second >= SERVED_A_SECOND:
            raise ConnectionRefusedError("too many calls")


async def a_restart(world: World, retry: Retry) -> None:
    partner = Partner()
    calls = Queue("calls", concurrency=CALLS, retry=retry)

    @calls.handler
    async def call() -> None:
        await partner.ask()

    async with world.engine(queues=[calls]) as engine:
        handles = await engine.submit_many([call.bind()] * CALLS)
        await world.advance(seconds=20)
        partner.restarted.set()
        await engine.drain()

        dead = await engine.count(state="failed")
        assert dead == 0, f"{dead} of {CALLS} calls are in the dead letter"
        (await world.history(handles[0])).assert_ran(2, apart=30, tolerance=0.5).then_succeeded()


async def mistaken(world: World) -> None:
    await a_restart(world, TOGETHER)


async def mended(world: World) -> None:
    await a_restart(world, SPREAD)


def test_everybody_gets_through() -> None:
    """The test to keep: `pytest` runs it.  With `mistaken` in place of `mended` it fails."""
    for seed in range(20):
        simulate(mended, seed=seed)


def main() -> None:
    try:
        simulate(mistaken)
    except AssertionError as failed:
        print("without jitter:", failed)
    test_everybody_gets_through()
    print("with jitter: none, with any of 20 seeds")


if __name__ == "__main__":
    main()

# Output:
# without jitter: 30 of 60 calls are in the dead letter
# with jitter: none, with any of 20 seeds
