"""`make bench` measures what it says: it refuses memory file systems, judges the median, and its exit code says what was missed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
MEMORY = Path("/dev/shm")


def run_bench(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, BENCH / "run.py", *options], capture_output=True, text=True, timeout=100, check=False)


def test_rows_are_those_of_the_speed_table() -> None:
    ran = run_bench("--list")
    names = [line.split()[0] for line in ran.stdout.splitlines()]
    assert names == [
        "submit-one",
        "producers",
        "submit-many",
        "drain",
        "drain-one",
        "latency",
        "open",
        "backlog",
        "replay",
        "simulation",
    ], ran.stderr


@pytest.mark.skipif(not MEMORY.is_dir(), reason="no memory file system to refuse")
def test_memory_file_system_is_refused(tmp_path: Path) -> None:
    place = MEMORY / f"journeyman-bench-{tmp_path.name}"
    try:
        ran = run_bench("--dir", str(place), "--only", "drain-one")
    finally:
        place.rmdir()
    assert ran.returncode == 2
    assert "never reaches a disk" in " ".join(ran.stdout.split())


def test_quick_row_is_measured_and_written(tmp_path: Path) -> None:
    out, picture = tmp_path / "out.json", tmp_path / "picture.svg"
    files = ["--dir", str(tmp_path / "ground"), "--json", str(out), "--plot", str(picture)]
    ran = run_bench("--quick", "--only", "submit-many", "--no-gate", "--allow-tmpfs", *files)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    (row,) = json.loads(out.read_text())["rows"]
    assert row["name"] == "submit-many"
    assert len(row["rounds"]) == 2
    assert all(figures["ours"] > 0 for figures in row["rounds"])
    assert picture.read_text().startswith("<?xml")
    assert list((tmp_path / "ground").iterdir()) == [], "it cleans up after itself"


def test_unknown_row_is_named_with_those_that_exist() -> None:
    ran = run_bench("--only", "nonesuch")
    assert ran.returncode == 1
    assert "nonesuch" in ran.stderr
    assert "drain-one" in ran.stderr


def test_missed_minimum_fails_unless_only_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    from row import Result, Row, Target  # the bench is a folder of scripts, not a package

    higher = Target("rate", of="ours", per="theirs", unit="x", least=2.0, aim=4.0)
    lower = Target("time", of="seconds", unit="s", least=1.0, lower=True)
    row = Row("row", "a row", lambda turn: {}, (higher, lower))
    rounds = [
        {"ours": 10.0, "theirs": 4.0, "seconds": 0.5},
        {"ours": 3.0, "theirs": 3.0, "seconds": 9.0},
        {"ours": 9.0, "theirs": 3.0, "seconds": 0.9},
    ]
    result = Result(row, rounds)
    assert result.median(higher) == 2.5, "the ratio is taken within the round, the median over the rounds"
    assert result.missed() == []
    assert Result(row, rounds[1:2]).missed() == [higher, lower]
