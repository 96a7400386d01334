"""`journeyman task` and `journeyman why`: one task's life, and what keeps it from running."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from journeyman.engine import Constant, Context, Queue, Rate, Retry, Snooze
from journeyman.journal.timeline import life, reasons
from journeyman.journal.view import open_journal
from journeyman.kernel.ids import id_text
from journeyman.sim import EngineCrashed, World, simulate
from tests.cli.journals import called


async def a_morning(world: World) -> None:
    """Tasks that fail, snooze, die, wait for a key and for a queue; `world.ids` says which is which."""
    queue = Queue("q", concurrency=2, retry=Retry(attempts=3, backoff=Constant(10), jitter=0))
    slow = Queue("slow", rate=Rate(1, per=3600.0))
    crashed = False

    @queue.handler
    async def work(ctx: Context, how: str, *, token: str = "") -> str:
        nonlocal crashed
        await trio.sleep(1)
        if how == "fails" and ctx.attempt < 3:
            raise ValueError("\x1b[31mno")
        if how == "snoozes" and ctx.attempt == 1:
            raise Snooze(30)
        if how == "dies" and not crashed:
            crashed = True
            await world.crash()
        return "well"

    @slow.handler
    async def rare() -> None: ...

    async with world.engine(queues=[queue, slow]) as engine:
        fails = await engine.submit(work.using(meta={"password": "geheim", "n": 7}), "fails", token="geheim")
        await fails.wait()
        snoozes = await engine.submit(work, "snoozes")
        await snoozes.wait()
        dies = await engine.submit(work, "dies")
        with suppress(EngineCrashed):
            await dies.wait()
        await engine.ready()
        await engine.drain()
        _, behind = [await engine.submit(work.using(key="k"), "well") for _ in range(2)]
        await engine.drain()
        await engine.submit(rare)
        limited = await engine.submit(rare)
        await engine.pause("q", reason="month end", by="ann")
        paused, later = await engine.submit(work, "well"), await engine.submit(work.using(delay=1e9), "well")
        await trio.sleep(60)
        world.crash()
    world.ids = {  # type: ignore[attr-defined]
        "fails": fails.id, "snoozes": snoozes.id, "dies": dies.id, "behind": behind.id, "paused": paused.id, "later": later.id,
        "limited": limited.id,
    }  # fmt: skip


@pytest.fixture(scope="module")
def morning(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    path, ids = tmp_path_factory.mktemp("life") / "jobs", {}

    async def play(world: World) -> None:
        try:
            await a_morning(world)
        finally:
            ids.update(getattr(world, "ids", {}))
            world.save(path)

    simulate(play, seed=3, converge=False)
    return path, ids


# row 84
def test_row_84_a_life_from_the_journal_alone(morning: tuple[Path, dict[str, str]]) -> None:
    path, ids = morning
    found = json.loads(called("task", path, ids["fails"], "--json").stdout)
    assert [(one["attempt"], one["outcome"], one["elapsed_us"]) for one in found["attempts"]] == [
        (1, "failed, to be retried", 1_000_000), (2, "failed, to be retried", 1_000_000), (3, "succeeded", 1_000_000),
    ]  # fmt: skip
    assert [one["error"] and (one["error"]["type"], "raise ValueError" in one["error"]["traceback"]) for one in found["attempts"]] == [
        ("ValueError", True), ("ValueError", True), None,
    ]  # fmt: skip
    assert (found["state"], found["result"], found["failures"]) == ("succeeded", "well", 2)
    assert found["arguments"] == {"args": ["fails"], "kwargs": {"token": "[hidden]"}}
    assert found["options"]["meta"] == {"password": "[hidden]", "n": 7}
    waits = [wait["causes"][0] for wait in found["waits"] if wait["causes"]]
    assert [(cause["kind"], cause["us"], cause["inferred"]) for cause in waits] == [("backoff", 10_000_000, False)] * 2
    assert [event["kind"] for event in found["events"]] == [
        "TaskSubmitted", "AttemptStarted", "AttemptFailed", "AttemptStarted", "AttemptFailed", "AttemptStarted", "TaskSucceeded",
    ]  # fmt: skip


# row 84
def test_a_life_for_people(morning: tuple[Path, dict[str, str]]) -> None:
    path, ids = morning
    told = called("task", path, ids["fails"])
    assert "call        work('fails', token='[hidden]')" in told.stdout
    assert "waited 10 s: it had failed, and waited for its backoff" in told.stdout
    assert "attempt 2 failed, to be retried after 1 s: ValueError: " in told.stdout
    assert "raise ValueError" in told.stdout
    assert "geheim" not in told.stdout
    assert "\x1b" not in told.stdout
    assert "geheim" in called("task", path, ids["fails"], "--reveal", "--no-causes").stdout
    told = called("task", path, ids["behind"])
    assert "key 'k' takes 1 at a time" in told.stdout


# row 84
def test_every_kind_of_run_and_wait(morning: tuple[Path, dict[str, str]]) -> None:
    path, ids = morning
    with open_journal(path) as view:
        found = {name: life(view, bytes.fromhex(id.replace("-", ""))) for name, id in ids.items()}
    outcomes = {name: [attempt.outcome for attempt in one.attempts] for name, one in found.items() if one is not None}
    assert outcomes["snoozes"] == ["snoozed", "succeeded"]
    assert outcomes["dies"] == ["lost: the process died", "succeeded"]
    assert outcomes["paused"] == []
    assert [round(wait.us / 1e6) for wait in found["snoozes"].waits if wait.us] == [30]  # type: ignore[union-attr]


# row 83
def test_row_83_why_from_the_journal_alone(morning: tuple[Path, dict[str, str]]) -> None:
    path, ids = morning
    with open_journal(path) as view:
        told = {name: reasons(view, bytes.fromhex(id.replace("-", ""))) for name, id in ids.items()}
    kinds = {name: [reason.kind for reason in one[1]] for name, one in told.items() if one is not None}
    assert kinds["paused"] == ["no engine", "paused"]
    assert kinds["later"] == ["no engine", "not due", "paused"]
    assert kinds["limited"][0] == "no engine"
    assert kinds["fails"] == ["ended"]
    done = called("why", path, ids["paused"])
    assert done.returncode == 0
    assert "is pending" in done.stdout
    assert "paused by ann: month end" in done.stdout
    found = json.loads(called("why", path, ids["later"], "--json").stdout)
    (due,) = [reason for reason in found["reasons"] if reason["kind"] == "not due"]
    assert (found["state"], due["until_at_us"] > 1e15) == ("scheduled", True)


def test_a_task_that_is_not_there(morning: tuple[Path, dict[str, str]]) -> None:
    for name in ("task", "why"):
        done = called(name, morning[0], "01a20339-5a4b-71ec-8009-597e40f8d2a2")
        assert (done.returncode, done.stdout) == (2, "")
        assert "retention has dropped it" in done.stderr
    assert "is no task id" in called("task", morning[0], "17").stderr


def test_causes_are_left_out_where_they_cost_too_much(morning: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("journeyman.cli.life._NEAR", 3)
    path, ids = morning
    done = called("task", path, ids["behind"])
    assert "add --causes" in done.stderr
    assert "key 'k'" not in done.stdout.partition("submitted")[2].partition("waited")[2]
    assert "key 'k' takes" in called("task", path, ids["behind"], "--causes").stdout


WORKS = """
import sys, trio
from journeyman import Engine, Queue
queue, other = Queue('q'), Queue('other')
@queue.handler
async def work() -> None:
    await trio.sleep_forever()
@other.handler
async def idle() -> None:
    await trio.sleep_forever()
async def main():
    async with Engine(sys.argv[1], [queue, other], max_concurrency=1, grace=0) as engine:
        for one in [await engine.submit(work), await engine.submit(work), await engine.submit(idle)]:
            print(one.id)
        sys.stdout.flush()
        await trio.to_thread.run_sync(sys.stdin.read)
trio.run(main)
"""


# row 83
def test_why_beside_a_running_engine(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WORKS, str(tmp_path / "jobs")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None and engine.stdin is not None
        ids = [engine.stdout.readline().strip() for _ in range(3)]
        with open_journal(tmp_path / "jobs") as view:
            told = [reasons(view, bytes.fromhex(id.replace("-", ""))) for id in ids]
        engine.stdin.close()
    assert [[reason.kind for reason in one[1]] for one in told if one is not None] == [["running"], ["no free slot"], ["engine's own"]]
    with open_journal(tmp_path / "jobs") as view:
        found = reasons(view, bytes.fromhex(ids[0].replace("-", "")))
        assert found is not None and id_text(found[0].id) == ids[0]
        assert [reason.kind for reason in found[1]] == ["no engine"]
