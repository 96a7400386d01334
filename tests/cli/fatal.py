"""Work on a journal that is killed, or stopped by Ctrl-C, at its N-th step outside the interpreter, for many N.

A child is forked for each N, with a fresh copy of SOURCE in FOLDER.  It counts what the interpreter tells its audit hook about files and
processes and raises the signal at the N-th such step; then a second child looks at all of what is left.  Prints a line for each N: the
number, how the work ended, and which files there are that were not there before.  Ends when N is beyond the end of the work, or with
exit code 1 when what was left is not whole.  (Forks, because starting an interpreter for each N would take longer than all the rest.)

    fatal.py (backup|compact|import|repair) SIGNAL SOURCE FOLDER FIRST EVERY
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from journeyman.journal.backup import backup
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.parcel import last_seq
from journeyman.journal.probe import look as thorough_look
from journeyman.journal.rebuild import import_journal
from journeyman.journal.repair import repair
from journeyman.journal.shrink import shrink
from journeyman.journal.store import Table

STEPS = frozenset({
    "open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.chmod", "os.truncate", "os.link", "os.listdir", "os.scandir",
    "shutil.rmtree", "subprocess.Popen", "fcntl.flock", "fcntl.lockf",
})  # fmt: skip
ENOUGH = 400  # steps: more than any of the works takes


def count_down(number: int, which: signal.Signals) -> None:
    left = [number]

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if event not in STEPS or (event == "open" and not str(args[0]).startswith(str(folder))):
            return
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), which)

    sys.addaudithook(hook)


def work() -> None:
    if kind == "backup":
        backup(folder / "jobs", folder / "made")
    elif kind == "repair":
        repair(folder / "jobs", folder / "made")
    elif kind == "import":
        import_journal(folder / "export.cbor", folder / "made")
    else:
        shrink(folder / "jobs")


def look() -> str:
    """What is left, as far as it is a journal; anything unexpected is an error."""
    for name in ("jobs", "made"):
        if (folder / name).exists():
            thorough_look(str(folder / name), thorough=True)
            store = LmdbStore(str(folder / name), readonly=True, locking=False)
            assert (last_seq(store), store.count(Table.EVENTS)) == whole, name
    names = sorted(path.name for path in folder.iterdir()) + sorted(f"jobs/{path.name}" for path in (folder / "jobs").iterdir())
    return " ".join(name for name in names if name in ("made", "made.part", "jobs/compacting"))


def in_child(job: Any) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 0
    try:
        job()
    except KeyboardInterrupt:
        code = 130
    except BaseException as error:
        print(type(error).__name__, error, flush=True)
        code = 99
    os._exit(code)


def main() -> None:
    number = first
    while number < ENOUGH:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)

        def die(number: int = number) -> None:
            count_down(number, fatal)
            work()

        end = in_child(die)
        print(number, end, flush=True, end=" ")
        if in_child(lambda: print(look(), flush=True)):
            sys.exit(1)
        if end == 0:
            return
        number += every
    sys.exit("it never came to its end")


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell that starts the tests in the background has it ignored
    kind, fatal = sys.argv[1], signal.Signals[sys.argv[2]]
    source, folder, first, every = Path(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]), int(sys.argv[6])
    known = LmdbStore(str(source / "jobs"), readonly=True, locking=False)
    whole = (last_seq(known), known.count(Table.EVENTS))
    known.close()
    main()
