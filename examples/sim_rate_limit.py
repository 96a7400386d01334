"""A rate limit that a partner rejects: "100 calls a minute" is not `Rate(100, per=60, burst=100)`.

The partner counts the calls of the last sixty seconds, whenever they are.  The engine promises at most burst + limit * w / per starts in
any window of w seconds: a full burst, and the steady rate beside it, are 200 in one minute.  The promise holds across crashes, so
what fits does fit.
"""

from collections import deque

import trio

from journeyman import Queue, Rate
from journeyman.sim import EngineCrashed, Faults, World, simulate

ALLOWED, WINDOW = 100, 60.0
TOO_MUCH = Rate(100, per=60, burst=100)
FITTING = Rate(90, per=60, burst=10)  # 10 + 90 in any minute


class Partner:
    def __init__(self) -> None:
        self.calls: deque[float] = deque()
        self.rejected = 0

    def call(self) -> None:
        now = trio.current_time()
        while self.calls and self.calls[0] <= now - WINDOW:
            self.calls.popleft()
        self.calls.append(now)
        if len(self.calls) > ALLOWED:
            self.rejected += 1


async def a_busy_hour(world: World, rate: Rate) -> None:
    partner = Partner()
    api = Queue("api", concurrency=8, rate=rate)

    @api.handler
    async def fetch(page: int) -> None:
        partner.call()
        await trio.sleep(0.2)

    @world.invariant
    def the_partner_is_content() -> None:
        assert partner.rejected == 0, f"the partner rejected a call, after {ALLOWED} within {WINDOW:.0f} s"

    async with world.engine(queues=[api]) as engine:
        for hour in range(3):
            await engine.ready()
            try:
                await engine.submit_many([fetch.bind(page) for page in range(300 + hour)])
            except EngineCrashed:
                continue
            await world.advance(hours=1)


async def mistaken(world: World) -> None:
    await a_busy_hour(world, TOO_MUCH)


async def mended(world: World) -> None:
    await a_busy_hour(world, FITTING)


def test_the_partner_rejects_nothing() -> None:
    """The test to keep: `pytest` runs it.  With `mistaken` in place of `mended` it fails."""
    simulate(mended)
    for seed in range(3):
        simulate(mended, seed=seed, faults=Faults(crash=0.0005, restart=3))


def main() -> None:
    try:
        simulate(mistaken)
    except AssertionError as failed:
        print("burst=100:", failed)
    test_the_partner_rejects_nothing()
    print("burst=10: nothing was rejected, crashes and all")


if __name__ == "__main__":
    main()

# Output:
# burst=100: the partner rejected a call, after 100 within 60 s
# burst=10: nothing was rejected, crashes and all
