"""Following a journal that somebody else writes: what feeds the model of `journeyman top`.

Problem.  The screen is to be right every second, for days, beside an engine that writes, takes checkpoints, prunes, dies and comes
back, and it must never hold a read transaction while it waits: that would make the file grow.  Choice: recover once, then read only
what is new.  What came since the last look is read by the page, each page in a transaction of its own; then one short snapshot takes
the rest together with what the journal's tables say of ended tasks, so that both are of one commit and no task is counted twice or not
at all.

While a checkpoint is under way the tables hold tasks that the model still holds too; then they are asked for each of those, so that it
is counted once.  A checkpoint that was cut short by a crash stays under way until the next one: then the journal is recovered
again, now and then.

Who looks seldom, as a web page does, may have missed millions of events; then it is cheaper to recover once more than to read them all.

A journal that is deleted, replaced or not there yet is an error of that look (NoJournal, or what is wrong); the next look begins anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from journeyman.journal.catalog import Catalog
from journeyman.journal.checkpoint import CHECKPOINT, PROGRESS
from journeyman.journal.errors import NoJournal
from journeyman.journal.glimpse import dead_letters, glimpse
from journeyman.journal.history import HistoryEvent, history_of
from journeyman.journal.instants import instant_of
from journeyman.journal.log import Journal
from journeyman.journal.parameters import Parameters
from journeyman.journal.row import decode_named, decode_rows
from journeyman.journal.store import Gauge, Store, Table
from journeyman.journal.tally import Tally
from journeyman.journal.view import JournalView, open_journal
from journeyman.journal.watching import SHOWN_EVENTS, Picture, TopModel
from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.namespace import shown_name
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

_LOOK_BACK_US: Final = 60 * SECOND_US
_LOOK_BACK: Final = 50_000  # events, at most: half a second
_AGAIN_S: Final = 60.0
_FAR: Final = 300_000  # events since the last look: a few seconds
_SHOWN_HISTORY: Final = 500


@dataclass(frozen=True, slots=True)
class Timeline:
    """A task and its life.  `left_out`: so many events of its middle are not shown; the first one and the newest are."""

    task: TaskState
    events: list[HistoryEvent]
    left_out: int
    payload: bytes | None
    parameters: Parameters


class Beside(Catalog):
    """The ended tasks on disk that the model does not hold: who asks both meets no task twice, whatever a checkpoint has written so far."""

    def __init__(self, store: Store, model: TopModel) -> None:
        super().__init__(store, Tally.load(store))
        self._model = model

    def _silent(self, id: bytes) -> bool:
        return super()._silent(id) or self._model.task(id) is not None


@dataclass(frozen=True, slots=True)
class Newest:
    """The newest durable state: unfinished tasks in `state`, ended ones there or in `catalog`.  `now`: kernel time, microseconds UTC."""

    view: JournalView
    state: JournalState
    catalog: Catalog
    picture: Picture
    now: int
    owner: int | None
    gauge: Gauge

    def task(self, id: bytes) -> TaskState | None:
        """The task of that id; None if there is none, or its retention is over."""
        for queue in self.state.queues.values():
            if id in queue.tasks:
                found = queue.tasks[id]
                return None if found.expires_at is not None and found.expires_at <= self.now else found
        return self.catalog.get(id, self.now)


class Follower:
    """One journal, by its path.  Not for several threads at once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.path.abspath(os.fspath(path))
        self._view: JournalView | None = None
        self._file: tuple[int, int] | None = None
        self._model: TopModel | None = None
        self._catalog: Catalog | None = None
        self._settling: float | None = None  # since when a checkpoint is under way; monotonic

    def close(self) -> None:
        if self._view is not None:
            self._view.close()
        self._view = self._model = self._catalog = None

    def refresh(self) -> Picture:
        """How the journal stands now.  JourneymanError: it cannot be read, or is not there; the next call tries again."""
        view = self._opened()
        try:
            if self._model is not None and view.last_seq - self._model.last_seq > _FAR:
                self._model = None
            return self._look(view, self._model or self._attach(view))
        except KeyError:  # prune took a page from under us: what was read does not fit together
            return self._look(view, self._attach(view))
        except BaseException:
            self.close()
            raise

    @contextmanager
    def newest(self) -> Iterator[Newest]:
        """The journal as it stands now, for questions in the block: what they read is of one commit.  Errors as of `refresh`.

        Keep the block short, and take nothing mutable out of it: a busy journal grows while it lasts.
        """
        self.refresh()
        view = self._opened()
        gauge = view.gauge()  # which waits for whoever reads
        with view.snapshot():
            try:
                picture = self._look(view, self._model or self._attach(view))
            except KeyError:  # as in refresh
                picture = self._look(view, self._attach(view))
            except BaseException:
                self._model = None  # half fed, perhaps
                raise
            model = self._model
            assert model is not None
            yield Newest(view, model.state, Beside(view.store, model), picture, picture.now, view.owner, gauge)

    def glimpse(self) -> Picture:
        """What can be told before anything has been recovered (glimpse.py).  JourneymanError as `refresh`."""
        try:
            return glimpse(self._opened())
        except BaseException:
            self.close()
            raise

    @property
    def owner(self) -> int | None:
        """The process that has it open; None for none, 0 for one in another container."""
        return None if self._view is None else self._view.owner

    def timeline(self, id: bytes) -> Timeline | None:
        """A task's life so far; None for one that is not there (any more).  After `refresh`."""
        view, model, catalog = self._view, self._model, self._catalog
        if view is None or model is None or catalog is None:
            return None
        with view.store.snapshot():
            task = model.task(id) or catalog.get(id, 0)
            if task is None:
                return None
            seqs = list(task.seqs)
            left_out = max(0, len(seqs) - _SHOWN_HISTORY)
            if left_out:
                seqs = seqs[:1] + seqs[1 + left_out :]
            found = Journal(view.store).events(seqs)
            history = [history_of(seq, event, shown_name(task.queue)) for seq, event in found]
            payload, parameters = view.payload(task.payload_seq), view.parameters()
        return Timeline(task, [event for event in history if event is not None], left_out, payload, parameters)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _opened(self) -> JournalView:
        """The journal that stands at the path now."""
        try:
            found = os.stat(os.path.join(self.path, "data.mdb"))
        except OSError:
            self.close()
            raise NoJournal(self.path) from None
        if self._file != (found.st_dev, found.st_ino):
            self.close()
        if self._view is None:
            self._view = open_journal(self.path)
            self._file = (found.st_dev, found.st_ino)
        return self._view

    def _attach(self, view: JournalView) -> TopModel:
        """Recover it, and look back over the last minute."""
        self._model = self._catalog = None  # or there would be two states at a time
        with view.newest() as found:
            model = TopModel(found.state, found.journal.sealed)
            model.called_back |= found.tally.shadowed.keys()
            now = max(view.now(), found.state.last_at)
            model.settled = found.catalog.counts(now)
            for task in dead_letters(found.state, found.catalog, now):
                model.died(task)
        last = model.last_seq
        recent = view.seq_at(instant_of(max(0, now - _LOOK_BACK_US))) + 1
        for seq, event in view.events(max(1, min(recent, last - SHOWN_EVENTS), last - _LOOK_BACK), last):
            model.glance(seq, event)
        if recent >= last - _LOOK_BACK:
            model.seen_since = max(0, now - _LOOK_BACK_US)
        self._model, self._catalog, self._settling = model, found.catalog, None
        return model

    def _look(self, view: JournalView, model: TopModel) -> Picture:
        before = model.last_seq
        _feed(model, view)
        with view.store.snapshot():
            _feed(model, view)
            now = max(view.now(), model.state.last_at)
            under_way = decode_named(PROGRESS, view.store.get(Table.META, PROGRESS)) is not None
            self._settle(view.store, model, now, under_way)
            self._settling = (self._settling or time.monotonic()) if under_way else None
        if self._settling is not None and model.last_seq != before and time.monotonic() - self._settling > _AGAIN_S:
            model = self._attach(view)
            now = max(view.now(), model.state.last_at)
        return model.picture(now)

    def _settle(self, store: Store, model: TopModel, now: int, under_way: bool) -> None:
        """Let go of what the tables hold by now, and count what they hold beside the model at `now`."""
        checkpoint = decode_named(CHECKPOINT, store.get(Table.META, CHECKPOINT))
        model.let_go(0 if checkpoint is None else checkpoint["seq"])
        tally = Tally.load(store)
        back = list(model.called_back | model.ended.keys()) if under_way else list(model.called_back)
        pairs = [(id, value) for id, value in zip(back, store.get_many(Table.TASKS, back), strict=True) if value is not None]
        model.called_back.intersection_update(id for id, _ in pairs)
        for task, _ in decode_rows(Table.TASKS, pairs):
            if model.task(task.id) is None:
                model.called_back.discard(task.id)
            else:
                tally.shadow(tally.place(task))
        self._catalog = Catalog(store, tally)
        model.settled = self._catalog.counts(now)


def _feed(model: TopModel, view: JournalView) -> None:
    for seq, event in view.events(model.last_seq + 1):
        model.feed(seq, event)


__all__ = ["Follower", "Newest", "Timeline"]
