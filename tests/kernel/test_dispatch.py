"""What starts, in which order, and what never starts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.kernel.commands import Cancel, Configure, Dispatch, Env, Expire, Failed, Finish, Pause, Released, Resume, Snoozed
from journeyman.kernel.events import AttemptReleased, AttemptStarted, TaskCancelled, TaskFailed
from journeyman.kernel.lifecycle import State
from journeyman.kernel.policy import Constant, Policy, Retry
from journeyman.kernel.wakeup import next_wakeup
from tests.kernel.lane import ERROR, FREE, SECOND, Lane, task, tid


def test_a_start_is_a_numbered_attempt_with_a_fence() -> None:
    lane = Lane(Policy())
    lane.when(task(1)).start(1, at=3 * SECOND)
    assert lane.event == AttemptStarted(3 * SECOND, "q", 4, 1, tid(1), 1, 1, 0, SECOND)
    assert lane[1].fence == (1, 1)


def test_priority_then_first_due_then_submission() -> None:  # row 18 # row 19
    lane = Lane(Policy(concurrency=9))
    lane.when(task(1), task(2, priority=10), task(3, due_at=2 * SECOND), task(4), task(5, priority=-1), task(6, due_at=2 * SECOND))
    lane.start(2, 1, 4, 3, 6, 5, at=5 * SECOND)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 9)), min_size=1, max_size=40), st.integers(1, 7))
def test_the_order_is_total_and_exact(tasks: list[tuple[int, int]], concurrency: int) -> None:
    lane = Lane(Policy(concurrency=concurrency), now=1, checked=False)
    lane.when(*(task(n, priority=p, due_at=due) for n, (p, due) in enumerate(tasks)))
    expected = sorted(range(len(tasks)), key=lambda n: (-tasks[n][0], max(tasks[n][1], 1), n))
    started: list[int] = []
    lane.now = 10
    while len(started) < len(tasks):
        lane.when(Dispatch())
        batch = [int.from_bytes(e.task, "big") for e in lane.last]  # type: ignore[union-attr]
        assert 1 <= len(batch) <= concurrency
        started += batch
        for n in batch:
            lane.finish(n)
    assert started == expected


def test_never_early() -> None:  # row 20
    lane = Lane(Policy())
    lane.when(task(1, due_at=5 * SECOND)).start(at=5 * SECOND - 1)
    assert next_wakeup(lane.state, lane.now, FREE) == 5 * SECOND
    lane.start(1, at=5 * SECOND)


def test_concurrency_holds_and_changes_at_once() -> None:  # row 13
    lane = Lane(Policy(concurrency=2))
    lane.when(*(task(n) for n in range(6))).start(0, 1).start()
    lane.when(Configure(Policy(concurrency=4).facts(), "me")).start(2, 3)
    lane.when(Configure(Policy(concurrency=1).facts(), "me")).start().finish(0).finish(1).finish(2).start().finish(3).start(4)


def test_engine_slots_are_what_the_engine_has_left() -> None:  # row 14
    lane = Lane(Policy(concurrency=5))
    lane.when(*(task(n) for n in range(4))).start(0, 1, env=Env(free_slots=2)).start(env=Env(free_slots=0)).start(2, 3)


def test_a_straggler_holds_its_slot_and_its_task() -> None:  # row 32
    lane = Lane(Policy.compile(concurrency=2, retry=Retry(3, Constant(0), 0)))
    lane.when(task(1), task(2), task(3)).start(1, 2).finish(1, Failed(1, ERROR, "timeout"))
    still = Env(stragglers={tid(1)})
    lane.start(env=still)
    assert next_wakeup(lane.state, lane.now, still) is None
    lane.finish(2).start(3, env=still).start(1)


def test_paused_starts_nothing_and_survives_reopening() -> None:
    lane = Lane(Policy())
    lane.when(task(1)).when(Pause("me", "lunch")).start().reopen().start()
    assert next_wakeup(lane.state, lane.now, FREE) is None
    lane.when(Resume("me")).start(1)


def test_a_stopping_engine_starts_nothing() -> None:
    Lane(Policy()).when(task(1)).start(env=Env(stopping=True)).start(1)


def test_a_missing_handler_parks_without_blocking() -> None:  # row 34
    lane = Lane(Policy())
    lane.state.set_handlers({"send"})
    lane.when(task(1, handler="gone"), task(2)).start(2).finish(2).start()
    assert lane.state.agenda.parked == {tid(1): "no handler here"}
    assert lane.state.counts(lane.now)[State.PENDING] == 1
    lane.when(Cancel(tid(1), "", "me")).then(TaskCancelled)
    lane.when(task(3, handler="gone")).start()
    lane.state.set_handlers({"send", "gone"})
    lane.start(3)
    assert lane[3].attempt == 1


def test_handlers_in_env_are_heeded_too() -> None:
    Lane(Policy()).when(task(1, handler="gone"), task(2)).start(2, env=Env(handlers={"send"}))


def test_unfit_is_given_back_uncharged_and_parked_until_the_next_owner() -> None:
    lane = Lane(Policy())
    lane.when(task(1)).start(1).finish(1, Released(1, "unfit", {"why": "no parameter 'to'"})).then(AttemptReleased)
    assert lane.state.agenda.parked == {tid(1): "no parameter 'to'"}
    lane.start()
    assert (lane[1].failures, lane[1].crashes) == (0, 0)
    lane.reopen().start(1)
    lane.finish(1, Released(1)).start(env=Env(unfit={tid(1): "no"})).start(1)


def test_park_and_unpark() -> None:
    lane = Lane(Policy())
    lane.when(task(1), task(2))
    lane.state.park(tid(1), "because")
    lane.state.park(tid(1), "twice")
    lane.start(2).finish(2).start()
    lane.state.unpark(tid(1))
    lane.state.unpark(tid(1))
    lane.start(1)


@pytest.mark.parametrize("ending", [Failed(1, ERROR, delay_us=0), Snoozed(1, 0), Released(1)])
def test_what_comes_back_goes_ahead_of_younger_ones(ending: Failed | Snoozed | Released) -> None:
    lane = Lane(Policy(attempts=5))
    lane.when(task(1)).start(1).when(task(2), at=2 * SECOND).finish(1, ending).start(1)
    assert lane[1].attempt == 2


def test_what_waits_for_its_backoff_blocks_nobody() -> None:
    lane = Lane(Policy.compile(retry=Retry(9, Constant(60), 0)))
    lane.when(task(1), task(2)).start(1).finish(1, Failed(1, ERROR)).start(2).finish(2).start()
    assert next_wakeup(lane.state, lane.now, FREE) == lane[1].due_at == lane.now + 60 * SECOND


def test_a_deadline_is_the_last_instant_to_start() -> None:
    lane = Lane(Policy())
    lane.when(task(1, options={"deadline_at": 5 * SECOND}), task(2, options={"deadline_at": 4 * SECOND}), task(3))
    assert next_wakeup(lane.state, lane.now, FREE) == 4 * SECOND + 1
    lane.when(Expire(), at=4 * SECOND).then()
    lane.start(1, at=5 * SECOND)
    lane.finish(1).start(3).finish(3)  # 2 is past its deadline: never started, not even before it is cancelled
    lane.when(Expire()).then(TaskCancelled)
    assert (lane[2].reason, lane[2].state) == ("deadline", State.CANCELLED)
    assert next_wakeup(lane.state, lane.now, FREE) is None


def test_a_deadline_holds_for_a_retry_and_rests_while_running() -> None:
    lane = Lane(Policy(attempts=3))
    lane.when(task(1, options={"deadline_at": 5 * SECOND})).start(1).when(Expire(), at=9 * SECOND).then()
    lane.finish(1, Failed(1, ERROR, delay_us=0)).start().when(Expire()).then(TaskCancelled)


def test_own_attempts_override_the_queues() -> None:  # row 25
    lane = Lane(Policy(attempts=1))
    lane.when(task(1, options={"attempts": 2})).start(1).finish(1, Failed(1, ERROR, delay_us=0)).start(1)
    lane.finish(1, Failed(1, ERROR, delay_us=0)).then(TaskFailed)


def test_finish_and_dispatch_free_the_slot_in_one_step() -> None:
    lane = Lane(Policy())
    lane.when(task(1), task(2)).start(1).when(Finish(tid(1), 1, 1, Released(1, "stop"))).start(1)
