"""A Task is a picture: frozen, in public units, with arguments and result read when they are wanted."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from journeyman.engine import Cancel, Engine, Fatal, Queue, Retry, RetryLater, Snooze, State, Task, TaskCancelled, TaskFailed
from journeyman.kernel.events import TaskSubmitted
from journeyman.kernel.taskstate import TaskState

NOW = 1_893_456_000_000_000  # 2030-01-01


def stored(state: State = State.SCHEDULED, options: dict[str, Any] | None = None, **facts: Any) -> TaskState:
    event = TaskSubmitted(NOW, "mail", 1, 1, b"\x01" * 16, "send", 5, NOW + 1_000_000, 0, 3, b"d", 0, None, options)
    task = TaskState(event, 41, state)
    for name, value in facts.items():
        setattr(task, name, value)
    return task


def test_units_and_names() -> None:
    options = {
        "owner": ["user", "7"],
        "tags": ["a"],
        "source": "api",
        "attempts": 9,
        "parent": b"\x02" * 16,
        "deadline_at": NOW,
        "meta": {"k": 1},
    }
    task = Task.of(stored(options=options, progress_ppm=500_000, message="half"), NOW, attempts=3)
    assert task.id == "01010101-0101-0101-0101-010101010101"
    assert (task.seq, task.queue, task.handler, task.state) == (41, "mail", "send", "scheduled")
    assert (task.submitted_at, task.due_at) == (datetime(2030, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, 0, 0, 1, tzinfo=UTC))
    assert (task.owner, task.tags, task.source, task.max_attempts) == (("user", "7"), ("a",), "api", 9)
    assert (task.parent, task.deadline_at, dict(task.meta)) == (
        "02020202-0202-0202-0202-020202020202",
        datetime(2030, 1, 1, tzinfo=UTC),
        {"k": 1},
    )
    assert (task.progress, task.message, task.attempt, task.ended, task.started_at, task.expires_at) == (0.5, "half", 0, False, None, None)


def test_the_state_is_what_an_observer_sees() -> None:
    assert Task.of(stored(), NOW + 999_999, attempts=1).state is State.SCHEDULED
    assert Task.of(stored(), NOW + 1_000_000, attempts=1).state is State.PENDING


def test_a_picture_does_not_change() -> None:
    state = stored(options={"tags": ["a"]})
    task = Task.of(state, NOW, attempts=1)
    twin = Task.of(state, NOW, attempts=1, payload=lambda: ([], {}))
    assert task == twin  # what is not read yet is no part of it
    state.attempt, state.state = 5, State.RUNNING
    assert (task.attempt, task.state) == (0, State.SCHEDULED)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.attempt = 1  # type: ignore[misc]
    with pytest.raises(TypeError):
        task.meta["k"] = 1  # type: ignore[index]


def test_arguments_and_result_are_read_once_and_late() -> None:
    reads: list[str] = []

    def payload() -> tuple[list[Any], dict[str, Any]]:
        reads.append("payload")
        return ["a"], {}

    task = Task.of(stored(), NOW, attempts=1, payload=payload, result=lambda: reads.append("result") or 7)  # type: ignore[func-returns-value]
    assert reads == []
    assert (task.payload, task.payload, task.result, task.result) == ((["a"], {}), (["a"], {}), 7, 7)
    assert reads == ["payload", "result"]
    bare = Task.of(stored(), NOW, attempts=1)
    assert (bare.payload, bare.result) == (None, None)


def test_volatile_progress_wins() -> None:
    task = Task.of(stored(progress_ppm=1, message="old"), NOW, attempts=1, progress=(250_000, "new"))
    assert (task.progress, task.message) == (0.25, "new")


def test_errors_that_carry_a_task() -> None:
    error = ("builtins.OSError", "refused", "Traceback ...", ["OSError"])
    ended = {"attempt": 2, "finished_at": NOW, "error": error}
    failed = TaskFailed(Task.of(stored(State.FAILED, reason="attempts", **ended), NOW, attempts=2))
    assert failed.failure is not None
    assert (failed.failure.type, failed.failure.message, failed.failure.at) == (
        "builtins.OSError",
        "refused",
        datetime(2030, 1, 1, tzinfo=UTC),
    )
    assert "send) failed after 2 attempts, reason: attempts: builtins.OSError: refused" in str(failed)
    cancelled = TaskCancelled(Task.of(stored(State.CANCELLED, reason="not needed", finished_at=NOW), NOW, attempts=2))
    assert (cancelled.reason, str(cancelled).endswith("was cancelled: not needed")) == ("not needed", True)


COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, dataclasses.replace, lambda it: pickle.loads(pickle.dumps(it))]


async def test_what_the_engine_shows_can_be_hashed_copied_and_sent_to_another_process() -> None:
    queue = Queue("q", retry=Retry(attempts=1))

    @queue.handler
    async def work(n: int) -> int:
        return 10 // n

    @queue.handler
    async def quit() -> None:
        raise Cancel("enough")

    async with Engine(None, [queue]) as engine:
        ended = [await engine.submit(work.using(meta={"k": 1}, tags=["a"], owner=("user", "7")), n) for n in (5, 0)]
        ended.append(await engine.submit(quit))
        for handle in ended:
            await handle.wait(5)
        every = await engine.schedule("s", work.using(meta={"k": 1}), every=60, args=[5])
        seen: list[Any] = [*await engine.list(), (await engine.stats())["q"], await engine.explain(ended[0].id), every]
        seen += [event for handle in ended for event in await engine.history(handle.id)]
        seen += [work.using(meta={"k": 1})]
        for value in seen:
            assert {value: 1}[dataclasses.replace(value)] == 1
        for value in seen[:-1]:  # what can be submitted stays at home
            assert all(make(value) == value for make in COPIES)
            assert dataclasses.asdict(value)
        listed = (await engine.list())[-1]
        with pytest.raises(TaskFailed) as failed:
            await ended[1].result()
        with pytest.raises(TaskCancelled) as cancelled:
            await ended[2].result()
    # Without the engine.
    travelled = pickle.loads(pickle.dumps(seen[2]))
    assert (travelled.payload, travelled.result, travelled.meta) == (([5], {}), 2, {"k": 1})
    assert listed.id == travelled.id
    for make in (copy.copy, copy.deepcopy, COPIES[-1]):
        assert make(failed.value).failure == failed.value.failure
        assert make(cancelled.value).reason == "enough"
        assert str(make(failed.value)) == str(failed.value)


@pytest.mark.parametrize(
    "change", ["m['k'] = 2", "del m['k']", "m |= {}", "m.update(k=2)", "m.pop('k')", "m.popitem()", "m.clear()", "m.setdefault('x', 1)"]
)
def test_a_map_that_is_shown_cannot_be_changed(change: str) -> None:
    shown = Task.of(stored(options={"meta": {"k": 1}}), NOW, attempts=1)
    for m in (shown.meta, pickle.loads(pickle.dumps(shown)).meta, copy.deepcopy(shown).meta):
        with pytest.raises(TypeError, match="cannot be changed"):
            exec(change, {"m": m})
        assert m == {"k": 1}
        assert json.dumps(m) == '{"k": 1}'


@pytest.mark.parametrize(
    "steering",
    [
        Snooze(5),
        Snooze(timedelta(hours=1)),
        Snooze(until=datetime(2030, 1, 1, tzinfo=UTC)),
        RetryLater("x", 3, scope="queue"),
        Cancel("no"),
        Fatal("no"),
    ],
    ids=str,
)
def test_what_steers_a_task_can_come_from_another_process(steering: Exception) -> None:
    for make in (copy.copy, copy.deepcopy, COPIES[-1]):
        made = make(steering)
        assert (type(made), str(made), vars(made)) == (type(steering), str(steering), vars(steering))
