"""Looking at suspicious data in a child process, because the look may kill.

Problem.  LMDB trusts its file.  Reading a truncated one raises SIGBUS, some damage aborts the process on an assertion; neither is an
exception.  Choice: a child process (`python -m journeyman.journal.probe DIR`) opens the data without locks and reads what recovery will
read: checkpoint, LIVE, the tail, every crc.  When the file was changed by others, or is suspiciously short, or is small anyway: every page
of every table and of the list of free pages (which the first write reads), every row against its digest, every index against its rows.  How
the child ends is the verdict:

    0  sound as far as it looked       3  damage found, named on stderr       4  written by a newer Journeyman
    5  another program's database      6  a file that the system does not let be read
       killed by a signal, or anything else: damage that LMDB does not survive

Not a health check by file size: a healthy file may be shorter than its last page number says, since pages freed at once are never written.
A file *much* shorter is only a reason to look at everything.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from io import TextIOWrapper
from typing import Final

from journeyman.journal.children import begun
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalVersion, NotAJournal, Unreadable
from journeyman.journal.identity import read_sidecar

TIMEOUT: Final = 30.0  # seconds; damage can lead LMDB in circles
PACE: Final = 5 << 20  # bytes a second beyond that; a thorough look is ten times faster
SMALL: Final = 32 << 20  # bytes; a smaller file is always read whole
SLACK: Final = 8 << 20  # bytes a healthy file may be shorter than its last page
_DAMAGED: Final = 3
_VERSION: Final = 4
_FOREIGN: Final = 5
_UNREADABLE: Final = 6


def examine(directory: str, *, thorough: bool) -> None:
    """Let a child look at the data.  JournalCorrupt, JournalVersion, NotAJournal or Unreadable when it must not be opened here."""
    patience = TIMEOUT + os.path.getsize(os.path.join(directory, "data.mdb")) / PACE
    try:
        with begun("journeyman.journal.probe", directory, "thorough" if thorough else "quick") as child:
            _, words = child.communicate(timeout=patience)
    except subprocess.TimeoutExpired as failure:
        raise JournalError(
            f"the journal at {directory} took over {patience:.0f} s to examine after an unclean end: "
            "is the disk failing, or data.mdb damaged?  Keep a copy of the directory before anything else"
        ) from failure
    said = words.strip().rpartition("\n")[2]
    if child.returncode == 0:
        return
    if child.returncode == _VERSION:
        raise JournalVersion(said)
    if child.returncode == _FOREIGN:
        raise NotAJournal(directory)
    if child.returncode == _UNREADABLE:
        raise Unreadable(said)
    if child.returncode == _DAMAGED:
        raise JournalCorrupt(said, _seq_in(said))
    if child.returncode < 0:
        name = signal.Signals(-child.returncode).name
        raise JournalCorrupt(
            f"the journal at {directory} is damaged: reading it killed the examining process ({name}); data.mdb was probably cut short.  "
            "Keep a copy of the directory and restore a backup"
        )
    raise JournalError(f"the journal at {directory} could not be examined (exit {child.returncode}): {said}")


def _seq_in(said: str) -> int | None:
    words = said.split()
    if "record" in words:
        word = words[min(words.index("record") + 1, len(words) - 1)]
        return int(word) if word.isdigit() else None
    return None


def look(directory: str, *, thorough: bool) -> None:
    """The child's work.  JournalCorrupt, JournalVersion, NotAJournal, or the end of the process."""
    from journeyman.journal.joining import check_log
    from journeyman.journal.lmdb_store import LmdbStore
    from journeyman.journal.recovery import check_records, recover, verify_indexes, verify_rows
    from journeyman.journal.store import Table

    try:
        store = LmdbStore(directory, readonly=True, locking=False)
    except NotAJournal:
        if read_sidecar(directory) is None:
            raise
        raise JournalCorrupt(f"the journal at {directory} has lost tables: keep a copy of the directory and restore a backup") from None
    if store.empty:
        return
    check_log(store)
    gauge = store.gauge()
    size = os.path.getsize(os.path.join(directory, "data.mdb"))
    tally = recover(store).tally
    if thorough or size < SMALL or size + SLACK < gauge.map_used:
        store.walk()
        check_records(store)
        verify_rows(store, tally)
        verify_indexes(store, tally)
        for table in Table:
            start = b""
            while pairs := store.scan(table, start, limit=5_000):
                # Walking from leaf to leaf passes over a damaged page above them; looking each key up does not.
                if store.get_many(table, [key for key, _ in pairs]) != [value for _, value in pairs]:
                    raise JournalCorrupt(
                        f"table {table.name} in {directory} does not find its own keys: keep a copy of the directory and restore a backup"
                    )
                start = pairs[-1][0] + b"\0"
    store.close()


def main(directory: str, depth: str) -> int:
    if isinstance(sys.stderr, TextIOWrapper):
        sys.stderr.reconfigure(errors="backslashreplace")  # a directory's name may be beyond the encoding of this terminal
    try:
        look(directory, thorough=depth == "thorough")
    except JournalVersion as failure:
        print(failure, file=sys.stderr)
        return _VERSION
    except NotAJournal:
        return _FOREIGN
    except Unreadable as failure:
        print(failure, file=sys.stderr)
        return _UNREADABLE
    except JournalError as failure:
        print(failure, file=sys.stderr)
        return _DAMAGED
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
