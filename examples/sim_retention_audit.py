"""A retention too short for an audit: at six in the morning the payouts of the last day are to be checked, and most of them are gone.

A succeeded task is kept for an hour unless the queue says otherwise.  Three days of payouts and audits take a moment to play.
"""

from datetime import timedelta

from journeyman import Queue, Retention
from journeyman.sim import World, simulate

DEFAULT = Retention()
LONG_ENOUGH = Retention(succeeded=timedelta(hours=36))  # what was paid at seven must be there at six the next morning


async def three_days(world: World, retention: Retention) -> None:
    payouts = Queue("payouts", retention=retention)

    @payouts.handler
    async def pay(account: str, cents: int) -> str:
        return f"paid {cents / 100:.2f} to {account}"

    async with world.engine(queues=[payouts]) as engine:
        paid: list[str] = []  # the bank's own list, by task id

        async def audit() -> None:
            missing = set(paid) - {task.id for task in await engine.list(queue="payouts", state="succeeded")}
            assert not missing, f"{world.now():%d %B, %H:%M}: {len(missing)} of {len(paid)} payouts cannot be audited"

        for _day in range(3):
            for hour in range(24):
                if hour == 6:
                    await audit()
                    paid.clear()
                handle = await engine.submit(pay, "DE89 3704 0044 0532 0130 00", 1250)
                paid.append(handle.id)
                await world.advance(hours=1)


async def mistaken(world: World) -> None:
    await three_days(world, DEFAULT)


async def mended(world: World) -> None:
    await three_days(world, LONG_ENOUGH)


def test_every_payout_can_be_audited() -> None:
    """The test to keep: `pytest` runs it.  With `mistaken` in place of `mended` it fails."""
    simulate(mended)


def main() -> None:
    try:
        simulate(mistaken)
    except AssertionError as failed:
        print("kept for an hour:", failed)
    test_every_payout_can_be_audited()
    print("kept for 36 hours: every payout was audited")


if __name__ == "__main__":
    main()

# Output:
# kept for an hour: 01 January, 06:00: 6 of 6 payouts cannot be audited
# kept for 36 hours: every payout was audited
