"""docs/FEATURES.md: every row of the table is there, done rows are proved, the tests it names exist."""

from __future__ import annotations

import ast
import re

import pytest

from tests.sources import ROOT, checks

ROWS = [
    (int(row), state, re.findall(r"`(test_\w+)`", tests))
    for row, state, tests in re.findall(
        r"^\| (\d+) \| .*? \| (.*?) \| (.*?) \|$", (ROOT / "docs/FEATURES.md").read_text(encoding="utf-8"), re.MULTILINE
    )
]
TESTS = {node.name for source in checks() for node in ast.walk(source.tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}


def test_every_row_is_there_once_and_in_order() -> None:
    assert [row for row, _, _ in ROWS] == [*range(1, 72), *range(80, 96)]


@pytest.mark.parametrize(("row", "state", "tests"), ROWS, ids=[str(row) for row, _, _ in ROWS])
def test_done_means_proved(row: int, state: str, tests: list[str]) -> None:
    assert state.startswith(("done", "part", "later"))
    assert [name for name in tests if name not in TESTS] == [], "renamed or gone: python tools/features.py --write"
    if state.startswith("done"):
        assert tests, f"row {row} says done and names no test"
