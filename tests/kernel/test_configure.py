"""Configure: a live policy beside the declared one."""

from __future__ import annotations

import pytest

from journeyman.kernel.backoff import Constant, Exponential, Linear, backoff_of, compile_backoff
from journeyman.kernel.commands import Configure, Failed
from journeyman.kernel.events import AttemptStarted, QueueConfigured, QueueOpened
from journeyman.kernel.policy import PARAMETERS, Policy, Rate
from journeyman.kernel.state import QueueState
from tests.kernel.lane import ERROR, SECOND, Lane, task


def test_only_what_is_given_changes() -> None:
    lane = Lane(Policy(attempts=3, timeout_us=5))
    lane.when(Configure({"concurrency": 4}, "me", "why")).then(QueueConfigured)
    assert lane.state.policy == Policy(attempts=3, timeout_us=5, concurrency=4)
    event = lane.last[0]
    assert isinstance(event, QueueConfigured)
    assert (event.by, event.options) == ("me", {"live": True, "reason": "why"})
    lane.when(Configure({"timeout_us": None}, "you"))
    assert lane.state.policy == Policy(attempts=3, concurrency=4)
    lane.when(Configure({}, "me")).then()


def test_a_live_change_stays_until_another_policy_is_declared() -> None:  # row 4
    lane = Lane(Policy(attempts=2)).when(Configure({"concurrency": 4}, "me"))
    lane.reopen(Policy(attempts=2)).then(QueueOpened)
    assert (lane.state.policy.concurrency, lane.state.changed_live) == (4, True)
    lane.reopen(None).then(QueueOpened)
    lane.reopen(Policy(attempts=3)).then(QueueOpened, QueueConfigured)
    assert (lane.state.policy, lane.state.changed_live) == (Policy(attempts=3), False)
    lane.reopen(Policy(attempts=2)).then(QueueOpened, QueueConfigured)
    assert lane.state.policy == Policy(attempts=2), "what an operator changed once is not brought back by an older declaration"


def test_declaring_what_an_operator_had_changed_it_to_is_a_declaration() -> None:
    lane = Lane(Policy()).when(Configure({"concurrency": 4}, "me"))
    lane.reopen(Policy(concurrency=4)).then(QueueOpened, QueueConfigured)
    assert not lane.state.changed_live


def test_a_queue_that_nobody_declares_can_be_configured() -> None:
    lane = Lane(Policy()).reopen(None).when(Configure({"keep_failed_us": 1}, "me")).then(QueueConfigured)
    assert lane.state.policy.keep_failed_us == 1


def test_facts_of_an_older_version_mean_that_what_was_in_force_was_declared() -> None:
    lane = Lane(Policy(concurrency=3))
    facts = {name: value for name, value in lane.state.facts().items() if not name.startswith("declared")}
    state = QueueState("q")
    state.merge_facts(facts)
    assert (state.declared, state.policy) == (Policy(concurrency=3), Policy(concurrency=3))


def test_facts_keep_both() -> None:
    lane = Lane(Policy(concurrency=3)).when(Configure({"concurrency": 1}, "me"))
    state = QueueState("q")
    state.merge_facts(lane.state.facts())
    assert (state.declared, state.policy) == (Policy(concurrency=3), Policy(concurrency=1))
    assert state.facts() == lane.state.facts()


def test_a_lower_concurrency_lets_what_runs_finish() -> None:  # row 13
    lane = Lane(Policy(concurrency=3)).when(*(task(n) for n in range(6))).start(0, 1, 2)
    lane.when(Configure({"concurrency": 1}, "me")).start().finish(0).start().finish(1).start().finish(2).start(3)


def test_a_new_rate_owes_nothing_to_the_old_one() -> None:
    """An hour's wait that the old rate had put off is not served under the new one; a promise the new one makes is kept from the start."""
    lane = Lane(Policy.compile(concurrency=9, rate=Rate(1, per=3600))).when(task(1), task(2), task(3)).start(1)
    facts = Policy.compile(rate=Rate(1, per=10)).facts()
    lane.when(Configure({"rate": facts["rate"]}, "me"))
    lane.start(at=lane.now + 9 * SECOND)
    lane.start(2, at=lane.now + SECOND)
    assert isinstance(lane.last[0], AttemptStarted)
    lane.start(at=lane.now + 9 * SECOND)


def test_attempts_follow_the_policy_of_the_moment() -> None:
    lane = Lane(Policy(attempts=9)).when(task(1)).start(1).when(Configure({"attempts": 1}, "me")).finish(1, Failed(1, ERROR))
    assert lane[1].finished_at is not None


@pytest.mark.parametrize("backoff", [Exponential(), Exponential(0.3, 1.1, 77), Constant(0), Constant(2.5), Linear(0.1, 9)])
def test_a_shape_can_be_told_as_the_value_it_came_from(backoff: Exponential | Constant | Linear) -> None:
    assert backoff_of(compile_backoff(backoff)) == backoff


def test_every_field_of_a_policy_belongs_to_one_parameter() -> None:
    fields = [field for names in PARAMETERS.values() for field in names]
    assert sorted(fields) == sorted(Policy().facts())
