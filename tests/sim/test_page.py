"""docs/SIMULATION.md is executed, its table of faults is the one of sim/faults.py, its links and names exist."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

import journeyman.sim
from journeyman.sim import CrashSweepFailed, Faults, World, machine, replay, simulate, strategies
from journeyman.sim.faults import SIZED
from journeyman.sim.invariants import BUILT_IN
from tests.sources import ROOT

PAGE = (ROOT / "docs" / "SIMULATION.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
TEXTS = re.findall(r"^```text\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
FAULT = re.compile(r"^\| `(\w+)` \| (\S+|\(.*?\)) \| (.*?) \| (.*?) \|$", re.MULTILINE)


def test_its_blocks_are_one_test_file_that_passes(tmp_path: Path) -> None:  # row 89
    (tmp_path / "test_page.py").write_text("\n\n".join(BLOCKS), encoding="utf-8")
    command = [sys.executable, "-W", "error", "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    written = len(re.findall(r"^def test_|^Test\w+ = ", "\n".join(BLOCKS), re.MULTILINE))
    assert written >= 6
    assert f"{written} passed" in ran.stdout


def test_the_table_of_promises_is_that_of_the_code() -> None:
    rows = dict(re.findall(r"^\| (.+?) \| (.+) \|$", PAGE.partition("<!-- promises:")[2].partition("<!-- end of promises -->")[0], re.M))
    stated = {one.name: " ".join((one.__doc__ or "").strip().partition("\n\n")[0].split()) for one in BUILT_IN}
    assert {name: rows.get(name) for name in stated} == stated, "python tools/sim_page.py --write"


def test_the_first_page_is_a_program() -> None:
    assert PAGE.index("```python") < 800


def test_the_table_of_faults_is_that_of_the_code() -> None:
    rows = {name: (default, opportunity, effect) for name, default, opportunity, effect in FAULT.findall(PAGE) if hasattr(Faults, name)}
    assert list(rows) == [field.name for field in dataclasses.fields(Faults)]
    for name, (default, opportunity, effect) in rows.items():
        assert default == repr(getattr(Faults(), name))
        assert ("(chance, seconds)" in effect) == (name in SIZED), name
        assert opportunity


def without_numbers(line: str) -> str:
    return re.sub(r"\d+ *", "# ", line)


def test_what_a_failure_looks_like() -> None:
    """The sample is of the run it stands beside; numbers of points may be others after a change of the engine."""
    space: dict[str, object] = {}
    exec("\n".join(BLOCKS[:2]), space)
    scenario = space["exactly_one_letter"]
    assert callable(scenario)
    with pytest.raises(CrashSweepFailed) as caught:
        simulate(scenario, crash_at="every")
    said = f"CrashSweepFailed: {caught.value}"
    lines = TEXTS[0].splitlines()
    assert [without_numbers(line) for line in said.splitlines()[: len(lines)]] == [without_numbers(line) for line in lines]


def test_names_exist() -> None:
    for name in re.findall(r"`world\.(\w+)", PAGE):
        assert hasattr(World, name) or name in ("effects", "random", "trace", "seed", "faults", "bank"), name
    for name in re.findall(r"`([A-Z][A-Za-z]+)`", PAGE):
        assert any(hasattr(place, name) for place in (journeyman.sim, machine, strategies, replay)) or name in (
            "Engine",
            "PYTHONHASHSEED",
        ), name


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).resolve().exists()] == []
