"""Orders from the command line: what they touch, who they say gave them, and what they leave alone."""

from __future__ import annotations

import getpass
import json
import shutil
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from journeyman.engine import Engine, Queue, Retry
from journeyman.engine.carrying import at_rest
from journeyman.engine.foresee import foresee
from journeyman.engine.orders import Order, Selection
from journeyman.journal.lmdb_store import LmdbStore
from journeyman.journal.view import JournalView
from journeyman.kernel.events import AttemptStarted, QueueConfigured, ScheduleFired, TasksPruned
from journeyman.kernel.lifecycle import State
from tests.cli.journals import called, copied, filled, journeyman


def shop(path: Path) -> Path:
    """Tasks of every kind that an order may meet, in two queues and a namespace's; a schedule whose time comes; nothing runs."""

    async def main() -> None:
        mail, parcels = Queue("mail", retry=Retry(attempts=1)), Queue("parcels")

        @mail.handler
        async def send(to: str) -> None:
            if to.startswith("bad"):
                raise ValueError(to)

        @parcels.handler
        async def pack(number: int) -> None: ...

        async with Engine(path, [mail, parcels]) as engine:
            for n in range(9):
                tags = ("odd",) if n % 2 else ()
                await engine.submit(send.using(owner=("customer", str(n % 3)), tags=tags), f"bad{n}" if n < 5 else "ok")
            await engine.drain()
            await engine.pause("mail")
            await engine.pause("parcels")
            for n in range(6):
                await engine.submit(send.using(owner=("customer", str(n % 3)), source="web", delay=0 if n % 2 else 3600), "ok")
                await engine.submit(pack.using(key=f"k{n % 2}", priority=n), n)
            plugin = engine.namespace("plugin")
            await plugin.create_queue(Queue("mail"))
            await plugin.pause("mail")
            await engine.schedule("often", pack, args=[1], every=0.5)

    trio.run(main)
    return path


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shop(tmp_path_factory.mktemp("orders") / "jobs")


@pytest.fixture
def path(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "jobs")


def looking(path: Path) -> JournalView:
    """A view of a journal that was made here: no child needs to look at it first, which takes longer than all the rest."""
    return JournalView(LmdbStore(str(path), readonly=True))


def kinds(path: Path) -> list[str]:
    with looking(path) as view:
        return [type(event).__name__ for _, event in view.events()]


def newest(path: Path, kind: str) -> Any:
    with looking(path) as view:
        return [event for _, event in view.events() if type(event).__name__ == kind][-1]


CUSTOMER = ("customer", "1")
ORDERS = [
    Order("retry", selection=Selection(queue="mail")),
    Order("retry", selection=Selection(owner=CUSTOMER)),
    Order("retry", selection=Selection(states=(State.FAILED, State.CANCELLED), tag="odd")),
    Order("retry", selection=Selection(states=(State.INTERRUPTED,))),
    Order("cancel"),
    Order("cancel", selection=Selection(states=(State.SCHEDULED,))),
    Order("cancel", selection=Selection(source="web", owner=CUSTOMER)),
    Order("cancel", selection=Selection(handler="pack", key="k1")),
    Order("reschedule", selection=Selection(queue="mail"), delay=60.0),
    Order("reprioritise", selection=Selection(queue="parcels"), priority=3),
    Order("clear", queues=("parcels",)),
    Order("clear"),
    Order("pause", queues=("mail", "plugin/mail")),
    Order("resume", queues=("mail", "plugin/mail")),
    Order("resume"),
    Order("prune", queues=("mail",)),
    Order("prune", selection=Selection(states=(State.FAILED,))),
    Order("prune", older_than=3600.0),
    Order("prune", selection=Selection(owner=CUSTOMER)),
    Order("prune", queues=("mail", "parcels"), selection=Selection(states=(State.FAILED, State.SUCCEEDED), tag="odd")),
    Order("prune", selection=Selection(handler="pack", key="k1")),
]


@pytest.mark.parametrize("order", ORDERS, ids=lambda order: f"{order.action} {order.queues or order.selection.queue or ''}")
def test_what_is_foreseen_is_what_happens(order: Order, path: Path) -> None:
    with looking(path) as view:
        expected = foresee(view, order, shown=100)
        before = view.last_seq
    with looking(path) as view:
        assert view.last_seq == before, "counting has written something"
    done = at_rest(path, order, shown=100)
    assert (done.count, done.refused) == (expected.count, expected.refused)
    if order.action not in ("prune", "pause", "resume"):
        assert sorted(done.ids) == sorted(expected.ids)
    if order.action in ("cancel", "clear") and not order.queues:
        assert done.count > 0


