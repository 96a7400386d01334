"""Journals for the tests of the tools, made by real engines, and the command line as a user calls it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import trio
from typer.testing import CliRunner

from journeyman.cli.app import app
from journeyman.engine import Constant, Engine, Queue, Retry


def journeyman(*arguments: object, cwd: Path | None = None, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own; check its exit code yourself."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "journeyman", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False, env=env,
    )  # fmt: skip


def called(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The same in this process: twenty times as fast, for all that a process of its own does not matter to."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def mail_queue() -> Queue:
    """`send` succeeds, or fails three times for an address that begins with "bad"."""
    queue = Queue("mail", concurrency=8, retry=Retry(attempts=3, backoff=Constant(0.01), jitter=0))

    @queue.handler
    async def send(to: str, password: str = "") -> str:
        if to.startswith("bad"):
            raise ValueError(f"no such address: {to}")
        return "250 ok"

    return queue


def report_queue() -> Queue:
    queue = Queue("reports")

    @queue.handler
    async def report(number: int) -> None: ...

    return queue


def filled(path: Path, tasks: int = 20) -> Path:
    """A journal of `tasks` mails, every seventh a dead letter, and two reports that wait in a paused queue; closed in good order."""

    async def main() -> None:
        mail, reports = mail_queue(), report_queue()
        async with Engine(path, [mail, reports]) as engine:
            sends = [mail.handlers["send"].bind(f"bad{n}" if n % 7 == 0 else f"u{n}@example.org", password="geheim") for n in range(tasks)]
            await engine.submit_many(sends)
            await engine.drain()
            await engine.pause("reports", reason="month end", by="ops")
            await engine.submit(reports.handlers["report"].using(key="k"), 1)
            await engine.submit(reports.handlers["report"].using(delay=3600), 2)

    trio.run(main)
    return path


def copied(template: Path, to: Path) -> Path:
    """A copy with its times, by which a close in good order is told; without LMDB's list of readers."""
    shutil.copytree(template, to, ignore=shutil.ignore_patterns("lock.mdb"))
    return to
