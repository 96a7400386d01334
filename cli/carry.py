"""`journeyman export`, `import`, `backup` and `compact`: journals that travel, are kept twice, and give room back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from itertools import compress
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer

from journeyman.cli.failures import WrongCall, command
from journeyman.cli.fields import Fields
from journeyman.cli.moments import moment
from journeyman.cli.prove import READING
from journeyman.cli.screen import AsJson, Bar, JournalPath, Redact, Reveal, Screen, size
from journeyman.journal.backup import backup as make_backup
from journeyman.journal.building import readable, sweep_away
from journeyman.journal.checked import Checking
from journeyman.journal.collector import without_collector
from journeyman.journal.echoes import Remembered, echoes_of
from journeyman.journal.errors import NotImportable, Occupied
from journeyman.journal.fleeting import fleeting
from journeyman.journal.hotcopy import copy_data
from journeyman.journal.identity import read_identity
from journeyman.journal.log import seq_key
from journeyman.journal.parcel import Header, Item, pages
from journeyman.journal.parquet import ParquetWriter, pyarrow
from journeyman.journal.rebuild import import_journal
from journeyman.journal.record import Ignored, decode_records
from journeyman.journal.redaction import HIDDEN, Redaction
from journeyman.journal.shrink import shrink
from journeyman.journal.store import Store
from journeyman.journal.view import JournalView, open_journal
from journeyman.journal.wire import CborSequence, JsonLines, Shown, Writer
from journeyman.kernel.events import Event, TaskSubmitted
from journeyman.kernel.namespace import shown_name

commands = typer.Typer()


class Format(StrEnum):
    """Of an export."""

    JSONL = "jsonl"
    CBOR = "cbor"
    PARQUET = "parquet"


_WRITERS: dict[Format, Callable[[BinaryIO, Header], Writer]] = {
    Format.JSONL: JsonLines,
    Format.CBOR: CborSequence,
    Format.PARQUET: ParquetWriter,
}
FormatOption = Annotated[
    Format | None, typer.Option("--format", help="What to write.  [default: as FILE's name ends, else jsonl]", show_default=False)
]


@command(commands)
def export(
    path: JournalPath,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to; - or nothing: stdout.", show_default=False)] = None,
    form: FormatOption = None,
    since: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only events from this seq or instant on.")] = None,
    until: Annotated[str | None, typer.Option(metavar="MOMENT", help="Only events up to this seq or instant.")] = None,
    queue: Annotated[str | None, typer.Option(metavar="NAME", help="Only events of this queue.")] = None,
    reveal: Reveal = False,
    redact: Redact = None,
    as_json: AsJson = False,
) -> None:
    """Write a journal's events and payloads to a file.

    With --reveal and without --since, --until and --queue the file is complete: `import` makes the same journal of it, bit for bit.  Any
    other file is for reading: nothing in it is raw, fields whose names tell of secrets are hidden, and `import` refuses it.
    """
    screen = Screen(as_json)
    chosen = form or _format_of(file)
    redaction = Redaction(redact or (), reveal=reveal)
    selected = {name: value for name, value in (("since", since), ("until", until), ("queue", queue)) if value is not None}
    if chosen is Format.PARQUET:
        pyarrow()
        if _is_stdout(file):
            raise WrongCall("a Parquet file cannot go to stdout, its end is written into its beginning: name a FILE")
    with open_journal(path) as beside, _still(beside, file, complete=reveal and not selected) as view:
        redaction.learn(view.parameters())
        low, high = _range(view, since, until)
        identity = read_identity(view.store)
        assert identity is not None
        header = Header(identity, low, high, reveal and not selected, not reveal, selected or None)
        with _destination(file) as out, screen.progress("exporting", high - low + 1) as bar:
            count = _write(_WRITERS[chosen](out, header), view.store, header, _Teller(redaction, queue, chosen, header), bar)
    _told(screen, header, count, chosen, file)


@command(commands, "import")
def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, help="A complete export.", show_default=False)],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Where the journal is to be; nothing may be there.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Make a journal of a complete export: the same events, payloads, commits and chain.  Checked before it is there; all or nothing."""
    screen = Screen(as_json)
    with _occupied_is_a_wrong_call(), screen.progress("importing") as bar:
        try:
            found = import_journal(file, path, tell=bar.to, checking=_checks(bar))
        except NotImportable as error:
            raise WrongCall(str(error)) from None
    if as_json:
        screen.json(found._asdict())
    else:
        screen.say(f"imported {found.events} events, up to seq {found.last_seq}, to {found.path}; all of it was checked")
        screen.say("It is a copy: never run it beside the journal that it was exported from, or both do what was waiting.")