def test_most_of_those_orders_touch_something(template: Path) -> None:
    with looking(template) as view:
        counts = [foresee(view, order).count for order in ORDERS]
    assert sum(count == 0 for count in counts) == 4 and max(counts) == 12, counts


def test_nothing_runs_fires_or_is_declared(path: Path) -> None:
    before = kinds(path)
    time.sleep(0.6)  # a fire time of the schedule goes by
    done = called("resume", path, "--all", "--reason", "the month is over")
    assert (done.returncode, done.stderr) == (0, "")
    assert called("retry", path, "--queue", "mail").returncode == 0
    new = kinds(path)[len(before) :]
    assert new.count("TaskRetried") == 5 and new.count("QueueResumed") == 3
    assert not {AttemptStarted.__name__, ScheduleFired.__name__, QueueConfigured.__name__, "TaskSubmitted"} & set(new)
    assert set(new) == {"EngineBooted", "QueueOpened", "QueueResumed", "TaskRetried", "EngineClosed"}

    async def main() -> None:  # and the program goes on as if nobody had opened it in between
        mail = Queue("mail", retry=Retry(attempts=1))

        @mail.handler
        async def send(to: str) -> None: ...

        async with Engine(path, [mail]) as engine:
            await engine.drain(timeout=20)
            assert await engine.count("mail", "succeeded") == 12

    trio.run(main)


def test_who_and_why_are_on_the_record(path: Path) -> None:
    done = called("cancel", path, "--source", "web", "--by", "support", "--reason", "left us", "--json")
    answer = json.loads(done.stdout)
    event = newest(path, "TaskCancelled")
    assert (answer["count"], len(answer["ids"]), event.by, event.reason) == (6, 6, "support", "left us")
    for count in (1, 0):
        assert called("resume", path, "mail").stdout.startswith(f"{count} queue")
    assert newest(path, "QueueResumed").by == f"{getpass.getuser()}@{socket.gethostname()}"
    assert "4 tasks pruned" in called("prune", path, "mail", "--older-than", "0", "--state", "succeeded", "--reason", "space").stdout
    pruned = newest(path, "TasksPruned")
    assert isinstance(pruned, TasksPruned) and pruned.options == {"reason": "space"}


def test_by_id(path: Path) -> None:
    with looking(path) as view:
        failed = foresee(view, ORDERS[0], shown=2).ids
        waiting = foresee(view, Order("cancel", selection=Selection(queue="parcels")), shown=1).ids[0]
    unknown = "0198c3a4-1f5e-7c3a-9b1e-3f2d5a6b7c8d"
    wanted = (*failed, waiting, unknown)
    expected = called("retry", path, *wanted, "--dry-run", "--json")
    done = called("retry", path, *wanted, "--json")
    for found in (expected, done):
        answer = json.loads(found.stdout)
        assert (found.returncode, answer["count"], sorted(answer["ids"])) == (1, 2, sorted(failed))
        assert {one["id"] for one in answer["refused"]} == {waiting, unknown}
    assert called("reschedule", path, waiting, "--at", "2999-01-01T00:00:00Z").returncode == 0
    assert newest(path, "TaskRescheduled").due_at == 32_472_144_000_000_000
    assert called("reprioritise", path, waiting, "--priority", "7").returncode == 0
    done = called("cancel", path, waiting)
    assert (done.returncode, done.stdout.split(" by ")[0]) == (0, "1 task cancelled")
    done = called("cancel", path, waiting)
    assert done.returncode == 1
    assert "cancelled" in done.stderr


def test_prune_by_id_and_by_filter(path: Path) -> None:
    with looking(path) as view:
        failed = foresee(view, ORDERS[0], shown=2).ids
        waiting = foresee(view, Order("cancel", selection=Selection(queue="parcels")), shown=1).ids[0]
    wanted = [word for id in (*failed, waiting) for word in ("--id", id)]
    expected, done = (json.loads(called("prune", path, *wanted, "--json", *dry).stdout) for dry in (("-n",), ()))
    assert (expected["count"], expected["refused"]) == (done["count"], done["refused"])
    assert (done["count"], [one["id"] for one in done["refused"]]) == (2, [waiting])
    assert "only ended tasks can be pruned" in done["refused"][0]["why"]
    gone = called("prune", path, "--id", failed[0])
    assert (gone.returncode, gone.stderr[:8]) == (1, "no task ")
    assert called("prune", path, "--owner", "customer:1", "--state", "succeeded", "--older-than", "0").stdout.startswith("1 task pruned")
    assert called("prune", path, "--tag", "odd", "mail", "--state", "failed", "--older-than", "0").stdout.startswith("1 task pruned")
    assert called("prune", path, "--state", "failed").returncode == 2, "states say how, not what"


