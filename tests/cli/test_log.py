"""`journeyman log`: which events, how they look, and following an engine that lives, dies and lives again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine, Queue
from journeyman.journal.instants import instant_of
from journeyman.journal.selection import Feed, Handlers, Selection, selected
from journeyman.journal.view import open_journal
from journeyman.kernel.events import QueuePaused, TaskFailed, TaskSubmitted
from tests.cli.journals import called, filled, mail_queue


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("log") / "jobs")


def rows(*arguments: object) -> list[dict[str, object]]:
    done = called("log", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_event_is_a_line(journal: Path) -> None:
    with open_journal(journal) as view:
        expected = [(seq, type(event).__name__) for seq, event in view.events()]
    assert [(row["seq"], row["kind"]) for row in rows(journal)] == expected
    done = called("log", journal)
    lines = done.stdout.splitlines()
    assert [(int(line.split()[0])) for line in lines] == [seq for seq, _ in expected]
    assert "\x1b" not in done.stdout, "colours are for terminals"
    assert any("QueuePaused" in line and "by ops (month end)" in line for line in lines)
    assert any("TaskFailed" in line and "ValueError: no such address: bad7" in line for line in lines)


def test_what_is_asked_for_and_nothing_else(journal: Path) -> None:
    with open_journal(journal) as view:
        everything = list(view.events())
        at = everything[30][1].at

        def some(**wanted: Any) -> list[int]:
            return [seq for seq, _ in selected(view, Selection(**wanted))]

        assert some(queue="reports") == [seq for seq, event in everything if event.queue == "reports"]
        assert some(kinds=frozenset({TaskFailed, QueuePaused})) == [s for s, e in everything if isinstance(e, TaskFailed | QueuePaused)]
        task = next(event.task for _, event in everything if isinstance(event, TaskFailed))
        own = view.task(task)
        assert own is not None
        assert some(task=task) == list(own.seqs), "fetched, not searched"
        assert [seq for seq, _ in selected(view, Selection(task=task), own.seqs[1], own.seqs[2])] == list(own.seqs[1:3])
        assert some(task=task, kinds=frozenset({TaskFailed})) == [own.last_seq]
        since = list(selected(view, Selection(), instant_of(at)))
        assert since == [pair for pair in everything if pair[1].at >= at]
        until = list(selected(view, Selection(), 1, instant_of(at)))
        assert until == [pair for pair in everything if pair[1].at <= at]
    assert [row["kind"] for row in rows(journal, "--kind", "queuepaused", "--since", "1h", "--until", "now")] == ["QueuePaused"]


def test_handlers_whose_submits_lie_before_the_stretch(journal: Path) -> None:
    with open_journal(journal) as view:
        everything = list(view.events())
        sends = {event.task for _, event in everything if isinstance(event, TaskSubmitted) and event.handler == "send"}
        expected = [pair for pair in everything[40:] if getattr(pair[1], "task", None) in sends]
        assert expected
        assert list(selected(view, Selection(handler="send"), 41)) == expected
        forgetful = Handlers(lambda: view, bound=1)
        for seq, event in everything[40:]:
            if (id := getattr(event, "task", None)) is not None:
                assert (forgetful.of(seq, event, id) == "send") == (id in sends)


def test_wrong_calls_say_what_would_be_right(journal: Path) -> None:
    for arguments, words in (
        (("--kind", "Nonsense"), "give one of AttemptFailed"),
        (("--task", "01a20339-5a4b-71ec-8009-597e40f8d2a2"), "there is no such task"),
        (("--since", "yesterday"), "is no moment"),
        (("--follow", "--until", "5"), "--follow has no end"),
    ):
        done = called("log", journal, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert words in done.stderr


def test_meta_is_redacted(tmp_path: Path) -> None:
    async def main() -> None:
        queue = mail_queue()
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            spec = queue.handlers["send"].using(meta={"api_key": "geheim", "n": 1})
            await (await engine.submit(spec, "bad")).wait()
            (task,) = await engine.list()
            await engine.retry(task.id)
            await engine.drain()

    trio.run(main)
    hidden, shown = (called("log", tmp_path / "jobs", "--json", *reveal) for reveal in ((), ("--reveal",)))
    assert "geheim" not in hidden.stdout
    assert hidden.stdout.count("[hidden]") == 2, "of the submit, and of the row that TaskRetried brings"
    assert shown.stdout.count("geheim") == 2


def test_what_steers_a_terminal_is_not_printed(tmp_path: Path) -> None:
    queue = Queue("q")

    @queue.handler
    async def work() -> None:
        raise ValueError("\x1b[2Jgone")

    async def main() -> None:
        async with Engine(tmp_path / "jobs", [queue]) as engine:
            await (await engine.submit(work)).wait()

    trio.run(main)
    done = called("log", tmp_path / "jobs")
    assert "gone" in done.stdout
    assert "\x1b" not in done.stdout


# --- following --------------------------------------------------------------------------------------------------------

WRITER = """
import sys, trio
from journeyman import Engine, Queue
queue = Queue('q', concurrency=4)
@queue.handler
async def work(text: str) -> None: ...
async def main(life, tasks, size):
    async with Engine(sys.argv[1], [queue]) as engine:
        for n in range(tasks):
            await engine.submit(work, 'x' * size)
            if life == 'dies' and n == tasks // 2:
                import os; os._exit(9)
        await engine.drain()
