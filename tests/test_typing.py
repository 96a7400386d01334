"""The types of the public door, as mypy and as pyright see them: tests/typing/*.py holds assert_type and lines that must be refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CHECKERS = {
    "mypy": [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "tests/typing"],
    "pyright": [sys.executable, "-m", "pyright", "tests/typing"],
}


@pytest.mark.parametrize("checker", CHECKERS)
def test_types_of_the_door(checker: str) -> None:
    if not (ROOT / ".build" / "journeyman").exists():
        pytest.skip("the links for static tools are missing: run make setup")
    env = {**os.environ, "MYPYPATH": ".build", "PYRIGHT_PYTHON_IGNORE_WARNINGS": "1"}
    ran = subprocess.run(CHECKERS[checker], cwd=ROOT, env=env, capture_output=True, text=True, timeout=110, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