def test_one_of_two_dead_letters_with_one_unique_key_is_retried(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    async def main() -> tuple[int, list[str]]:
        queue = Queue("q", retry=Retry(attempts=1))

        @queue.handler
        async def fail() -> None:
            raise ValueError("no")

        async with Engine(path, [queue]) as engine:
            ids: list[str] = []
            for key in ("u", "u", "v"):
                handle = await engine.submit(fail.using(unique=key))
                ids.append(handle.id)
                await engine.drain(timeout=20)
            return await engine.retry_all("q", dry_run=True), ids

    counted, ids = trio.run(main)
    by_filter, by_id = Order("retry"), Order("retry", tuple(ids))
    with looking(path) as view:
        expected, named = foresee(view, by_filter, shown=9), foresee(view, by_id)
    assert (counted, expected.count, expected.ids) == (2, 2, (ids[0], ids[2]))
    shutil.copytree(path, tmp_path / "copy", ignore=shutil.ignore_patterns("lock.mdb"))
    assert at_rest(path, by_filter, shown=9) == expected
    done = at_rest(tmp_path / "copy", by_id)
    assert (done.count, done.refused) == (named.count, named.refused)
    assert len(done.refused) == 1 and "unique key 'u'" in done.refused[0][1]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (("retry",), "say --all"),
        (("clear",), "say --all"),
        (("retry", "--state", "succeeded", "--all"), "cannot be retried"),
        (("retry", "no-uuid"), "is no task id"),
        (("retry", "0198c3a4-1f5e-7c3a-9b1e-3f2d5a6b7c8d", "--queue", "mail"), "not both"),
        (("cancel", "--owner", "7"), "KIND:ID"),
        (("cancel", "--queue", "nope"), "no queue 'nope'"),
        (("cancel", "--queue", "nope", "-n"), "no queue 'nope'"),
        (("pause", "nope"), "no queue 'nope'"),
        (("reschedule", "--queue", "mail"), "--in DURATION"),
        (("reschedule", "--queue", "mail", "--at", "7"), "is no instant"),
        (("reprioritise", "--queue", "mail", "--priority", str(1 << 31)), "priority"),
        (("prune", "mail", "--state", "pending"), "only ended tasks"),
        (("cancel", "--queue", "mail", "--reason", "x" * 2000), "say it shorter"),
    ],
)
def test_a_wrong_call_says_what_is_meant(call: tuple[str, ...], words: str, template: Path) -> None:
    done = called(call[0], template, *call[1:])
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_while_an_engine_has_it_open_orders_are_refused_and_counted(tmp_path: Path) -> None:
    path = filled(tmp_path / "jobs")

    async def main() -> None:
        async with Engine(path):
            refused = await trio.to_thread.run_sync(lambda: journeyman("retry", path, "--queue", "mail"))
            counted = await trio.to_thread.run_sync(lambda: journeyman("retry", path, "--queue", "mail", "--dry-run"))
            assert refused.returncode == 6
            assert "the engine of process" in refused.stderr and "--dry-run" in refused.stderr
            assert (counted.returncode, counted.stdout) == (0, "3 tasks would be retried; nothing was touched\n")

    trio.run(main)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("reschedule", "--all", "--in", "nan"), "no duration"),
        (("reschedule", "--all", "--in", "inf"), "no duration"),
        (("prune", "--all", "--older-than", "nan"), "no duration"),
        (("pause", "--all", "--by", " "), "names nobody"),
    ],
)
def test_words_that_mean_nothing(tmp_path: Path, words: tuple[str, ...], said: str) -> None:
    home = filled(tmp_path / "jobs", tasks=1)
    for dry in ((), ("--dry-run",)):
        done = called(words[0], home, *words[1:], *dry)
        assert (done.returncode, said in done.stderr) == (2, True), done.stderr
