"""`journeyman verify`, `replay`, `verify-code` and `repair`: what they prove, beside a running engine too, and of changed code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine, Queue
from journeyman.journal import open_journal
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.noted import Head
from journeyman.journal.record import decode_records, encode_commit
from journeyman.journal.store import Batch, Table
from tests.cli.journals import called, filled, journeyman, mail_queue, report_queue
from tests.journal.driver import Driver, commit

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("prove") / "jobs", tasks=60)


def answer(*arguments: object, code: int = 0) -> dict[str, Any]:
    done = journeyman(*arguments, "--json")
    assert done.returncode == code, (done.stdout, done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def busy_journal(path: Path, seed: int = 7) -> Path:
    """Checkpoints, prunes, compactions, retries, stale words and clock steps, on LMDB."""
    path.mkdir()
    from journeyman.journal.opening import open_store

    store = open_store(path)
    driver = Driver(store, seed)
    for round in range(12):
        for _ in range(60):
            driver.act()
        if round % 3 == 1:
            driver.whole_checkpoint(40)
            driver.prune()
            driver.compact()
    driver.close()
    store.close()
    return path


# row 88
def test_a_sound_journal_verifies_and_replays(journal: Path) -> None:
    found = answer("verify", journal)
    assert found["sound"]
    assert found["findings"] == []
    assert found["head"].startswith(f"{found['records']}:")
    assert found["proven_from"] == 1
    replayed = answer("replay", journal)
    assert replayed["events"] == found["records"]
    assert answer("verify-code", journal)["same"]
    said = journeyman("verify", journal).stdout
    assert "sound" in said.splitlines()
    assert "note it down" in said


def test_from_python(journal: Path) -> None:
    places: list[str] = []
    with open_journal(journal) as view:
        verdict = view.verify(tell=lambda what, done, total: places.append(what))
        assert verdict.sound
        assert verdict.head is not None
        assert view.verify(against=verdict.head).proof is not None
    assert {"events", "state"} <= set(places)


@pytest.mark.parametrize("seed", [7, 8])
def test_a_life_of_prunes_checkpoints_and_clock_steps_is_sound(tmp_path: Path, seed: int) -> None:
    """The payloads of this driver do not have the digests that its events name; everything else must be right."""
    home = busy_journal(tmp_path / "jobs", seed)
    found = answer("verify", home, code=1)
    assert set(found["counts"]) == {"PAYLOADS"}, found["findings"][:3]
    assert found["rows"] > 10
    assert answer("verify-code", home)["same"]


def test_a_noted_head_holds_while_history_goes_on(tmp_path: Path) -> None:
    home = filled(tmp_path / "jobs", tasks=10)
    head = answer("verify", home)["head"]

    async def more() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(home, [mail, reports]) as engine:
            await engine.submit(mail.handlers["send"], "x@example.org")
            await engine.drain()

    trio.run(more)
    against = answer("verify", home, "--against", head)["against"]
    assert (against["holds"], against["proven_from"]) == (True, 1)
    wrong = head[:-1] + ("0" if head[-1] != "0" else "1")
    assert not answer("verify", home, "--against", wrong, code=1)["against"]["holds"]
    assert not answer("verify", home, "--against", "999999:" + "0" * 32, code=1)["against"]["holds"]
    assert journeyman("verify", home, "--against", "head").returncode == 2


def test_history_written_anew_is_found_by_the_noted_head_alone(tmp_path: Path) -> None:
    """Whoever can write the file can make a journal whose crc and chain are right; only a head noted elsewhere tells."""
    home = filled(tmp_path / "jobs", tasks=10)
    head = answer("verify", home)["head"]
    store = LmdbStore(str(home))
    events = decode_records(store.scan(Table.EVENTS, limit=10_000))
    place = next(place for place, (_, event) in enumerate(events) if type(event).__name__ == "TaskFailed")
    events[place] = (events[place][0], events[place][1]._replace(reason="fatal"))  # type: ignore[union-attr, call-arg]
    records, _ = encode_commit(events, bytes(16))  # type: ignore[arg-type]
    batch = Batch()
    batch.put(Table.EVENTS, records)
    batch.delete(Table.META, [b"checkpoint"])
    commit(store, batch)
    store.close()
    assert answer("verify", home)["sound"]
    told = answer("verify", home, "--against", head, code=1)
    assert "is not what it was" in told["against"]["text"]
    assert told["findings"] == []


def test_after_a_prune_the_head_says_what_it_still_proves(tmp_path: Path) -> None:
    home = filled(tmp_path / "jobs", tasks=14)

    async def pruned() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(home, [mail, reports]) as engine:
            assert await engine.prune(0, "mail")

    trio.run(pruned)
    found = answer("verify", home)
    assert found["sound"]
    assert 1 < found["proven_from"] <= Head.read(found["head"]).seq
    against = answer("verify", home, "--against", found["head"])["against"]
    assert against["proven_from"] == found["proven_from"]
    assert "of older ones" in against["text"]


def test_what_cannot_be_proved_does_not_hold(tmp_path: Path) -> None:
    home = tmp_path / "jobs"
    heads: list[str] = []

    async def lived() -> None:
        queue = Queue("q")

        @queue.handler
        async def noop() -> None: ...

        async with Engine(home, [queue]) as engine:
            await (await engine.submit(noop)).wait()
            heads.append(str(answer("verify", home)["head"]))  # by a child, so beside this engine
            await engine.submit(noop.using(delay=60))
            assert await engine.prune(0, "q")

    trio.run(lived)
    told = answer("verify", home, "--against", heads[0], code=1)
    assert not told["against"]["holds"]
    assert "cannot be proved any more" in told["against"]["text"]
    assert "no commit" in called("verify", home, "--against", f"0:{'0' * 32}").stderr


BUSY = """
import sys, trio
from journeyman import Engine, Queue, Retention
queue = Queue("q", concurrency=16)
@queue.handler
async def work(n: int) -> int:
    if n % 9 == 0:
        raise ValueError(n)
    return n
