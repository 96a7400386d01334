"""Every command on every kind of damage (corpus.py), in two ways.

In CI: one interpreter goes through all of them, an answer a line, so if it dies of a signal, or hangs, the parent knows the culprit, and
goes on behind it with another one.  A child (journal/probe.py) looks at each journal once: it is the same file, as every command but the
orders is shown to leave it.  In full, `python -m tests.cli.matrix` (make damage): a process for each, as an operator has it.

The orders (and `compact`) may write, if they have found nothing wrong in what they read, so each has a copy of its own; one that refuses
must leave that as it was, too.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from tests.cli.corpus import CASES

READING: Final[dict[str, list[str]]] = {
    "stats": ["stats", "{home}", "--json"],
    "queues": ["queues", "{home}"],
    "log": ["log", "{home}", "--json"],
    "task": ["task", "{home}", "{failed}", "--reveal"],
    "task that waits": ["task", "{home}", "{waiting}", "--json"],
    "why": ["why", "{home}", "{waiting}"],
    "at": ["at", "{home}", "--seq", "100"],
    "at the end": ["at", "{home}", "--seq", "{last}", "--task", "{failed}"],
    "diff": ["diff", "{home}", "50", "{last}", "--json"],
    "verify": ["verify", "{home}", "--json"],
    "replay": ["replay", "{home}", "--json"],
    "verify-code": ["verify-code", "{home}", "--json"],
    "whatif": ["whatif", "{home}", "--queue", "mail", "--set", "concurrency=2", "--json"],
    "export": ["export", "{home}", "{work}/export.jsonl"],
    "export all": ["export", "{home}", "{work}/export.cbor", "--format", "cbor", "--reveal"],
    "backup": ["backup", "{home}", "{work}/backup"],
    "top": ["top", "{home}", "--once"],
    "from-test": ["from-test", "{home}", "{failed}", "--output", "{work}/test_it.py"],
    "retry --dry-run": ["retry", "{home}", "--all", "--dry-run"],
    "repair": ["repair", "{home}", "{work}/new", "--json"],
}
WRITING: Final[dict[str, list[str]]] = {
    "compact": ["compact", "{home}"],
    "retry": ["retry", "{home}", "--queue", "mail", "--reason", "tested"],
    "cancel": ["cancel", "{home}", "{waiting}", "--reason", "tested"],
    "reschedule": ["reschedule", "{home}", "{waiting}", "--in", "60s", "--reason", "tested"],
    "reprioritise": ["reprioritise", "{home}", "{waiting}", "--priority", "9", "--reason", "tested"],
    "clear": ["clear", "{home}", "reports", "--reason", "tested"],
    "pause": ["pause", "{home}", "mail", "--reason", "tested"],
    "resume": ["resume", "{home}", "reports", "--reason", "tested"],
    "prune": ["prune", "{home}", "mail", "--older-than", "0s", "--reason", "tested"],
}
DOCUMENTED: Final = frozenset({0, 1, 2, 3, 4, 5})  # of cli/failures.py, those that damage may lead to: 2, as a lost task is a wrong id
ENDED: Final = 99  # the code of a call that ended as no command may
_HANGS: Final = 120  # seconds
_LOCKS: Final = frozenset({"lock.mdb", "owner.lock"})


class Known(NamedTuple):
    """What the sound journal holds, for the calls to name."""

    failed: str
    waiting: str
    last: int


class Call(NamedTuple):
    case: str
    command: str
    home: str
    words: list[str]


class Answer(NamedTuple):
    code: int
    out: str
    err: str


def contents(home: Path) -> dict[str, bytes]:
    """What must not change."""
    return {file.name: file.read_bytes() for file in sorted(home.iterdir()) if file.name not in _LOCKS} if home.exists() else {}


def prepared(sound: Path, root: Path, known: Known, cases: list[str], commands: list[str]) -> list[Call]:
    """The damaged journals, and all calls."""
    calls = []
    for place, case in enumerate(cases):
        first = root / str(place)
        shutil.copytree(sound, first / "jobs")
        CASES[case][0](first / "jobs")
        for number, command in enumerate(commands):
            home = first / "jobs"
            if command in WRITING:
                home = first / f"own{number}"
                if (first / "jobs").exists():
                    shutil.copytree(first / "jobs", home)
            work = first / f"work{number}"
            work.mkdir(parents=True)
            words = [word.format(home=home, work=work, **known._asdict()) for word in (READING | WRITING)[command]]
            calls.append(Call(case, command, str(home), words))
    return calls


def answers(calls: list[Call], run: Callable[[list[Call]], Iterator[Answer]]) -> Iterator[tuple[Call, Answer]]:
    """Each call with its answer, and whether the journal is as it was."""
    before = {home: contents(Path(home)) for home in {call.home for call in calls}}
    for call, answer in zip(calls, run(calls), strict=True):
        if (call.command not in WRITING or answer.code not in (0, 1)) and contents(Path(call.home)) != before[call.home]:
            answer = Answer(ENDED, answer.out, answer.err + "\nthe journal was written to")
        yield call, answer


def complaint(answer: Answer) -> str | None:
    """What is wrong with an answer, if anything is."""
    if answer.code not in DOCUMENTED:
        return f"it ended with {answer.code}"
    if "Traceback" in answer.err:
        return "a traceback"
    if answer.code > 1 and "journeyman: " not in answer.err:
        return f"exit code {answer.code} without a message"
    return None


# --- a process for each ---------------------------------------------------------------------------------------------------------


def one_by_one(calls: list[Call]) -> Iterator[Answer]:
    for call in calls:
        command = [sys.executable, "-W", "error", "-m", "journeyman", *call.words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_HANGS, check=False)
        except subprocess.TimeoutExpired:
            yield Answer(ENDED, "", "it hangs")
        else:
            yield Answer(done.returncode, done.stdout, done.stderr)


# --- all in one -----------------------------------------------------------------------------------------------------------------


def in_one_process(calls: list[Call]) -> Iterator[Answer]:
    left = list(calls)
    while left:
        with tempfile.TemporaryFile("w+") as errors:
            child = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.matrix", "--all-in-one"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, cwd=Path(__file__).parents[2],
            )  # fmt: skip
            with child:
                assert child.stdin is not None
                assert child.stdout is not None
                child.stdin.write(json.dumps([call.words for call in left]))
                child.stdin.close()
                for line in child.stdout:
                    yield Answer(*json.loads(line))
                    left.pop(0)
            if left:  # it has not come to its end
                errors.seek(0)
                yield Answer(ENDED, "", f"the interpreter ended with {child.returncode}: {errors.read()[-3_000:]}")
                left.pop(0)


def all_in_one() -> None:
    """The child.  Its output is an answer a line; a call that takes too long ends it, with a traceback of where it was."""
    from journeyman.cli.app import app
    from journeyman.journal import opening, probe

    seen: dict[str, Exception | None] = {}

    def examined_once(directory: str, *, thorough: bool) -> None:
        if directory not in seen:
            try:
                probe.examine(directory, thorough=thorough)
            except Exception as failure:
                seen[directory] = failure
            else:
                seen[directory] = None
        if (failed := seen[directory]) is not None:
            raise failed

    opening.examine = examined_once
    real, calls = sys.stdout, json.loads(sys.stdin.read())
    for words in calls:
        faulthandler.dump_traceback_later(_HANGS, exit=True, file=sys.__stderr__)
        print(words, file=sys.__stderr__, flush=True)
        real.write(json.dumps(_called(app, words)) + "\n")
        real.flush()
    faulthandler.cancel_dump_traceback_later()


def _called(app: Any, words: list[str]) -> Answer:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            app(words)
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            traceback.print_exc()
            code = ENDED
    return Answer(code, out.getvalue(), err.getvalue())


# --- the whole ------------------------------------------------------------------------------------------------------------------


def main() -> int:
    from tests.cli.test_damaged import known_of, made_sound

    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        sound = made_sound(root / "sound")
        calls = prepared(sound, root, known_of(sound), list(CASES), [*READING, *WRITING])
        for call, answer in answers(calls, one_by_one):
            said = complaint(answer)
            wrong += said is not None
            text = said or next((line for line in answer.err.splitlines() if line.startswith("journeyman: ")), "")[:150]
            print(f"{'WRONG' if said else 'ok':5} {call.case:36} {call.command:16} {answer.code:3}  {text}", flush=True)
            if said:
                print(answer.err[-2_000:], flush=True)
    print(f"{len(calls)} calls, {wrong} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    os.environ["PYTHONWARNINGS"] = "error::ResourceWarning"
    sys.exit(all_in_one() if "--all-in-one" in sys.argv else main())
