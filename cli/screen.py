"""Where a command's answer goes: a table for people, or JSON for programs, and progress on stderr.

With --json a command prints one JSON document, or one a line where there is no bound to how many (log, export).  Tables are plain text
that survives a pipe; colours and progress bars appear only on a terminal.  Everything that came out of a payload has been through a
`Redaction` before it comes here, and nothing that a handler, a caller or an operator wrote can break a line or steer the terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from journeyman.journal.wording import instant, jsonable, size, span, visible

JournalPath = Annotated[Path, typer.Argument(metavar="PATH", help="The journal's directory.", show_default=False, readable=False)]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show fields that are hidden because of their names.")]
Redact = Annotated[list[str] | None, typer.Option("--redact", metavar="NAME", help="Hide fields of this name too; can be repeated.")]

_PIPE: Final = 200  # columns of a table that nobody's window bounds


class _Console(Console):
    """Rich's, which would end the process with exit code 1, "damage found", when whoever read the output has gone."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Screen:
    """One command's output."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.console = _Console(highlight=False, width=None if sys.stdout.isatty() else _PIPE)
        self.errors = _Console(stderr=True, highlight=False)

    @property
    def coloured(self) -> bool:
        """Whether lines that do not go through rich should have colours: as rich decides it (a terminal, NO_COLOR, TERM=dumb)."""
        return self.console.is_terminal and self.console.color_system is not None and not self.console.no_color

    def say(self, text: str, style: str | None = None) -> None:
        """A line for people: one, whatever names and messages are in it."""
        self.console.print(visible(text, lines=False), style=style, markup=False, soft_wrap=True)

    def note(self, text: str) -> None:
        """A line for people that is not part of the answer."""
        self.errors.print(visible(text, lines=False), markup=False, soft_wrap=True)

    def json(self, value: Any) -> None:
        """One JSON document, on one line."""
        sys.stdout.write(json.dumps(jsonable(value), ensure_ascii=False, sort_keys=False, allow_nan=False) + "\n")

    def table(self, title: str | None, columns: Sequence[str], rows: Iterable[Sequence[Any]], right: Iterable[str] = ()) -> None:
        """A table; the columns named in `right` hold numbers."""
        numbers = set(right)
        table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
        for column in columns:
            table.add_column(column, justify="right" if column in numbers else "left", overflow="fold", no_wrap=column in numbers)
        for row in rows:
            table.add_row(*(Text("" if cell is None else visible(str(cell), lines=False)) for cell in row))
        # A window narrower than the table wraps its lines; rich would shrink the column of names to nothing, and cut units off numbers.
        wanted = Measurement.get(self.console, self.console.options.update(max_width=_PIPE), table).maximum
        wide = _Console(highlight=False, width=max(self.console.width, wanted), height=25)  # rich takes a width only with a height
        wide.print(table, crop=False)

    def facts(self, pairs: Iterable[tuple[str, Any]]) -> None:
        """Names and values, a line each."""
        known = [(name, "" if value is None else str(value)) for name, value in pairs]
        width = max((len(name) for name, _ in known), default=0)
        for name, value in known:
            self.say(f"{name:<{width}}  {value}")

    @contextmanager
    def progress(self, what: str, total: int | None = None) -> Iterator[Bar]:
        """A progress bar on stderr while the block runs, if somebody can see it."""
        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self.errors, transient=True, disable=not self.errors.is_terminal) as progress:
            yield Bar(progress, progress.add_task(what, total=total, rate=""))


class Bar:
    """Of one `Screen.progress`."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress, self._task = progress, task

    def to(self, done: int, total: int | None = None) -> None:
        """So much is done, of so much."""
        speed = self._progress.tasks[0].speed if self._progress.tasks else None
        self._progress.update(self._task, completed=done, total=total, rate="" if not speed else f"{speed:,.0f}/s")

    def now(self, what: str, done: int, total: int | None = None) -> None:
        """Something else is being done; `done` is, of so much if anybody knows."""
        if self._progress.tasks[0].description != what:
            self._progress.reset(self._task, description=what, total=total)
        self.to(done, total)


__all__ = ["AsJson", "Bar", "JournalPath", "Redact", "Reveal", "Screen", "instant", "jsonable", "size", "span", "visible"]
