"""What a suite of crash tests found: progress while it runs, one table at the end, and whether the whole run may be called good."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

GOOD, BAD, SKIPPED = "ok", "VIOLATED", "skipped"


@dataclass
class Row:
    """One line of the final table.  `tried` counts crashes, states or calls; `problems` says what went wrong, most telling first."""

    suite: str
    what: str
    tried: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    note: str = ""
    skipped: bool = False

    @property
    def verdict(self) -> str:
        if self.problems:
            return BAD
        return SKIPPED if self.skipped else GOOD


class Skip(Exception):
    """This machine cannot run the test (no root, no mount, no compiler): say so, loudly, and go on."""


class Progress:
    """One line that redraws itself on a terminal and prints every tenth elsewhere."""

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done, self.bad = label, total, 0, 0
        self._live = sys.stderr.isatty()
        self._started = time.monotonic()
        self._printed = -1

    def step(self, *, bad: bool = False) -> None:
        self.done += 1
        self.bad += bad
        tenth = self.done * 10 // max(self.total, 1)
        if self._live or tenth != self._printed:
            self._printed = tenth
            self.draw()

    def draw(self, *, end: bool = False) -> None:
        width = 30
        filled = width * self.done // max(self.total, 1)
        bar = "#" * min(filled, width) + "-" * max(width - filled, 0)
        spent = time.monotonic() - self._started
        text = f"{self.label:<34} [{bar}] {self.done}/{self.total}  {spent:5.1f} s" + (f"  {self.bad} BAD" if self.bad else "")
        if self._live:
            sys.stderr.write("\r" + text + ("\n" if end else ""))
        else:
            sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def finish(self) -> None:
        if self._live:
            self.draw(end=True)


class Report:
    """Collects rows; a suite that raises is a violation too, a `Skip` is shown as one."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    @contextmanager
    def row(self, suite: str, what: str) -> Iterator[Row]:
        row = Row(suite, what)
        self.rows.append(row)
        began = time.monotonic()
        try:
            yield row
        except Skip as reason:
            row.skipped, row.note = True, str(reason)
            sys.stderr.write(f"SKIPPED {suite}, {what}: {reason}\n")
        except Exception as error:
            row.problems.append(f"the test itself broke: {type(error).__name__}: {error}")
            import traceback

            traceback.print_exc()
        finally:
            row.seconds = time.monotonic() - began

    def render(self) -> str:
        lines = [f"{'suite':<10} {'what':<58} {'tried':>7} {'time':>8}  verdict", "-" * 110]
        for row in self.rows:
            line = f"{row.suite:<10} {row.what:<58.58} {row.tried:>7} {row.seconds:>6.1f} s  {row.verdict}"
            lines.append(f"{line}  {row.note}".rstrip())
            lines += [f"{'':<10}   ! {problem}" for problem in row.problems[:8]]
            if len(row.problems) > 8:
                lines.append(f"{'':<10}   ! ... and {len(row.problems) - 8} more")
        return "\n".join(lines)

    @property
    def good(self) -> bool:
        return not any(row.problems for row in self.rows)
