"""The check without which no copy of a journal is called one: what `verify` does, and not a sound word less.

Every record and payload, every page, row and index, and that they say the same (verify.py), in a child process (prover.py), whom damage
may kill.  It streams: memory stays what unfinished tasks need.  The examination before an opening (probe.py) was tried for this and was
neither enough, for it looks at no payload, nor bounded, for it holds the indexes of all retained tasks at once.
"""

from __future__ import annotations

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.findings import Finding
from journeyman.journal.prover import Tell as Checking
from journeyman.journal.prover import verify
from journeyman.journal.record import Ignored
from journeyman.journal.scan import payload_of
from journeyman.kernel.events import Event


def check_copy(directory: str, tell: Checking) -> int:
    """Prove all of the journal in a directory that nobody else knows of yet; its newest seq.  `tell` hears what is being read, how much of
    it is, and of how much.

    JournalCorrupt with the first thing found, JournalVersion.
    """
    verdict = verify(directory, tell=tell, allow_unsafe_fs=True, locking=False)  # whoever made the directory has asked its file system
    if not verdict.sound:
        raise _refused(verdict.findings, sum(verdict.counts.values()))
    return 0 if verdict.head is None else verdict.head.seq


def _refused(findings: list[Finding], total: int) -> JournalCorrupt:
    first = findings[0] if findings else Finding("FILE", "the examination did not come to its end")
    more = f", and {total - 1} more of such" if total > 1 else ""
    return JournalCorrupt(
        f"the copy does not hold a sound journal, so none was made ({first.table}: {first.text}{more}): "
        "`journeyman verify` of the journal that it comes from says all, and what can be saved",
        first.seq,
    )


def check_payload(seq: int, event: Event | Ignored, payload: bytes) -> None:
    """JournalCorrupt unless these are the arguments, the result, the step's value or the value that the event speaks of."""
    named = payload_of(event)
    if named is None or digest(payload) != named[1]:
        raise JournalCorrupt(f"the arguments, the result or the value of record {seq} are not what was stored", seq)


__all__ = ["Checking", "check_copy", "check_payload"]