async def main():
    async with Engine(sys.argv[1], [queue]) as engine:
        print("open", flush=True)
        async with trio.open_nursery() as nursery:
            async def stop():
                await trio.to_thread.run_sync(sys.stdin.read, abandon_on_cancel=True)
                nursery.cancel_scope.cancel()
            nursery.start_soon(stop)
            n = 0
            while True:
                await engine.submit_many([work.bind(n + i) for i in range(50)])
                n += 50
                if n % 400 == 0:
                    await engine.prune(0, "q")
                    failed = await engine.retry_all(queue="q")
                await trio.sleep(0)
trio.run(main)
"""


def test_beside_a_busy_engine_there_is_no_false_alarm(tmp_path: Path) -> None:
    """Submits, ends, retries, checkpoints and prunes go on meanwhile."""
    home = tmp_path / "jobs"
    program = BUSY.replace(", Retention", "")
    with subprocess.Popen([sys.executable, "-c", program, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as engine:
        assert engine.stdout is not None
        assert engine.stdin is not None
        assert engine.stdout.readline() == "open\n"
        verdicts = [answer("verify", home) for _ in range(4)]
        same = answer("verify-code", home)
        assert journeyman("repair", home, tmp_path / "new").returncode == 6
        alive = engine.poll() is None
        engine.stdin.close()
    assert alive
    assert engine.returncode == 0
    assert all(verdict["sound"] for verdict in verdicts)
    assert same["same"]
    assert verdicts[-1]["records"] > 100
    assert Head.read(verdicts[-1]["head"]).seq > Head.read(verdicts[0]["head"]).seq


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("task.failures = event.failures\n    task.crashes", "task.failures = event.failures + 1\n    task.crashes", "failures"),
        ("    state.paused = (event.by, event.reason, event.at)", "    state.paused = None", "paused"),
        ("    task = state.running.pop(id)\n", "    task = state.running.pop(id)\n    assert task.attempt < 2\n", "cannot be folded"),
    ],
)  # fmt: skip
def test_verify_code_names_where_changed_code_reads_the_past_otherwise(tmp_path: Path, old: str, new: str, words: str) -> None:
    home = filled(tmp_path / "jobs", tasks=14)

    async def checkpointed() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(home, [mail, reports]) as engine:
            await engine.prune(0, "mail", states=["interrupted"])  # takes nothing, but a checkpoint
            await engine.submit(mail.handlers["send"], "late@example.org")
            await engine.drain()

    trio.run(checkpointed)
    tree = tmp_path / "tree" / "journeyman"
    for layer in ("kernel", "journal", "actors", "engine", "sim", "cli"):
        shutil.copytree(ROOT / layer, tree / layer, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (ROOT / "journeyman").glob("*"):
        if path.is_file():
            shutil.copy(path, tree)
    (changed,) = (path for path in (tree / "kernel").glob("*.py") if old in path.read_text())
    text = changed.read_text()
    assert text.count(old) == 1
    changed.write_text(text.replace(old, new))
    command = [sys.executable, "-c", "from journeyman.cli.app import app; app()", "verify-code", str(home), "--json"]
    ran = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(tree.parent)}, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 1, (ran.stdout, ran.stderr)
    told = json.loads(ran.stdout)
    assert not told["same"]
    assert any(words in difference["text"] for difference in told["differences"]), told["differences"]
    assert told["first_seq"] > 0
    assert answer("verify-code", home)["same"]
