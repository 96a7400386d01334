"""Whether the write-ahead log goes with data.mdb: asked at every open of a journal that no engine has open.

The log may lack its last commit, if that was never answered, and may hold commits that data.mdb has too. Everything else is damage, or the
log of another data.mdb (one from before a backup was put in its place), and must not be joined: no log, or one with another salt, where
META speaks of one; a commit that was answered and is not there; a whole commit behind a torn one; a number that does not follow on the
newest event of data.mdb; a chain that does not.
"""

from __future__ import annotations

from typing import Final

from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.record import FIRST, GENESIS, Chain, decode_records
from journeyman.journal.row import decode_named
from journeyman.journal.store import Items, Table
from journeyman.journal.wal import WAL_FLAG, Logged, acknowledged, decode_log, read_log, salt_of, stragglers

_PAGE: Final = 1_000


def check_log(store: LmdbStore) -> None:
    """JournalCorrupt, JournalVersion.  Of a store that nobody writes to.

    What is amiss is looked at twice: an engine may have opened the journal, taken the log in and gone again between two of the readings.
    """
    try:
        _check(store)
    except JournalCorrupt:
        _check(store)


def _check(store: LmdbStore) -> None:
    answered = acknowledged(store.path)  # first: should an engine write after all, what follows can only be newer
    log = read_log(store.path)
    known = decode_log(log)
    through = store.newest_in_data()
    reached = max(through, known[-1].last if known else 0)
    flag = None if store.empty else decode_named(WAL_FLAG, store.get(Table.META, WAL_FLAG))
    if flag is not None and salt_of(log) != flag["salt"]:
        raise _apart(store, "the log that data.mdb speaks of is missing, or is another", through + 1)
    if answered > reached:
        raise _apart(store, f"event {answered} was acknowledged, and the newest that is there is {reached}", reached + 1)
    astray = next((each for each in stragglers(log, known) if each.first > reached), None)
    if astray is not None:
        raise _apart(store, f"event {astray.first} is there, and what comes before it is damaged", reached + 1)
    later = [each for each in known if each.last > through]
    if not later:
        return
    if flag is None:
        raise _apart(store, f"the log goes on with event {later[0].first}, and data.mdb, up to event {through}, knows of none", through + 1)
    if later[0].first != through + 1:
        raise _apart(store, f"the log goes on with event {later[0].first}, and data.mdb ends with {through}", through + 1)
    try:
        check_chain(store, later, through)
    except JournalCorrupt as failure:
        raise _apart(store, str(failure).partition(".  Keep")[0], failure.seq) from failure


def check_chain(store: LmdbStore, later: list[Logged], through: int) -> None:
    """Whether these commits go on where event `through`, the newest of the others in `store`, ends.  JournalCorrupt, JournalVersion."""
    before = _newest_commit(store, through)
    chain = Chain(int.from_bytes(before[0][0], "big"), None) if before else Chain(1, GENESIS)
    decode_records(before + [pair for each in later for pair in each.events], chain)
    chain.finish()


def _newest_commit(store: LmdbStore, through: int) -> Items:
    """The records of the newest commit in data.mdb: the newest is always whole."""
    found: Items = []
    stop = (through + 1).to_bytes(8, "big")
    while page := store.scan(Table.EVENTS, b"", stop, reverse=True, limit=_PAGE):
        for pair in page:
            found.append(pair)
            if len(pair[1]) > 2 and pair[1][2] & FIRST:
                return found[::-1]
        stop = page[-1][0]
    return found[::-1]


def _apart(store: LmdbStore, why: str, seq: int | None) -> JournalCorrupt:
    return JournalCorrupt(
        f"the log of the journal at {store.path} (its file wal) does not go with its data.mdb: {why}.  Keep a copy of the directory.  If "
        "data.mdb was put back from a backup, move the directory away and put the whole backup in its place; else let `journeyman repair` "
        "write a new journal of both files and say what it lacks, before you think of a backup, which lacks all that came after it",
        seq,
    )


__all__ = ["check_chain", "check_log"]
