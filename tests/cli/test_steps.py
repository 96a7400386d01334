"""Durable steps as the tools see them: one task's life, the log, exports, copies, the past, the proof, and repair."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import trio

from journeyman.engine import Constant, Context, Engine, Queue, Retention, Retry
from journeyman.journal.repair import repair
from journeyman.journal.store import Table
from tests.cli.corpus import rewrite
from tests.cli.journals import called

KEPT = Retention(succeeded=None, failed=None)


def orders(retention: Retention = KEPT, *, broken: bool = True) -> Queue:
    """`order(n)` has three steps done in its first run, fails in that, and in every run for n = 2 while something is broken."""
    queue = Queue("orders", retry=Retry(attempts=2, backoff=Constant(0.01)), retention=retention)

    @queue.handler
    async def order(ctx: Context, n: int) -> int:
        await ctx.step("charge", lambda: {"receipt": n, "password": "geheim"})
        await ctx.step("api_token", lambda: "topsecret")
        await ctx.step("nothing", lambda: None)
        if ctx.attempt == 1 or (n == 2 and broken):
            raise ConnectionError("topsecret came back")
        return n

    return queue


def filled(path: Path, retention: Retention = KEPT) -> tuple[str, str]:
    """Two tasks, one that has succeeded and one that has failed; the journal is closed."""

    async def fill() -> tuple[str, str]:
        async with Engine(path, [orders(retention)]) as engine:
            one, two = await engine.submit("order", 1), await engine.submit("order", 2)
            await one.wait()
            await two.wait()
            return one.id, two.id

    return trio.run(fill)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    path = tmp_path_factory.mktemp("steps") / "j"
    return (path, *filled(path))


# row 90
def test_row_90_a_tasks_life_shows_its_steps_and_hides_their_secrets(sound: tuple[Path, str, str]) -> None:
    path, done, _ = sound
    shown = called("task", path, done).stdout
    assert "step charge     {'receipt': 1, 'password': '[hidden]'}" in shown
    assert "step api_token  '[hidden]'" in shown
    assert "step nothing    None" in shown
    assert "StepRecorded charge, run 1, 26 bytes" in shown
    assert "topsecret" not in shown
    found = json.loads(called("task", path, done, "--json").stdout)
    assert found["steps"] == {"charge": {"receipt": 1, "password": "[hidden]"}, "api_token": "[hidden]", "nothing": None}
    assert "geheim" in called("task", path, done, "--reveal").stdout


# row 90
def test_row_90_the_past_knows_which_were_done(sound: tuple[Path, str, str]) -> None:
    path, done, _ = sound
    events = [json.loads(line) for line in called("log", path, "--json").stdout.splitlines()]
    steps = [(event["seq"], event["name"]) for event in events if event["kind"] == "StepRecorded" and event["task"] == done]
    assert [name for _, name in steps] == ["charge", "api_token", "nothing"]
    assert not any("topsecret" in str(event) or "geheim" in str(event) for event in events if event["kind"] == "StepRecorded")
    for n, (seq, _) in enumerate(steps, 1):
        found = json.loads(called("at", path, "--seq", seq, "--task", done, "--json").stdout)
        assert found["steps"] == [name for _, name in steps[:n]]
    assert called("diff", path, str(steps[0][0]), str(steps[2][0])).returncode == 0
    assert called("replay", path).returncode == called("verify-code", path).returncode == 0


# row 90
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_row_90_an_export_carries_them_and_an_import_goes_on_with_them(sound: tuple[Path, str, str], tmp_path: Path, kind: str) -> None:
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    path, _, failed = sound
    file, copy = tmp_path / f"all.{kind}", tmp_path / "copy"
    assert called("export", path, file, "--reveal").returncode == 0
    assert called("import", file, copy).returncode == 0
    assert called("verify", copy).stdout.endswith("sound\n")
    assert trio.run(retried, copy, failed) == 2
    assert called("verify", copy).stdout.endswith("sound\n")


async def retried(path: Path, task: str) -> int:
    """What a task comes to that is retried by hand, when nothing is broken any more and no step may run again."""
    queue = Queue("orders", retention=KEPT)

    @queue.handler
    async def order(ctx: Context, n: int) -> int:
        receipt = await ctx.step("charge", sys.exit)
        assert await ctx.step("nothing", sys.exit) is None
        return int(receipt["receipt"])

    async with Engine(path, [queue]) as engine:
        await engine.retry(task)
        result: int = (await engine.wait(task, timeout=5)).result
        return result


# row 90
def test_row_90_a_hidden_export_hides_what_is_secret_by_its_steps_name(sound: tuple[Path, str, str], tmp_path: Path) -> None:
    assert called("export", sound[0], tmp_path / "shown.jsonl").returncode == 0
    text = "".join(line for line in (tmp_path / "shown.jsonl").read_text().splitlines() if "StepRecorded" in line)
    assert '"receipt"' in text
    assert "topsecret" not in text
    assert "geheim" not in text


# row 90
def test_row_90_from_test_plays_a_life_with_steps_again(sound: tuple[Path, str, str], tmp_path: Path) -> None:
    made = called("from-test", sound[0], sound[2])
    assert made.returncode == 0, made.stderr
    assert "StepRecorded" not in made.stdout


# row 90
def test_row_90_values_dropped_with_the_arguments_are_no_loss(tmp_path: Path) -> None:
    one, two = filled(tmp_path / "j", Retention(succeeded=None, failed=None, payload="failed"))
    assert called("verify", tmp_path / "j").stdout.endswith("sound\n")
    assert "step charge     done, its value is not kept" in called("task", tmp_path / "j", one).stdout
    assert "step charge     {'receipt': 2" in called("task", tmp_path / "j", two).stdout
    assert called("backup", tmp_path / "j", tmp_path / "b").returncode == 0
    assert called("compact", tmp_path / "j").returncode == 0
    assert called("verify", tmp_path / "j").stdout.endswith("sound\n")


def values(path: Path) -> list[int]:
    """At which places of PAYLOADS the values of `charge` lie."""
    from journeyman.journal.lmdb_store import LmdbStore

    store = LmdbStore(str(path), readonly=True)
    try:
        return [place for place, (_, value) in enumerate(store.scan(Table.PAYLOADS, limit=100)) if b"receipt" in value]
    finally:
        store.close()


# row 90
def test_row_90_a_lost_value_is_found_and_repair_says_whose_it_was(tmp_path: Path) -> None:
    home = tmp_path / "j"
    one, two = filled(home)
    for place in reversed(values(home)):
        rewrite(home, Table.PAYLOADS, place, lambda key, value: None)
    told = called("verify", home)
    assert told.returncode == 1
    assert told.stdout.count("the value of record") == 2
    found = repair(home, tmp_path / "new")
    assert {id.hex() for id in (affected.task for affected in found.affected)} == {one.replace("-", ""), two.replace("-", "")}
    assert all("what its step 'charge' came to is lost" in affected.why for affected in found.affected)
    assert {affected.what for affected in found.affected} == {"left out"}, "they had ended"
    assert called("verify", tmp_path / "new").stdout.endswith("sound\n")


# row 90
def test_row_90_a_task_that_had_not_ended_ends_cancelled_before_the_lost_step(tmp_path: Path) -> None:
    home = tmp_path / "j"

    async def fill() -> str:
        queue = Queue("orders", retry=Retry(attempts=3, backoff=Constant(3600)), retention=KEPT)

        @queue.handler
        async def order(ctx: Context, n: int) -> None:
            await ctx.step("before", len, "abc")
            await ctx.step("charge", lambda: {"receipt": n})
            raise ConnectionError

        async with Engine(home, [queue]) as engine:
            handle = await engine.submit(order, 1)
            with trio.fail_after(5):
                while (await engine.get(handle.id)).state != "retrying":  # noqa: ASYNC110 - nobody tells of an end that is none
                    await trio.sleep(0.01)
            return handle.id

    task = trio.run(fill)
    (place,) = values(home)
    rewrite(home, Table.PAYLOADS, place, lambda key, value: None)
    assert "the value of record" in called("verify", home).stdout
    found = repair(home, tmp_path / "new")
    (affected,) = found.affected
    assert (affected.what, "what its step 'charge' came to is lost" in affected.why) == ("cancelled", True)
    assert called("verify", tmp_path / "new").stdout.endswith("sound\n")
    shown = json.loads(called("task", tmp_path / "new", task, "--json").stdout)
    assert (shown["state"], shown["steps"]) == ("cancelled", {"before": 3})
