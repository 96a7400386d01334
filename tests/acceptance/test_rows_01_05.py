"""Rows 1 to 5: what is kept, where, and under which names it runs."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine, HandlerExists, HandlerNotFound, Queue, State
from journeyman.journal.memory_store import MemoryStore
from journeyman.kernel.events import QueueConfigured
from tests.acceptance.stores import WatchedStore, events_in
from tests.acceptance.virtual import until

# Submits without end and says each id once `submit` has returned it; every third is of a handler that never ends, so that some are running.
VICTIM = """
import sys, trio
from journeyman.engine import Engine, Queue
queue = Queue("q", concurrency=4)
@queue.handler
async def quick(n: int) -> int:
    return n
@queue.handler
async def stuck(n: int) -> None:
    await trio.sleep_forever()
async def main():
    async with Engine(sys.argv[1], [queue]) as engine:
        for n in range(1_000_000):
            handle = await engine.submit(stuck if n % 3 == 0 else quick, n)
            sys.stdout.write(f"{handle.id} {n}\\n")
            sys.stdout.flush()
trio.run(main)
"""


# row 1
async def test_row_01_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    def kill_after(lines: int) -> list[tuple[str, int]]:
        with subprocess.Popen([sys.executable, "-c", VICTIM, str(path)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            said = [process.stdout.readline() for _ in range(lines)]
            os.kill(process.pid, signal.SIGKILL)
            said += process.stdout.readlines()
        return [(line.split()[0], int(line.split()[1])) for line in said if line.endswith("\n")]

    acknowledged = kill_after(50)
    acknowledged += kill_after(50)  # onto the journal of the dead one
    async with Engine(path) as engine:
        for id, n in acknowledged:
            assert (await engine.get(id)).payload == ([n], {})
        assert await engine.count() >= len(acknowledged) >= 100


# row 1
async def test_row_01_submit_returns_only_when_its_commit_is_durable() -> None:
    queue, store = Queue("q"), WatchedStore()

    @queue.handler
    async def noop() -> None: ...

    returned: list[str] = []

    async def submit(engine: Engine) -> None:
        returned.append((await engine.submit(noop)).id)

    async with Engine("x", [queue], store=store) as engine, trio.open_nursery() as nursery:
        await trio.testing.wait_all_tasks_blocked()
        store.hold = True
        nursery.start_soon(submit, engine)
        await trio.testing.wait_all_tasks_blocked()
        assert store.held
        assert not returned
        store.release()
        await trio.testing.wait_all_tasks_blocked()
        assert returned


# row 2
async def test_row_02_a_path_is_all_it_takes(tmp_path: Path) -> None:
    queue, path = Queue("q"), tmp_path / "jobs"

    @queue.handler
    async def double(n: int) -> int:
        return 2 * n

    async with Engine(str(path), [queue]) as engine:
        handle = await engine.submit(double, 21)
        assert await handle.result(timeout=5) == 42
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert [other for other in tmp_path.iterdir() if other != path] == [], "everything is in the one directory"
    async with Engine(path, [queue]) as engine:
        task = await engine.get(handle.id)
        assert (task.state, task.result) == (State.SUCCEEDED, 42)


# row 3
async def test_row_03_memory_store_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    queue = Queue("q")

    @queue.handler
    async def double(n: int) -> int:
        return 2 * n

    async with Engine(None, [queue]) as engine:
        handle = await engine.submit(double, 21)
        assert await handle.result(timeout=5) == 42
        kinds = [event.kind for event in await engine.history(handle.id)]
        assert kinds == ["TaskSubmitted", "AttemptStarted", "TaskSucceeded"], "the same journal, only not on disk"
    async with Engine(None, [queue]) as engine:
        assert await engine.count() == 0
    assert list(tmp_path.iterdir()) == []


# row 4
async def test_row_04_a_new_policy_governs_stored_tasks_and_is_an_event() -> None:
    store = MemoryStore()
    narrow, wide = Queue("q", concurrency=1), Queue("q", concurrency=3)
    together = trio.Event()
    inside = 0

    async def meet() -> None:
        nonlocal inside
        inside += 1
        if inside == 3:
            together.set()
        await together.wait()

    for queue in (narrow, wide):
        queue.handler(meet)
    async with Engine("x", [narrow], store=store) as engine:
        await engine.pause("q")
        handles = [await engine.submit("meet") for _ in range(3)]
    async with Engine("x", [wide], store=store) as engine:
        await engine.resume("q")
        with trio.fail_after(5):
            await engine.drain()
        assert {(await engine.get(handle.id)).state for handle in handles} == {State.SUCCEEDED}
    async with Engine("x", [wide], store=store):
        pass
    policies = [event.policy["concurrency"] for event in events_in(store) if isinstance(event, QueueConfigured)]
    assert policies == [1, 3], "one event a change, none for the same policy again"


# row 4
async def test_row_04_queues_have_policies_of_their_own() -> None:
    one, two = Queue("one", concurrency=1), Queue("two", concurrency=2)
    running = {"one": 0, "two": 0}
    most = dict(running)
    go = trio.Event()

    async def work(queue: str) -> None:
        running[queue] += 1
        most[queue] = max(most[queue], running[queue])
        await go.wait()
        running[queue] -= 1

    one.handler(name="work_one")(work)
    two.handler(name="work_two")(work)
    async with Engine(None, [one, two]) as engine:
        await engine.submit_many([(f"work_{queue}", (queue,)) for queue in ("one", "two") for _ in range(4)])

        async def filled() -> bool:
            return await engine.count(state="running") == 3

        await until(filled)
        go.set()
        await engine.drain(timeout=5)
    assert most == {"one": 1, "two": 2}


# row 5
async def test_row_05_a_task_goes_to_the_handler_it_names() -> None:
    queue = Queue("q")

    @queue.handler
    async def send(x: int) -> str:
        return f"sent {x}"

    @queue.handler(name="forget")
    async def drop(x: int) -> str:
        return f"dropped {x}"

    async with Engine(None, [queue]) as engine:
        handles = [await engine.submit(target, 1) for target in (send, drop, "send", "forget")]
        assert [await handle.result(timeout=5) for handle in handles] == ["sent 1", "dropped 1", "sent 1", "dropped 1"]
        assert [(await engine.get(handle.id)).handler for handle in handles] == ["send", "forget", "send", "forget"]
        assert {task.id for task in await engine.list(handler="forget")} == {handles[1].id, handles[3].id}
        with pytest.raises(HandlerNotFound):
            await engine.submit("drop", 1)


# row 5
async def test_row_05_handler_names_are_unique_in_an_engine() -> None:
    one, two = Queue("one"), Queue("two")

    @one.handler(name="send")
    async def first() -> None: ...

    @two.handler(name="send")
    async def second() -> None: ...

    with pytest.raises(HandlerExists, match="'send'"):
        async with Engine(None, [one, two]):
            pytest.fail("not reached")
