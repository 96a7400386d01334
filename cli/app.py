"""All commands below one name."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from journeyman.cli import life, log, look, mend, prove, sim, travel

app = typer.Typer(
    name="journeyman",
    help="An embedded, durable task engine.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for part in (look, log, life, travel, prove, mend):
    app.add_typer(part.commands)
app.add_typer(sim.commands, name="sim")


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