@command(commands)
def backup(
    path: JournalPath,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="A directory that is not there yet.", show_default=False)],
    as_json: AsJson = False,
) -> None:
    """Copy a journal, while its engine works or without one: consistent, checked, all or nothing.

    DEST is a complete journal as of one commit.  Keep it, read it, or open it in place of a lost one; never run it beside the original.
    """
    screen = Screen(as_json)
    with _occupied_is_a_wrong_call(), screen.progress("copying") as bar:
        found = make_backup(path, destination, copying=bar.to, checking=_checks(bar))
    if as_json:
        screen.json(found._asdict())
    else:
        screen.say(f"backed up to {found.path}: {size(found.bytes)}, up to seq {found.last_seq}; all of it was checked")


@command(commands)
def compact(path: JournalPath, as_json: AsJson = False) -> None:
    """Give the room inside data.mdb that is free back to the disk.  Needs the journal alone, and as much room again while it works.

    What was deleted before is no longer in the file either.
    """
    screen = Screen(as_json)
    with screen.progress("copying") as bar:
        found = shrink(path, copying=bar.to, checking=_checks(bar))
    if as_json:
        screen.json({"before_bytes": found.before, "after_bytes": found.after})
    else:
        screen.say(f"data.mdb had {size(found.before)} and has {size(found.after)}; all of it was checked")


def _checks(bar: Bar) -> Checking:
    """Shows how far the check of a copy has come."""
    return lambda what, done, total: bar.now(f"checking: {READING.get(what, what)}", done, total)


# --- what export is made of -------------------------------------------------------------------------------------------------


class _Teller:
    """Decides which items of a page go into the file, and how they are shown."""

    def __init__(self, redaction: Redaction, queue: str | None, chosen: Format, header: Header) -> None:
        self._redaction, self._queue = redaction, queue
        self._echoes = Remembered()
        self._blind = chosen is Format.CBOR and header.complete  # only raw bytes: nothing needs to be decoded
        self._fields = Fields(redaction, for_json=chosen is not Format.CBOR)
        self.exact = header.complete

    def page(self, items: list[Item]) -> tuple[Sequence[Item], Shown | None]:
        if self._blind:
            return items, None
        events = decode_records([(seq_key(item.seq), item.value) for item in items])
        if self._queue is not None:
            wanted = [self._queue in (event.queue, shown_name(event.queue)) for _, event in events]
            items, events = list(compress(items, wanted)), list(compress(events, wanted))
        of = self._fields.of
        shown = [of(seq, event, item.payload) for (seq, event), item in zip(events, items, strict=True)]
        if self._redaction.reveal:
            return items, shown
        return items, [self._unechoed(event, item, one) for (_, event), item, one in zip(events, items, shown, strict=True)]

    def _unechoed(self, event: Event | Ignored, item: Item, shown: dict[str, Any]) -> dict[str, Any]:
        """Without the hidden values of its task's arguments."""
        if isinstance(event, TaskSubmitted) and HIDDEN in repr(shown):  # to look costs less than to decode every task's arguments again
            meta = (event.options or {}).get("meta")
            self._echoes.learn(event.task, echoes_of(self._redaction, event.handler, item.payload, meta))
        found: dict[str, Any] = self._echoes.value(getattr(event, "task", None), shown)
        return found


def _write(writer: Writer, store: Store, header: Header, teller: _Teller, bar: Bar) -> int:
    count = 0
    with without_collector():
        for items in pages(store, header.first_seq, header.last_seq, exact=teller.exact):
            wanted, shown = teller.page(items)
            if wanted:
                writer.page(wanted, shown)
            count += len(wanted)
            bar.to(items[-1].seq - header.first_seq + 1)
        writer.end()
    return count


