"""What happened in a simulated world, in order; its digest; a narrow table of it.

The digest is equal for equal seeds: across processes, hash seeds, versions of Python.  So nothing enters it that differs
without meaning: no traceback, no address in a message (DECISIONS 38), no process id.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

from journeyman.kernel.taskstate import ROW

_ADDRESS: Final = re.compile(r"0x[0-9a-fA-F]{4,}")
_VOLATILE: Final = frozenset({"pid", "python", "host"})
_DULL: Final = frozenset({"at", "qseq", "payload_digest", "result_digest", "codec", "key_id"})
_PLAIN: Final = frozenset({"TaskSubmitted", "AttemptStarted", "TaskSucceeded"})  # nothing in them hangs on the process
ROWS: Final = 100_000  # kept from the beginning, and as many from the end; the digest and the counts miss none


class Entry(NamedTuple):
    """One thing that happened.  at: seconds since the world began.  kind: what (an event's name, `crash`, `boot`, `call`, ...)."""

    at: float
    kind: str
    note: str
    seq: int = 0  # of a journal event
    event: Any = None

    @property
    def text(self) -> str:
        """The details in words."""
        return self.note if self.event is None else described(self.event)

    def __str__(self) -> str:
        return f"{self.at:>14.6f}  {self.kind:<18.18}  {self.text}"


@dataclass
class Trace:
    """The record of one run.  events: what happened, oldest first (the first `ROWS`).  latest: what came after these (the last `ROWS`).
    counts: how often each kind.
    """

    seed: int = 0
    events: list[Entry] = field(default_factory=list)
    latest: deque[Entry] = field(default_factory=lambda: deque(maxlen=ROWS))
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    reached: Counter[str] = field(default_factory=Counter)
    points: int = 0  # places where a crash could strike
    worth: list[int] = field(default_factory=list)  # those of them at which a crash may show something new
    boots: int = 0
    seconds: float = 0.0  # of virtual time

    def __post_init__(self) -> None:
        self._hash = blake2b(digest_size=16)

    def add(self, at: float, kind: str, text: str, seq: int = 0) -> None:
        text = _ADDRESS.sub("0x", text) if "0x" in text else text
        self._hash.update(f"{at:.6f}|{kind}|{text}\n".encode("utf-8", "backslashreplace"))
        self.counts[kind] += 1
        (self.events if len(self.events) < ROWS else self.latest).append(Entry(at, kind, text, seq))

    def add_events(self, at: float, records: Iterable[tuple[bytes, bytes]], events: Iterable[tuple[int, Any]]) -> None:
        """The events of a commit that is on the disk, and their records.

        The body of a record is hashed as it stands where nothing in it can differ without meaning.
        """
        said: list[bytes] = []
        counts, rows, latest = self.counts, self.events, self.latest
        stamp = b"%d " % round(at * 1e6)
        new = tuple.__new__
        for (seq, event), (_, record) in zip(events, records, strict=True):
            kind = type(event).__name__
            if kind in _PLAIN:
                said += (stamp, b"%d " % seq, record[24:] if record[2] & 1 else record[8:])
            else:
                line = f"{at:.6f}|{seq}|{kind}|{_ADDRESS.sub('0x', described(event))}\n"
                said.append(line.encode("utf-8", "backslashreplace"))
            counts[kind] += 1
            (rows if len(rows) < ROWS else latest).append(new(Entry, (at, kind, "", seq, event)))
        self._hash.update(b"".join(said))

    @property
    def digest(self) -> str:
        """32 hexadecimal digits over everything that happened."""
        return self._hash.copy().hexdigest()

    def render(self, last: int | None = None, around: float | None = None) -> str:
        """The events as a table, 100 columns wide; only the `last` ones, or those `around` an instant."""
        rows = [*self.events, *self.latest]
        first, end = 0, len(rows)
        if around is not None:
            near = min(range(end), key=lambda n: abs(rows[n].at - around), default=0)
            half = (last or 40) // 2
            first, end = max(0, near - half), near + half
        elif last is not None:
            first = max(0, end - last)
        table = [str(entry)[:100] for entry in rows[first:end]]
        gap, left_out = len(self.events) - first, self.counts.total() - len(rows)
        if left_out and 0 < gap < len(table):
            table.insert(gap, f"{'':>14}  ... {left_out:,} events left out ...")
        return "\n".join([f"{'seconds':>14}  {'what':<18}  details", *table])


def described(event: Any) -> str:
    """An event in words: its task first, then what is not always the same.  Errors without their traceback."""
    fields = event._asdict()
    parts = [fields.pop("queue")] if fields.get("queue") else []
    task = fields.pop("task", None)
    if task is not None:
        parts.append(task.hex()[-12:])
    if "row" in fields:  # of a task that is retried by hand
        fields["row"] = dict(zip(ROW, fields["row"], strict=False))
    parts += [f"{name}={_named(name, value)}" for name, value in fields.items() if value not in (None, b"", "") and name not in _DULL]
    return " ".join(parts)


def _named(name: object, value: Any) -> str:
    """A value under its name.  Of an error its type and text: a traceback holds the paths of this machine."""
    return in_words(value[:2] if name == "error" and isinstance(value, (list, tuple)) else value)


def in_words(value: Any) -> str:
    """A value as the digest takes it: byte strings as hex, maps in order, without what differs from run to run."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_named(key, value[key])}" for key in sorted(value, key=str) if key not in _VOLATILE) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(in_words, value)) + "]"
    return str(value)
