"""An engine in a process of its own that does as it is told, for tests of tools that look on.

with Beside(path) as engine:
    engine.tell("open")
    engine.tell("submit", 50)
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import trio

from journeyman.engine import Constant, Engine, Queue, Retention, Retry


class Beside:
    """The other process.  Leaving it ends it as it stands: unless it was told to close, it is killed."""

    def __init__(self, path: Path) -> None:
        root = Path(__file__).resolve().parents[2]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.beside", str(path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def tell(self, order: str, *numbers: int) -> str:
        """Have it done; what it answers."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(" ".join([order, *map(str, numbers)]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        assert answer, "the process has died"
        return answer.strip()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()


def queues(entered: trio.MemorySendChannel[int]) -> tuple[Queue, Queue, Queue]:
    """Every tenth of `bulk` fails twice; what `gone` does leaves no trace; `slow` runs until it is cancelled."""
    bulk = Queue("bulk", concurrency=16, retry=Retry(attempts=2, backoff=Constant(0.01)))
    gone = Queue("gone", concurrency=4, retention=Retention(succeeded=0))
    slow = Queue("slow", concurrency=2)

    @bulk.handler
    async def work(n: int, *, password: str) -> None:
        if n % 10 == 0:
            raise ValueError(f"no {n}")

    @gone.handler
    async def vanish(n: int) -> None: ...

    @slow.handler
    async def wait(n: int) -> None:
        await entered.send(n)
        await trio.sleep_forever()

    return bulk, gone, slow


class Servant:
    """Does the orders, in the other process."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.send, self.news = trio.open_memory_channel[int](100)
        self.bulk, self.gone, self.slow = queues(self.send)
        self.engine = Engine(path, [self.bulk, self.gone, self.slow], grace=0)

    async def open(self) -> None:
        await self.engine.__aenter__()

    async def close(self) -> None:
        await self.engine.__aexit__(None, None, None)
        self.bulk, self.gone, self.slow = queues(self.send)
        self.engine = Engine(self.path, [self.bulk, self.gone, self.slow], grace=0)

    async def submit(self, count: int) -> None:
        work, vanish = self.bulk.handlers["work"], self.gone.handlers["vanish"]
        calls = [work.bind(n, password="geheim") for n in range(count)] + [vanish.bind(n) for n in range(count)]
        for handle in await self.engine.submit_many(calls):
            await handle.wait()

    async def hang(self, count: int) -> None:
        await self.engine.submit_many([self.slow.handlers["wait"].bind(n) for n in range(count)])

    async def entered(self, count: int) -> None:
        """Wait until so many more runs of `slow` have begun."""
        for _ in range(count):
            await self.news.receive()

    async def counts(self) -> str:
        stats = await self.engine.stats()
        return json.dumps({name: {state.value: n for state, n in queue.counts.items()} for name, queue in stats.items()})

    async def pause(self) -> None:
        await self.engine.pause("bulk", reason="month end", by="ops")

    async def resume(self) -> None:
        await self.engine.resume("bulk")

    async def later(self, count: int) -> None:
        await self.engine.submit_many([self.bulk.handlers["work"].using(delay=3600).bind(n, password="geheim") for n in range(count)])

    async def retry(self) -> None:
        failed = await self.engine.list("bulk", state="failed", limit=1000)
        await self.engine.retry_all("bulk")
        for task in failed:
            await self.engine.wait(task.id)

    async def prune(self) -> None:
        await self.engine.prune(0)


async def serve(path: str) -> None:
    servant: Any = Servant(path)
    while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
        order, *numbers = line.split()
        print(await getattr(servant, order)(*map(int, numbers)) or "done", flush=True)


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
