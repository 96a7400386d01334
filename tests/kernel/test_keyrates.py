"""`rate_per_key`: tokens for each serialization key, one alarm for all of them, and nobody in another's way."""

from __future__ import annotations

from random import Random

import pytest

from journeyman.kernel.commands import Cancel, Configure, Dispatch, Env, Submit
from journeyman.kernel.events import ClockStepped
from journeyman.kernel.explain import explain
from journeyman.kernel.policy import Policy, Rate
from journeyman.kernel.state import QueueState
from journeyman.kernel.wakeup import next_wakeup
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import FREE, SECOND, Lane, task, tid


def of(n: int, key: str, **more: object) -> Submit:
    return task(n, options={"key": key, **more})


def policy(burst: int = 1, concurrency: int = 9, per_key: int = 9, **more: object) -> Policy:
    rate = Rate(1, per=10, burst=burst)
    return Policy.compile(concurrency=concurrency, per_key=per_key, rate_per_key=rate, **more)  # type: ignore[arg-type]


def test_each_key_has_tokens_of_its_own() -> None:
    lane = Lane(policy()).when(of(1, "a"), of(2, "a"), of(3, "b"), task(4)).start(1, 3, 4)
    assert [event.options for event in lane.last] == [{"key_tat_at": lane.now + 10 * SECOND}] * 2 + [None]  # type: ignore[union-attr]
    assert next_wakeup(lane.state, lane.now, FREE) == 11 * SECOND
    [reason] = explain(lane.state, tid(2), lane.now, FREE)
    assert (reason.kind, reason.until_at) == ("key rate limited until", 11 * SECOND)
    lane.start(at=11 * SECOND - 1).start(2, at=11 * SECOND)


def test_one_that_waits_for_its_key_stands_in_nobodys_way() -> None:
    Lane(policy(concurrency=1)).when(of(1, "a"), of(2, "a"), of(3, "a"), of(4, "b")).start(1).finish(1).start(4)


def test_a_burst_is_started_one_after_the_other_at_the_same_instant() -> None:
    lane = Lane(policy(burst=2)).when(*(of(n, "a") for n in range(1, 5))).start(1).start(2).start()
    lane.start(3, at=lane.now + 10 * SECOND).start()


def test_the_key_rate_and_the_order_of_the_key_hold_both() -> None:
    lane = Lane(policy(per_key=1)).when(of(1, "a"), of(2, "a")).start(1)
    lane.start(at=20 * SECOND).finish(1).start(2)


def test_a_better_one_of_the_key_takes_the_front() -> None:
    lane = Lane(policy()).when(of(1, "a"), task(2, priority=9, options={"key": "a"})).start(2)
    lane.when(Cancel(tid(1), "", "me")).when(of(3, "a"), task(4, priority=9, options={"key": "a"}))
    lane.when(Cancel(tid(4), "", "me")).start(3, at=11 * SECOND)


def test_costs_count_for_the_key_too() -> None:
    lane = Lane(policy(burst=3)).when(of(1, "a", cost=3), of(2, "a", cost=2), of(3, "a")).start(1)
    assert next_wakeup(lane.state, lane.now, FREE) == lane.now + 20 * SECOND
    lane.start(2, at=lane.now + 20 * SECOND).start(3, at=lane.now + 10 * SECOND)


def test_a_queues_rate_and_its_keys_rates_hold_both() -> None:
    lane = Lane(Policy.compile(concurrency=9, per_key=9, rate=Rate(1, per=1), rate_per_key=Rate(1, per=10)))
    lane.when(*(of(n, "ab"[n % 2]) for n in range(4))).start(0).start(1, at=lane.now + SECOND)
    assert next_wakeup(lane.state, lane.now, FREE) == 11 * SECOND
    lane.start(2, at=11 * SECOND).start(3, at=12 * SECOND)


def test_no_alarm_while_no_slot_is_free() -> None:
    lane = Lane(policy(concurrency=1)).when(of(1, "a"), of(2, "a")).start(1)
    assert next_wakeup(lane.state, lane.now, FREE) is None
    assert next_wakeup(lane.state, lane.now, Env(free_slots=0)) is None


