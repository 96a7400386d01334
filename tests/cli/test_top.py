"""`journeyman top`, once and live, beside an engine in another process."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Static
from typer.testing import CliRunner

from journeyman.cli.app import app
from journeyman.cli.live import Listing, TaskScreen, TopApp
from journeyman.journal import glimpse
from journeyman.journal.errors import NoJournal
from journeyman.journal.following import Follower
from journeyman.journal.watching import Picture
from journeyman.kernel.lifecycle import State
from journeyman.sim.saving import save
from tests.cli.beside import Beside
from tests.cli.journals import filled, journeyman
from tests.journal.test_basis import lived


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


@pytest.fixture
def long_lived(tmp_path: Path) -> Path:
    """A journal with a checkpoint, and nothing after it but a few events."""
    store, driver, _, _ = lived(4, prunes=False)
    store.driver = None
    driver.whole_checkpoint(100)
    for _ in range(5):
        driver.submit()
    driver.flush()
    save(store, tmp_path / "lived")
    return tmp_path / "lived"


def test_at_first_sight_it_is_as_of_the_checkpoint(long_lived: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follower = Follower(long_lived)
    with monkeypatch.context() as patch:
        patch.setattr("journeyman.journal.view.recover", None)  # nothing may be recovered for it
        first = follower.glimpse()
    exact = follower.refresh()
    assert f"at first sight, as of seq {first.last_seq - 5}; reading the 5 events since" in first.note and not exact.note
    waiting = (State.PENDING, State.SCHEDULED, State.RETRYING)
    assert sum(map(first.total, waiting)) == sum(map(exact.total, waiting)) - 5
    for state in set(State) - set(waiting):
        assert first.total(state) == exact.total(state), state
    assert first.total(State.RUNNING) and first.total(State.SUCCEEDED)
    assert [(queue.name, queue.paused) for queue in first.queues] == [(queue.name, queue.paused) for queue in exact.queues]
    assert (first.last_seq, first.dead, first.newest) == (exact.last_seq, exact.dead, exact.newest) and first.dead
    monkeypatch.setattr(glimpse, "COUNTED", 3)
    most = follower.glimpse()
    assert re.search(r" and the rows of \d\d tasks$", most.note)
    assert (most.total(State.PENDING), most.total(State.SUCCEEDED)) == (0, first.total(State.SUCCEEDED))
    follower.close()


def test_of_a_journal_without_a_checkpoint_it_shows_the_newest_events(tmp_path: Path) -> None:
    with Beside(tmp_path / "jobs") as engine:
        engine.tell("open")
        engine.tell("submit", 5)
    follower = Follower(tmp_path / "jobs")
    first, exact = follower.glimpse(), follower.refresh()
    assert first.queues == [] and first.newest == exact.newest
    assert f"as of seq 0; reading the {first.last_seq} events since" in first.note
    follower.close()


# --- live -------------------------------------------------------------------------------------------------------------


def live(path: Path, play: Callable[[TopApp, Pilot[Any]], Awaitable[None]], follower: Follower | None = None) -> None:
    async def main() -> None:
        app = TopApp(path, every=0.2, follower=follower)
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


def test_the_screen_is_not_blank_while_the_journal_is_read(long_lived: Path) -> None:
    """The first look takes seconds where 200,000 tasks wait; here, until it is let go on."""
    go_on = threading.Event()

    class Patient(Follower):
        def refresh(self) -> Picture:
            assert go_on.wait(60)
            return super().refresh()

    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app, "dead"))
        assert "at first sight, as of seq" in text_of(app, "#head")
        assert [row[0] for row in rows(app, "queues")] == ["mail", "web"] and rows(app, "events")
        await pilot.press("slash", *"web")  # it answers keys
        await until(pilot, lambda: [row[0] for row in rows(app, "queues")] == ["web"])
        go_on.set()
        await until(pilot, lambda: "at first sight" not in text_of(app, "#head"))

    live(long_lived, play, Patient(long_lived))


def test_keys_open_a_timeline_filter_and_pause(journal: Path) -> None:
    async def play(app: TopApp, pilot: Pilot[Any]) -> None:
        await until(pilot, lambda: rows(app, "dead") and "at first sight" not in text_of(app, "#head"))
        await pilot.press("tab", "tab")
        dead = app.query_one("#dead", Listing)
        await until(pilot, lambda: dead.has_focus)
        await pilot.press("down")
        await until(pilot, lambda: dead.cursor_row == 1)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, TaskScreen) and "Traceback" in text_of(app, "#timeline"))
        shown, to = text_of(app, "#timeline"), re.findall(r"bad\d+", " ".join(rows(app, "dead")[1]))[0]  # they die as chance has it
        for words in ("handler send: failed (attempts)", f"run 3 ValueError: no such address: {to}", f"called with ('{to}', "):
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
        await until(pilot, lambda: rows(app, "dead") and "at first sight" not in text_of(app, "#head"))
        await pilot.press("tab", "tab", "enter")
        await until(pilot, lambda: isinstance(app.screen, TaskScreen) and "called with" in text_of(app, "#timeline"))
        assert "[hidden]" in text_of(app, "#timeline")
        assert "geheim" not in text_of(app, "#timeline")

    path = tmp_path / "jobs"
    with Beside(path) as engine:
        engine.tell("open")
        engine.tell("submit", 1)
        live(path, play)
