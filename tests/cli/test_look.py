"""`journeyman stats` and `journeyman queues`, and how every command ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.journals import filled, journeyman


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return filled(tmp_path_factory.mktemp("look") / "jobs")


def test_stats_counts_what_is_there(journal: Path) -> None:
    done = journeyman("stats", journal, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["tasks"] == 22
    counts = {queue["queue"]: queue["counts"] for queue in found["queues"]}
    assert (counts["mail"]["succeeded"], counts["mail"]["failed"]) == (17, 3)
    assert (counts["reports"]["pending"], counts["reports"]["scheduled"]) == (1, 1)
    assert found["events"]["TaskSubmitted"] == 22
    assert sum(found["events"].values()) == found["records"] == found["last_seq"]
    assert (found["owner_pid"], found["clean"]) == (None, True)


def test_stats_for_people(journal: Path) -> None:
    done = journeyman("stats", journal)
    assert done.returncode == 0, done.stderr
    for words in ("succeeded  17", "engine       none", "TaskSubmitted", "a task"):
        assert words in done.stdout
    assert "TaskSubmitted" not in journeyman("stats", "--fast", journal).stdout


def test_queues_tells_a_pause_and_its_reason(journal: Path) -> None:
    done = journeyman("queues", journal)
    assert done.returncode == 0, done.stderr
    assert "paused by ops: month end" in done.stdout
    assert "mail" in done.stdout


def test_nothing_is_written_to_what_is_looked_at(journal: Path) -> None:
    def files() -> dict[str, bytes]:
        return {file.name: file.read_bytes() for file in journal.iterdir() if file.name != "lock.mdb"}

    before = files()
    for name in ("stats", "queues"):
        assert journeyman(name, journal).returncode == 0
    assert files() == before


def test_beside_a_running_engine(tmp_path: Path) -> None:
    program = (
        "import sys, trio\n"
        "from journeyman import Engine, Queue\n"
        "async def main():\n"
        "    async with Engine(sys.argv[1], [Queue('q')]):\n"
        "        print('open', flush=True)\n"
        "        await trio.to_thread.run_sync(sys.stdin.read)\n"
        "trio.run(main)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "jobs")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as engine:
        assert engine.stdout is not None
        assert engine.stdout.readline() == "open\n"
        done = journeyman("stats", tmp_path / "jobs", "--json")
        assert engine.stdin is not None
        engine.stdin.close()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["owner_pid"] == engine.pid
    assert engine.returncode == 0


def test_a_directory_without_a_journal(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "nowhere"):
        done = journeyman("stats", where)
        assert (done.returncode, done.stdout) == (5, "")
        assert "there is no journal at" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(journal: Path) -> None:
    shell = subprocess.run(
        f"{sys.executable} -m journeyman stats {journal} | true", shell=True, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert shell.stderr == ""