for life, tasks, size in (('dies', 60, 10), ('well', 60, 10), ('grows', 40, 600_000)):
    import os
    child = os.fork()
    if child == 0:
        trio.run(main, life, tasks, size)
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_following_misses_nothing_and_repeats_nothing(tmp_path: Path) -> None:
    """Over a death, a restart and a map that grows; stopped by Ctrl-C."""
    path = tmp_path / "jobs"
    trio.run(_opened_once, path)
    before = _last(path)
    command = [sys.executable, "-m", "journeyman", "log", str(path), "--follow", "--json", "--since", str(before + 1)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_hears_ctrl_c) as follower:
        try:
            subprocess.run([sys.executable, "-c", WRITER, str(path)], check=True, timeout=60)
            last = _last(path)
            assert follower.stdout is not None and follower.stderr is not None
            seen = []
            for line in follower.stdout:
                seen.append(json.loads(line)["seq"])
                if seen[-1] >= last:
                    break
            follower.send_signal(signal.SIGINT)
            assert follower.wait(30) == 130
            assert "Traceback" not in follower.stderr.read()
        finally:
            follower.kill()
    assert seen == list(range(before + 1, last + 1))


def _hears_ctrl_c() -> None:
    """Tests that run in the background of a shell have it ignored, and so would their children."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def _opened_once(path: Path) -> None:
    async with Engine(path, [Queue("q")]):
        pass


def _last(path: Path) -> int:
    with open_journal(path) as view:
        return view.last_seq


PRUNES = """
import sys, trio
from journeyman import Engine
async def main():
    async with Engine(sys.argv[1]) as engine:
        await engine.prune(older_than=0)
trio.run(main)
"""


def test_a_feed_tells_what_prune_took_and_finds_a_replaced_file(tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs")
    with Feed(path, after=0) as feed:
        first = feed.page()
        assert [seq for seq, _ in first] == list(range(1, feed.after + 1))
        assert (feed.page(), feed.missed) == ([], [])
        subprocess.run([sys.executable, "-c", PRUNES, str(path)], check=True, timeout=60)
        os.replace(path / "data.mdb", path / "away")
        (path / "data.mdb").write_bytes((path / "away").read_bytes())
        before, old, found = feed.after, feed.view, []
        while page := feed.page():
            found += page
        assert feed.view is not old
        while page := feed.page():
            found += page
        assert [seq for seq, _ in found] == list(range(before + 1, feed.after + 1))
    with Feed(path, after=0) as feed:
        seqs = [seq for seq, _ in feed.page()]
        gone = [seq for first, last in feed.missed for seq in range(first, last + 1)]
        assert gone
        assert sorted(gone + seqs) == list(range(1, feed.after + 1))