@contextlib.contextmanager
def _still(view: JournalView, file: Path | None, *, complete: bool) -> Iterator[JournalView]:
    """The journal as of one moment, which a complete export needs.

    Without an engine: a snapshot.  Beside one, a snapshot that lasts for minutes would make its file grow, so what is exported is a copy,
    which LMDB makes as fast as the disk is (journal/fleeting.py).
    """
    if not complete:
        yield view
    elif view.owner is None:
        with view.store.snapshot():
            yield view
    else:
        where = None if file is None or _is_stdout(file) else os.path.dirname(os.path.abspath(file))
        with readable(where or "the temporary files"), fleeting(where) as folder:
            copy_data(view.store, folder)
            with open_journal(folder) as copied:
                sweep_away(folder)  # open it stays readable, and a kill leaves nothing any more
                with copied.store.snapshot():
                    yield copied


def _range(view: JournalView, since: str | None, until: str | None) -> tuple[int, int]:
    """The first and last seq that are meant, as far as they are there."""
    first, last = view.first_seq, view.last_seq
    if since is not None:
        wanted = moment(since)
        found = wanted if isinstance(wanted, int) else next((seq for seq, _ in view.events(wanted, page=1)), last + 1)
        first = max(first, found)
    if until is not None:
        last = min(last, view.seq_at(moment(until)))
    return first, max(last, first - 1)


def _format_of(file: Path | None) -> Format:
    if file is not None and not _is_stdout(file):
        for form in Format:
            if file.suffix == f".{form}":
                return form
        if file.suffix:
            raise WrongCall(f"{file.suffix} says nothing of what to write: name FILE .jsonl, .cbor or .parquet, or give --format")
    return Format.JSONL


def _is_stdout(file: Path | None) -> bool:
    return file is None or str(file) == "-"


@contextlib.contextmanager
def _destination(file: Path | None) -> Iterator[BinaryIO]:
    """stdout, or a file that appears when it is complete, readable for its owner alone."""
    if file is None or _is_stdout(file):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    if os.path.lexists(file):
        raise WrongCall(f"{file} is there already, and nothing is ever overwritten: name another file")
    part = f"{file}.part"
    with readable(str(file)):
        try:
            with open(part, "wb", opener=_alone) as out:
                yield out
                out.flush()
                os.fsync(out.fileno())
                os.link(part, file)  # which never overwrites
        except FileExistsError:
            raise WrongCall(f"{file} has appeared meanwhile, and nothing is ever overwritten: name another file") from None
        except BlockingIOError:
            raise WrongCall(f"another export to {file} is under way: wait for it, or name another file") from None
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(part)
            raise
        os.unlink(part)


def _alone(name: str, flags: int) -> int:
    """Open for the one export that writes it; what a killed one has left is overwritten."""
    fd = os.open(name, flags & ~os.O_TRUNC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def _occupied_is_a_wrong_call() -> Iterator[None]:
    try:
        yield
    except Occupied as error:
        raise WrongCall(str(error)) from None


def _told(screen: Screen, header: Header, count: int, form: Format, file: Path | None) -> None:
    what = (
        "complete"
        if header.complete
        else "not importable: " + ("fields are hidden (--reveal shows them)" if header.redacted else "it is a part of the journal")
    )
    if not count:
        screen.note("journeyman: no event is in this span or of this queue; what was written has a head and no events")
    if file is None or _is_stdout(file):
        screen.note(f"exported {count} events, {what}")
    elif screen.as_json:
        answer = {"file": str(file), "format": str(form), "events": count, "first_seq": header.first_seq, "last_seq": header.last_seq}
        screen.json(answer | {"complete": header.complete, "redacted": header.redacted, "bytes": file.stat().st_size})
    else:
        screen.say(f"exported {count} events, seq {header.first_seq} to {header.last_seq}, to {file} ({form}, {what})")


__all__ = ["commands"]
