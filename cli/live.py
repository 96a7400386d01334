"""The live screen of `journeyman top`, drawn with textual.

Problem.  A screen must answer keys at once, while a look at a busy journal may take half a second and the first one several.  Choice:
all reading happens on one thread of its own, which owns the journal; the screen gets finished pictures, one at a time, and asks for the
next only when the last has come.  Before the first one comes a glimpse: what can be told without recovering the journal.  A look that
fails says why in the head line, and the next is made all the same: engines are restarted, journals come late.

Tables are changed cell by cell while their rows stay the same, so that the cursor stays where it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import UUID

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from journeyman.cli.panels import (
    DEAD,
    EVENTS,
    NUMBERS,
    QUEUES,
    RUNS,
    dead_cells,
    event_cells,
    headline,
    queue_cells,
    run_cells,
    timeline_lines,
)
from journeyman.journal.following import Follower, Timeline
from journeyman.journal.redaction import Redaction
from journeyman.journal.watching import Picture
from journeyman.kernel.errors import JourneymanError

QUEUES_SHOWN: Final = 500  # the busiest
Cells = tuple[str, ...]


class Listing(DataTable[Text]):
    """One of the four tables.  Rows go by a key: what Enter opens."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "cursor_up", "Move", key_display="\u2191\u2193"),
        Binding("enter", "select_cursor", "Open"),
    ]

    def __init__(self, columns: Sequence[str], id: str) -> None:
        super().__init__(id=id, cursor_type="row", zebra_stripes=True)
        self._names = columns
        self._shown: dict[str, Cells] = {}

    def on_mount(self) -> None:
        for place, name in enumerate(self._names):
            self.add_column(self._cell(place, name), key=str(place))

    def _cell(self, place: int, text: str) -> Text:
        return Text(text, justify="right" if self._names[place] in NUMBERS else "left", no_wrap=True)

    def show_rows(self, rows: Iterable[tuple[str, Cells]]) -> None:
        """These rows from now on."""
        wanted = dict(rows)
        if list(wanted) == list(self._shown):
            for key, cells in wanted.items():
                for place, (old, new) in enumerate(zip(self._shown[key], cells, strict=True)):
                    if old != new:
                        self.update_cell(key, str(place), self._cell(place, new), update_width=True)
        else:
            self._replace(wanted)
        self._shown = wanted

    def _replace(self, wanted: dict[str, Cells]) -> None:
        row = self.cursor_row
        under = list(self._shown)[row] if row < len(self._shown) and self.has_focus else None
        self.clear()
        for key, cells in wanted.items():
            self.add_row(*(self._cell(place, text) for place, text in enumerate(cells)), key=key)
        if under in wanted:
            self.move_cursor(row=list(wanted).index(under), animate=False)


