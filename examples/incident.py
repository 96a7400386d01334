"""A bad morning, as a journal: what docs/JOURNAL.md walks through with the journal's tools.

    python examples/incident.py var/incident

Four hours of a shop's background work, 2 March 2026, played in simulation (so the ids and instants are the same each time) and written to a
real journal: a picture that kills the process that renders it, a mail server that is away for twelve minutes, and a wrong deploy of the
billing code that somebody notices half an hour later.
"""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import trio

from journeyman import Exponential, Queue, Retention, Retry
from journeyman.sim import EngineCrashed, World, simulate

MORNING = datetime(2026, 3, 2, 8, tzinfo=UTC)
KEEP = Retention(succeeded=None, failed=None, cancelled=None, interrupted=None)
POISON = "scan-0042.tiff"
MAIL_AWAY = (3_600, 4_320)  # seconds after eight, from and to
WRONG_DEPLOY, NOTICED, MENDED = 7_200, 9_000, 9_900
END = 4 * 3_600


class Shop:
    """What the handlers talk to, and which version of the billing code is deployed."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.wrong = False

    def queues(self) -> Sequence[Queue]:
        mail = Queue("mail", concurrency=4, retry=Retry(attempts=5, backoff=Exponential(10, factor=3)), timeout=30, retention=KEEP)
        thumbnails = Queue("thumbnails", concurrency=2, retry=Retry(crashes=2), retention=KEEP)
        billing = Queue("billing", concurrency=2, retry=Retry(attempts=2, backoff=Exponential(60)), retention=KEEP)

        @mail.handler
        async def send(to: str, subject: str, smtp_password: str) -> str:
            await trio.sleep(0.4)
            if MAIL_AWAY[0] <= self.world.time() < MAIL_AWAY[1]:
                raise ConnectionRefusedError("mail.example.net:587 refuses")
            return "250 ok"

        @thumbnails.handler
        async def render(picture: str) -> list[int]:
            await trio.sleep(2)
            if picture == POISON:
                await self.world.crash()  # the image library takes the whole process with it
            return [320, 240]

        @billing.handler
        async def charge(order: int, country: str, card_number: str) -> str:
            await trio.sleep(1)
            if self.wrong and country != "NO":
                raise KeyError("vat_rate")  # the new table has Norway only
            return f"receipt {order}"

        return [mail, thumbnails, billing]


async def morning(world: World) -> None:
    shop = Shop(world)
    async with world.engine(queues=shop.queues) as engine:

        async def every(seconds: float, submit: Callable[[int], object]) -> None:
            number = 0
            while world.time() < END - 600:
                await trio.sleep(seconds)
                number += 1
                try:
                    await submit(number)  # type: ignore[misc]
                except EngineCrashed:  # the shop's own retry; with id= it would be safe, here a double picture does no harm
                    await engine.ready()

        async def letter(n: int) -> None:
            await engine.submit(
                engine.handler("send", queue="mail").using(owner=("customer", str(n % 40))),
                f"customer{n % 40}@example.org",
                subject=f"Order {n}",
                smtp_password="hunter2",
            )

        async def picture(n: int) -> None:
            await engine.submit("render", POISON if n == 42 else f"scan-{n:04}.png")

        async def order(n: int) -> None:
            customer = f"customer {n % 25}"
            await engine.submit(
                engine.handler("charge", queue="billing").using(key=customer, tags=("invoice",)),
                n,
                country=("NO", "SE")[n % 3 == 0],
                card_number="4111",
            )

        async with trio.open_nursery() as nursery:
            nursery.start_soon(every, 15, letter)
            nursery.start_soon(every, 60, picture)
            nursery.start_soon(every, 40, order)
            await trio.sleep(WRONG_DEPLOY)
            shop.wrong = True
            await world.crash()  # how this shop deploys
            await engine.ready()
            await trio.sleep(NOTICED - world.time())
            await engine.pause("billing", reason="KeyError: 'vat_rate' since the deploy of 10:00", by="ada")
            await trio.sleep(MENDED - world.time())
            shop.wrong = False
            await world.crash()
            await engine.ready()
            await engine.retry_all("billing", reason="mended in 1.4.2", by="ada")
            await engine.resume("billing", reason="mended in 1.4.2", by="ada")
        await engine.drain()


def make(directory: str) -> None:
    async def and_save(world: World) -> None:
        await morning(world)
        world.save(directory)

    simulate(and_save, seed=2, start=MORNING)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/incident.py DIRECTORY")
    make(sys.argv[1])
