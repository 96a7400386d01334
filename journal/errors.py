"""What the journal has to complain about.  Every message says what was found, who must act and what to do next."""

from __future__ import annotations

import os

from journeyman.kernel.errors import JourneymanError


class JournalError(JourneymanError):
    """The journal cannot go on: a commit failed with unknown outcome, or the store was used after that, after close, or in a forked child.

    The next open reads what is really on disk.
    """


class JournalLocked(JournalError):
    """Another engine owns this journal.  `pid` is its process id, None when it could not be read."""

    def __init__(self, message: str, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class JournalCorrupt(JournalError):
    """What is on disk is not what was written.  `seq` is the first damaged record, None when the damage has no seq (a file, a page, a
    row)."""

    def __init__(self, message: str, seq: int | None = None) -> None:
        super().__init__(message)
        self.seq = seq


class JournalFull(JournalError):
    """No room is left on the disk (or in the address space).  Free some and open again."""


class JournalVersion(JournalError):
    """The journal was written by another version, which the message names."""


class NoJournal(JournalError):
    """Nothing is there to be read.  Users see a JournalError."""

    def __init__(self, directory: str) -> None:
        hint = ""
        if os.path.isfile(directory):
            hint = ": that is a file; give the directory that holds data.mdb"
        elif os.path.exists(os.path.join(directory, "data.mdb")):
            hint = ": data.mdb there is empty, and no engine has ever written to it"
        super().__init__(f"there is no journal at {directory}{hint}")


class NotAJournal(JournalError):
    """The database of another program stands where the journal should be; `directory` is where.  Users see a JournalError."""

    def __init__(self, directory: str) -> None:
        super().__init__(
            f"data.mdb in {directory} is the database of another program, not a Journeyman journal, and has not been touched: "
            "give the journal a directory of its own"
        )
        self.directory = directory


class Unreadable(JournalError):
    """The system does not let a file of the journal's be read.  Users see a JournalError."""


class Occupied(JournalError):
    """Something stands where a copy or an import was to go; nothing is ever overwritten."""


class NotImportable(JournalError):
    """A file that cannot become a journal, though nothing is wrong with it: a part of one, one with hidden fields, another kind of file."""
