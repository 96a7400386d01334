"""A durable fixity check: the SHA-256 of every file below a directory, each computed once, whatever happens meanwhile.

    python examples/fixity.py DIR [--journal PATH] [--manifest OUT] [--check NAME] [--exclude NAME ...] [--retry] [--trace FILE]

Librarians call a checksum that is kept over time a fixity value.  Over a large collection such a check takes days, and no
machine runs for days undisturbed.  So every file is a task: kill this program at any moment, start it again with the same
arguments, and it goes on with the files that are not recorded yet.  Two things make that work:

1. A task's id is derived from the check's name and the file's path, so submitting it again finds the task that exists (with
   its result, if it has one) instead of making another.
2. A result is recorded in the same commit that ends its task, so at no moment is a file done but not known to be.

Files that cannot be read are tried again, then put aside (the dead letter) and listed at the end; `--retry` gives them
another chance.  The manifest is in the format of sha256sum(1) and is replaced in one step: `sha256sum -c OUT` verifies it.
To check the same files again next year, keep the journal and name the check: `--check 2027`.

Exit code: 0 every file has its checksum; 1 some could not be read; 130 interrupted (start again to go on).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import trio

from journeyman.engine import Context, Engine, Exponential, Handle, Handler, Queue, Retention, Retry, TaskCancelled, TaskFailed

BATCH = 500  # files submitted in one commit
FIXITY = uuid.UUID("7b1f6a52-6b1e-5c39-9c0d-3a1f9f6f2c11")  # the name space of this program's task ids


def hashing_queue(cores: int, trace: Path | None = None) -> tuple[Queue, Handler[[bytes], str]]:
    """The queue and its one handler.  A plain `def` runs in a worker thread; hashing releases the interpreter's lock, so cores count."""
    queue = Queue(
        "fixity",
        concurrency=cores,
        retry=Retry(attempts=3, backoff=Exponential(0.2, cap=5.0), on=(OSError,)),
        retention=Retention(succeeded=None, failed=None),  # a fixity value is kept
    )
    log = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) if trace else None

    @queue.handler
    def sha256(ctx: Context, path: bytes) -> str:
        if log is not None:
            os.write(log, f"{os.getpid()} {ctx.id}\n".encode())
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    return queue, sha256


def files_below(directory: bytes, exclude: Iterable[bytes] = ()) -> Iterator[bytes]:
    """Every regular file, in a fixed order.  Links are not followed: what they point to is checked where it is.

    Paths are bytes, because that is what a file name is: it need not be text in any encoding.
    """
    skipped = frozenset(exclude)
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name not in skipped)
        for name in sorted(names):
            path = os.path.join(folder, name)
            if os.path.isfile(path) and not os.path.islink(path):
                yield path


def task_id(check: str, path: bytes) -> str:
    """A UUID (version 5: SHA-1 of name space and name) that is the same for the same file whenever and wherever we ask."""
    name = check.encode() + b"\0" + os.path.realpath(path)
    return str(uuid.UUID(bytes=hashlib.sha1(FIXITY.bytes + name).digest()[:16], version=5))


def manifest_line(digest: str, path: bytes) -> bytes:
    """One line as sha256sum writes it.  A name with a backslash or a line break is escaped, and a leading backslash says so."""
    escaped = path.replace(b"\\", b"\\\\").replace(b"\n", b"\\n").replace(b"\r", b"\\r")
    return (b"\\" if escaped != path else b"") + digest.encode() + b"  " + escaped + b"\n"


def write_manifest(out: Path, digests: dict[bytes, str]) -> None:
    """Replace `out` in one step, so that nobody ever reads half a manifest."""
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb") as file:
        file.writelines(manifest_line(digests[path], path) for path in sorted(digests))
        file.flush()
        os.fsync(file.fileno())
    partial.replace(out)


@dataclass(slots=True)
class Report:
    digests: dict[bytes, str] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)


class Bar:
    """A progress bar on the terminal; nothing at all when the output goes elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.shown = total, 0, -1
        self.visible = sys.stderr.isatty()

    def step(self) -> None:
        self.done += 1
        percent = 100 * self.done // self.total
        if self.visible and percent != self.shown:
            self.shown = percent
            end = "\n" if self.done == self.total else ""
            print(
                f"\r{'#' * (percent // 2):.<50} {percent:3}%  {self.done:,} of {self.total:,} files", end=end, file=sys.stderr, flush=True
            )


async def check(engine: Engine, sha256: Handler[[bytes], str], name: str, paths: list[bytes], *, retry: bool = False) -> Report:
    """Have every path hashed (once in the life of the journal) and gather the results."""
    handles: list[Handle[str]] = []
    for first in range(0, len(paths), BATCH):
        portion = paths[first : first + BATCH]
        handles += await engine.submit_many(sha256.using(id=task_id(name, path)).bind(path) for path in portion)
    if retry:
        await engine.retry_all("fixity", state="failed")
    report, bar = Report(), Bar(len(paths))
    for path, handle in zip(paths, handles, strict=True):
        try:
            report.digests[path] = await handle.result()
        except (TaskFailed, TaskCancelled) as put_aside:
            report.unreadable[path] = str(put_aside)
        bar.step()
    return report


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The SHA-256 of every file below DIR, durably: kill it, start it again, it goes on.")
    parser.add_argument("directory", metavar="DIR")
    parser.add_argument("--journal", type=Path, default=Path("fixity.journal"), help="where the results are kept (default: fixity.journal)")
    parser.add_argument("--manifest", type=Path, default=Path("fixity.sha256"), metavar="OUT", help="default: fixity.sha256")
    parser.add_argument("--check", default="", metavar="NAME", help="the name of this check; another name hashes everything anew")
    parser.add_argument("--exclude", action="append", default=[], metavar="NAME", help="skip directories of this name (may be repeated)")
    parser.add_argument("--retry", action="store_true", help="try again what could not be read")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="note every hashing in a file outside the journal")
    return parser.parse_args()


async def main() -> int:
    asked = arguments()
    paths = list(files_below(os.fsencode(asked.directory), map(os.fsencode, asked.exclude)))
    queue, sha256 = hashing_queue(os.cpu_count() or 1, asked.trace)
    async with Engine(asked.journal, queues=[queue]) as engine:
        known = await engine.count(queue="fixity", state="succeeded")
        print(f"{len(paths):,} files below {asked.directory}; the journal holds {known:,} checksums already", flush=True)
        report = await check(engine, sha256, asked.check, paths, retry=asked.retry)
    write_manifest(asked.manifest, report.digests)
    print(f"{len(report.digests):,} checksums written to {asked.manifest}; verify with: sha256sum -c --quiet {asked.manifest}")
    for path, why in report.unreadable.items():
        print(f"could not be read: {os.fsdecode(path)!r}: {why}", file=sys.stderr)
    return 1 if report.unreadable else 0


if __name__ == "__main__":
    try:
        sys.exit(trio.run(main))
    except KeyboardInterrupt:
        sys.exit(130)
