"""Rows 59, 64 and 66: an idle engine sleeps, logs are quiet and structured, formats are versioned."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from journeyman.engine import Engine, JournalVersion, Queue
from journeyman.journal.errors import JournalVersion as SameError
from journeyman.journal.identity import Identity, identity_batch, new_identity, read_identity
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.migrate import append_now, migrate
from journeyman.journal.opening import open_store
from journeyman.journal.store import Store
from tests.acceptance.processes import Program
from tests.acceptance.virtual import told

# --- row 59 -----------------------------------------------------------------------------------------------------------

WATCHED = 4.0  # seconds


def threads_of(pid: int) -> dict[str, tuple[int, int]]:
    """Of each thread: context switches and clock ticks of CPU so far."""
    found: dict[str, tuple[int, int]] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        switches = sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", (task / "status").read_text()))
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        found[task.name] = switches, int(fields[11]) + int(fields[12])
    return found


# row 59
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc to count context switches")
def test_row_59_an_idle_engine_is_not_woken(tmp_path: Path) -> None:
    program = Program("idle", tmp_path / "j")
    try:
        program.until("ready")
        time.sleep(0.5)  # let it come to rest
        before = threads_of(program.pid)
        time.sleep(WATCHED)
        after = threads_of(program.pid)
    finally:
        program.process.kill()
        program.ended()
    assert before.keys() == after.keys()
    woken = {thread: tuple(b - a for a, b in zip(before[thread], after[thread], strict=True)) for thread in before}
    assert all(switches <= 2 and ticks == 0 for switches, ticks in woken.values()), f"switches and ticks in {WATCHED} s: {woken}"


# row 59
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_row_59_an_idle_engine_makes_no_system_calls(tmp_path: Path) -> None:
    log = tmp_path / "calls"
    allowed = subprocess.run(["strace", "-o", "/dev/null", "true"], capture_output=True, check=False).returncode == 0
    if not allowed:
        pytest.skip("strace may not trace here")
    program = Program("idle", tmp_path / "j")
    try:
        program.until("ready")
        time.sleep(0.5)
        tracer = subprocess.Popen(["strace", "-f", "-o", str(log), "-p", str(program.pid)], stderr=subprocess.DEVNULL)
        time.sleep(WATCHED)
        tracer.terminate()
        tracer.wait()
    finally:
        program.process.kill()
        program.ended()
    calls = [
        line for line in log.read_text().splitlines()
        if "(" in line and not re.search(r"<unfinished|<detached|restart_syscall|resumed|\+\+\+|---", line)
    ]  # fmt: skip
    assert len(calls) <= 4, calls  # what a thread was in when it was attached may be shown once


# --- row 64 -----------------------------------------------------------------------------------------------------------


def noisy() -> Queue:
    """A queue in which much goes wrong that is worth a log line or none."""
    queue = Queue("noisy", timeout=0.05)

    @queue.handler
    async def fails() -> None:
        raise ValueError

    @queue.handler
    async def unstorable() -> Any:
        return object()

    return queue


# row 64
async def test_row_64_ordinary_life_says_nothing(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.INFO)
    async with Engine(None, [noisy()]) as engine:
        for name in ("fails", "unstorable"):
            await (await engine.submit(name)).wait(timeout=5)
        await engine.prune(older_than=0)
    assert [r.getMessage() for r in caplog.records if r.name.startswith("journeyman")] == []
    assert capfd.readouterr() == ("", "")


# row 64
async def test_row_64_what_an_operator_must_know_is_a_record_with_fields(
    caplog: pytest.LogCaptureFixture, leaping_clock: trio.testing.MockClock
) -> None:
    import threading

    queue, entered, go = Queue("late", timeout=30), threading.Event(), threading.Event()

    @queue.handler
    def slow() -> None:
        entered.set()
        go.wait(10)

    try:
        async with Engine(None, [queue]) as engine:
            handle = await engine.submit(slow)
            await told(entered)
            leaping_clock.jump(30)
            await handle.wait(timeout=5)
            go.set()
            with trio.fail_after(5):
                while (await engine.history(handle.id))[-1].kind != "TransitionRejected":
                    await trio.lowlevel.checkpoint()
    finally:
        go.set()
    (record,) = [r for r in caplog.records if r.name.startswith("journeyman")]
    assert record.levelno == logging.WARNING
    assert "rejected" in record.getMessage()
    assert record.__dict__["queue"] == "late"
    assert record.__dict__["task"] == handle.id


# row 64
async def test_row_64_a_parked_task_is_named(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()

    def lane(function: object) -> Queue:
        queue = Queue("q")
        queue.handler(name="work")(function)  # type: ignore[arg-type,call-overload]
        return queue

    async def one(n: int) -> None: ...

    async def none() -> None: ...

    async with Engine(None, [lane(one)], store=store) as engine:
        await engine.pause("q")
        handle = await engine.submit("work", 1)
    async with Engine(None, [lane(none)], store=store) as engine:
        await engine.resume("q")
        await engine.drain(timeout=5)
    (record,) = [r for r in caplog.records if r.name.startswith("journeyman")]
    assert {k: record.__dict__[k] for k in ("queue", "handler", "task")} == {"queue": "q", "handler": "work", "task": handle.id}


# row 64
def test_row_64_without_any_logging_configured_nothing_is_printed(tmp_path: Path) -> None:
    """Python prints warnings of libraries that nobody listens to; a library must not count on that."""
    program = Program("unheard", tmp_path / "j").ended()
    assert (program.code, program.err) == (0, ""), program
    assert "parked=1" in program.out


# --- row 66 -----------------------------------------------------------------------------------------------------------


async def filled(path: Path) -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> str:
        return "kept"

    async with Engine(path, [queue]) as engine:
        await (await engine.submit(work)).result(timeout=5)


def altered(path: Path, **changes: object) -> None:
    """Make the journal one of another version."""
    store = open_store(path)
    identity = read_identity(store)
    assert identity is not None
    append_now(store, identity_batch(identity._replace(**changes)))  # type: ignore[arg-type]
    store.close()


# row 66
async def test_row_66_a_newer_journal_is_refused_by_name_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "j"
    await filled(path)
    altered(path, format=99)
    for _ in range(2):
        with pytest.raises(JournalVersion, match=r"99.*upgrade Journeyman"):
            await Engine(path).__aenter__()
    assert JournalVersion is SameError


# row 66
@pytest.mark.parametrize("kind", ["incompat", "ro"])
async def test_row_66_an_unknown_feature_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    await filled(tmp_path / "j")
    altered(tmp_path / "j", **{kind: ["compressed-payloads"]})
    with pytest.raises(JournalVersion, match="compressed-payloads"):
        await Engine(tmp_path / "j").__aenter__()


# row 66
async def test_row_66_an_unknown_compatible_feature_is_no_obstacle(tmp_path: Path) -> None:
    await filled(tmp_path / "j")
    altered(tmp_path / "j", compat=["more-indexes"])
    async with Engine(tmp_path / "j") as engine:
        assert await engine.count(state="succeeded") == 1


# row 66
def test_row_66_an_older_journal_is_upgraded_step_by_step_and_a_step_may_be_repeated() -> None:
    store, steps = MemoryStore(), []
    append_now(store, identity_batch(new_identity()))
    identity = read_identity(store)
    assert identity is not None

    def step(name: str, fails: bool = False) -> object:
        def run(store: Store) -> None:
            steps.append(name)
            if fails:
                raise OSError("power cut")

        return run

    with pytest.raises(OSError, match="power cut"):
        migrate(store, identity, {1: step("1 to 2"), 2: step("2 to 3", fails=True)}, target=3)  # type: ignore[dict-item]
    between = read_identity(store)
    assert between is not None
    assert between.format == 2
    done: Identity = migrate(store, between, {1: step("1 to 2"), 2: step("2 to 3")}, target=3)  # type: ignore[dict-item]
    assert (done.format, done.journal, steps) == (3, identity.journal, ["1 to 2", "2 to 3", "2 to 3"])
    with pytest.raises(JournalVersion, match="begins at"):
        migrate(store, done, {}, target=4)
