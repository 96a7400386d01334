"""Examinations in a child process, because what they read may kill them.

Problem.  LMDB trusts its file: a truncated map ends the reader by SIGBUS, some damage by an assertion (probe.py says more).  Whoever asks
whether a journal is sound must get an answer just then.  Choice: `python -m journeyman.journal.prover DIR WORK OPTIONS` opens and reads,
and says what it does in lines of JSON; the parent passes progress and findings on as they come.  A child that is killed leaves a verdict
all the same: what it had found, and that reading on at that place is deadly.

    {"open": true}                       LMDB has opened it; before this line a death means that it cannot even be opened
    {"progress": [what, done, total]}
    {"finding": {...}}
    {"refused": [class, text, seq]}      an error of the journal's, which the parent raises as its own
    {"done": {...}}                      the answer

The child ignores Ctrl-C, its parent ends it (children.py): by SIGTERM, so that it gives its place among the readers back, and by force if
that takes too long or somebody presses Ctrl-C again (the place is then freed by the next engine).  A child whose parent has gone finds its
stdin at its end and ends too, whatever it reads.  It opens with locks, as any reader beside an engine must; only a copy that nobody else
knows of (checked.py) is read without, so that no lock file is left in it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from itertools import islice
from typing import IO, Any, Final, NoReturn

from journeyman.journal import errors
from journeyman.journal.children import PATIENCE, begun
from journeyman.journal.errors import JournalCorrupt, JournalError, JournalVersion, NoJournal, NotAJournal
from journeyman.journal.filesystem import refuse_unsafe
from journeyman.journal.findings import LISTED, Finding, Findings
from journeyman.journal.identity import read_identity, read_sidecar, require_data
from journeyman.journal.verify import Examination, Head, Proof, Verdict

_EVERY: Final = 0.1  # seconds between two words of progress
Tell = Callable[[str, int, int], Any]


def nothing(what: str, done: int, total: int) -> None:
    """Hears of progress and says nothing."""


def verify(
    path: str | os.PathLike[str],
    *,
    against: Head | None = None,
    tell: Tell = nothing,
    allow_unsafe_fs: bool = False,
    locking: bool = True,
) -> Verdict:
    """Read and prove the whole journal in the directory `path`.  JournalError and its kinds when it cannot even be opened.

    `locking` False: only for a journal that nobody else can know of.
    """
    directory = _refuse(path, allow_unsafe_fs)
    options = {"against": None if against is None else str(against), "locking": locking}
    verdict = Verdict(directory)
    findings: list[Finding] = []
    opened, place = False, ("", 0, 0)
    try:
        with closing(_child(directory, "verify", options)) as words:  # whoever stops this side ends the child at once
            for word, said in words:
                if word == "open":
                    opened = True
                elif word == "progress":
                    place = (said[0], said[1], said[2])
                    tell(*place)
                elif word == "finding":
                    findings.append(Finding(**said))
                elif word == "done":
                    verdict = _verdict(directory, said)
    except JournalCorrupt as death:
        if not opened or not isinstance(death, _Death):
            raise
        where = f"while {place[0] or 'it'} were read, after {place[1]} of {place[2]}" if place[0] else "at once"
        findings.append(Finding("FILE", f"{death} {where}"))
        verdict.complete = False
        for finding in findings:
            verdict.counts[finding.table] = verdict.counts.get(finding.table, 0) + 1
    verdict.findings = findings
    return verdict


def run(path: str | os.PathLike[str], work: str, *, tell: Tell = nothing, allow_unsafe_fs: bool = False) -> dict[str, Any]:
    """The answer of another examination: "replay" or "code" (journal/replay.py)."""
    answer: dict[str, Any] = {}
    with closing(_child(_refuse(path, allow_unsafe_fs), work, {})) as words:
        for word, said in words:
            if word == "progress":
                tell(*said)
            elif word == "done":
                answer = said
    return answer


class _Death(JournalCorrupt):
    """The child was killed by what it read."""


def _refuse(path: str | os.PathLike[str], allow_unsafe_fs: bool) -> str:
    """What can be told without opening it."""
    directory = os.path.abspath(os.fspath(path))
    try:
        require_data(directory)
        refuse_unsafe(directory, allow_unsafe_fs)
    except OSError as failure:
        raise JournalError(f"the journal at {directory} cannot be opened: {failure}") from failure
    return directory


def _child(directory: str, work: str, options: dict[str, Any]) -> Generator[tuple[str, Any], None, None]:
    """What the child says, word by word."""
    done = False
    with begun("journeyman.journal.prover", directory, work, json.dumps(options)) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        for line in child.stdout:
            ((word, said),) = json.loads(line).items()
            if word == "refused":
                _raise(directory, *said)
            done = done or word == "done"
            yield word, said
        words = child.stderr.read().strip().splitlines()
        code = child.wait()
    if done and code == 0:
        return
    if code < 0:
        name = signal.Signals(-code).name
        raise _Death(f"the journal at {directory} is damaged: LMDB's file killed the process that read it ({name})")
    raise JournalError(f"the journal at {directory} could not be examined (exit {code}): {words[-1] if words else 'no reason was given'}")


def _raise(directory: str, kind: str, text: str, seq: int | None) -> NoReturn:
    if kind in ("NoJournal", "NotAJournal"):
        raise (NoJournal if kind == "NoJournal" else NotAJournal)(directory)
    if kind == "JournalCorrupt":
        raise JournalCorrupt(text, seq)
    found = getattr(errors, kind, JournalError)
    raise found(text)


def _verdict(directory: str, said: dict[str, Any]) -> Verdict:
    proof, head = said.pop("proof"), said.pop("head")
    return Verdict(
        **said, path=directory, proof=None if proof is None else Proof(*proof), head=None if head is None else Head.read(head)
    )  # fmt: skip


# --- the child ----------------------------------------------------------------------------------------------------------------


class _Mouth:
    """Says things to the parent."""

    def __init__(self, out: IO[str]) -> None:
        self._out = out
        self._said = 0.0

    def say(self, word: str, value: Any) -> None:
        self._out.write(json.dumps({word: value}) + "\n")
        self._out.flush()

    def progress(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if now - self._said > _EVERY or done == total:
            self._said = now
            self.say("progress", [what, done, total])


def _work(directory: str, work: str, options: dict[str, Any], mouth: _Mouth) -> dict[str, Any]:
    from journeyman.journal.collector import without_collector
    from journeyman.journal.lmdb_store import LmdbStore

    try:
        store = LmdbStore(directory, readonly=True, locking=options.get("locking", True))
    except NotAJournal:
        if read_sidecar(directory) is None:
            raise
        raise JournalCorrupt(f"the journal at {directory} has lost tables: `journeyman repair` looks for what is left of them") from None
    if store.empty:
        raise NoJournal(directory)
    mouth.say("open", True)
    with without_collector():
        if work == "verify":
            return _verify(store, options, mouth)
        from journeyman.journal.replay import replay

        if read_identity(store) is None:
            raise NoJournal(directory)
        return replay(store, mouth.progress, compared=work == "code")


def _verify(store: Any, options: dict[str, Any], mouth: _Mouth) -> dict[str, Any]:
    from journeyman.journal.lock import owner_of
    from journeyman.journal.pages import astray_in

    against = None if options["against"] is None else Head.read(options["against"])
    findings = Findings(tell=lambda finding: mouth.say("finding", finding._asdict()))
    if owner_of(store.path) is None:  # beside an engine the copy would hold pages for as long as it takes
        mouth.progress("pages", 0, 1)
        _verify_log(store, findings)
        try:
            store.walk()
        except JournalCorrupt as failure:
            findings.add(Finding("FILE", str(failure).partition(": keep")[0]))
        with store.snapshot():  # pages that are in use stay as they are meanwhile
            astray = list(islice(astray_in(os.path.join(store.path, "data.mdb")), LISTED))
        if owner_of(store.path) is None:  # else an engine came, and the file may have grown under our eyes
            for text in astray:
                findings.add(Finding("FILE", text))
        mouth.progress("pages", 1, 1)
    found = Examination(store, findings, mouth.progress, against).run()
    return {
        "counts": found.counts,
        "records": found.records,
        "payloads": found.payloads,
        "rows": found.rows,
        "first_seq": found.first_seq,
        "head": None if found.head is None else str(found.head),
        "proven_from": found.proven_from,
        "proof": found.proof,
        "seconds": found.seconds,
    }


def _verify_log(store: Any, findings: Findings) -> None:
    from journeyman.journal.joining import check_log
    from journeyman.journal.lock import owner_of

    try:
        check_log(store)
    except JournalCorrupt as failure:
        if owner_of(store.path) is None:  # else an engine has begun to write under our eyes
            findings.add(Finding("FILE", str(failure).partition(".  ")[0], seq=failure.seq))


def _stop(number: int, _frame: object) -> NoReturn:
    """Leave by the front door, so that what is open is closed."""
    sys.exit(128 + number)


def _end_with_parent() -> None:
    while os.read(0, 1):  # the parent says nothing there; not by sys.stdin, whose lock would be in the way of an ordinary end
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(PATIENCE)
    os._exit(1)


def main(directory: str, work: str, options: str) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_end_with_parent, name="journeyman-parent", daemon=True).start()
    mouth = _Mouth(sys.stdout)
    try:
        mouth.say("done", _work(directory, work, json.loads(options), mouth))
    except JournalError as failure:
        mouth.say("refused", [type(failure).__name__, str(failure), getattr(failure, "seq", None)])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))

__all__ = ["JournalVersion", "run", "verify"]
