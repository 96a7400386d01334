"""A little engine for journal tests: makes valid events at random, folds, seals, checkpoints, prunes, compacts, crashes.

It is deliberately not the kernel's `decide`: the journal must hold whatever valid history there is.  One seed, one history.
"""

from __future__ import annotations

from random import Random
from typing import Any

from journeyman.journal.compact import compact
from journeyman.journal.prune import Pruner
from journeyman.journal.recovery import Recovered, fold_everything, recover, verify_rows
from journeyman.journal.store import Batch, Store, Table
from journeyman.kernel.events import (
    AttemptFailed,
    AttemptLost,
    AttemptStarted,
    CancelRequested,
    ClockStepped,
    EngineBooted,
    EngineClosed,
    Event,
    QueueConfigured,
    QueueOpened,
    QueuePaused,
    QueueResumed,
    TaskCancelled,
    TaskFailed,
    TaskRetried,
    TaskSubmitted,
    TaskSucceeded,
    TransitionRejected,
)
from journeyman.kernel.lifecycle import TERMINAL, State
from journeyman.kernel.policy import Policy
from journeyman.kernel.taskstate import TaskState
from journeyman.kernel.world import JournalState, fold

START = 1_700_000_000_000_000


def commit(store: Store, batch: Batch) -> None:
    outcome: list[BaseException | None] = []
    import threading

    done = threading.Event()

    def on_done(error: BaseException | None) -> None:
        outcome.append(error)
        done.set()

    store.begin_append(batch, on_done)
    assert done.wait(30)
    if outcome[0] is not None:
        raise outcome[0]


def picture(state: JournalState, recovered: Recovered | None = None) -> dict[str, Any]:
    """Everything logical: facts, and every row, whether memory or the catalog's tables hold it."""
    rows = {task.id: task.row() for queue in state.queues.values() for task in queue.tasks.values()}
    if recovered is not None:
        ids = [key for key, _ in recovered.journal.store.scan(Table.TASKS, limit=100_000)]
        for task in recovered.catalog.rows(ids):
            if task.id not in recovered.tally.shadowed and task.id not in recovered.tally.leaving:
                assert task.id not in rows, f"settled {task} is in memory too"
                rows[task.id] = task.row()
    return {"facts": state.facts(), "queues": {name: queue.facts() for name, queue in state.queues.items()}, "rows": rows}


