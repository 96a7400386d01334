"""A card is charged twice: the process died after the charge and before that was recorded.  Found by simulation, then mended.

The engine runs a task until a run of it is *recorded* as ended.  A run that died after its effect took place is therefore run again, and
only the other side can tell that it has seen this charge before: give it the same key each time.
"""

import uuid

import trio

from journeyman import Context, Queue
from journeyman.sim import CrashSweepFailed, Effects, EngineCrashed, Faults, PromiseBroken, World, simulate


class Bank:
    """What the bank does with a charge.  `world.effects` outlives crashes, as a bank does."""

    def __init__(self, effects: Effects) -> None:
        self.effects = effects

    async def charge(self, order: str, key: str | None) -> None:
        await trio.sleep(0.05)  # the request is on its way
        if key is None:
            self.effects.append(("charge", order))
        else:
            self.effects.once(("charge", order))  # a bank that takes keys acts once for each
        await trio.sleep(0.05)  # the answer is on its way


async def an_order(world: World, *, with_key: bool) -> None:
    bank = Bank(world.effects)
    payments = Queue("payments")

    @payments.handler
    async def charge(ctx: Context, order: str) -> None:
        await bank.charge(order, ctx.idempotency_key if with_key else None)

    async with world.engine(queues=[payments]) as engine:
        once = charge.using(id=str(uuid.uuid5(uuid.NAMESPACE_URL, "order:17")))
        while True:
            try:
                handle = await engine.submit(once, "order 17")
                break
            except EngineCrashed:  # was it taken?  Thanks to id= it does not matter: ask again
                await engine.ready()
        await handle.result()
        assert ("charge", "order 17") in world.effects
        world.effects.assert_at_most_once()


async def mistaken(world: World) -> None:
    await an_order(world, with_key=False)


async def mended(world: World) -> None:
    await an_order(world, with_key=True)


def test_an_order_is_charged_once() -> None:
    """The test to keep: `pytest` runs it.  With `mistaken` in place of `mended` it fails."""
    for seed in range(200):
        simulate(mended, seed=seed, faults=Faults(crash=0.02))
    simulate(mended, crash_at="every")


def hunt(seeds: int) -> str:
    """By chance: the process may die at any await of the engine and of its handlers."""
    for seed in range(seeds):
        try:
            simulate(mistaken, seed=seed, faults=Faults(crash=0.02))
        except PromiseBroken as broken:
            return str(broken)
    return "nothing found"


def main() -> None:
    print("the mistake, by chance:", hunt(seeds=200))
    try:
        simulate(mistaken, crash_at="every")
    except CrashSweepFailed as failed:
        print("the mistake, with a crash at every await and commit in turn:", failed.broken[0][1])
    test_an_order_is_charged_once()
    print("mended: 200 seeds and every crash point, and one charge each time")


if __name__ == "__main__":
    main()

# Output:
# the mistake, by chance: effects at most once: ('charge', 'order 17') 2 times
# the mistake, with a crash at every await and commit in turn: effects at most once: ('charge', 'order 17') 2 times
# mended: 200 seeds and every crash point, and one charge each time
