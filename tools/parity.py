"""Writes docs/PARITY.md: what four comparable systems do, and what happens here, from the docstrings of tests/parity.

A test of parity says in its docstring which behaviour it is about, and how ours compares:

    \"\"\"A, Cancel: a running task cannot be cancelled: an error that names its state.

    Better: it is told to end and its handler cleans up; cancel(running=False) refuses it as A does.
    \"\"\"

First paragraph: the system's letter, the operation, what it does.  Second: Same, Better, Different or Mended, with what is done here.

    python tools/parity.py            print the page
    python tools/parity.py --write    write it; tests/parity/test_table.py says when that was forgotten
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "PARITY.md"
VERDICTS: Final = ("Same", "Better", "Different", "Mended")
SAYS = re.compile(r"([A-D]), ([^:]+): (.+?)\n\n(\w+)(?:: (.+))?\.?", re.DOTALL)

INTRODUCTION = """# What comparable systems do, and what happens here

Four task queues were read line by line before this one was designed. Every behaviour of theirs that we know of is a row below, and
every row is a test of this repository, written on the public API alone; the page is made from the docstrings of those tests by
`tools/parity.py --write`, and a test says when it is out of date. How to move, with programs: [COMING_FROM.md](COMING_FROM.md).

- **Same**: what it does is what happens here.
- **Better**: the same, and more.
- **Different**: on purpose, and why.
- **Mended**: there it is a defect, or was left to the user; the test would fail if it were so here.
"""


class System(NamedTuple):
    title: str
    operations: tuple[str, ...]  # in the order of the table; each has a test, or is among `absent`
    absent: tuple[tuple[str, str, str], ...] = ()  # operation, what it is there, why it is not here (yet)


SYSTEMS: Final = {
    "A": System(
        "A: Navidrome's plugin TaskQueue",
        (
            "storage", "statuses", "CreateQueue", "defaults", "clamps", "budget", "duplicate", "across restarts", "restart recovery",
            "Enqueue", "Get", "Cancel", "ClearQueue", "dispatch", "rate limiter", "success", "failure", "backoff", "time-out", "panic",
            "missing handler", "shutdown", "poison task", "cleanup", "isolation", "asked for",
        ),
    ),
    "B": System(
        "B: tingly-box's task package",
        (
            "Register", "Submit", "due rule", "concurrency", "SerializationKey", "attempt counting", "success", "plain error",
            "RetryableError", "backoff", "handler missing", "panic", "time-out", "Cancel", "Get", "List", "Wait", "Controller", "restart",
            "Start and Stop", "retention", "partial updates", "reserved fields", "asked for",
        ),
        (
            ("delete", "one task with its runs, unless it runs (later)", "`prune`, by state and age; only what has ended"),
            ("needs input", "a run may end with a question to a person (later)", "later; `Snooze` and `retry` do for some"),
        ),
    ),
    "C": System(
        "C: zapfs's taskqueue",
        (
            "Enqueue", "Dequeue", "attempts", "Complete", "Fail", "Cancel", "Heartbeat", "ReclaimStale", "restart", "List", "Stats",
            "Cleanup", "Worker", "Stop", "never returned errors", "payloads",
        ),
        (
            ("many machines", "any process with the database's address takes tasks", "one engine owns a journal"),
            ("metrics", "Prometheus: processed, durations, retries, depth; two are never set", "all of them, alive (docs/METRICS.md)"),
            ("deadlock retries", "a transaction that met a deadlock is tried again", "one writer, so there are no deadlocks"),
            ("region", "a label of each task, filtered by List", "`tags`, `source` and `owner` are such labels"),
        ),
    ),
    "D": System(
        "D: backlite",
        (
            "defaults", "Register", "Install", "Add", "unregistered queue", "Status", "Notify", "dispatch", "handler ctx", "panic",
            "undecodable payload", "failure", "final", "cleanup", "restart", "Start", "Stop", "hard stop", "no", "asked for",
        ),
        (
            (
                "Tx", "tasks are added in the caller's SQL transaction",
                "the application's own key-values and its tasks change in one commit (`engine.transaction`)",
            ),
            ("web UI", "four lists and two pages, for looking only", "more of both, escaped (docs/WEB.md)"),
        ),
    ),
}  # fmt: skip


class Row(NamedTuple):
    system: str
    operation: str
    there: str
    verdict: str
    here: str
    test: str


def rows() -> Iterator[Row]:
    """Every test of tests/parity that is about a system, by file and line.  ValueError for a docstring that cannot be read."""
    for path in sorted((ROOT / "tests" / "parity").glob("test_[a-d]_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                says = SAYS.fullmatch(" \n".join((ast.get_docstring(node) or "").split("\n")).replace(" \n \n", "\n\n").strip())
                if says is None or says[4] not in VERDICTS:
                    raise ValueError(f"{path.name}: {node.name} does not say 'A, operation: what it does' and how ours compares")
                there, here = (" ".join((part or "").split()).removesuffix(".") for part in (says[3], says[5]))
                yield Row(says[1], says[2], there, says[4], here, node.name)


def page() -> str:
    parts = [INTRODUCTION]
    found = list(rows())
    for letter, system in SYSTEMS.items():
        parts.append(f"\n## {system.title}\n\n| | there | here | test |\n|---|---|---|---|\n")
        for operation in system.operations:
            for row in found:
                if (row.system, row.operation) == (letter, operation):
                    here = f"**{row.verdict}**" + (f": {row.here}" if row.here else "")
                    parts.append(f"| {operation} | {row.there} | {here} | `{row.test}` |\n".replace("\n|", "|"))
        if system.absent:
            parts.append("\nNot here, or not yet:\n\n| | there | here |\n|---|---|---|\n")
            parts += [f"| {operation} | {there} | {here} |\n" for operation, there, here in system.absent]
    return "".join(parts)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(), encoding="utf-8")
    else:
        sys.stdout.write(page())
