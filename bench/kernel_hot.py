"""What a decision costs: the kernel alone, no disk, no event loop.

    python bench/kernel_hot.py [tasks]

Prints microseconds a step (best of five rounds; the machine's noise only ever adds).  The budget these figures belong to: at 100,000
events a second there are 10 us for everything, encoding and commit included.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from time import perf_counter

from journeyman.kernel.apply import apply
from journeyman.kernel.commands import Command, Dispatch, Env, Finish, Open, Submit, Succeeded
from journeyman.kernel.decide import decide
from journeyman.kernel.events import Event
from journeyman.kernel.policy import Policy
from journeyman.kernel.state import QueueState

ENV = Env()


class Bench:
    """One queue, its journal a list."""

    def __init__(self, concurrency: int) -> None:
        self.state = QueueState("bench")
        self.events: list[Event] = []
        self.run(Open(1, Policy(concurrency=concurrency).facts()), 1)

    def run(self, command: Command, now: int) -> None:
        self.take(decide(self.state, [command], now, ENV).events)

    def take(self, events: list[Event]) -> None:
        for event in events:
            self.events.append(event)
            apply(self.state, event, len(self.events))  # type: ignore[arg-type]


def submits(count: int, start: int = 0, keys: int = 0) -> list[Submit]:
    """`keys`: over how many serialization keys the tasks are spread; 0: they have none."""
    ids = range(start, start + count)
    options = [{"key": f"key {i % keys}"} if keys else None for i in ids]
    return [Submit(i.to_bytes(16, "big"), "send", 5, None, 0, 20, b"d" * 16, 0, None, own) for i, own in zip(ids, options, strict=True)]


def round_of(count: int, concurrency: int, waiting: int, keys: int = 0) -> dict[str, float]:
    bench = Bench(concurrency)
    figures: dict[str, float] = {}

    def timed(name: str, steps: int, work: Callable[[], None]) -> None:
        gc.collect()
        gc.disable()
        begin = perf_counter()
        work()
        figures[name] = (perf_counter() - begin) / steps * 1e6
        gc.enable()

    def submit_one_by_one() -> None:
        for number, command in enumerate(commands):
            bench.run(command, number + 10)

    def submit_together() -> None:
        for i in range(0, count, 64):
            bench.take(decide(bench.state, together[i : i + 64], count + 10 + i, ENV).events)

    def drain() -> None:
        now = 10 * (count + waiting)
        state = bench.state
        bench.run(Dispatch(), now)
        outcome = Succeeded(5)
        for _ in range(count):
            now += 1
            task = next(iter(state.running.values()))
            bench.run(Finish(task.id, task.epoch, task.attempt, outcome), now)
            bench.run(Dispatch(), now)

    if waiting > 2 * count:
        bench.take(decide(bench.state, submits(waiting, 10 * count, keys), 5, ENV).events)
    commands, together = submits(count, 0, keys), submits(count, count, keys)
    timed("submit, decide + apply", count, submit_one_by_one)
    timed("submit in lists of 64", count, submit_together)
    timed("finish + dispatch, decide + apply", count, drain)
    recorded = list(enumerate(bench.events, 1))
    replayed = QueueState("bench")

    def fold() -> None:
        for seq, event in recorded:
            apply(replayed, event, seq)  # type: ignore[arg-type]

    timed("apply alone (replay), an event", len(recorded), fold)
    return figures


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    for concurrency, waiting, keys in ((1, 0, 0), (64, 0, 0), (64, 200_000, 0), (64, 200_000, 1), (64, 200_000, 100_000)):
        rounds = [round_of(count, concurrency, waiting, keys) for _ in range(5)]
        print(f"concurrency {concurrency}, {waiting or 2 * count:,} waiting{f', {keys:,} serialization keys' if keys else ''}")
        for name in rounds[0]:
            best = min(figures[name] for figures in rounds)
            print(f"  {name:36} {best:7.2f} us  {1e6 / best:12,.0f} /s")


if __name__ == "__main__":
    main()
