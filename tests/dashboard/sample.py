"""A journal with tasks in every state, some of them by people who mean harm, made by real engines; for the tests of the web pages."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import trio

from journeyman import Constant, Engine, Priority, Queue, Retry
from journeyman.engine import Context

SCRIPT = "<script>alert('x')</script>"
BIDI = "abc\u202etxt.exe\u2066\x1b[31m\x07"
SECRET = "hunter2-hunter2"
LONG = "x" * 200_000
NAME = "a \"b\" <i>'c'</i> & d?e=f#g%2e"  # of a queue, a handler, a key, a tag


def queues() -> list[Queue]:
    mail = Queue("mail", concurrency=4, retry=Retry(attempts=2, backoff=Constant(3600), jitter=0))
    odd = Queue(NAME, concurrency=2)
    paused = Queue("reports")

    @mail.handler
    async def send(to: str, password: str = "") -> str:
        if to.startswith("bad"):
            raise ValueError(f"cannot log in as {to} with {password}")
        return f"250 {to}"

    @mail.handler(name="fatal")
    async def fatal(ctx: Context, what: str) -> None:
        await ctx.progress(0.25, what)
        raise RuntimeError(what)

    @odd.handler(name=NAME)
    async def echo(ctx: Context, text: str) -> str:
        await ctx.submit(nothing, 1)
        await ctx.step(NAME, lambda: {"text": text, "password": SECRET})
        return text

    @paused.handler
    async def nothing(number: int) -> None: ...

    return [mail, odd, paused]


def made(path: Path, sends: int = 30) -> dict[str, str]:
    """A journal at `path`, closed in good order; ids by what became of the task."""
    ids: dict[str, str] = {}

    async def main() -> None:
        mail, odd, reports = queues()
        send, fatal, echo, nothing = mail.handlers["send"], mail.handlers["fatal"], odd.handlers[NAME], reports.handlers["nothing"]
        async with Engine(path, [mail, odd, reports]) as engine:
            await engine.submit_many([send.bind(f"u{n}@example.org", password=SECRET) for n in range(sends)])
            ids["failed"] = (await engine.submit(fatal.using(attempts=1, tags=(NAME, "t")), SCRIPT + BIDI)).id
            ids["long"] = (await engine.submit(fatal.using(attempts=1, meta={"note": SCRIPT}), LONG)).id
            ids["secret"] = (await engine.submit(send.using(attempts=1), "bad@example.org", password=SECRET)).id
            ids["retrying"] = (await engine.submit(send, "bad@example.org", password=SECRET)).id
            await engine.pause("reports", reason=SCRIPT, by="<b>ops</b>")
            first = await engine.submit(echo.using(owner=("user", NAME), key=NAME, unique=NAME, source=NAME), SCRIPT)
            await first.wait()
            ids["odd"] = first.id
            await trio.sleep(0.3)
            ids["pending"] = (await engine.submit(nothing.using(key=NAME), 1)).id
            ids["behind"] = (await engine.submit(nothing.using(key=NAME), 2)).id
            ids["after"] = (await engine.submit(nothing.using(after=[ids["pending"]]), 3)).id
            ids["scheduled"] = (await engine.submit(nothing.using(delay=7200, priority=Priority.HIGH), 4)).id
            ids["cancelled"] = (await engine.submit(nothing, 5)).id
            await engine.cancel(ids["cancelled"], SCRIPT)
            await engine.schedule(NAME, nothing, every=3600, args=(6,))
            await engine.schedule("nightly", nothing, cron="0 3 * * *", timezone="Europe/Oslo", args=(7,))

    trio.run(main)
    return ids


VICTIM = textwrap.dedent("""
    import sys, trio
    from journeyman import Context, Engine, Queue

    keep, stop = Queue("keep", concurrency=3), Queue("stop", on_crash="interrupt")

    @keep.handler
    async def hold(ctx: Context, number: int) -> None:
        await ctx.progress(0.5, f"half of {number}")
        await trio.sleep_forever()

    @stop.handler
    async def once() -> None:
        await trio.sleep_forever()

    async def main() -> None:
        async with Engine(sys.argv[1], [keep, stop]) as engine:
            for number in range(4):
                await engine.submit(hold, number)
            await engine.submit(once)
            await trio.sleep(0.3)
            print("running", flush=True)
            await trio.sleep_forever()

    trio.run(main)
""")


class Beside:
    """An engine in a process of its own that has tasks running in the journal at `path`, until it is killed at the end of the block."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> subprocess.Popen[str]:
        self._child = subprocess.Popen([sys.executable, "-c", VICTIM, str(self._path)], stdout=subprocess.PIPE, text=True)
        assert self._child.stdout is not None
        assert self._child.stdout.readline() == "running\n"
        return self._child

    def __exit__(self, *_: object) -> None:
        self._child.kill()
        self._child.wait()
        assert self._child.stdout is not None
        self._child.stdout.close()
