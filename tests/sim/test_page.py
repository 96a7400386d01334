"""docs/SIMULATION.md is executed, its table of faults is the one of sim/faults.py, its links and names exist."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import journeyman.sim
from journeyman.sim import CrashSweepFailed, Faults, PromiseBroken, World, machine, replay, simulate, strategies
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


def example() -> Callable[[World], Awaitable[object]]:
    """`exactly_one_letter` of the page."""
    space: dict[str, Any] = {}
    exec("\n".join(BLOCKS[:2]), space)
    scenario: Callable[[World], Awaitable[object]] = space["exactly_one_letter"]
    return scenario


def test_what_a_sweep_that_fails_looks_like() -> None:
    with pytest.raises(CrashSweepFailed) as caught:
        simulate(example(), crash_at="every")
    lines = TEXTS[0].splitlines()
    assert f"CrashSweepFailed: {caught.value}".splitlines()[: len(lines)] == lines


def test_what_a_failure_looks_like() -> None:
    """The sample is of the run whose seed it names.  Its digest may be another after any change of the engine."""
    first, simulated, *lines = TEXTS[1].splitlines()
    seed = re.match(r"simulated with seed=(\d+), faults=Faults\(crash=0\.02\); digest [0-9a-f]{32}$", simulated)
    assert seed is not None
    with pytest.raises(PromiseBroken) as caught:
        simulate(example(), seed=int(seed[1]), faults=Faults(crash=0.02))
    assert first == f"journeyman.sim.errors.PromiseBroken: {caught.value}"
    said = "\n".join(caught.value.__notes__).splitlines()
    assert said[0].partition("; digest ")[0] == simulated.partition("; digest ")[0]
    assert [line for line in lines if line.rstrip() not in map(str.rstrip, said)] == []


def test_names_exist() -> None:
    for name in re.findall(r"`world\.(\w+)", PAGE):
        assert hasattr(World, name) or name in ("effects", "random", "trace", "seed", "faults", "bank"), name
    for name in re.findall(r"`([A-Z][A-Za-z]+)`", PAGE):
        places = (journeyman, journeyman.sim, machine, strategies, replay)
        assert any(hasattr(place, name) for place in places) or name in ("None", "PYTHONHASHSEED"), name


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).resolve().exists()] == []
