"""docs/COMING_FROM.md is executed: each of its programs runs as it stands; its links, its names and its systems are there."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sources import ROOT

PAGE = (ROOT / "docs" / "COMING_FROM.md").read_text(encoding="utf-8")
SECTIONS = {one.partition("\n")[0]: one for one in PAGE.split("\n## ")[1:]}
PROGRAMS = [
    (name, block) for name, text in SECTIONS.items() for block in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
]


@pytest.mark.parametrize(("name", "program"), PROGRAMS, ids=[name for name, _ in PROGRAMS])
def test_its_programs_run(name: str, program: str, tmp_path: Path) -> None:
    (tmp_path / "var").mkdir()
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    ran = subprocess.run([sys.executable, "-W", "error", file], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert program.count("assert ") >= 2, "a program shows that it does what it says"


def test_every_system_has_a_table_a_program_and_both_sides() -> None:
    assert len(SECTIONS) == 9
    for name, text in SECTIONS.items():
        assert len(re.findall(r"^\| ", text, re.MULTILINE)) >= 8, name
        assert sum(one == name for one, _ in PROGRAMS) >= 1, name
        assert "\nGains: " in text and " Misses: " in text, name


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", PAGE)
    assert links
    assert [link for link in links if not (ROOT / "docs" / link).resolve().exists()] == []


def test_its_programs_are_formatted() -> None:
    for name, program in PROGRAMS:
        assert [line for line in program.splitlines() if len(line) > 140] == [], name
