"""Every place where the process can die, one after another."""

from __future__ import annotations

from collections.abc import Callable

from journeyman.sim.trace import Trace

SHOWN = 20


class CrashSweepFailed(AssertionError):
    """Some crash points break a promise.  `broken`: (point, what was raised) for each."""

    def __init__(self, broken: list[tuple[int, BaseException]], points: int) -> None:
        self.broken = broken
        self.points = points
        lines = [f"{len(broken)} of {points} crash points break something:"]
        for point, error in broken[:SHOWN]:
            first = (str(error).splitlines() or [""])[0]
            lines.append(f"  crash_at={point:<6} {type(error).__name__}: {first}"[:160])
        if len(broken) > SHOWN:
            lines.append(f"  and {len(broken) - SHOWN} more")
        super().__init__("\n".join(lines))


def sweep(run: Callable[[int | None], Trace]) -> Trace:
    """Run once without a crash, then once for each point it has; the first run's trace, `boots` and `faults` summed over all.
    Points that differ in nothing (an idle engine's minutes) are tried once. A run that crashes has points of its own after that
    (the restart); a second crash there is what `Faults(crash=...)` is for.
    """
    calm = run(None)
    if not calm.worth:
        raise ValueError("this scenario opens no engine, so there is no point at which a process could die")
    broken: list[tuple[int, BaseException]] = []
    for point in calm.worth:
        try:
            trace = run(point)
        except Exception as error:
            broken.append((point, error))
        else:
            calm.boots += trace.boots
            calm.faults["crash"] += 1
    if broken:
        raise CrashSweepFailed(broken, len(calm.worth)) from broken[0][1]
    return calm
