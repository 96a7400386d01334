"""The committed diagram of a task's life is what the table in kernel/lifecycle.py says."""

from __future__ import annotations

import subprocess
import sys

from journeyman.kernel.lifecycle import TRANSITIONS
from tests.sources import ROOT


def test_the_committed_diagram_is_current() -> None:
    drawn = subprocess.run([sys.executable, ROOT / "tools/state_diagram.py"], capture_output=True, text=True, check=True).stdout
    assert drawn.strip() in (ROOT / "docs/ARCHITECTURE.md").read_text(), "run: python tools/state_diagram.py --write"
    moves = {kind for (source, kind), targets in TRANSITIONS.items() if any(target is not source for target in targets)}
    assert all(kind in drawn for kind in moves)
