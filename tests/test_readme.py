"""The README is executed: its program survives a kill as it says, its other blocks run, its links and make targets exist."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
README = (REPOSITORY / "README.md").read_text()
LETTERS, *SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
IN_FLIGHT = 2  # the concurrency of the README's queue
READERS = 20


def sent(output: str) -> list[str]:
    return re.findall(r"^sent to (\S+)$", output, re.MULTILINE)


def run(program: Path, place: Path) -> str:
    ran = subprocess.run([sys.executable, "-W", "error", program], capture_output=True, text=True, cwd=place, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
def test_kill_it_start_it_again(tmp_path: Path) -> None:
    program = tmp_path / "letters.py"
    program.write_text(LETTERS)
    (tmp_path / "var").mkdir()
    with subprocess.Popen([sys.executable, program], stdout=subprocess.PIPE, text=True, cwd=tmp_path) as child:
        assert child.stdout is not None
        before = [child.stdout.readline() for _ in range(7)]
        child.send_signal(signal.SIGKILL)
        before += child.stdout.readlines()
    assert child.returncode == -signal.SIGKILL
    second = run(program, tmp_path)
    third = run(program, tmp_path)

    letters = Counter(sent("".join(before))) + Counter(sent(second))
    assert len(letters) == READERS, "every letter went out"
    assert letters.total() - READERS <= IN_FLIGHT, "only what was in flight went out twice"
    assert sent(second), "it was killed in the middle"
    assert f"{READERS} letters are out" in second
    assert third == f"{READERS} letters are out\n"


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs(snippet: str, tmp_path: Path) -> None:
    program = tmp_path / "snippet.py"
    program.write_text(snippet)
    assert run(program, tmp_path) == ""


def test_links_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    missing = [link for link in links if not (REPOSITORY / link).exists()]
    assert links
    assert not missing


def test_make_targets_exist() -> None:
    targets = re.findall(r"^\$ make ([a-z-]+)$", README, re.MULTILINE) + re.findall(r"`make ([a-z-]+)`", README)
    makefile = (REPOSITORY / "Makefile").read_text()
    assert {"demo", "test"} <= set(targets)
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []


def test_first_screen_is_the_program() -> None:
    assert README.index("```python") < 500
    assert README.index("Kill it, start it again") < README.index("## ")
