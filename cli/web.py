"""`journeyman web`: the journal in a browser."""

from __future__ import annotations

import logging
from typing import Annotated, Final

import typer

from journeyman.cli.failures import WrongCall, command
from journeyman.cli.screen import JournalPath, Redact, Reveal, Screen

commands = typer.Typer()
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_ANY: Final = frozenset({"0.0.0.0", "::"})


@command(commands)
def web(
    path: JournalPath,
    host: Annotated[str, typer.Option("--host", help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0: any free one.", min=0, max=65_535)] = 8642,
    base_path: Annotated[str, typer.Option("--base-path", metavar="/PATH", help="Serve the pages below this path.")] = "",
    allow_host: Annotated[
        list[str] | None, typer.Option("--allow-host", metavar="NAME", help="Answer for this name too; can be repeated.")
    ] = None,
    reveal: Reveal = False,
    redact: Redact = None,
) -> None:
    """Web pages of a journal: queues, tasks by state, one task, schedules.  Reads only, without a password; Ctrl-C ends it.

    It listens on this machine alone unless --host says otherwise: what stands in a journal is then for everybody who reaches that port.
    """
    try:
        from journeyman.dashboard import app
        from journeyman.dashboard.serve import listening, serve
    except ImportError as missing:
        raise WrongCall(str(missing)) from None
    screen = Screen()
    own = [] if host in _ANY else [f"[{host}]" if ":" in host else host]
    try:
        pages = app(path, hosts=[*own, *(allow_host or ())], base_path=base_path.rstrip("/"), redact=redact or (), reveal=reveal)
        door = listening(host, port)
    except ValueError as error:
        raise WrongCall(str(error)) from None
    except OSError as error:
        raise WrongCall(f"{host} port {port} cannot be listened on: {error.strerror or error}; choose another with --port") from None
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    at = f"[{host}]" if ":" in host else host
    address = f"http://{at}:{door.getsockname()[1]}{base_path.rstrip('/')}/"
    if host not in _LOOPBACK:
        screen.note(f"journeyman: whoever reaches {host} can read this journal here; there is no password")
    serve(pages, door, lambda: screen.say(f"{path} is shown at {address} (Ctrl-C ends it)"))


__all__ = ["commands"]
