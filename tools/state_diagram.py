"""Draws the life of a task from the one table that decides it, as a Mermaid diagram inside docs/ARCHITECTURE.md.

    python tools/state_diagram.py            print it
    python tools/state_diagram.py --write    put it between the markers in docs/ARCHITECTURE.md

tests/test_state_diagram.py fails when the committed diagram is not what kernel/lifecycle.py says.
"""

from __future__ import annotations

import sys
from pathlib import Path

from journeyman.kernel.lifecycle import TERMINAL, TRANSITIONS, State

PAGE = Path(__file__).resolve().parent.parent / "docs" / "ARCHITECTURE.md"
BEGIN = "<!-- state diagram: written by tools/state_diagram.py --write -->"
END = "<!-- end of state diagram -->"


def diagram() -> str:
    """Every transition of the table that leads to another state; arrows between the same two states share a line."""
    labels: dict[tuple[str, str], list[str]] = {}
    for (source, kind), targets in TRANSITIONS.items():
        for target in targets:
            if source is not target:
                labels.setdefault(("[*]" if source is None else source.value, target.value), []).append(kind)
    # No event marks that an instant has come: it is observed (rule 3 of kernel/lifecycle.py).
    for waiting in (State.SCHEDULED, State.RETRYING):
        labels[waiting.value, State.PENDING.value] = ["(its due instant comes)"]
    lines = ["```mermaid", "stateDiagram-v2"]
    lines += [f"    {source} --> {target}: {', '.join(kinds)}" for (source, target), kinds in labels.items()]
    lines += [f"    {state.value} --> [*]" for state in State if state in TERMINAL]
    return "\n".join([*lines, "```"])


def section() -> str:
    """The diagram with its markers, as it stands in the page."""
    return f"{BEGIN}\n\n{diagram()}\n\n{END}"


def main() -> None:
    if sys.argv[1:] != ["--write"]:
        print(diagram())
        return
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + section() + after, encoding="utf-8")


if __name__ == "__main__":
    main()
