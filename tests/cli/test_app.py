"""The one command: what it lists, and that nothing is loaded for a command that is not called."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest
import typer.main

from journeyman.cli.app import FILES
from tests.cli.journals import journeyman
from tests.sources import ROOT


@pytest.mark.parametrize("file", FILES)
def test_the_table_says_what_a_file_registers(file: str) -> None:
    group = typer.main.get_group(import_module(f"journeyman.cli.{file}").commands)
    assert tuple(group.commands) == FILES[file]


def test_every_file_with_commands_is_in_the_table() -> None:
    with_commands = {path.stem for path in (ROOT / "cli").glob("*.py") if "\ncommands = typer.Typer(" in path.read_text()}
    assert with_commands == {*FILES, "sim"}


def test_help_lists_every_command() -> None:
    done = journeyman("--help")
    assert done.returncode == 0, done.stderr
    for name in [name for names in FILES.values() for name in names] + ["sim"]:
        assert f"\n  {name} " in done.stdout


def test_a_command_loads_only_what_it_needs() -> None:
    code = (
        "import sys\n"
        "from journeyman.cli.app import app\n"
        "try: app(['stats', '/nowhere'])\n"
        "except SystemExit as end: assert end.code == 5, end.code\n"
        "assert not {'journeyman.sim', 'textual', 'matplotlib', 'pytest'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
