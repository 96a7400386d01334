"""How long small tenants wait beside a flood, drawn into docs/fairness.svg.

    python bench/fairness.py [--flood N] [--out SVG]

One queue of eight slots and tasks of one second.  One owner submits 100,000 of them at once; twenty others submit one now and then.
The production engine runs it twice on a clock that jumps, first come first served and with `fair_by="owner"`; drawn is the wait of each
task of a small tenant, from its submission to the entry of its handler.  Nothing of it depends on the machine.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from random import Random
from typing import Any

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
import trio
import trio.testing

from journeyman.engine import Engine, Queue, Retention

REPOSITORY = Path(__file__).resolve().parent.parent
SLOTS, SMALL, TASKS, SPAN = 8, 20, 10, 600.0  # slots; small tenants; tasks of each; seconds over which they come


class JumpingClock:
    """Kernel time that follows trio's clock."""

    def wall(self) -> int:
        return 1_700_000_000_000_000 + self.monotonic()

    def monotonic(self) -> int:
        return round(trio.current_time() * 1_000_000)


async def waits(flood: int, fair_by: Any) -> list[tuple[float, float]]:
    """(when it was submitted, how long it waited), in seconds, of each task of a small tenant."""
    queue = Queue("work", concurrency=SLOTS, fair_by=fair_by, retention=Retention(succeeded=0))
    found: list[tuple[float, float]] = []
    left = SMALL * TASKS
    done = trio.Event()

    @queue.handler
    async def work(submitted: float) -> None:
        nonlocal left
        if submitted >= 0:
            found.append((submitted, trio.current_time() - submitted))
            left -= 1
            if not left:
                done.set()
        await trio.sleep(1)

    async with Engine(None, [queue], clock=JumpingClock(), grace=0) as engine:
        await engine.submit_many([(work.using(owner=("tenant", "flood")), (-1.0,))] * flood)
        chance, begun = Random(7), trio.current_time()
        for at, tenant in sorted((chance.uniform(0, SPAN), n % SMALL) for n in range(left)):
            await trio.sleep_until(begun + at)
            now = trio.current_time() - begun
            await engine.submit(work.using(owner=("tenant", str(tenant))), trio.current_time())
            assert now >= at
        await done.wait()
        await engine.pause("work")
        await engine.clear("work")
    first = min(at for at, _ in found)
    return [(at - first, wait) for at, wait in found]


def measured(flood: int, fair_by: Any) -> list[tuple[float, float]]:
    return trio.run(waits, flood, fair_by, clock=trio.testing.MockClock(autojump_threshold=0))


def draw(plain: list[tuple[float, float]], fair: list[tuple[float, float]], flood: int, out: Path) -> None:
    plt.rcParams.update(
        {"font.size": 10, "svg.hashsalt": "journeyman", "svg.fonttype": "none", "axes.spines.top": False, "axes.spines.right": False}
    )
    figure, axes = plt.subplots(figsize=(7.5, 3.6))
    for rows, label, colour in ((plain, "first come, first served", "#c44e52"), (fair, 'fair_by="owner"', "#4c72b0")):
        axes.plot([at for at, _ in rows], [max(wait, 0.01) for _, wait in rows], ".", label=label, color=colour, markersize=5)
    axes.set_yscale("log")
    axes.set_ylim(0.008, 40_000)
    axes.set_xlabel(f"submitted, seconds after a flood of {flood:,} tasks of one owner")
    axes.set_ylabel("seconds until it started")
    axes.set_title(f"{SMALL} small owners beside the flood: {SLOTS} slots, tasks of one second", fontsize=10, loc="left")
    axes.legend(loc="center right", frameon=False)
    axes.grid(axis="y", alpha=0.3)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the waits of small tenants beside a flood.")
    parser.add_argument("--flood", type=int, default=100_000)
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs" / "fairness.svg")
    arguments = parser.parse_args()
    plain, fair = measured(arguments.flood, None), measured(arguments.flood, "owner")
    draw(plain, fair, arguments.flood, arguments.out)
    for label, rows in (("first come, first served", plain), ("fair_by owner", fair)):
        times = sorted(wait for _, wait in rows)
        print(f"{label:<25} median {times[len(times) // 2]:>10,.2f} s   most {times[-1]:>10,.2f} s   of {len(times)}")


if __name__ == "__main__":
    main()
