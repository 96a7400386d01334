"""Writes the table of promises in docs/SIMULATION.md from the docstrings of sim/invariants.

python tools/sim_page.py            print the table
python tools/sim_page.py --write    put it into the page; tests/sim/test_page.py says when that was forgotten
"""

from __future__ import annotations

import sys
from pathlib import Path

from journeyman.sim.invariants import BUILT_IN

PAGE = Path(__file__).resolve().parent.parent / "docs" / "SIMULATION.md"
BEGIN, END = "<!-- promises: python tools/sim_page.py --write -->\n", "<!-- end of promises -->"


def table() -> str:
    """A row for each invariant that is always on: its name, and the first paragraph of its docstring."""
    rows = ["| promise | which says |", "|---|---|"]
    for invariant in BUILT_IN:
        paragraph = (invariant.__doc__ or "").strip().partition("\n\n")[0]
        rows.append(f"| {invariant.name} | {' '.join(paragraph.split())} |")
    return "\n".join(rows) + "\n"


def rewritten(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())
