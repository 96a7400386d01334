"""How a journal stands at first sight: what `journeyman top` shows while it still reads the rest.

Problem.  The model of `top` begins with recovery, which takes seconds where 200,000 tasks wait, and an operator looks at a blank screen.
Choice: a picture of what costs little to know.  Ended tasks by the tally, unfinished ones by a look at the head of each row (queue and
state, nothing else is decoded), queues with their policies and pauses from META, dead letters from the index, the newest events from the
end of the log.  All but those events is as of the newest checkpoint, and says so; the next picture is exact.

Counting stops at a bound, for a journal may hold millions that wait; then states are not shown, and the number of tasks is.
"""

from __future__ import annotations

import heapq
from collections import Counter
from itertools import islice
from operator import attrgetter
from typing import Final

from journeyman.journal.activity import MINUTE
from journeyman.journal.catalog import Catalog
from journeyman.journal.instants import instant_of
from journeyman.journal.recovery import facts_at_checkpoint
from journeyman.journal.store import Items, Store, Table
from journeyman.journal.tally import Tally
from journeyman.journal.view import JournalView
from journeyman.journal.watching import SHOWN_DEAD, SHOWN_EVENTS, Picture, TopModel
from journeyman.kernel.bounds import SECOND_US
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState

COUNTED: Final = 300_000  # rows of unfinished tasks at most: half a second
_EVENTS: Final = 2_000
_PAGE: Final = 5_000
_ROW: Final = 13  # bytes before the body of a row
_LONG: Final = {0x18: 1, 0x19: 2, 0x1A: 4, 0x1B: 8}  # how many bytes an integer takes after its first one
_TEXT: Final = 0x60
_ID: Final = 0x50  # sixteen bytes
_STATES: Final = {state.value.encode(): state for state in State if state not in TERMINAL}


def glimpse(view: JournalView) -> Picture:
    """The journal as of its newest checkpoint, in a moment; `Picture.note` says how far that is."""
    store, last = view.store, view.last_seq
    base = facts_at_checkpoint(store)
    now = max(view.now(), base.state.last_at)
    catalog = Catalog(store, Tally.load(store))
    counts: dict[str, Counter[State]] = {name: Counter(found) for name, found in catalog.counts(now).items()}
    unfinished = store.count(Table.LIVE)
    if unfinished <= COUNTED:
        for name, found in _unfinished(store, base.through).items():
            counts.setdefault(name, Counter()).update(found)
    for name in counts:
        base.state.queue(name)
    model = TopModel(base.state, last)
    model.settled = counts
    with view.snapshot():  # a list compares rows and index: an engine may prune between the two reads
        for task in dead_letters(base.state, Catalog(store, Tally.load(store)), now):
            model.died(task)
    recent = view.seq_at(instant_of(max(0, now - MINUTE * SECOND_US))) + 1
    for seq, event in view.events(max(1, min(recent, last - SHOWN_EVENTS), last - _EVENTS), last):
        model.glance(seq, event)
    model.note = f"at first sight, as of seq {base.through:,}; reading the {last - base.through:,} events since"
    if unfinished > COUNTED:
        model.note += f" and the rows of {unfinished:,} tasks"
    return model.picture(now)


def dead_letters(state: JournalState, catalog: Catalog, now: int) -> list[TaskState]:
    """The newest of them, in the order in which they died; of each queue by submission, which is as near as the tables come."""
    counts = catalog.counts(now)
    queues = [queue for name, queue in state.queues.items() if queue.counts(now)[State.FAILED] or counts.get(name, {}).get(State.FAILED)]
    each = max(10, SHOWN_DEAD // max(1, len(queues)))
    letters: list[TaskState] = []
    for queue in queues:
        letters += islice(queue.listed(State.FAILED, now), each)
        letters += catalog.newest(queue.name, State.FAILED, now, limit=each)
        letters = heapq.nlargest(SHOWN_DEAD, letters, key=attrgetter("finished_at"))
    return letters[::-1]


def _unfinished(store: Store, through: int) -> dict[str, Counter[State]]:
    """Tasks of LIVE by queue and state; those that a checkpoint under way has added are left out."""
    heads: Counter[bytes] = Counter()
    start = b""
    while pairs := store.scan(Table.LIVE, start, limit=_PAGE):
        heads.update(_heads(pairs, through))
        start = pairs[-1][0] + b"\0"
    found: dict[str, Counter[State]] = {}
    for head, count in heads.items():
        queue, state = head.split(b"\0")
        found.setdefault(queue.decode(), Counter())[_STATES[state]] += count
    return found


def _heads(pairs: Items, through: int) -> list[bytes]:
    """Queue and state of each row, of those whose task was there at `through`: id, seq, queue, handler, state stand at its beginning."""
    found: list[bytes] = []
    for key, value in pairs:
        if int.from_bytes(key, "big") > through:
            continue
        at = _ROW + (2 if value[_ROW] == 0x98 else 1)  # an array of more than 23 fields
        at += 17
        at += 1 + _LONG.get(value[at], 0)
        queue, at = _text(value, at)
        _, at = _text(value, at)
        state, _ = _text(value, at)
        if state in _STATES:
            found.append(queue + b"\0" + state)
    return found


def _text(value: bytes, at: int) -> tuple[bytes, int]:
    size = value[at] - _TEXT
    at += 1
    if size == 0x18:
        size = value[at]
        at += 1
    return value[at : at + size], at + size


__all__ = ["dead_letters", "glimpse"]
