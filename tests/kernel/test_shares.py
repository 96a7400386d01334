"""`fair_by`: tenants of one queue, each in its turn."""

from __future__ import annotations

from random import Random

import pytest

from journeyman.kernel.commands import Cancel, Configure, Dispatch, Env, Submit, Succeeded
from journeyman.kernel.explain import explain
from journeyman.kernel.policy import Policy, Rate
from journeyman.kernel.shares import Shares, tenant_of
from journeyman.kernel.taskstate import TaskState
from tests.kernel.lane import FREE, SECOND, Lane, task, tid


def of(n: int, owner: str | None, **more: object) -> Submit:
    options = {} if owner is None else {"owner": ["user", owner]}
    return task(n, options={**options, **more} or None)


def fair(concurrency: int = 1, **more: object) -> Policy:
    return Policy(concurrency=concurrency, fair_by="owner", **more)  # type: ignore[arg-type]


def order(lane: Lane, count: int) -> list[int]:
    """Which start, one after the other, each ended before the next."""
    found: list[int] = []
    for _ in range(count):
        lane.when(Dispatch())
        for event in lane.last:
            n = int.from_bytes(event.task, "big")  # type: ignore[union-attr]
            found.append(n)
            lane.finish(n, Succeeded(1))
    return found


def test_the_first_of_a_small_one_comes_after_one_of_the_flood() -> None:
    lane = Lane(fair()).when(*(of(n, "flood") for n in range(1, 50)))
    assert order(lane, 3) == [1, 2, 3]
    lane.when(of(50, "small"), of(51, "small"), of(52, "other"))
    assert order(lane, 6) == [4, 50, 52, 5, 51, 6]


def test_slots_are_shared_and_not_only_turns() -> None:
    lane = Lane(fair(4)).when(*(of(n, "flood") for n in range(1, 20))).start(1, 2, 3, 4)
    lane.when(of(30, "small"), of(31, "small"), of(32, "small")).finish(1).start(30).finish(2).start(31)
    lane.finish(30).start(32)  # the flood runs two, the small one had one left


def test_within_a_tenant_the_order_is_as_ever() -> None:
    lane = Lane(fair()).when(
        of(1, "a"),
        task(2, priority=9, options={"owner": ["user", "a"]}),
        of(3, "b"),
        task(4, priority=20, options={"owner": ["user", "b"]}),
    )
    assert order(lane, 4) == [2, 4, 1, 3]


def test_a_rate_is_shared_in_turns_too() -> None:
    lane = Lane(Policy.compile(concurrency=50, fair_by="owner", rate=Rate(1, per=1.0)))
    lane.when(*(of(n, "flood") for n in range(1, 20)), of(30, "small"))
    lane.start(1).start(30, at=lane.now + SECOND).start(2, at=lane.now + SECOND)


def test_those_without_an_owner_are_a_tenant() -> None:
    lane = Lane(fair()).when(task(1), task(2), of(3, "a"))
    assert order(lane, 3) == [1, 3, 2]


def test_by_key() -> None:
    lane = Lane(Policy(concurrency=1, per_key=9, fair_by="key"))
    lane.when(*(task(n, options={"key": "k"}) for n in range(1, 5)), task(9, options={"key": "l"}))
    assert order(lane, 5) == [1, 9, 2, 3, 4]


def test_a_cancelled_tenant_is_passed_over_and_a_new_one_joins_the_end() -> None:
    lane = Lane(fair()).when(of(1, "a"), of(2, "b"), of(3, "c"), of(4, "a"))
    lane.when(Cancel(tid(2), "", "me"))
    assert order(lane, 2) == [1, 3]
    lane.when(of(5, "b"))
    assert order(lane, 2) == [4, 5]


def test_one_that_more_crashes_would_end_has_its_place_among_the_tenants() -> None:
    lane = Lane(fair(crashes=1)).when(of(1, "a"), of(2, "b")).start(1).reopen(fair(crashes=1), entered=[1])
    assert lane[1].crashes == 1
    lane.when(of(3, "a"))
    assert order(lane, 3) == [2, 1, 3]


def test_a_change_of_mind_takes_effect_at_once() -> None:
    lane = Lane(Policy()).when(*(of(n, "flood") for n in range(1, 5)), of(9, "small"))
    lane.when(Configure({"fair_by": "owner"}, "me"))
    assert order(lane, 2) == [1, 9]
    lane.when(Configure({"fair_by": None}, "me"))
    assert order(lane, 2) == [2, 3]


def test_why_it_waits() -> None:
    lane = Lane(fair()).when(of(1, "a"), of(2, "a"), of(3, "b"))
    [reason] = explain(lane.state, tid(2), lane.now, FREE)
    assert reason.kind == "order"
    assert "owner" in reason.text


@pytest.mark.parametrize("seed", range(15))
def test_picking_several_is_picking_one_by_one(seed: int) -> None:
    """And whatever is held back by others, nobody is chosen twice and nobody is left out."""
    chance = Random(seed)
    lane = Lane(fair(30))
    lane.when(*(of(n, chance.choice("aaaaabcd")) for n in range(60)))
    for _ in range(6):
        lane.when(Dispatch(), env=Env(free_slots=chance.randrange(6)))
        running = sorted(lane.state.running.values())
        for each in chance.sample(running, min(len(running), chance.randrange(4))):
            lane.finish(int.from_bytes(each.id, "big"))
    together = [each.id for each in lane.state.agenda.ready.best(12)]
    alone: list[bytes] = []
    for _ in range(12):
        lane.when(Dispatch(), env=Env(free_slots=1))
        alone += [event.task for event in lane.last]  # type: ignore[union-attr]
    assert together[: len(alone)] == alone


def test_no_more_tenants_than_there_is_work_for() -> None:
    lane = Lane(fair(2), checked=False)
    for n in range(5_000):
        lane.when(of(n, f"u{n}")).start(n).finish(n)
    shares = lane.state.agenda.shares
    assert shares is not None
    assert (shares.tenants, shares.count) == (0, 0)
    assert len(shares) < 3_000


def test_a_tenant_is_its_owner_or_its_key() -> None:
    lane = Lane(Policy()).when(of(1, "a", key="k"), task(2))
    assert [tenant_of(each, "owner") for each in (lane[1], lane[2])] == ["user\x1fa", ""]
    assert [tenant_of(each, "key") for each in (lane[1], lane[2])] == ["k", ""]


def test_a_pick_costs_by_what_it_picks() -> None:  # 100,000 of one tenant and 1,000 others: no scan, and nothing is moved
    lane = Lane(fair(10_000), checked=False)
    lane.when(*(of(n, "flood") for n in range(20_000)))
    lane.when(*(of(100_000 + n, f"u{n % 1000}") for n in range(2_000)))
    looked: list[TaskState] = []
    ready = lane.state.agenda.ready
    assert isinstance(ready, Shares)
    assert len(ready.best(5, lambda each: not looked.append(each))) == 5  # type: ignore[func-returns-value]
    assert len(looked) <= 10


@pytest.mark.parametrize("value", ["tenant", 1, True])
def test_what_it_can_be(value: object) -> None:
    with pytest.raises(ValueError, match="fair_by"):
        Policy.compile(fair_by=value)  # type: ignore[arg-type]
