"""The guides for users are executed: each program in them runs as it stands and shows that it does what it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT

GUIDES = (
    "DOORS.md", "FEED.md", "LIMITS.md", "METRICS.md", "OPERATING.md", "ORDER.md", "PLUGINS.md", "PROCESSES.md", "RECURRING.md",
    "STEPS.md", "TRANSACTIONS.md", "UNIQUE.md", "WEB.md",
)  # fmt: skip
PROGRAMS = [
    (guide, number, block)
    for guide in GUIDES
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / guide).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE), 1
    )
]


@pytest.mark.parametrize(("guide", "number", "program"), PROGRAMS, ids=[f"{guide} {number}" for guide, number, _ in PROGRAMS])
def test_a_program_of_a_guide_runs(guide: str, number: int, program: str, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    ran = subprocess.run([sys.executable, "-W", "error", file], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert "assert " in program


@pytest.mark.parametrize("guide", GUIDES)
def test_the_links_of_a_guide_lead_somewhere(guide: str) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / guide).read_text(encoding="utf-8"))
    assert [link for link in links if not (ROOT / "docs" / link).resolve().exists()] == []
