"""The journal read from its bytes by a second hand: py-lmdb, struct, zlib, hashlib and docs/FORMAT.md, none of the product's readers.

A checker that used the reader it checks would forgive it everything.  Only names are borrowed: the event kinds with their fields, and
the transition table, which is the law the records are held against.

What must hold (numbers are used in the findings):
1. Every record's header and crc are right, its body is one canonical CBOR array of a known kind.
2. Sequence numbers rise; what is missing between them was pruned or compacted, and a record says so.
3. Commits chain: the first record of a commit carries the hash of the commit before, wherever that one is still whole.
4. Each queue's own numbers rise, and its instants never fall within an epoch.
5. Each task's records, followed through the table, never meet a transition that is not in it; attempts count 1, 2, 3 ...
6. No queue ever has more attempts under way than its policy allowed.
7. Payload and result records belong to an event, have the length and digest it names, and are there when they must be.
8. No queue was opened twice in one boot: that happens when its actor has died of a bug.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from journeyman.kernel import lifecycle
from journeyman.kernel.tags import TAGS

HEADER = struct.Struct(">BBBBI")
FIRST, LAST, IGNORABLE = 1, 2, 4
CHAIN_BYTES = 16
TERMINAL = {str(state) for state in lifecycle.TERMINAL}


def digest(*parts: bytes) -> bytes:
    return hashlib.blake2b(b"".join(parts), digest_size=CHAIN_BYTES).digest()


@dataclass
class Findings:
    problems: list[str] = field(default_factory=list)
    records: int = 0
    commits_chained: int = 0
    first: int = 0
    last: int = 0
    missing: int = 0  # sequence numbers that are gone, with a record that says so
    tasks: dict[str, str] = field(default_factory=dict)  # id as uuid text -> state at rest
    attempts: dict[str, int] = field(default_factory=dict)
    succeeded_attempt: dict[str, int] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    file_size: int = 0

    def wrong(self, rule: int, text: str) -> None:
        if len(self.problems) < 50:
            self.problems.append(f"rule {rule}: {text}")


def tables(path: str) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything in the journal, by table name.  Nobody else may have it open."""
    import lmdb

    env = lmdb.open(path, readonly=True, lock=False, max_dbs=32, create=False)
    try:
        with env.begin() as txn:
            with txn.cursor() as cursor:
                names = [bytes(key) for key, _ in cursor]
            found: dict[str, list[tuple[bytes, bytes]]] = {}
            for name in names:
                table = env.open_db(name, txn=txn, create=False)
                with txn.cursor(table) as cursor:
                    found[name.decode()] = [(bytes(k), bytes(v)) for k, v in cursor]
            return found
    finally:
        env.close()


def decode(raw: bytes) -> Any:
    import cbor2

    stream = io.BytesIO(raw)
    value = cbor2.load(stream)
    if stream.read(1):
        raise ValueError("bytes after the end of the array")
    if cbor2.dumps(value, canonical=True) != raw:
        raise ValueError("not canonical")
    return value


def uuid_text(raw: bytes) -> str:
    h = raw.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


class _Task:
    __slots__ = ("attempt", "payload", "queue", "result", "state")

    def __init__(self, queue: str) -> None:
        self.queue = queue
        self.state: str | None = None
        self.attempt = 0
        self.payload: tuple[int, int, bytes] | None = None  # seq, length, digest
        self.result: tuple[int, int, bytes] | None = None


