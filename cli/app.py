"""All commands below one name.  A command's file is loaded when the command is called, and all of them for `--help`.

Problem.  The simulator, textual and the plots take a second to import, and an operator is in a hurry.  Choice: the table
below says which file has which command; a test compares it with what the files register.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any, Final

import typer
import typer.core
import typer.main

# file of cli/ -> its commands, in the order in which --help shows them
FILES: Final[dict[str, tuple[str, ...]]] = {
    "look": ("stats", "queues"),
    "log": ("log",),
    "life": ("task", "why"),
    "travel": ("at", "diff"),
    "prove": ("verify", "replay", "verify-code"),
    "mend": ("repair",),
    "whatif": ("whatif",),
    "top": ("top",),
    "web": ("web",),
    "from_test": ("from-test",),
    "carry": ("export", "import", "backup", "compact"),
    "operate": ("retry", "cancel", "reschedule", "reprioritise", "clear", "pause", "resume", "prune"),
}
_FILE_OF: Final = {name: file for file, names in FILES.items() for name in names}


class Commands(typer.core.TyperGroup):
    """The group of all commands, which loads one when it is wanted."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*_FILE_OF, "sim"]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name == "sim":
            group = typer.main.get_group(import_module("journeyman.cli.sim").commands)
            group.name = "sim"
            return group
        file = _FILE_OF.get(cmd_name)
        if file is None:
            return None
        return typer.main.get_group(import_module(f"journeyman.cli.{file}").commands).commands[cmd_name]


app = typer.Typer(
    name="journeyman",
    help="An embedded, durable task engine.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    cls=Commands,
)


@app.callback(invoke_without_command=True)
def journeyman(
    context: typer.Context,
    show_version: Annotated[bool, typer.Option("--version", help="Say which version this is.")] = False,
) -> None:
    if show_version:
        typer.echo(f"journeyman {version('journeyman')}")
    elif context.invoked_subcommand is None:
        typer.echo(f"journeyman {version('journeyman')}")
        typer.echo(context.get_help())
        typer.echo("\nStart with the README, then docs/ARCHITECTURE.md and the programs in examples/.")
