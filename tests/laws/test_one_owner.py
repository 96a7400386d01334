"""Law 2: a queue's state changes in one place, in one uninterrupted step, on one thread; one writer gives the store its commits."""

from __future__ import annotations

import ast
import threading

import trio

from journeyman.engine import Engine, Queue
from journeyman.journal.memory_store import MemoryStore
from journeyman.journal.store import Batch, Done
from journeyman.kernel.taskstate import TaskState
from tests.sources import ROOT, Source, sources

# Who may fold an event into a state.
FOLDS = {
    "apply": {"actors/recorder.py", "kernel/world.py", "journal/whatif/playing.py"},  # the last: a state of its own, never stored
    "apply_new": {"actors/recorder.py"},
    # Tools fold states of their own.
    "fold": {
        "actors/shell.py",
        "journal/past.py",
        "journal/rebuild.py",
        "journal/recovery.py",
        "journal/repair.py",
        "journal/streaming.py",
        "journal/watching.py",
        "journal/whatif/hearing.py",
        "kernel/world.py",
    },
}
# Every name that is a field of a task and of nothing else that code outside the kernel assigns to.
FIELDS = {slot for slot in TaskState.__slots__ if slot not in ("seq", "queue", "handler", "epoch", "message", "cancel", "state")}
OTHERS_OWN = {"actors/attempt.py", "engine/task.py", "sim/oracle.py"}  # classes of their own with fields of the same names


def called(source: Source) -> set[str]:
    return {node.func.id for node in ast.walk(source.tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}


def test_only_the_recorder_applies() -> None:
    for name, places in FOLDS.items():
        assert {source.name for source in sources() if name in called(source)} == places


def test_nobody_outside_the_kernel_writes_into_a_task() -> None:
    written = [
        f"{source.name}:{node.lineno} .{node.attr}"
        for source in sources()
        if source.layer != "kernel" and source.name not in OTHERS_OWN
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and node.attr in FIELDS
        if not (isinstance(node.value, ast.Name) and node.value.id == "self")
    ]
    assert written == []


def test_only_the_writer_gives_commits_to_the_store() -> None:
    places = {
        source.name
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "begin_append"
    }
    assert {place for place in places if place.startswith(("actors/", "engine/"))} == {"actors/writer.py"}
    assert {place for place in places if place.startswith("journal/")} <= {
        "journal/opening.py",
        "journal/migrate.py",
        "journal/salvage.py",  # into a new journal that nobody else has
        "journal/identity.py",
    }


def test_steps_never_await() -> None:
    tree = next(source.tree for source in sources() if source.name == "actors/queue_actor.py")
    steps = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == "step"]
    assert [type(node) for node in steps] == [ast.FunctionDef], "a plain function, so nothing can come between decide and apply"
    assert (ROOT / "kernel").exists()
    for source in sources():
        if source.layer == "kernel":
            assert not [node for node in ast.walk(source.tree) if isinstance(node, (ast.AsyncFunctionDef, ast.Await))]


class Witness(MemoryStore):
    """Notes in which thread commits are given, and whether one was given while another was under way."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[int] = set()
        self.under_way = 0
        self.most = 0

    def begin_append(self, batch: Batch, done: Done) -> None:
        self.threads.add(threading.get_ident())
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        trio.lowlevel.current_trio_token().run_sync_soon(self._end, batch, done)

    def _end(self, batch: Batch, done: Done) -> None:
        self.under_way -= 1
        super().begin_append(batch, done)


async def test_every_commit_is_given_on_the_loops_thread_one_after_another() -> None:
    store, lanes = Witness(), [Queue("a", concurrency=4), Queue("b", concurrency=4)]
    handlers = [lanes[0].handler(name="in_thread")(lambda: threading.get_ident()), lanes[1].handler(name="more")(lambda: None)]
    async with Engine("x", lanes, store=store) as engine:
        handles = [await engine.submit(handler) for _ in range(10) for handler in handlers]
        others = {await handle.result() for handle in handles} - {None}
    assert others.isdisjoint({threading.get_ident()}), "the handlers did run in other threads"
    assert store.threads == {threading.get_ident()}
    assert store.most == 1
