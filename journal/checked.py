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
from journeyman.kernel.events import StepRecorded, TaskRescheduled, TaskSubmitted, TaskSucceeded


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


def check_payload(seq: int, event: object, payload: bytes) -> None:
    """JournalCorrupt unless these are the arguments, the result or the step's value that the event speaks of."""
    expected = None
    if isinstance(event, TaskSubmitted):
        expected = event.payload_digest
    elif isinstance(event, TaskSucceeded | StepRecorded):
        expected = event.result_digest
    elif isinstance(event, TaskRescheduled):
        expected = (event.options or {}).get("payload_digest")
    if expected is None or digest(payload) != expected:
        raise JournalCorrupt(f"the arguments or the result of record {seq} are not what was stored", seq)


__all__ = ["Checking", "check_copy", "check_payload"]
