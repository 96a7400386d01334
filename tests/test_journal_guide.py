"""docs/JOURNAL.md is carried out: every `$` line runs in order in one directory, and prints what the page shows; its programs run too.

In what is shown `...` stands for anything (doctest's ELLIPSIS): sizes of disks, process ids, the time of day.
"""

from __future__ import annotations

import doctest
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from journeyman.cli.app import app
from tests.sources import ROOT

PAGE = ROOT / "docs" / "JOURNAL.md"
BLOCKS = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
_CHECK = doctest.OutputChecker()
_FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def steps(block: str) -> list[tuple[str, str]]:
    """(command, what it prints) of one block; a command may go on after a backslash."""
    found: list[tuple[str, str]] = []
    for line in block.replace("\\\n", "").splitlines(keepends=True):
        if line.startswith("$ "):
            found.append((" ".join(line[2:].split()), ""))
        else:
            command, printed = found[-1]
            found[-1] = command, printed + (line if line.strip() else "<BLANKLINE>\n")
    return found


@pytest.mark.timeout(300)
def test_every_command_of_the_page_prints_what_is_shown(tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    home = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{home}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "160", "NO_COLOR": "1"}
    for command, expected in (step for block in BLOCKS for step in steps(block)):
        ran = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=120, check=False,
        )  # fmt: skip
        assert "Traceback" not in ran.stdout, f"$ {command}\n{ran.stdout}"
        if not _CHECK.check_output(expected, ran.stdout, _FLAGS):
            example = doctest.Example(command, expected)
            pytest.fail(f"$ {command}\n" + _CHECK.output_difference(example, ran.stdout, doctest.ELLIPSIS | doctest.REPORT_UDIFF))
    assert PROGRAMS
    for program in PROGRAMS:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), program
        assert done.stdout


def test_the_page_shows_every_command() -> None:
    calls = [command.split() for block in BLOCKS for command, _ in steps(block)]
    shown = {words[1] for words in calls if words[0] == "journeyman" and len(words) > 1}
    group = typer.main.get_command(app)
    commands: dict[str, object] = group.commands  # type: ignore[attr-defined]  # a group, as there are several
    assert set(commands) - {"sim"} - shown == set()