def test_it_survives_checkpoints_steps_of_the_clock_and_older_facts() -> None:
    lane = Lane(policy()).when(of(1, "a"), of(2, "a")).start(1)
    fresh = QueueState("q")
    fresh.merge_facts(lane.state.facts())
    assert fresh.key_tats.get("a") == 11 * SECOND
    world = JournalState()
    for seq, event in enumerate(lane.journal, 1):
        fold(world, event, seq)
    fold(world, ClockStepped(lane.now + 7200 * SECOND, "", 0, 1, 7200 * SECOND), 90)
    moved = world.queues["q"]
    assert moved.key_tats.get("a") == 7211 * SECOND
    moved.advance(7201 * SECOND)
    assert next_wakeup(moved, 7201 * SECOND, FREE) == 7211 * SECOND
    old = lane.state.facts()
    del old["key_tats"]
    QueueState("q").merge_facts(old)


def test_a_restart_gives_no_free_start() -> None:
    lane = Lane(policy()).when(of(1, "a"), of(2, "a"), of(3, "b")).start(1, 3)
    lane.reopen(at=2 * SECOND).start(at=11 * SECOND - 1).start(1, 3, at=11 * SECOND)


def test_a_change_of_the_policy_takes_effect_at_once() -> None:
    lane = Lane(Policy(concurrency=9, per_key=9)).when(of(1, "a"), of(2, "a"), of(3, "a"))
    lane.when(Configure({"rate_per_key": [1, 10 * SECOND, 1]}, "me")).start(1).start()
    lane.when(Configure({"rate_per_key": None}, "me")).start(2, 3)


def test_one_that_more_crashes_would_end_waits_for_its_key_as_well() -> None:
    lane = Lane(policy(retry=None)).when(Configure({"crashes": 1}, "me"), at=SECOND)
    lane.when(of(1, "a")).start(1).reopen(entered=[1], at=2 * SECOND)
    assert lane[1].crashes == 1
    assert next_wakeup(lane.state, lane.now, FREE) == 11 * SECOND
    lane.start(at=10 * SECOND).start(1, at=11 * SECOND)


@pytest.mark.parametrize("seed", range(12))
def test_smooth_whatever_happens(seed: int) -> None:
    """Against the most naive account there is; and the alarm never sleeps past a token."""
    chance = Random(seed)
    burst, per = chance.choice((1, 2, 4)), 10 * SECOND
    lane = Lane(policy(burst=burst, concurrency=chance.choice((1, 3, 50)), per_key=chance.choice((1, 2, 50))))
    buckets: dict[str, tuple[float, int]] = {}
    n = 0
    for _ in range(150):
        for _ in range(chance.choice((0, 0, 1, 3))):
            n += 1
            lane.when(of(n, chance.choice("abc"), cost=chance.choice((1, 1, 2))))
        while True:
            lane.when(Dispatch())
            if not lane.last:
                break
            for event in lane.last:
                started = lane.state.tasks[event.task]  # type: ignore[union-attr]
                options = started.options or {}
                level, at = buckets.get(options["key"], (0.0, 0))
                level = max(0.0, level - (lane.now - at) / per)
                assert level + min(options["cost"], burst) <= burst + 1e-9
                buckets[options["key"]] = (level + options["cost"], lane.now)
        for each in chance.sample(sorted(lane.state.running.values()), len(lane.state.running)):
            if chance.random() < 0.5:
                lane.finish(int.from_bytes(each.id, "big"))
        lane.when(Dispatch())
        at_next = next_wakeup(lane.state, lane.now, FREE)
        lane.now = max(lane.now + 1, at_next if at_next is not None and chance.random() < 0.5 else lane.now + chance.randrange(5 * SECOND))


def test_a_hundred_thousand_keys_are_one_alarm_and_no_scan() -> None:
    lane = Lane(policy(concurrency=4, per_key=1), checked=False)
    keys = 8_000
    lane.when(*(of(n, f"k{n % keys}") for n in range(2 * keys)))
    for n in range(keys):  # the first of each key, four at a time, a millisecond apart
        if n % 4 == 0:
            lane.now += 1000
            lane.when(Dispatch())
            for event in lane.last:
                lane.finish(int.from_bytes(event.task, "big"))  # type: ignore[union-attr]
    wakes = starts = 0
    while starts < 2_000:
        at = next_wakeup(lane.state, lane.now, FREE)
        assert at is not None
        wakes += 1
        lane.when(Dispatch(), at=at)
        starts += len(lane.last)
        for event in lane.last:
            lane.finish(int.from_bytes(event.task, "big"))  # type: ignore[union-attr]
    assert wakes <= starts, "no alarm that starts nothing"
    tokens = lane.state.agenda.tokens
    assert tokens is not None
    assert len(tokens) <= 4 * keys


def test_it_has_no_name() -> None:
    with pytest.raises(ValueError, match="no name"):
        Policy.compile(rate_per_key=Rate(1, name="x"))
