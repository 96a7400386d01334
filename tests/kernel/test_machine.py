"""The kernel against the oracle, driven by Hypothesis (which shrinks) and by long seeded walks (which go far)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.kernel.oracle import SECOND, Rules
from tests.kernel.twin import HOW, Twin

ids = st.integers(1, 12)
delays = st.sampled_from([0, 0, 1, SECOND, 5 * SECOND])
rules = st.builds(
    Rules,
    concurrency=st.integers(1, 4),
    attempts=st.integers(1, 3),
    crashes=st.integers(0, 2),
    base=st.sampled_from([0, SECOND, 3 * SECOND]),
    rate=st.sampled_from([None, None, (1, SECOND, 1), (3, SECOND, 2), (2, 7, 1)]),
    interrupt=st.booleans(),
    max_pending=st.sampled_from([None, None, 3]),
    keep=st.sampled_from([0, 2 * SECOND, 100 * SECOND]),
    per_key=st.sampled_from([1, 1, 2, 3]),
    relaxed=st.booleans(),
    aging=st.sampled_from([None, None, 1, SECOND]),
)


class KernelMachine(RuleBasedStateMachine):
    """Any command at any time; the oracle must agree on what was said, and on how every task stands."""

    @initialize(rules=rules)
    def begin(self, rules: Rules) -> None:
        self.twin = Twin(rules)

    @rule(
        n=ids,
        handler=st.sampled_from(["send", "send", "draw"]),
        priority=st.integers(4, 6),
        delay=delays,
        deadline=st.sampled_from([None, 0, SECOND]),
        key=st.sampled_from([None, "a", "a", "b"]),
    )
    def submit(self, n: int, handler: str, priority: int, delay: int, deadline: int | None, key: str | None) -> None:
        self.twin.submit(n, handler, priority, delay, deadline, key)

    @rule(slots=st.sampled_from([None, None, 0, 1]))
    def dispatch(self, slots: int | None) -> None:
        self.twin.dispatch(slots)

    @precondition(lambda self: self.twin.running)
    @rule(data=st.data(), how=st.sampled_from(sorted(HOW)), delay=delays)
    def finish(self, data: st.DataObject, how: str, delay: int) -> None:
        self.twin.finish(data.draw(st.sampled_from(self.twin.running)), how, delay=delay)

    @rule(n=ids, how=st.sampled_from(sorted(HOW)), epoch=st.integers(1, 3), attempt=st.integers(0, 3))
    def speak_late(self, n: int, how: str, epoch: int, attempt: int) -> None:
        self.twin.finish(n, how, epoch=epoch, attempt=attempt)

    @precondition(lambda self: self.twin.running)
    @rule(data=st.data())
    def straggle(self, data: st.DataObject) -> None:
        self.twin.straggle(data.draw(st.sampled_from(self.twin.running)))

    @precondition(lambda self: self.twin.stragglers)
    @rule()
    def straggler_ends(self) -> None:
        self.twin.stragglers.pop()

    @rule(n=ids, running=st.booleans())
    def cancel(self, n: int, running: bool) -> None:
        self.twin.cancel(n, running)

    @rule(n=ids)
    def retry(self, n: int) -> None:
        self.twin.retry(n)

    @rule()
    def clear(self) -> None:
        self.twin.clear()

    @rule()
    def expire(self) -> None:
        self.twin.expire()

    @rule(on=st.booleans())
    def pause(self, on: bool) -> None:
        self.twin.pause(on)

    @rule(names=st.sampled_from([None, None, ("send",), ("draw", "send"), ()]))
    def handlers(self, names: tuple[str, ...] | None) -> None:
        self.twin.handlers(names)

    @rule(rules=rules)
    def configure(self, rules: Rules) -> None:
        self.twin.configure(rules)

    @rule(data=st.data(), crashed=st.booleans())
    def reopen(self, data: st.DataObject, crashed: bool) -> None:
        entered = [n for n in self.twin.running if data.draw(st.booleans())]
        self.twin.reopen(entered, crashed)

    @rule(us=st.sampled_from([1, 7, SECOND, 4 * SECOND, 200 * SECOND]))
    def wait(self, us: int) -> None:
        self.twin.wait(us)

    @rule()
    def sleep_until_woken(self) -> None:
        self.twin.sleep_until_woken()

    @invariant()
    def within_limits(self) -> None:
        if hasattr(self, "twin"):
            self.twin.compare()


KernelMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=50, deadline=None)
TestKernelMachine = KernelMachine.TestCase


def step(twin: Twin, chance: Random) -> None:
    """One random command to both."""
    n = chance.randint(1, 60)
    pick = chance.random()
    running = twin.running
    if pick < 0.3:
        delay, deadline = chance.choice([0, 0, 1, SECOND]), chance.choice([None, None, SECOND])
        twin.submit(n, chance.choice(["send", "draw"]), chance.randint(4, 6), delay, deadline, chance.choice([None, None, "a", "b", "c"]))
    elif pick < 0.5:
        twin.dispatch(chance.choice([None, None, 1]))
    elif pick < 0.75 and running:
        twin.finish(chance.choice(running), chance.choice(sorted(HOW)), delay=chance.choice([0, SECOND]))
    elif pick < 0.78 and running:
        twin.straggle(chance.choice(running))
    elif pick < 0.8 and twin.stragglers:
        twin.stragglers.discard(min(twin.stragglers))
    elif pick < 0.84:
        twin.cancel(n, chance.random() < 0.5)
    elif pick < 0.88:
        twin.retry(n)
    elif pick < 0.9:
        twin.expire()
    elif pick < 0.92:
        twin.pause(chance.random() < 0.3)
    elif pick < 0.94:
        twin.reopen([m for m in running if chance.random() < 0.7], chance.random() < 0.8)
    elif pick < 0.95:
        twin.handlers(chance.choice([None, ("send",)]))
    elif pick < 0.97:
        twin.sleep_until_woken()
    else:
        twin.wait(chance.choice([1, SECOND, 3 * SECOND]))


def trace(seed: int, steps: int) -> list[Any]:
    """The events of one seeded walk."""
    chance = Random(seed)
    twin = Twin(Rules(concurrency=3, attempts=3, crashes=1, rate=chance.choice([None, (5, SECOND, 2)])), checked=False)
    for _ in range(steps):
        step(twin, chance)
    return twin.lane.journal


@pytest.mark.parametrize("seed", range(8))
def test_a_long_walk_agrees_with_the_oracle_and_with_its_replay(seed: int) -> None:
    chance = Random(seed)
    rate = None if seed % 2 else (5, SECOND, 2)
    keyed = {"per_key": 1 + seed // 3 % 2, "relaxed": seed % 4 > 1, "aging": [None, SECOND][seed // 4]}
    twin = Twin(Rules(concurrency=1 + seed % 4, attempts=3, crashes=seed % 3, rate=rate, **keyed), checked=False)  # type: ignore[arg-type]
    for number in range(1_500):
        step(twin, chance)
        if number % 50 == 0:
            twin.lane.check()
    twin.lane.check()
    kinds = {type(event).__name__ for event in twin.lane.journal}
    assert len(kinds) >= 12, kinds
