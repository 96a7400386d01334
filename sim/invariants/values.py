"""The application's key-values: put whole or not at all, and what they are is what was put last."""

from __future__ import annotations

from typing import Any

from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalCorrupt
from journeyman.journal.store import Table
from journeyman.journal.values import decode_row, name_of
from journeyman.sim.invariants.invariant import Invariant
from journeyman.sim.oracle import Work


class PutsWithSuccess(Invariant):
    """What a task put is in the commit of its success, and of no other event of it; each put takes the place of the last one of its key."""

    name = "puts come with the success"

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._succeeded: set[bytes] = set()  # in the commit that is taken in

    def succeeded(self, seq: int, event: Any, work: Work | None) -> None:
        self._succeeded.add(event.task)

    def value_put(self, seq: int, event: Any, work: Work | None) -> None:
        if event.by_task is not None and event.by_task not in self._succeeded:
            self.broken(f"record {seq} puts {event.key!r} for task {event.by_task.hex()}, which does not succeed in this commit")
        standing = self.oracle.values.get((event.namespace, event.key))
        former = 0 if standing is None else standing[0]
        if event.former != former:
            self.broken(f"record {seq} puts {event.key!r} in the place of record {event.former}, and record {former} speaks for it")

    def commit(self, batch: Any) -> None:
        self._succeeded.clear()


class ValuesAgree(Invariant):
    """The table of values on the disk, with what lies under its seqs, is what all durable events come to: after every commit that puts, at
    every boot, and in the end.  What a reader is told is the value after some event that was durable in time.
    """

    name = "values agree with their events"
    calls = frozenset({"value"})

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._put: dict[tuple[str, bytes], None] = {}
        self._told: dict[tuple[str, bytes], list[tuple[int, bytes]]] = {}  # seq and digest of each value a key has had; b"": none

    def value_put(self, seq: int, event: Any, work: Work | None) -> None:
        name = event.namespace, event.key
        self._put[name] = None
        self._told.setdefault(name, []).append((seq, b"" if event.deleted else event.value_digest))

    def commit(self, batch: Any) -> None:
        if self._put:
            for name in self._put:
                self._check(name)
            self._put.clear()

    def _check(self, name: tuple[str, bytes]) -> None:
        disk = self.witness.disk
        wanted = self.oracle.values.get(name)
        key = name[0].encode() + b"\x1f" + name[1]
        row = disk.get(Table.KEYVALUES, key)
        if wanted is None or row is None:
            if (wanted is None) is not (row is None):
                self.broken(f"key {name} {'has a row and no value' if wanted is None else 'has a value and no row'}")
            return
        seq, size, value_digest = wanted
        value = disk.get(Table.PAYLOADS, seq.to_bytes(8, "big"))
        if decode_row(key, row) != (seq, value_digest) or value is None or len(value) != size or digest(value) != value_digest:
            self.broken(f"the value of key {name} is not what record {seq} put")

    def _check_all(self) -> None:
        try:
            there = {name_of(key) for key, _ in self.witness.disk.scan(Table.KEYVALUES, limit=1 << 30)}
        except JournalCorrupt as failure:
            self.broken(str(failure))
            return
        for name in there | set(self.oracle.values):
            self._check(name)

    def booted(self, boot: Any) -> None:
        self._check_all()

    def finish(self) -> None:
        self._check_all()

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if asked.name != "value" or error is not None:
            return
        name = asked.namespace, asked.value("key", 0)
        said = b"" if answer is None else digest(answer)
        told = self._told.get(name, [])
        before = [known for known in told if known[0] <= asked.seq][-1:] or [(0, b"")]
        if all(said != known for _, known in [*before, *(known for known in told if known[0] > asked.seq)]):
            self.broken(f"value({name}) answered with what the key did not have then")


class TransactionsWhole(Invariant):
    """Of a transaction all is in one commit, or nothing; of one that was acknowledged all."""

    name = "transactions are whole"
    calls = frozenset({"commit_transaction"})

    def __init__(self, witness: Any) -> None:
        super().__init__(witness)
        self._commits: list[tuple[int, dict[tuple[str, bytes], bytes], set[bytes]]] = []  # newest seq, values put, tasks submitted
        self._values: dict[tuple[str, bytes], bytes] = {}
        self._tasks: set[bytes] = set()

    def value_put(self, seq: int, event: Any, work: Work | None) -> None:
        self._values[event.namespace, event.key] = b"" if event.deleted else event.value_digest

    def submitted(self, seq: int, event: Any, work: Work | None) -> None:
        self._tasks.add(event.task)

    def commit(self, batch: Any) -> None:
        if any(asked.name == "commit_transaction" for asked in self.witness.under_way.values()):
            self._commits.append((self.oracle.newest_seq, self._values, self._tasks))
            self._values, self._tasks = {}, set()
        else:
            self._commits.clear()
            self._values.clear()
            self._tasks.clear()

    def answered(self, asked: Any, answer: Any, error: BaseException | None) -> None:
        if asked.name != "commit_transaction":
            return
        [tx] = asked.args
        values = {name: b"" if value is None else digest(value) for name, value in tx.changes.writes.items()}
        tasks = {one.task for one in tx.wanted}
        if error is None:
            self._acknowledged(asked, values, {one.handle._id for one in tx.wanted})
        for seq, put, submitted in self._commits:
            if seq <= asked.seq or not tasks & submitted:
                continue
            missing = [name for name in values if name not in put]
            if missing:
                self.broken(f"a transaction's tasks are in the commit that ends with record {seq}, and its {missing} are not")

    def _acknowledged(self, asked: Any, values: dict[tuple[str, bytes], bytes], tasks: set[bytes]) -> None:
        for task in tasks:
            if task not in self.oracle.tasks and task not in self.oracle.gone_ids:
                self.broken(f"task {task.hex()} of a transaction was acknowledged before its commit")
            self.witness.acknowledged[task] = None
        for seq, put, _ in self._commits:  # several transactions may share a commit, and one of them may have put a key again
            if seq > asked.seq and all(name in put or (known == b"" and name not in self.oracle.values) for name, known in values.items()):
                return
        if any(known != b"" for known in values.values()):
            self.broken("a transaction was acknowledged, and no commit has what it put")


__all__ = ["PutsWithSuccess", "TransactionsWhole", "ValuesAgree"]
