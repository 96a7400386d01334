"""Named limiters and costs."""

from __future__ import annotations

from random import Random

import pytest

from journeyman.kernel.apply import apply
from journeyman.kernel.commands import Configure, Dispatch, Env, Submit
from journeyman.kernel.events import ClockStepped, TasksPruned
from journeyman.kernel.explain import explain
from journeyman.kernel.limiters import check_shared
from journeyman.kernel.policy import Policy, Rate
from journeyman.kernel.state import QueueState
from journeyman.kernel.tats import Tats
from journeyman.kernel.wakeup import next_wakeup
from journeyman.kernel.world import JournalState, fold
from tests.kernel.lane import FREE, SECOND, Lane, task, tid

LLM = Rate(1, per=10, burst=3, name="llm")


def policy(rate: Rate = LLM) -> Policy:
    return Policy.compile(concurrency=9, rate=rate)


def costly(n: int, cost: int) -> Submit:
    return task(n, options={"cost": cost})


def test_a_start_says_whose_limiter_it_used_and_what_it_cost() -> None:
    lane = Lane(policy()).when(costly(1, 2), task(2)).start(1, 2)
    assert [(event.cost, event.tat_at - lane.now, event.options) for event in lane.last] == [  # type: ignore[union-attr]
        (2, 20 * SECOND, {"limiter": "llm"}),
        (1, 30 * SECOND, {"limiter": "llm"}),
    ]
    assert (lane.state.tat_at, lane.state.limiters.get("llm")) == (0, lane.now + 30 * SECOND)


def test_what_other_queues_took_is_taken() -> None:
    lane = Lane(policy()).when(*(task(n) for n in range(1, 5)))
    there = Env(limiter_at=lane.now + 20 * SECOND)  # two of three tokens
    assert next_wakeup(lane.start(1, env=there).state, lane.now, there._replace(limiter_at=0)) == lane.now + 10 * SECOND


def test_a_dear_one_waits_for_its_tokens_and_no_cheap_one_slips_past() -> None:
    lane = Lane(policy()).when(task(1), costly(2, 3), task(3), at=100 * SECOND).start(1)
    assert next_wakeup(lane.state, lane.now, FREE) == 110 * SECOND  # the bucket is full again
    [reason] = explain(lane.state, tid(2), lane.now, FREE)
    assert (reason.kind, reason.until_at) == ("rate limited until", 110 * SECOND)
    lane.start(at=109 * SECOND).start(2, at=110 * SECOND).start(3, at=120 * SECOND)


def test_more_than_the_bucket_holds_waits_for_a_full_one_and_is_paid_in_full() -> None:
    lane = Lane(policy()).when(costly(1, 10), costly(2, 1), at=100 * SECOND).start(1)
    assert lane.state.limiters.get("llm") == 200 * SECOND
    lane.start(at=179 * SECOND).start(2, at=180 * SECOND)


def test_costs_count_without_a_name_too_and_not_without_a_rate() -> None:
    lane = Lane(Policy.compile(concurrency=9, rate=Rate(1, per=10, burst=3))).when(costly(1, 3), task(2)).start(1)
    assert lane.state.tat_at == lane.now + 30 * SECOND
    Lane(Policy(concurrency=9)).when(costly(1, 3), task(2)).start(1, 2)


def test_the_turn_is_kept() -> None:
    lane = Lane(policy()).when(*(task(n) for n in range(1, 4)))
    assert next_wakeup(lane.start(env=Env(tokens=0)).state, lane.now, Env(tokens=0)) is None, "whoever's turn it is wakes it"
    assert [reason.kind for reason in explain(lane.state, tid(1), lane.now, Env(tokens=0))] == ["order"]
    lane.start(1, 2, env=Env(tokens=2)).start(3, env=Env(tokens=5))
    lane = Lane(policy()).when(costly(1, 3), task(2))
    lane.start(1, env=Env(tokens=1))  # what costs more than the turn has its turn all the same


