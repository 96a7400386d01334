"""The kernel is standard library only, and of that nothing that reads clocks, chance or the outside; deciding changes nothing."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from pathlib import Path

import pytest

import journeyman.kernel as kernel
from journeyman.kernel.commands import (
    Cancel,
    Clear,
    Command,
    Configure,
    Dispatch,
    Env,
    Expire,
    Failed,
    Finish,
    Heartbeat,
    Open,
    Pause,
    Progress,
    RecordStep,
    Reprioritise,
    Reschedule,
    Submit,
)
from journeyman.kernel.decide import decide
from journeyman.kernel.policy import Policy
from tests.kernel.lane import ERROR, SECOND, Lane, task, tid

FOLDER = Path(next(iter(kernel.__path__)))
ALLOWED = {
    "__future__", "bisect", "collections", "collections.abc", "dataclasses", "datetime", "enum", "fractions", "hashlib", "heapq",
    "itertools", "math", "operator", "types", "typing",
}  # fmt: skip


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda p: p.stem)
def test_imports_are_few(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name in ALLOWED or name.startswith("journeyman.kernel."), f"{path.name} imports {name}"
        if isinstance(node, ast.Attribute) and node.attr in ("now", "utcnow", "today", "time"):
            assert not (isinstance(node.value, ast.Name) and node.value.id in ("datetime", "date")), f"{path.name} reads a clock"


def commands() -> list[Command | list[Submit]]:
    return [
        [task(50), task(51), task(50)], Cancel(tid(1), "", ""), Cancel(tid(3), "", ""), Clear("", ""), Pause(""),
        Reschedule(tid(5), 9, None, "", ""),
        Reprioritise(tid(5), 9, "", ""), Reschedule(tid(1), 9, None, "", ""), Reprioritise(tid(1), 9, "", ""),
        Dispatch(), Expire(),
        Configure(Policy(crashes=9).facts(), ""), Open(2, Policy(on_crash="interrupt").facts(), [tid(1)]), Progress(tid(1), 1, 1, 1, ""),
        RecordStep(tid(1), 1, 1, "charge", 3, b"d" * 16),
        Heartbeat(tid(1), 1, 1), Heartbeat(tid(1), 0, 0),
        Finish(tid(1), 1, 1, Failed(1, ERROR)), Finish(tid(1), 0, 0, Failed(1, ERROR)),
    ]  # fmt: skip


@pytest.mark.parametrize("command", commands(), ids=lambda c: type(c).__name__)
def test_deciding_changes_nothing_and_repeats(command: Command | list[Submit]) -> None:
    lane = Lane(Policy(concurrency=3, attempts=2)).when(*(task(n, options={"deadline_at": 9 * SECOND}) for n in range(8))).start(0, 1, 2)
    before = copy.deepcopy(lane.state)
    given = command if isinstance(command, list) else [command]
    first = decide(lane.state, given, 60 * SECOND, Env())
    assert lane.state == before
    assert decide(lane.state, given, 60 * SECOND, Env()) == first
    assert decide(before, given, 60 * SECOND, Env()) == first, "a copy decides the same"


def test_decisions_do_not_depend_on_the_hash_seed() -> None:
    program = (
        "from tests.kernel.test_machine import trace\n"
        "import sys, hashlib; print(hashlib.blake2b(repr(trace(int(sys.argv[1]), 400)).encode()).hexdigest())"
    )
    root = FOLDER.parent
    digests = set()
    for seed in ("0", "1", "4242"):
        done = subprocess.run(
            [sys.executable, "-c", program, "7"],
            cwd=root, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root), "PATH": ""}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        digests.add(done.stdout)
    assert len(digests) == 1
