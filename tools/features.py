"""Keeps the proofs in docs/FEATURES.md: which tests hold which row.

A test belongs to row N when it is named `test_row_NN_...`, or when a comment `# row N` stands above it (above its decorators), on
its `def` line or on the first line of its body; one comment may name several rows.

    python tools/features.py            print the rows and their tests
    python tools/features.py --write    rewrite the column of proofs; everything else in the page is written by hand
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "FEATURES.md"
ROW = re.compile(r"^\| (\d+) \| (.*?) \| (.*?) \| (.*?) \|$")
SHOWN = 6  # tests in a cell; the rest are found by their name or comment


def tests_by_row() -> dict[int, list[str]]:
    """Row -> names of the tests that hold it, in the order of files and lines, those named after the row first."""
    found: dict[int, list[tuple[bool, str]]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        lines = text.splitlines()
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or not node.name.startswith("test_"):
                continue
            top = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            body = node.body[0].lineno
            near = " ".join(re.findall(r"#.*", "\n".join(lines[max(0, top - 2) : body])))
            own = re.match(r"test_row_(\d+)_", node.name)
            rows = {int(number) for number in re.findall(r"\brow (\d+)", near)} | ({int(own[1])} if own else set())
            for row in rows:
                found.setdefault(row, []).append((own is None or int(own[1]) != row, node.name))
    return {row: [name for _, name in sorted(names, key=lambda pair: pair[0])] for row, names in found.items()}


def cell(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"`{name}`" for name in names[:SHOWN]) + more


def rewritten(page: str) -> str:
    """The page with the proofs of today; rows that are not done keep what was written by hand."""
    proofs = tests_by_row()

    def line(text: str) -> str:
        match = ROW.match(text)
        if match is None:
            return text
        row, feature, state, _ = match.groups()
        if not state.startswith("done"):
            return text
        names = proofs.get(int(row), [])
        return f"| {row} | {feature} | {state} | {cell(names)} |"

    return "\n".join(map(line, page.splitlines())) + "\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        for row, names in sorted(tests_by_row().items()):
            print(row, *names, sep="\n    ")