class Examination:
    """One pass over the records of one journal."""

    def __init__(self, found: dict[str, list[tuple[bytes, bytes]]], limits: dict[str, int]) -> None:
        self.found, self.limits, self.f = found, limits, Findings()
        self._tasks: dict[bytes, _Task] = {}
        self._running: Counter[str] = Counter()
        self._qseq: dict[str, int] = {}
        self._at: dict[str, tuple[int, int]] = {}
        self._pruned: list[tuple[int, int, int]] = []  # first, last, records
        self._opened: dict[str, set[int]] = {}
        self._through = 0  # newest JournalCompacted
        self._gaps: list[tuple[int, int]] = []

    def run(self) -> Findings:
        before = 0
        commit: list[bytes] = []
        head = b""
        ended = True  # the last record read ended its commit
        whole = False  # the commit being read has its first record, and every sequence number since
        chain: bytes | None = None  # hash of the last whole commit, if the next record follows it at once
        for seq, raw in self._records():
            self.f.first = self.f.first or seq
            gap = seq != before + 1
            if gap and before:
                self._gaps.append((before + 1, seq - 1))
            elif gap and seq > 1:
                self._gaps.append((1, seq - 1))
            before = seq
            if len(raw) < HEADER.size:
                self.f.wrong(1, f"record {seq} is shorter than its header")
                return self.f
            _version, tag, flags, reserved, crc = HEADER.unpack_from(raw)
            if zlib.crc32(raw[HEADER.size :], zlib.crc32(seq.to_bytes(8, "big") + raw[:4])) != crc or reserved:
                self.f.wrong(1, f"record {seq} fails its crc")
                continue
            body = raw[HEADER.size :]
            if flags & FIRST and not ended and not gap:
                self.f.wrong(3, f"the commit before record {seq} has no end")
            ended = bool(flags & LAST)
            if flags & FIRST:
                said, body = body[:CHAIN_BYTES], body[CHAIN_BYTES:]
                if chain is not None and not gap:
                    self.f.commits_chained += 1
                    if said != chain:
                        self.f.wrong(3, f"the commit that begins at {seq} does not follow the one before it")
                commit, whole, head = [], True, said
            elif gap:
                whole = False
            chain = None
            commit.append(digest(raw))
            if flags & LAST and whole:
                chain = digest(head, digest(*commit))
                whole = False
            self._event(seq, tag, flags, body)
        self.f.last = before
        if not ended:
            self.f.wrong(3, f"the newest commit, up to record {before}, has no end")
        self._explain_gaps()
        self._payloads()
        for task, kept in self._tasks.items():
            if kept.state is not None:
                self.f.tasks[uuid_text(task)] = kept.state
                self.f.attempts[uuid_text(task)] = kept.attempt
        return self.f

    def _records(self) -> Iterator[tuple[int, bytes]]:
        for key, raw in self.found.get("events", []):
            self.f.records += 1
            yield int.from_bytes(key, "big"), raw

    def _event(self, seq: int, tag: int, flags: int, body: bytes) -> None:
        kind = TAGS.get(tag)
        if kind is None:
            if not flags & IGNORABLE:
                self.f.wrong(1, f"record {seq} has the unknown tag {tag}")
            return
        try:
            values = decode(body)
            event = dict(zip(kind._fields, values, strict=False))  # type: ignore[attr-defined]
        except Exception as error:
            self.f.wrong(1, f"record {seq} ({kind.__name__}) does not decode: {error}")
            return
        name = kind.__name__
        self.f.kinds[name] += 1
        queue = event["queue"]
        if event["qseq"] <= self._qseq.get(queue, -1) and queue:
            self.f.wrong(4, f"record {seq} has number {event['qseq']} of queue {queue!r}, after {self._qseq[queue]}")
        self._qseq[queue] = event["qseq"]
        epoch, at = self._at.get(queue, (0, 0))
        if event["epoch"] == epoch and event["at"] < at and queue:
            self.f.wrong(4, f"record {seq} is {at - event['at']} us earlier than the one before it in {queue!r}")
        self._at[queue] = (event["epoch"], event["at"])
        if name == "TasksPruned":
            self._pruned += [(e[0], e[1], e[2]) for e in event["entries"]]
        elif name == "JournalCompacted":
            self._through = max(self._through, event["through_seq"])
        elif name == "QueueOpened":
            boots = self._opened.setdefault(queue, set())
            if event["boot"] in boots:
                self.f.wrong(8, f"record {seq}: the actor of {queue!r} died and was restarted within boot {event['boot']}")
            boots.add(event["boot"])
        elif "task" in event:
            self._transition(seq, name, event)

    def _transition(self, seq: int, name: str, event: dict[str, Any]) -> None:
        task = self._tasks.get(event["task"])
        if task is None:
            task = self._tasks[event["task"]] = _Task(event["queue"])
        if name == "TransitionRejected":
            return
        allowed = lifecycle.TRANSITIONS.get((lifecycle.State(task.state) if task.state else None, name))
        if allowed is None:
            self.f.wrong(5, f"record {seq}: {name} on a task that is {task.state} ({uuid_text(event['task'])})")
            return
        was = task.state
        task.state = str(allowed[0])
        queue = event["queue"]
        if name == "TaskSubmitted":
            task.payload = (seq, event["payload_len"], event["payload_digest"])
            if event["due_at"] > event["at"]:
                task.state = "scheduled"
        elif name == "TaskRescheduled":
            if event["due_at"] > event["at"]:
                task.state = "scheduled"
            if event["options"] and "payload_digest" in event["options"]:
                task.payload = (seq, event["options"]["payload_len"], event["options"]["payload_digest"])
        elif name == "AttemptStarted":
            if event["attempt"] != task.attempt + 1:
                self.f.wrong(5, f"record {seq}: attempt {event['attempt']} after attempt {task.attempt} of {uuid_text(event['task'])}")
            task.attempt = event["attempt"]
            self._running[queue] += 1
            if queue in self.limits and self._running[queue] > self.limits[queue]:
                self.f.wrong(6, f"record {seq}: {self._running[queue]} attempts under way in {queue!r}, {self.limits[queue]} allowed")
        elif name == "TaskSucceeded":
            self.f.succeeded_attempt[uuid_text(event["task"])] = event["attempt"]
            task.result = (seq, event["result_len"], event["result_digest"])
        if (
            name not in ("AttemptStarted", "TaskSubmitted", "TaskRetried", "TaskCancelled", "TaskRescheduled", "TaskReprioritised")
            and event["attempt"] != task.attempt
        ):
            self.f.wrong(5, f"record {seq}: {name} for attempt {event['attempt']}, the task is at {task.attempt}")
        if was == "running" and task.state != "running":
            self._running[queue] -= 1
        if task.state in TERMINAL and not event.get("keep_payload", True):
            task.payload = None

    def _explain_gaps(self) -> None:
        """Rule 2.  Each missing number lies below the compaction line or within a pruned task's span, and there are no more of them
        in all than pruned tasks had records (above the line)."""
        spans = sorted((first, last) for first, last, _ in self._pruned)
        starts = [first for first, _ in spans]
        reach: list[int] = []
        for _, last in spans:
            reach.append(max(last, reach[-1] if reach else 0))
        import bisect

        for low, high in self._gaps:
            for seq in range(max(low, self._through + 1), high + 1):
                self.f.missing += 1
                where = bisect.bisect_right(starts, seq)
                if where == 0 or reach[where - 1] < seq:
                    self.f.wrong(2, f"number {seq} is missing and nothing says that it was pruned")
                    break
            self.f.missing += max(0, min(high, self._through) - low + 1)
        allowance = sum(records for _, last, records in self._pruned if last > self._through)
        above = sum(max(0, high - max(low, self._through + 1) + 1) for low, high in self._gaps)
        if above > allowance:
            self.f.wrong(2, f"{above} records are missing, pruned tasks had only {allowance}")

    def _payloads(self) -> None:
        stored = dict(self.found.get("payloads", []))
        owned: set[bytes] = set()
        for task, kept in self._tasks.items():
            for what, entry in (("payload", kept.payload), ("result", kept.result)):
                if entry is None:
                    continue
                seq, length, expected = entry
                key = seq.to_bytes(8, "big")
                owned.add(key)
                raw = stored.get(key)
                if raw is None:
                    if length and kept.state not in TERMINAL:
                        self.f.wrong(7, f"the {what} of {uuid_text(task)} (record {seq}) is gone")
                    elif length and what == "payload":
                        self.f.wrong(7, f"the payload of {uuid_text(task)} (record {seq}) is gone, though it was to be kept")
                    elif length:
                        self.f.wrong(7, f"the result of {uuid_text(task)} (record {seq}) is gone")
                elif len(raw) != length or (length and digest(raw) != expected):
                    self.f.wrong(7, f"the {what} of {uuid_text(task)} (record {seq}) is not what the event says")
        for key in stored.keys() - owned:
            self.f.wrong(7, f"payload record {int.from_bytes(key, 'big')} belongs to no task")


def examine(path: str, limits: dict[str, int] | None = None) -> Findings:
    """Read the whole journal at `path`.  `limits`: concurrency of each queue, where it never changed."""
    try:
        found = tables(path)
    except Exception as error:
        findings = Findings()
        findings.wrong(1, f"LMDB cannot read it: {type(error).__name__}: {error}")
        return findings
    findings = Examination(found, limits or {}).run()
    findings.file_size = os.stat(os.path.join(path, "data.mdb")).st_blocks * 512
    return findings