class Driver:
    """One boot of the little engine on a store."""

    def __init__(self, store: Store, seed: int, *, boot_events: bool = True) -> None:
        self.random = Random(seed)
        self.store = store
        self.opened = recover(store)
        self.state = self.opened.state
        self.journal = self.opened.journal
        self.checkpoint = self.opened.checkpoint
        self.pruner = Pruner(self.journal, self.opened.catalog, self.checkpoint)
        self.now = max(self.state.last_at, START) + 1
        self.pending: list[tuple[int, Event]] = []
        self.payloads: list[tuple[int, bytes]] = []
        self.marks: list[str] = []
        if boot_events:
            self.emit(EngineBooted(self.now, "", 0, self.state.boots + 1, {"version": "1", "pid": 1}))
            for name in ("mail", "web"):
                queue = self.state.queue(name)
                self.emit(QueueOpened(self.now, name, queue.qseq + 1, queue.epoch + 1, self.state.boots))
            self.flush()

    # --- events ---

    def emit(self, event: Event) -> int:
        seq = self.journal.take(1)
        self.checkpoint.before_apply(event)
        fold(self.state, event, seq)
        self.pending.append((seq, event))
        return seq

    def flush(self, extra: Batch | None = None) -> None:
        batch = self.journal.seal(self.pending, self.payloads, extra=extra)
        self.pending, self.payloads = [], []
        if batch:
            commit(self.store, batch)

    def head(self, name: str) -> tuple[int, str, int, int]:
        queue = self.state.queue(name)
        return self.now, name, queue.qseq + 1, queue.epoch

    def tasks(self, *states: State) -> list[TaskState]:
        return [task for name in sorted(self.state.queues) for task in self.state.queue(name).tasks.values() if task.state in states]

    def submit(self, name: str = "mail", delay: int = 0) -> bytes:
        id = self.random.randbytes(16)
        seq = self.emit(
            TaskSubmitted(
                *self.head(name), id, "send", 5, self.now + delay, 0, 9, b"d" * 16, 0, None, {"meta": {"b": 1, "a": 2}} if delay else None
            )
        )
        self.payloads.append((seq, b"arguments"))
        return id

    def start(self, task: TaskState) -> None:
        self.emit(
            AttemptStarted(*self.head(task.queue), task.id, task.attempt + 1, 1, self.now + 5 if task.queue == "web" else 0, task.due_at)
        )

    def end(self, task: TaskState, kind: int, keep: int | None) -> None:
        expires = None if keep is None else self.now + keep
        head = self.head(task.queue)
        error = ("ValueError", "no", "trace", ["ValueError", "Exception"])
        if kind == 0:
            seq = self.emit(TaskSucceeded(*head, task.id, task.attempt, 10, expires, True, 3, b"r" * 16, 0))
            self.payloads.append((seq, b"res"))
        elif kind == 1:
            self.emit(TaskFailed(*head, task.id, task.attempt, 10, 1, 0, expires, True, error, "attempts"))
        elif kind == 2:
            self.emit(TaskCancelled(*head, task.id, task.attempt, 10, expires, True, "bye", "me"))
        elif kind == 3:
            self.emit(AttemptFailed(*head, task.id, task.attempt, 10, task.failures + 1, self.now + 50, error))
        elif kind == 4:
            self.emit(AttemptLost(*head, task.id, task.attempt, task.crashes + 1, True))
        else:
            self.emit(CancelRequested(*head, task.id, task.attempt, "stop", "me"))

    def act(self) -> None:
        """One random thing."""
        random = self.random
        self.now += random.randrange(1, 20)
        dice = random.random()
        waiting, running = self.tasks(State.PENDING, State.SCHEDULED, State.RETRYING), self.tasks(State.RUNNING)
        if dice < 0.30 or not (waiting or running):
            self.submit(random.choice(("mail", "web")), random.choice((0, 0, 500)))
        elif dice < 0.55 and waiting:
            self.start(random.choice(waiting))
        elif dice < 0.85 and running:
            self.end(random.choice(running), random.choice((0, 0, 0, 1, 2, 3, 4, 5)), random.choice((0, 100, 1000, None)))
        elif dice < 0.90:
            self.retry_or_reject()
        elif dice < 0.93 and waiting:
            task = random.choice(waiting)
            self.emit(TaskCancelled(*self.head(task.queue), task.id, 0, 0, self.now + 200, True, "clear", "me"))
        else:
            self.odd()

    def retry_or_reject(self) -> None:
        ended = [
            task
            for task in self.tasks(State.FAILED, State.CANCELLED, State.SUCCEEDED)
            if task.expires_at is None or task.expires_at > self.now
        ]
        settled = self.opened.catalog.newest("mail", State.FAILED, self.now, limit=5)
        if settled and self.random.random() < 0.5:
            task = self.random.choice(settled)
            self.emit(TaskRetried(*self.head(task.queue), task.id, "op", "again", task.row()))
        elif ended:
            task = self.random.choice(ended)
            if task.state is not State.SUCCEEDED and self.random.random() < 0.6:
                self.emit(TaskRetried(*self.head(task.queue), task.id, "op", "again", task.row()))
            else:
                self.emit(
                    TransitionRejected(
                        *self.head(task.queue), task.id, task.attempt, task.epoch, self.random.choice("abc"), task.state.value
                    )
                )

    def odd(self) -> None:
        choice = self.random.randrange(12)
        if choice == 0:
            self.emit(QueuePaused(*self.head("mail"), "op", "calm"))
        elif choice == 1:
            self.emit(QueueResumed(*self.head("mail"), "op", "go"))
        elif choice == 2:
            self.emit(QueueConfigured(*self.head("web"), Policy().facts(), "op"))
        elif choice == 3:
            self.emit(ClockStepped(self.now, "", 0, self.state.boots, self.random.choice((-7, 7_000))))

    # --- duties ---

    def begin_checkpoint(self) -> None:
        self.flush()
        self.checkpoint.begin(self.state, self.journal.sealed, self.now)

    def chunk(self, rows: int) -> bool:
        """One chunk, in a commit of its own together with whatever events wait; False when the checkpoint is over."""
        batch = self.checkpoint.next_chunk(rows)
        if batch is None:
            return False
        self.flush(batch)
        return True

    def whole_checkpoint(self, rows: int) -> None:
        """One from beginning to end, `rows` a commit."""
        self.begin_checkpoint()
        while self.chunk(rows):
            pass

    def prune(self, limit: int = 50) -> int:
        self.flush()
        tasks = self.pruner.expired(self.state, self.now, limit, self.journal.sealed)
        if not tasks:
            return 0
        pruning = self.pruner.prune(tasks, self.state, self.now)
        for event in pruning.events:
            self.emit(event)
        self.flush(pruning.extra)
        self.pruner.durable(pruning)
        return len(tasks)

    def compact(self, at_least: int = 3) -> bool:
        self.flush()
        plan = compact(self.journal, self.checkpoint, self.state, self.now, at_least=at_least)
        if plan is None:
            return False
        self.emit(plan.event)
        self.flush(plan.extra)
        return True

    def close(self) -> None:
        self.emit(EngineClosed(self.now, "", 0, self.state.boots))
        self.flush()

    # --- checks ---

    def check(self) -> None:
        """Live == recovered == folded from the first event; the tables add up."""
        self.flush()
        live = picture(self.state, self.opened)
        again = recover(self.store)
        verify_rows(self.store, again.tally)
        recovered = picture(again.state, again)
        assert_same(recovered, live)
        assert (again.journal.chain, again.journal.next_seq) == (self.journal.chain, self.journal.next_seq)
        folded = picture(fold_everything(self.journal))
        assert_same(folded, live)
        check_tables(again)


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal pictures; on failure name only what differs."""
    if one != other:
        for part in one:
            for key in sorted({*one[part], *other[part]}, key=repr):
                a, b = one[part].get(key), other[part].get(key)
                assert a == b, (part, key, a, b)
    assert one == other


def check_tables(opened: Recovered) -> None:
    """The indexes of ended tasks agree with their rows."""
    store, tally = opened.journal.store, opened.tally
    ids = [key for key, _ in store.scan(Table.TASKS, limit=100_000)]
    rows = opened.catalog.rows(ids)
    places = [tally.place(task) for task in rows]
    assert sorted((p.state_key, p.id) for p in places) == store.scan(Table.BY_STATE, limit=100_000)
    assert sorted((p.expiry_key, p.expiry_value) for p in places if p.expiry_key is not None) == store.scan(Table.BY_EXPIRY, limit=100_000)
    for task in rows:
        assert task.state in TERMINAL
