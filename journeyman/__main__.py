"""The command `journeyman`, and `python -m journeyman`: the command line proper is in `cli/`, and needs the extra of that name."""

from __future__ import annotations

import sys
from importlib.metadata import version
from io import TextIOWrapper


def main() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal's encoding cannot say is written as an escape
            stream.reconfigure(errors="backslashreplace")
    try:
        from journeyman.cli.app import app
    except ModuleNotFoundError as missing:
        if missing.name not in ("typer", "rich"):
            raise
        print(f"journeyman {version('journeyman')}")
        print("The command line needs two more packages: pip install 'journeyman[cli]'.", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # before there was a command that could answer it
        raise SystemExit(130) from None
    app()


if __name__ == "__main__":
    main()
