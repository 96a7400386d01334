"""What the writer thread does with a commit: into the log, or into data.mdb with everything that the log holds.

The log (wal.py) serves commits that are small and come often.  So an engine begins without one, and lays it out after `SOON` small commits:
what is opened for one task, or by a tool, never has any.  Whatever is not small goes to data.mdb at once, and takes the log along, for
commits become durable in the order in which they came.  What is left in the log when nobody has written for `PAUSE` goes there too, so that
a quiet journal is all in one file; and so that a slow one is not written twice, a commit goes to the log only when a few before it came
without such a pause.

META says in data.mdb that there is a log, from before its first commit until everything is in data.mdb for good.

`relaxed` durability has no log: one that begins anew relies on data.mdb having been flushed whole.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from journeyman.journal.ahead import Ahead
from journeyman.journal.row import encode_named
from journeyman.journal.store import Batch, Table
from journeyman.journal.wal import WAL_FLAG, WriteAheadLog, encode_logged, loggable

SOON: Final = 32  # small commits since the open
PAUSE: Final = 0.1  # seconds
QUICK: Final = 4  # small commits, none later than that after the one before


class Writing:
    """All methods are for the writer thread, but `ahead` may be read by any: it is replaced, never emptied."""

    def __init__(
        self, log: WriteAheadLog, found: Ahead, commit: Callable[[list[Batch]], None], newest: Callable[[], int], *, use: bool
    ) -> None:
        """`found`: what an earlier process left in the log.  `commit` puts batches into data.mdb, all in one; `newest` reads the seq of
        its last event, 0 if there is none.  `use`: whether to have a log."""
        self.ahead = found or Ahead()
        self._log = log
        self._use = use
        self.flagged = False  # whether META speaks of a log
        self._before = 0.0  # when the last small commit came
        self._quick = 0  # how many came without a pause
        self._commit = commit
        self._newest = newest
        self._last: int | None = None  # seq of the newest event; None: data.mdb must be asked
        self._small = 0

    @property
    def pause(self) -> float | None:
        """Seconds to wait for the next commit before `settle` is due; None: for ever."""
        return PAUSE if self._log.ready and self.ahead else None

    def make_durable(self, batch: Batch) -> None:
        """Commit it.  Whatever is raised means that nobody knows."""
        if not self._use:
            self._to_data(batch)
            return
        log = self._log
        if self._last is None:
            self._last = self._newest_of_all()
        small = loggable(batch, self._last)
        if small is not None:
            now = monotonic()
            self._quick = self._quick + 1 if now - self._before < PAUSE else 0
            self._before = now
        commit = encode_logged(*small, log.salt) if small is not None and log.ready and self._quick >= QUICK else None
        if small is None or commit is None or not log.fits(commit):
            self._small += small is not None
            self._to_data(batch)
            if log.ready and self._last is not None:
                log.answered(self._last)
            return
        log.append(commit)
        self.ahead.add(*small)
        self._last += len(small[0])
        log.answered(self._last)

    def prepare(self) -> None:
        """Between commits: lay the log out once it is worth while."""
        if not self._use or self._small < SOON or self._log.ready or self.ahead:
            return
        self._small = 0  # where there is no room, look again later
        try:
            laid_out = self._log.lay_out(self._last or 0)
        except OSError:  # commits go on without it
            self._use = False
            return
        if laid_out:
            self._speak()

    def _speak(self) -> None:
        """Let META say that there is a log."""
        speaking = Batch()
        speaking.put(Table.META, [encode_named(WAL_FLAG, {"salt": self._log.salt})])
        self._commit([speaking])
        self.flagged = True

    def settle(self) -> None:
        """Take everything in the log into data.mdb."""
        if self.ahead:
            self._to_data(None)

    def finish(self) -> None:
        """The last of all: everything is in data.mdb for good."""
        if self.ahead or self.flagged:
            self._to_data(None, for_good=True)

    def _to_data(self, batch: Batch | None, *, for_good: bool = False) -> None:
        batches = [] if batch is None else [batch]
        if self.flagged and (for_good or not self._log.ready):
            silent = Batch()
            silent.delete(Table.META, [WAL_FLAG])
            batches.insert(0, silent)
        if self.ahead:
            logged = Batch()
            for table, items in self.ahead.tables.items():
                logged.put(table, items, append=True)
            batches.insert(0, logged)
        self._commit(batches)
        self.flagged = self.flagged and self._log.ready and not for_good
        if self.ahead:
            self.ahead = Ahead()
            self._log.restart()
        if batch is not None:
            self._note(batch)

    def _note(self, batch: Batch) -> None:
        """Keep `_last` up."""
        if any(table is Table.EVENTS for table, _ in batch.deletes):
            self._last = None
        for table, items, append in batch.puts:
            if table is Table.EVENTS:
                self._last = int.from_bytes(items[-1][0], "big") if append else None

    def _newest_of_all(self) -> int:
        newest = self.ahead.last(Table.EVENTS)
        return self._newest() if newest is None else int.from_bytes(newest[0], "big")

    def close(self, *, in_order: bool) -> None:
        """LMDB has gone; in good order, with everything."""
        self._log.close(in_order=in_order)


__all__ = ["Writing"]