class TaskScreen(Screen[None]):
    """A task's timeline."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "app.pop_screen", "Back"), Binding("q", "app.quit", "Quit")]

    def __init__(self, task: bytes) -> None:
        super().__init__()
        self.task_id = task
        self._shown = ""

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield Static("reading ...", id="timeline", markup=False)
        yield Footer()

    def show_timeline(self, found: Timeline | None, redaction: Redaction) -> None:
        gone = f"there is no task {UUID(bytes=self.task_id)} any more: retention has dropped it"
        text = gone if found is None else "\n".join(timeline_lines(found, redaction))
        if text != self._shown:
            self._shown = text
            self.query_one("#timeline", Static).update(Text(text))


class TopApp(App[None]):
    """`journeyman top PATH`."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "journeyman top"
    CSS = """
    #head { height: 1; background: $primary; color: $text; }
    #queues { height: 2fr; }
    #middle { height: 1fr; }
    #runs, #dead { width: 1fr; }
    #events { height: 1fr; }
    #filter { display: none; height: 3; }
    #filter.asked { display: block; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "quit", show=False, priority=True),
        Binding("tab", "app.focus_next", "Next list"),
        Binding("p", "pause", "Pause"),
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "show_all", "Clear filter"),
    ]

    def __init__(self, path: Path, *, every: float = 1.0, redaction: Redaction | None = None, follower: Follower | None = None) -> None:
        super().__init__()
        self.path = path
        self.every = every
        self.redaction = redaction or Redaction()
        self.picture: Picture | None = None
        self.paused = False
        self.wanted = ""  # rows without this text are not shown
        self._owner: int | None = None
        self._trouble = ""
        self._looking = False
        self._follower = follower or Follower(path)
        self._reader = ThreadPoolExecutor(1, "journeyman-top")

    def compose(self) -> ComposeResult:
        yield Static(f"reading {self.path} ...", id="head", markup=False)
        yield Listing(QUEUES, "queues")
        with Horizontal(id="middle"):
            yield Listing(RUNS, "runs")
            yield Listing(DEAD, "dead")
        yield Listing(EVENTS, "events")
        yield Input(placeholder="show only what holds this text; Enter keeps it, Escape clears it", id="filter")
        yield Footer()

    def on_mount(self) -> None:
        self.query_one("#queues").focus()
        self.set_interval(self.every, self.look)
        self.look()

    def on_unmount(self) -> None:
        self._reader.submit(self._follower.close)
        self._reader.shutdown()

    # --- looking ------------------------------------------------------------------------------------------------------

    def look(self) -> None:
        """Ask for the next picture, unless one is being made or nobody wants it."""
        if not self._looking and not self.paused:
            self._looking = True
            self.run_worker(self._look(), group="look")

    async def _look(self) -> None:
        try:
            if self.picture is None:
                self.picture, self._owner = await self._read(self._glimpse)
                self.draw()
            self.picture, self._owner = await self._read(self._refresh)
            self._trouble = ""
        except JourneymanError as error:
            self._trouble = str(error)
        finally:
            self._looking = False
        if isinstance(self.screen, TaskScreen):
            await self._tell_timeline(self.screen)
        else:
            self.draw()

    def _glimpse(self) -> tuple[Picture, int | None]:
        return self._follower.glimpse(), self._follower.owner

    def _refresh(self) -> tuple[Picture, int | None]:
        return self._follower.refresh(), self._follower.owner

    async def _read(self, question: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._reader, question)

    async def _tell_timeline(self, screen: TaskScreen) -> None:
        try:
            found = await self._read(partial(self._follower.timeline, screen.task_id))
        except JourneymanError as error:
            self._trouble = str(error)
            return
        if screen.is_mounted:
            screen.show_timeline(found, self.redaction)

    # --- drawing ------------------------------------------------------------------------------------------------------

    def draw(self) -> None:
        """Put the newest picture on the screen."""
        base = self.screen_stack[0]
        picture = self.picture
        head = f"{self.path}: {self._trouble or 'reading ...'}" if picture is None or self._trouble else headline(picture, self._owner)
        notes = ("  [paused]" if self.paused else "") + (f"  [only {self.wanted!r}]" if self.wanted else "")
        left_out = 0 if picture is None else len(picture.queues) - QUEUES_SHOWN
        more = f"  [the {QUEUES_SHOWN} busiest of {len(picture.queues):,} queues; / finds the others]" if picture and left_out > 0 else ""
        base.query_one("#head", Static).update(head + notes + more)
        if picture is None:
            return
        tables: dict[str, Iterable[tuple[str, Cells]]] = {
            "queues": self._queues(picture),
            "runs": [(f"{run.task.hex()} {run.attempt}", _short(run_cells(run), 0)) for run in picture.runs],
            "dead": [(letter.task.hex(), _short(dead_cells(letter), 0)) for letter in picture.dead],
            "events": [_event_row(seq, event) for seq, event in picture.newest],
        }
        for name, rows in tables.items():
            base.query_one(f"#{name}", Listing).show_rows(row for row in rows if self._wants(row[1]))

    def _queues(self, picture: Picture) -> list[tuple[str, Cells]]:
        queues = [queue for queue in picture.queues if self._wants((queue.name,))] if self.wanted else picture.queues
        if len(queues) > QUEUES_SHOWN:
            busiest = sorted(queues, key=lambda queue: -queue.busy)[:QUEUES_SHOWN]
            queues = sorted(busiest, key=lambda queue: queue.name)
        return [(queue.name, queue_cells(queue)) for queue in queues]

    def _wants(self, cells: Cells) -> bool:
        return not self.wanted or any(self.wanted in cell.lower() for cell in cells)

    # --- keys ---------------------------------------------------------------------------------------------------------

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.draw()
        self.look()

    def action_filter(self) -> None:
        asked = self.query_one("#filter", Input)
        asked.add_class("asked")
        asked.focus()

    def action_show_all(self) -> None:
        asked = self.query_one("#filter", Input)
        asked.value = ""
        self._leave_filter(asked)

    def _leave_filter(self, asked: Input) -> None:
        asked.remove_class("asked")
        self.query_one("#queues").focus()

    def on_input_changed(self, event: Input.Changed) -> None:
        self.wanted = event.value.strip().lower()
        self.draw()

    def on_input_submitted(self, event: Input.Submitted) -> None:
        self._leave_filter(event.input)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Enter: a queue becomes the filter, a task shows its life."""
        key = event.row_key.value or ""
        if event.data_table.id == "queues":
            self.query_one("#filter", Input).value = key
            return
        task = key.split()[-1] if event.data_table.id == "events" else key.split()[0]
        if len(task) == 32:
            self.push_screen(TaskScreen(bytes.fromhex(task)))
            self.run_worker(self._tell_pushed(), group="timeline")

    async def _tell_pushed(self) -> None:
        if isinstance(self.screen, TaskScreen):
            await self._tell_timeline(self.screen)


def _event_row(seq: int, event: Any) -> tuple[str, Cells]:
    task = getattr(event, "task", None)
    return f"{seq} {'-' if task is None else task.hex()}", _short(event_cells(seq, event), 4)


def _short(cells: Cells, place: int) -> Cells:
    """With the end of a task's id instead of the whole: the screen is narrow, and Enter shows it."""
    return (*cells[:place], cells[place][-12:], *cells[place + 1 :])


__all__ = ["QUEUES_SHOWN", "TaskScreen", "TopApp"]
