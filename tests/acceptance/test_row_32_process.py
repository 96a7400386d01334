"""Row 32: `run_in="process"`: a handler in a process of its own, which is killed with its attempt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine, Queue, State, TaskFailed
from journeyman.sim import Faults, World, simulate
from tests.acceptance.apart import SILENT, WORK, Job, asks, beats, dies, forks, measure, raises, spin, starts, stay, talks

JOB = Job("March", [1, 2, 3], datetime(2026, 3, 1, tzinfo=UTC))


async def until(seen: Callable[[], bool]) -> None:
    """Another process does it, and tells nobody."""
    with trio.fail_after(30):
        while not seen():  # noqa: ASYNC110
            await trio.sleep(0.02)


async def appears(place: Path) -> int:
    """The process that has written its number there."""
    await until(lambda: place.exists() and bool(place.read_text()))
    return int(place.read_text())


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


async def gone(pid: int) -> None:
    await until(lambda: not alive(pid))


async def test_row_32_a_process_handler_runs_elsewhere_and_says_how_far_it_is(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK]) as engine:
        handle = await engine.submit(measure, JOB, factor=2)
        result = await handle.result()
        assert result["sum"] == 12
        assert result["attempt"] == 1
        assert result["pid"] != os.getpid()
        task = await engine.get(handle.id)
        assert (task.progress, task.message) == (0.25, "March of 2026")


async def test_row_32_a_process_handler_is_killed_at_its_timeout(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK], grace=0) as engine:
        task = await (await engine.submit(spin.using(attempts=1), str(tmp_path / "pid"))).wait()
        assert task.state == State.FAILED
        assert task.error is not None
        assert task.error.type.endswith("AttemptTimeout")
        assert not alive(int((tmp_path / "pid").read_text()))
        assert (await engine.stats())["work"].stragglers == 0
        assert (await (await engine.submit(measure, JOB)).result())["sum"] == 6


async def test_row_32_a_cancel_and_a_stop_kill_it_too(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK], grace=0) as engine:
        first = await engine.submit(stay, str(tmp_path / "first"))
        pid = await appears(tmp_path / "first")
        await first.cancel("no more")
        task = await first.wait()
        assert (task.state, task.reason) == (State.CANCELLED, "no more")
        await gone(pid)
        second = await engine.submit(stay, str(tmp_path / "second"))
        pid = await appears(tmp_path / "second")
    await gone(pid)
    async with Engine(tmp_path, [WORK], grace=0) as engine:
        await engine.pause("work")
        task = await engine.get(second.id)
        assert task.failures == task.crashes == 0


@pytest.mark.parametrize(
    ("what", "state", "error"),
    [
        ("awkward", State.SUCCEEDED, "Awkward: example.org:25 is busy"),
        ("value", State.FAILED, "ValueError: not retried: on= says so"),
        ("local", State.FAILED, "RemoteError: tests.acceptance.apart.raises.<locals>.Local: known to nobody else"),
        ("fatal", State.FAILED, "Fatal: at once"),
        ("cancel", State.CANCELLED, None),
        ("snooze", State.SUCCEEDED, None),
        ("later", State.SUCCEEDED, "ValueError: busy"),
        ("exit", State.FAILED, "SystemExit: 3"),
        ("odd later", State.SUCCEEDED, "Awkward: example.org:25 is busy"),
        ("group", State.SUCCEEDED, "ExceptionGroup: both (2 sub-exceptions)"),
        ("caused", State.FAILED, "KeyError: 'x'"),
    ],
)
async def test_row_32_what_a_process_handler_raises_is_what_it_would_be_here(
    tmp_path: Path, what: str, state: State, error: str | None
) -> None:
    async with Engine(tmp_path, [WORK]) as engine:
        handle = await engine.submit(raises, what)
        task = await handle.wait()
        errors = [event.details["error"] for event in await engine.history(handle.id) if event.details.get("error")]
    assert task.state == state
    if error is None:
        assert not errors
    else:
        name, message, traceback, _ = errors[0]
        assert f"{name.rpartition('.')[2]}: {message}" == error
        assert what in ("later", "odd later", "caused") or "in raises" in traceback, (
            "that of the other process; of a cause that was never raised there is none"
        )


@pytest.mark.parametrize(("how", "sign"), [("exit", "with exit code 3"), ("segfault", "of SIGSEGV")])
async def test_row_32_a_worker_that_dies_is_a_failed_attempt_whatever_on_says(tmp_path: Path, how: str, sign: str) -> None:
    async with Engine(tmp_path, [WORK]) as engine:
        handle = await engine.submit(dies, how)
        assert await handle.result() == 2
        (error,) = [event.details["error"] for event in await engine.history(handle.id) if event.details.get("error")]
        assert error[0].endswith("WorkerDied")
        assert f"the worker process died {sign} while the handler ran" in error[1]
        with pytest.raises(TaskFailed, match="died"):
            await (await engine.submit(dies, "always")).result()


async def test_row_53_a_silent_process_is_killed_and_one_that_beats_is_not(tmp_path: Path) -> None:
    async with Engine(tmp_path, [SILENT]) as engine:
        await engine.submit(beats, 0.0, loud=True)
        loud = await engine.submit(beats, 2.5, loud=True)
        assert await loud.result()
        task = await (await engine.submit(beats, 30.0, loud=False)).wait()
        assert task.error is not None
        assert "heartbeat" in task.error.message


async def test_row_32_what_needs_the_engine_is_refused_there_in_words(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK]) as engine:
        for what in ("submit", "engine", "step"):
            task = await (await engine.submit(asks, what)).wait()
            assert task.error is not None
            assert "has no engine at hand" in task.error.message
        assert await engine.count(handler="measure") == 0
        handle = await engine.submit(asks, "nothing")
        assert await handle.result() == await engine_random(handle.id)


async def engine_random(id: str) -> str:
    """The numbers of an attempt are the same wherever it runs."""
    import random
    import uuid

    return f"{random.Random(uuid.UUID(id).bytes + (1).to_bytes(8, 'big')).random():.6f}"


def test_row_32_a_process_handler_must_be_found_by_its_name(tmp_path: Path) -> None:
    queue = Queue("here")

    @queue.handler(run_in="process")
    def local() -> None: ...

    async def main() -> None:
        async with Engine(tmp_path, [queue]):
            pass

    with pytest.raises(TypeError, match=r"only handlers at the top level of a module can travel, and run_in=\"process\" makes it travel"):
        trio.run(main)
    with pytest.raises(ValueError, match="is async"):

        @Queue("other").handler(run_in="process")
        async def never() -> None: ...

    with pytest.raises(ValueError, match="is not available"):
        Queue("third").handler(run_in="cloud")(lambda: None)  # type: ignore[call-overload]


KILLED = """
import sys, trio
from journeyman.engine import Engine
from tests.acceptance.apart import WORK, stay