@pytest.mark.parametrize("seed", range(20))
def test_the_costs_of_starts_in_any_window_keep_the_promise(seed: int) -> None:
    chance = Random(seed)
    limit, per, burst = chance.choice(((1, 10, 3), (7, 3, 5), (90, 60, 1)))
    lane = Lane(Policy.compile(concurrency=10_000, rate=Rate(limit, per=per, burst=burst, name="x")), checked=False)
    costs = [chance.choice((1, 1, 2, 5, 9)) for _ in range(80)]
    lane.when(*(costly(n, cost) for n, cost in enumerate(costs)))
    starts: list[tuple[int, int]] = []
    for _ in range(400):
        lane.when(Dispatch())
        starts += [(lane.now, event.cost) for event in lane.last]  # type: ignore[union-attr]
        lane.now = next_wakeup(lane.state, lane.now, FREE) or lane.now + 1
    assert [cost for _, cost in starts] == costs
    for i, (first, _) in enumerate(starts):
        total = 0
        for at, cost in starts[i:]:
            total += cost
            assert total <= max(burst, *costs) + limit * (at - first) / (per * SECOND) + 1e-6


def test_it_survives_a_checkpoint_a_prune_and_a_step_of_the_clock() -> None:
    lane = Lane(policy()).when(task(1), task(2)).start(1, 2).finish(1).finish(2)
    fresh = QueueState("q")
    fresh.merge_facts(lane.state.facts())
    assert fresh.limiters.get("llm") == lane.now + 20 * SECOND
    assert "limiters" in lane.state.facts()
    world = JournalState()
    for seq, event in enumerate(lane.journal, 1):
        fold(world, event, seq)
    fold(world, ClockStepped(lane.now + 7200 * SECOND, "", 0, 1, 7200 * SECOND), 90)
    assert world.queues["q"].limiters.get("llm") == lane.now + 7220 * SECOND
    pruned = QueueState("q")
    residue = {"limiters": lane.state.limiters.facts()}
    apply(pruned, TasksPruned(lane.now, "q", 1, 1, [], residue, "retention"), 80)
    assert pruned.limiters.facts() == lane.state.limiters.facts()
    old = lane.state.facts()
    del old["limiters"]  # as an older version wrote them
    QueueState("q").merge_facts(old)


def test_an_operators_new_numbers_do_not_wait_for_the_old() -> None:
    lane = Lane(policy(Rate(1, per=3600, name="llm"))).when(task(1), task(2)).start(1)
    lane.when(Configure(policy(Rate(1, per=5, name="llm")).facts(), "me"))
    lane.start(at=lane.now + 4 * SECOND).start(2, at=lane.now + SECOND)


def test_one_name_means_one_rate() -> None:
    check_shared([("a", policy()), ("b", policy()), ("c", Policy()), ("d", policy(Rate(5, name="sms")))])
    with pytest.raises(ValueError, match="'a' and 'b' share the limiter 'llm'"):
        check_shared([("a", policy()), ("b", policy(Rate(2, per=10, burst=3, name="llm")))])


@pytest.mark.parametrize("name", ["", 7, "x" * 129])
def test_a_name_that_is_none(name: object) -> None:
    with pytest.raises(ValueError, match="name of a rate"):
        Rate(1, name=name)  # type: ignore[arg-type]


def test_times_that_say_nothing_any_more_are_no_facts_and_are_swept() -> None:
    tats = Tats()
    assert tats.facts() == {}
    for n in range(20_000):
        tats.took(f"k{n}", tat_at=n + 10, at=n, seq=n)
    assert len(tats) < 3_000
    assert sorted(tats.facts()["tats"].values()) == [[n + 10, n] for n in range(19_990, 20_000)]
    other = Tats()
    other.merge(tats.facts())
    assert other.facts() == tats.facts()
    other.move(100, 30_000)
    assert other.get("k19999") == 20_109
