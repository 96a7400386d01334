"""The feed: every event of the journal, in order, from some point on and then as it happens.

Problem.  A program wants to hear of everything (an audit, a search index, a screen) and neither be outrun by the engine nor slow it down.
A bounded channel for each reader drops events or makes the writer wait; an unbounded one eats the memory.  Choice: a feed is a place in
the journal and nothing else.  It reads the next page from there when it is asked for the next event, and when it has caught up it waits
until the writer says that more is durable.  So a slow reader costs a page of memory, one that never reads costs its object, and nothing
is shown before it is durable, for what is not durable is not read (law 3).  Reads end before anything is awaited.

"From now on" is taken when `events()` is called, not when the first event is asked for: what becomes durable after the call is shown,
though the reader begins much later.

What has left the journal cannot be shown.  `FeedTruncated` is raised at the place where it stood, and only where an event is gone that
this feed would have shown (journal/feed.py says how that is known).  It rests on a prune, so it too waits until that is durable.

When the engine closes the feed ends with EngineStopped, as every wait does, and not as a loop that is done: more will happen at the next
start, and its reader must go on from its cursor then.  What it holds already it still gives.

Rejected: an async generator (what is left of one that nobody closes runs whenever the collector finds it); a callback (whose errors and
whose slowness would be the engine's); holding retention back for any reader (one that is forgotten would fill the disk).
"""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Final, Self

import trio

from journeyman.engine.errors import EngineStopped, FeedTruncated, JourneymanError
from journeyman.engine.questions import Questions
from journeyman.engine.scope import Scope
from journeyman.journal.feed import Cursor, behind, check_cursor, first_at, last_before, lineage_of, read_on
from journeyman.journal.history import FeedEvent, HistoryEvent, history_of
from journeyman.journal.instants import instant_us
from journeyman.kernel.events import Event

FIRST: Final = "first"
Since = str | int | datetime | HistoryEvent | None