async def main():
    async with Engine(sys.argv[1], [WORK]) as engine:
        await engine.submit(stay, sys.argv[2])
        await trio.sleep_forever()

if __name__ == "__main__":
    trio.run(main)
"""


async def test_row_32_no_worker_outlives_an_engine_that_was_killed(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(KILLED, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    engine = await trio.lowlevel.open_process([sys.executable, program, tmp_path / "jobs", tmp_path / "pid"], env=env)
    pid = await appears(tmp_path / "pid")
    engine.send_signal(signal.SIGKILL)
    await engine.wait()
    await gone(pid)
    async with Engine(tmp_path / "jobs", [WORK], grace=0) as again:
        (task,) = await again.list()
        assert task.crashes == 1


def test_row_32_a_script_without_its_guard_is_told(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, trio\nfrom journeyman import Engine, Queue\nq = Queue('q')\n"
        "@q.handler(run_in='process')\ndef work() -> int: return 1\n"
        "async def main():\n    async with Engine('jobs', [q]) as engine:\n"
        "        task = await (await engine.submit(work)).wait()\n        print(task.error.message if task.error else task.result)\n"
        "trio.run(main)\n",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert 'without `if __name__ == "__main__":`' in done.stdout
    script.write_text(script.read_text().replace("\ntrio.run(main)", "\nif __name__ == '__main__':\n    trio.run(main)"), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert done.stdout == "1\n", done.stderr


def test_row_32_without_the_library_its_extra_is_named(tmp_path: Path) -> None:
    program = (
        "import sys, importlib.util, trio\nfind = importlib.util.find_spec\n"
        "import journeyman.engine.handler as handler\nhandler.find_spec = lambda name: None if name == 'trio_parallel' else find(name)\n"
        "from tests.acceptance.apart import WORK\nfrom journeyman import Engine\n"
        "async def main():\n    async with Engine(None, [WORK]): pass\ntrio.run(main)"
    )
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, env=env, timeout=60, check=False)
    assert "ImportError: run_in=\"process\" needs trio-parallel: pip install 'journeyman[process]'" in done.stderr


def test_row_32_in_simulation_they_run_in_line_and_repeat_themselves() -> None:
    async def scenario(world: World) -> None:
        async with world.engine(queues=[WORK]) as engine:
            handles = [await engine.submit(measure.using(id=f"00000000-0000-7000-8000-00000000000{n}"), JOB, factor=n) for n in range(5)]
            for n, handle in enumerate(handles):
                assert (await handle.wait()).result["sum"] == 6 * n
            assert (await (await engine.submit(raises, "awkward")).wait()).failures == 1
            task = await (await engine.submit(asks, "submit")).wait()
            assert task.error is not None
            assert "has no engine at hand" in task.error.message

    digests = {simulate(scenario, seed=5, faults=Faults(crash=0.01)).digest for _ in range(2)}
    assert len(digests) == 1


async def test_row_32_processes_are_as_many_as_slots(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK], grace=0) as engine:
        began = time.monotonic()
        handles = [await engine.submit(stay, str(tmp_path / f"{n}")) for n in range(4)]
        pids = {await appears(tmp_path / f"{n}") for n in range(3)}
        assert len(pids) == 3
        assert not (tmp_path / "3").exists()
        assert (await engine.stats())["work"].counts[State.RUNNING] == 3
        for handle in handles:
            await handle.cancel()
        assert time.monotonic() - began < 50


async def test_row_32_a_fork_in_a_handler_answers_for_nobody(tmp_path: Path) -> None:
    """FOUND 237: the child's answer was taken for that of the worker's next run."""
    async with Engine(tmp_path, [WORK]) as engine:
        for n in range(4):
            assert await (await engine.submit(forks, n)).result() == n


async def test_row_32_what_a_handler_has_started_is_killed_with_it(tmp_path: Path) -> None:
    async with Engine(tmp_path, [WORK]) as engine:
        task = await (await engine.submit(starts.using(attempts=1), str(tmp_path / "pid"))).wait()
        assert task.state == State.FAILED
        await gone(int((tmp_path / "pid").read_text()))


async def test_row_36_a_long_message_of_a_process_is_cut_and_counts_as_a_sign_of_life(tmp_path: Path) -> None:
    async with Engine(tmp_path, [SILENT]) as engine:
        task = await (await engine.submit(talks)).wait()
        assert task.state == State.SUCCEEDED
        assert task.message is not None
        assert task.message.startswith("\u20ac" * 1000)


STOPPED = """
import signal, sys, trio
from journeyman.engine import Engine
from tests.acceptance.apart import WORK, stay

async def main():
    async with Engine(sys.argv[1], [WORK], grace=0.5) as engine:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            await engine.submit(stay, sys.argv[2])
            async for _ in signals:
                break

if __name__ == "__main__":
    trio.run(main)
"""


async def test_row_55_a_stop_of_the_whole_service_charges_nothing(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(STOPPED, encoding="utf-8")
    env = {**os.environ, "PYTHONPATH": os.getcwd()}
    command = [sys.executable, program, tmp_path / "jobs", tmp_path / "pid"]
    engine = await trio.lowlevel.open_process(command, env=env, start_new_session=True)
    worker = await appears(tmp_path / "pid")
    os.kill(worker, signal.SIGTERM)  # as systemd does: to every process of the unit
    os.killpg(engine.pid, signal.SIGTERM)
    await engine.wait()
    await gone(worker)
    async with Engine(tmp_path / "jobs", [WORK], grace=0) as again:
        (task,) = await again.list()
        assert (task.failures, task.crashes) == (0, 0)
