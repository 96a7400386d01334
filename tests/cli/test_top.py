"""`journeyman top`, once and live, beside an engine in another process."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static
from typer.testing import CliRunner

from journeyman.cli.app import app
from journeyman.cli.live import Listing, TaskScreen, TopApp
from journeyman.journal.errors import NoJournal
from journeyman.journal.following import Follower
from journeyman.kernel.lifecycle import State
from tests.cli.beside import Beside
from tests.cli.journals import filled, journeyman


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("top") / "jobs")


def counted(path: Path) -> dict[str, dict[str, int]]:
    """What `journeyman queues` counts, which recovers the journal anew."""
    done = journeyman("queues", path, "--json")
    assert done.returncode == 0, done.stderr
    return {queue["queue"]: queue["counts"] for queue in json.loads(done.stdout)}


def followed(follower: Follower) -> dict[str, dict[str, int]]:
    return {queue.name: {state.value: count for state, count in queue.counts.items()} for queue in follower.refresh().queues}


# --- once -------------------------------------------------------------------------------------------------------------


def test_once_as_text(journal: Path) -> None:
    done = journeyman("top", journal, "--once")
    assert done.returncode == 0, done.stderr
    for words in ("no engine", "paused by ops: month end", "dead letter", "ValueError: no such address: bad0", "QueuePaused"):
        assert words in done.stdout


def test_once_as_json(journal: Path) -> None:
    done = journeyman("top", journal, "--once", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    mail, reports = found["queues"]
    assert (mail["counts"]["succeeded"], mail["counts"]["failed"], reports["counts"]["scheduled"]) == (17, 3, 1)
    assert mail["last_minute"] == {"submits": 20, "starts": 26, "ends": 20, "failures": 9}
    assert mail["durations_us"]["p50"] >= 0
    assert reports["paused"]["reason"] == "month end"
    assert {letter["error"] for letter in found["dead_letters"]} == {f"ValueError: no such address: bad{n}" for n in (0, 7, 14)}
    assert found["newest"][0]["kind"] == "EngineClosed"


def test_wrong_calls_say_what_would_be_right(journal: Path, tmp_path: Path) -> None:
    for arguments, code, words in (
        ([str(journal)], 2, "journeyman top PATH --once"),
        ([str(journal), "--json"], 2, "--once --json"),
        ([str(tmp_path), "--once"], 5, "there is no journal at"),
    ):
        done = CliRunner().invoke(app, ["top", *arguments])
        assert done.exit_code == code
        assert words in done.stderr


def test_without_textual_it_says_what_to_install(journal: Path) -> None:
    code = (
        "import sys; sys.modules['textual.app'] = None; import os, pty\n"
        "main, other = pty.openpty(); os.dup2(other, 0); os.dup2(other, 1)\n"
        f"sys.argv = ['journeyman', 'top', {str(journal)!r}]\n"
        "from journeyman.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "pip install 'journeyman[top]'" in done.stderr


# --- following --------------------------------------------------------------------------------------------------------


def test_it_agrees_with_recovery_through_a_whole_life(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    follower = Follower(path)
    with pytest.raises(NoJournal):
        follower.refresh()
    with Beside(path) as engine:
        engine.tell("open")
        for order, *numbers in (("submit", 60), ("later", 5), ("retry",), ("prune",), ("submit", 20), ("pause",), ("resume",)):
            engine.tell(str(order), *map(int, numbers))
            assert followed(follower) == json.loads(engine.tell("counts")), order
        assert follower.owner == engine.process.pid
        engine.tell("close")  # with a checkpoint, which takes what has ended out of memory
        assert (followed(follower), follower.owner) == (counted(path), None)
        engine.tell("open")
        for order, *numbers in (("retry",), ("hang", 3), ("entered", 2)):  # starts are committed after the submits
            engine.tell(str(order), *map(int, numbers))
        assert followed(follower) == json.loads(engine.tell("counts"))
        runs = follower.refresh().runs
        assert [(run.queue, run.handler) for run in runs] == [("slow", "wait")] * 2
    assert followed(follower) == counted(path)
    with Beside(path) as engine:  # killed, and started again
        engine.tell("open")
        engine.tell("entered", 2)
        assert followed(follower) == json.loads(engine.tell("counts"))
        assert {run.attempt for run in follower.refresh().runs} == {2}
    follower.close()


def test_a_journal_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs", 3)
    follower = Follower(path)
    assert follower.refresh().total(State.SUCCEEDED) == 2
    shutil.rmtree(path)
    with pytest.raises(NoJournal):
        follower.refresh()
    filled(tmp_path / "other", 6).rename(path)
    assert follower.refresh().total(State.SUCCEEDED) == 5
    follower.close()


# row 84
def test_a_timeline_is_the_tasks_history(journal: Path) -> None:
    follower = Follower(journal)
    letter = follower.refresh().dead[0]
    timeline = follower.timeline(letter.task)
    assert timeline is not None
    assert [event.kind for event in timeline.events] == [
        "TaskSubmitted", *["AttemptStarted", "AttemptFailed"] * 2, "AttemptStarted", "TaskFailed",
    ]  # fmt: skip
    assert follower.timeline(bytes(16)) is None
    follower.close()


# --- live -------------------------------------------------------------------------------------------------------------


def live(path: Path, play: Callable[[TopApp, Pilot[Any]], Awaitable[None]]) -> None:
    async def main() -> None:
        app = TopApp(path, every=0.2)
        async with app.run_test(size=(180, 50)) as pilot:
            await play(app, pilot)

    asyncio.run(main())


async def until(pilot: Pilot[Any], what: Callable[[], object]) -> None:
    for _ in range(400):
        if what():
            return
        await pilot.pause(0.05)
    raise AssertionError("it did not come about within twenty seconds")


def text_of(app: TopApp, selector: str) -> str:
    return str(app.screen.query_one(selector, Static).render())


def rows(app: TopApp, name: str) -> list[list[str]]:
    table = app.screen_stack[0].query_one(f"#{name}", Listing)
    return [[str(cell) for cell in table.get_row_at(row)] for row in range(table.row_count)]


def test_the_screen_follows_an_engine(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: "there is no journal at" in text_of(app, "#head"))
        with Beside(path) as engine:
            await asyncio.to_thread(engine.tell, "open")
            await asyncio.to_thread(engine.tell, "submit", 30)
            await until(pilot, lambda: len(rows(app, "dead")) == 3)
            await asyncio.to_thread(engine.tell, "hang", 2)
            await until(pilot, lambda: len(rows(app, "runs")) == 2)
            assert [row[0] for row in rows(app, "queues")] == ["bulk", "gone", "slow"]
            assert f"engine {engine.process.pid}" in text_of(app, "#head")
        await until(pilot, lambda: "no engine" in text_of(app, "#head"))
        with Beside(path) as engine:
            await asyncio.to_thread(engine.tell, "open")
            await until(pilot, lambda: [row[3] for row in rows(app, "runs")] == ["2", "2"])

    live(path, play)


def test_keys_open_a_timeline_filter_and_pause(journal: Path) -> None:
    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app, "dead"))
        await pilot.press("tab", "tab", "down", "enter")
        await until(pilot, lambda: isinstance(app.screen, TaskScreen) and "Traceback" in text_of(app, "#timeline"))
        shown = text_of(app, "#timeline")
        for words in ("handler send: failed (attempts)", "run 3 ValueError: no such address: bad7", "called with ('bad7', "):
            assert words in shown
        await pilot.press("escape")
        assert not isinstance(app.screen, TaskScreen)
        await pilot.press("slash", *"bad14")
        await until(pilot, lambda: len(rows(app, "dead")) == 1)
        await pilot.press("enter")
        assert "[only 'bad14']" in text_of(app, "#head")
        await pilot.press("escape")
        await until(pilot, lambda: len(rows(app, "dead")) == 3)
        assert app.query_one("#filter", Input).value == ""
        await pilot.press("p")
        assert "[paused]" in text_of(app, "#head")
        await pilot.press("q")

    live(journal, play)


def test_enter_on_a_queue_shows_only_what_is_its(journal: Path) -> None:
    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: len(rows(app, "queues")) == 2)
        await pilot.press("down", "enter")
        await until(pilot, lambda: [row[0] for row in rows(app, "queues")] == ["reports"])
        assert rows(app, "dead") == []
        assert {row[3] for row in rows(app, "events")} == {"reports"}

    live(journal, play)


def test_arguments_are_hidden_by_name(tmp_path: Path) -> None:
    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app, "dead"))
        await pilot.press("tab", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, TaskScreen) and "called with" in text_of(app, "#timeline"))
        assert "[hidden]" in text_of(app, "#timeline")
        assert "geheim" not in text_of(app, "#timeline")

    path = tmp_path / "jobs"
    with Beside(path) as engine:
        engine.tell("open")
        engine.tell("submit", 1)
        live(path, play)
