"""The watch: sees every commit, every entry of a handler and every answer, and tells the invariants.

It stands outside the engine.  What it knows of the journal it reads from the bytes of each commit as they reach the disk, what it
knows of
answers from the scenario's own calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from journeyman.journal.record import decode_records
from journeyman.journal.store import Batch, Table
from journeyman.sim.errors import Deadlock, PromiseBroken

if TYPE_CHECKING:
    from journeyman.sim.boot import Boot
    from journeyman.sim.engine import SimEngine
    from journeyman.sim.world import World


class Watch:
    def __init__(self, world: World) -> None:
        self._world = world
        self._checks: list[Callable[[], object]] = []

    def add(self, check: Callable[[], object]) -> None:
        self._checks.append(check)

    # --- what happens ---

    def written(self, boot: Boot, batch: Batch) -> None:
        world = self._world
        at = world.time()
        for table, items, _ in batch.puts:
            if table is Table.EVENTS:
                for (seq, event), (_, value) in zip(decode_records(items), items, strict=True):
                    world.trace.add_event(at, seq, event, value)
        self._ask()

    def booted(self, boot: Boot) -> None:
        self._ask()

    def closing(self, boot: Boot) -> None: ...

    def crashed(self, boot: Boot) -> None: ...

    def lost_newest(self, boot: Boot) -> None: ...

    def entered(self, boot: Boot, seq: int) -> None: ...

    def left(self, boot: Boot, seq: int) -> None: ...

    def answered(self, engine: SimEngine, name: str, args: Sequence[Any], answer: Any, error: BaseException | None) -> None:
        self._world.note("call", name if error is None else f"{name}: {type(error).__name__}")

    def finish(self) -> None:
        self._ask()

    def _ask(self) -> None:
        for check in self._checks:
            try:
                if check() is False:
                    raise PromiseBroken("your invariant", getattr(check, "__name__", repr(check)))
            except Exception as error:
                self._world.give_up(error)

    # --- when nothing moves ---

    def deadlock(self) -> Deadlock:
        return Deadlock("nothing can happen any more, and the scenario still waits\n" + self.dump())

    def dump(self) -> str:
        """Every unfinished task and why it does not run; timers."""
        return ""