class EventFeed:
    """Events of one engine, or of one door to it: `async for event in engine.events()`.  Made by `events`.

    It never ends by itself.  Raises EngineStopped when the engine closes, FeedTruncated where events have left the journal unread, the
    journal's own error when that has failed.  A wait that is cancelled loses nothing.  Several readers of one feed share its events; for
    each to have all, give each a feed.  Nothing needs to be closed.
    """

    def __init__(self, scope: Scope, since: Since, queue: str | None) -> None:
        """`queue`: by its stored name; None for all that the scope reaches."""
        self._scope = scope
        self._queue = queue
        self._shell = scope.shell
        self._lineage = lineage_of(self._shell.store)
        self._ready: deque[tuple[int, bytes, Event]] = deque()
        self._lost: int | None = None  # the first seq of a hole, once what is before it has been given
        start = self._start(since)
        self._at = start.seq  # everything up to here has been read
        self._known = start.known
        self._given = start

    def __repr__(self) -> str:
        return f"<EventFeed behind seq {self._given.seq}>"

    @property
    def cursor(self) -> str:
        """Where it stands: behind the last event it gave, or where it began.  Opaque text, for `since` of another feed."""
        return self._given.text()

    @property
    def place(self) -> Cursor:
        """The same, to look at: for the simulator."""
        return self._given

    def shows(self, queue: str) -> bool:
        """Whether it shows the events of that queue, by its stored name; "" for those of none."""
        return queue == self._queue if self._queue is not None else self._scope.reaches(queue)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> FeedEvent:
        while True:
            if not self._ready:
                await self._more()
            await trio.lowlevel.checkpoint()
            if self._ready:  # unless another reader of this feed took it meanwhile
                return self._give(*self._ready.popleft())

    # --- inside -------------------------------------------------------------------------------------------------------

    def _start(self, since: Since) -> Cursor:
        """The place that `since` names.  ValueError for what names none."""
        shell = self._shell
        last, lineage = shell.writer.durable_seq, self._lineage
        if isinstance(since, HistoryEvent):
            since = (since.cursor if isinstance(since, FeedEvent) else "") or since.seq
        if since is None:
            return behind(shell.store, lineage, last)
        if since == FIRST:
            return Cursor(lineage, 0, known=self._gone())
        if isinstance(since, datetime):
            first = first_at(shell.journal, instant_us(since, "since"), last)
            return behind(shell.store, lineage, last if first > last else last_before(shell.store, first))
        if isinstance(since, str):
            cursor = Cursor.read(since)
            check_cursor(cursor, shell.store, last)
            return cursor._replace(lineage=lineage)
        if isinstance(since, bool) or not isinstance(since, int):
            raise TypeError(f'since must be None, "first", a cursor, an event, a seq or an aware datetime, not {since!r}')
        if not 0 <= since <= last:
            raise ValueError(f"since names seq {since}, and this journal holds seqs up to {last}; 0 is before everything")
        return behind(shell.store, lineage, since)

    async def _more(self) -> None:
        """Read on until there is something to give."""
        shell = self._shell
        while not self._ready:
            if self._lost is not None:
                await self._truncated(self._lost)
            if shell.closed:
                await trio.lowlevel.checkpoint()
                raise self._ending()
            if self._at >= shell.writer.durable_seq:
                try:
                    await shell.writer.beyond(self._at)
                except JourneymanError:
                    raise
                except Exception as error:
                    raise EngineStopped(f"the journal failed: {error}") from error
                continue
            found = read_on(shell.store, self._at, shell.writer.durable_seq, self._known, self._wants, self._gone)
            self._ready.extend(found.events)
            self._at, self._lost = found.through, found.lost
            if not self._ready:
                await trio.lowlevel.checkpoint()  # others' events may fill many pages

    async def _truncated(self, lost: int) -> None:
        """Say so, once what says so is durable."""
        last, shell = self._gone(), self._shell
        try:
            await shell.writer.settled()
        except JourneymanError:
            raise
        except Exception as error:
            raise EngineStopped(f"the journal failed: {error}") from error
        raise FeedTruncated(lost, last, self._given._replace(known=last).text())

    def _ending(self) -> BaseException:
        error = self._scope.runtime.ending()
        if isinstance(error, JourneymanError):
            return error
        stopped = EngineStopped(f"the journal failed: {error}")
        stopped.__cause__ = error
        return stopped

    def _wants(self, event: Event) -> bool:
        return self.shows(event.queue)

    def _gone(self) -> int:
        """The newest seq, of those it would have shown, that is not in the journal any more."""
        world = self._shell.world
        if self._queue is not None:
            queue = world.queues.get(self._queue)
            return 0 if queue is None else queue.gone_seq
        reaches = self._scope.reaches
        found = max((queue.gone_seq for name, queue in world.queues.items() if reaches(name)), default=0)
        return max(found, world.gone_seq) if reaches("") else found

    def _give(self, seq: int, crc: bytes, event: Event) -> FeedEvent:
        self._given = Cursor(self._lineage, seq, crc, self._known if self._known > seq else 0)
        shown = history_of(seq, event, self._scope.called(event.queue))
        assert shown is not None, "what this version does not know is not read"
        return FeedEvent.of(shown, self._given.text())


class Feeds(Questions):
    """What can be followed of an open engine."""

    def events(self, since: Since = None, queue: str | None = None) -> EventFeed:
        """Every event from `since` on, of one queue or of all that this door reaches, as a `FeedEvent` each: `async for event in
        engine.events()`.

        since: None is from now on, all that becomes durable after this call.  The `.cursor` of an event (or the event itself, or its seq):
        what came after that one.  An aware datetime: what is not before that instant.  "first": all that is left.
        queue: only this one's; without it, the owner of the engine also hears what concerns the whole journal.

        QueueNotFound for an unknown queue; ValueError for a cursor that is none of this journal's, and for a naive datetime.  What the
        iteration raises is said at `EventFeed`.
        """
        scope = self._opened()
        return self._feed(scope, since, None if queue is None else self._actor(scope, queue).name)

    def _feed(self, scope: Scope, since: Since, queue: str | None) -> EventFeed:
        return EventFeed(scope, since, queue)


__all__ = ["EventFeed", "Feeds", "Since"]
