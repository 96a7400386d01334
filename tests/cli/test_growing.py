"""Tools that read while an engine in another process makes the map grow: nothing is lost, nothing ends in a traceback.

Everybody's map is small here (as if journals of many gigabytes were read), so that each reader finds the engine's beyond its own again and
again: when it begins a page, between two pages, while it follows.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from journeyman.journal.opening import open_store
from journeyman.journal.past import Walk
from journeyman.journal.store import Table
from journeyman.journal.view import JournalView
from journeyman.journal.watching import TopModel
from journeyman.journal.whatif.reading import events_for
from journeyman.kernel.lifecycle import State

ROOT = Path(__file__).resolve().parents[2]
SMALL = """
import lmdb
opened = lmdb.open
def small(*args, map_size=0, **options):
    return opened(*args, map_size=min(map_size, 1 << 18) if map_size else 0, **options)
lmdb.open = small
"""
WRITER = """
import os, sys, trio
from journeyman import Engine, Queue
queue = Queue('q', concurrency=4)
@queue.handler
async def work(text: str) -> None: ...
async def main():
    async with Engine(sys.argv[1], [queue]) as engine:
        await engine.submit(work, 'x')
        await engine.drain()
        print('open', flush=True)
        sys.stdin.readline()
        for size in (200, 2_000, 20_000, 200_000, 300_000):
            for n in range(25):
                await engine.submit_many([work.bind('x' * size) for _ in range(4)])
        await engine.drain()
        print('written', (await engine.stats())['q'].counts, flush=True)
        sys.stdin.readline()
trio.run(main)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SMALL)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])}


@contextmanager
def writing(path: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """An engine that has a small journal open, and makes it a thousand times as large when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "open\n"
        try:
            yield engine
        finally:
            engine.kill()


def tell(engine: subprocess.Popen[str]) -> None:
    assert engine.stdin is not None
    engine.stdin.write("go on\n")
    engine.stdin.flush()


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "journeyman", *map(str, arguments)]


def hears_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_following_loses_nothing_while_the_map_grows(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "jobs"
    with (
        writing(path, environment) as engine,
        subprocess.Popen(
            command("log", path, "--follow", "--json", "--since", 1), cwd=ROOT, env=environment, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, preexec_fn=hears_ctrl_c,
        ) as follower,
    ):  # fmt: skip
        try:
            assert follower.stdout is not None and follower.stderr is not None and engine.stdout is not None
            lines = iter(follower.stdout)
            seen = [json.loads(next(lines))]
            before = (path / "data.mdb").stat().st_size
            tell(engine)
            ended = 0
            while ended < 501:
                seen.append(json.loads(next(lines)))
                ended += seen[-1]["kind"] == "TaskSucceeded"
            assert "succeeded" in engine.stdout.readline()
            follower.send_signal(signal.SIGINT)
            assert follower.wait(60) == 130
            assert follower.stderr.read() == "journeyman: stopped\n"
        finally:
            follower.kill()
    assert [row["seq"] for row in seen] == list(range(1, len(seen) + 1))
    assert (path / "data.mdb").stat().st_size > 4 << 18 > before, "the map was to grow twice at least"


@pytest.mark.parametrize(
    "words",
    [
        "whatif {} --queue q",
        "verify {}",
        "export {} {}.jsonl",
        "at {} --time now",
        "diff {} 1 now",
        "stats {}",
        "replay {}",
        "top {} --once",
    ],
)
def test_whoever_reads_while_the_map_grows(words: str, tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "jobs"
    with writing(path, environment) as engine:
        tell(engine)
        runs = 0
        while runs < 2 or (engine.poll() is None and runs < 3):
            done = subprocess.run(
                command(*words.replace("{}", str(path)).split()), cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100,
                check=False,
            )  # fmt: skip
            assert done.returncode in ((0, 1) if words.startswith("whatif") else (0,)), (done.stdout, done.stderr)
            assert "Traceback" not in done.stderr
            Path(f"{path}.jsonl").unlink(missing_ok=True)
            runs += 1


def test_what_was_begun_before_the_map_grew_goes_on(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "jobs"
    with (
        writing(path, environment) as engine,
        JournalView(open_store(shutil.copytree(path, tmp_path / "copy"), readonly=True, map_size=1 << 18)) as still,
        JournalView(open_store(path, readonly=True, map_size=1 << 18)) as view,
    ):
        assert engine.stdout is not None
        last, size = view.last_seq, view.gauge().map_size
        walk = Walk(view.store, 0, ended=False)
        begun = {
            "events": view.events(page=1),
            "whatif": events_for(view.store, "q", 1, last, lambda seq: None),
            "fold": walk.events(last),
        }
        known = {name: [next(events)] for name, events in begun.items()}
        model = TopModel()
        with view.snapshot():
            tell(engine)
            assert "written" in engine.stdout.readline()
            assert view.last_seq == last, "a snapshot is of one commit"
            assert view.store.scan(Table.EVENTS, limit=100) == still.store.scan(Table.EVENTS, limit=100)
        for name, events in begun.items():
            known[name] += events
        assert view.gauge().map_size > size
        everything = list(view.events())
        assert known["events"] == everything and len(everything) > 1_500
        assert known["whatif"] == known["fold"] == everything[: len(known["fold"])]
        for seq, event in everything:
            model.feed(seq, event)
        assert model.picture(view.now()).total(State.SUCCEEDED) == 501
        assert view.state_at(last).seq == last
        assert list(view.diff(1, view.last_seq))
