"""A host runs plugins it did not write: each has names, tasks and a budget of its own, and reaches nothing else."""

import logging
import sys

import trio

from journeyman import BudgetExhausted, Engine, Limits, Namespace, Queue, QueueFull, TaskNotFound

logging.basicConfig(format="host: %(message)s", stream=sys.stdout)


def plugin(name: str) -> Queue:
    """What a plugin brings: a queue of the name that every plugin uses, and its handler."""
    mail = Queue("mail", concurrency=8)

    @mail.handler
    async def send(to: str) -> str:
        return f"{name} has sent to {to}"

    return mail


async def load(engine: Engine, name: str) -> Namespace:
    limits = Limits(max_payload=10_000, retention=(60, 604_800), queues=3, pending=4)
    door = engine.namespace(name, max_concurrency=5, limits=limits)
    await door.create_queue(plugin(name))  # asks for 8 at a time and is given 5; the log says so
    return door


async def main() -> None:
    async with Engine(None) as engine:
        weather, news = await load(engine, "weather"), await load(engine, "news")
        print(await (await weather.submit("send", to="ann")).result())
        hers = await news.submit("send", to="bob")
        print(await hers.result())

        try:
            await weather.get(hers.id)
        except TaskNotFound:
            print("weather sees only its own:", await weather.count())
        try:
            await weather.create_queue(Queue("bulk"))
        except BudgetExhausted as error:
            print(error)
        await weather.pause("mail")
        try:
            for n in range(100):
                await weather.submit("send", to=f"customer {n}")
        except QueueFull:
            print("weather may have", await weather.count(state="pending"), "waiting; news does not notice")
        print("the owner sees", sorted(await engine.stats()))


trio.run(main)

# Output:
# host: namespace 'weather': queue 'mail' asks for concurrency=8, beyond its limits, and is given concurrency=5
# host: namespace 'news': queue 'mail' asks for concurrency=8, beyond its limits, and is given concurrency=5
# weather has sent to ann
# news has sent to bob
# weather sees only its own: 1
# 5/5 of the concurrency of namespace 'weather' is allocated
# weather may have 4 waiting; news does not notice
# the owner sees ['news/mail', 'weather/mail']
