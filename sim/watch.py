"""The watch: sees every commit, every entry of a handler and every answer, and tells the invariants.

It stands outside the engine.  What it knows of the journal it reads from the bytes of each commit as they reach the disk, what it knows
of answers from the scenario's own calls.  Each disk has a witness of its own (sim/witness.py).  Whatever is wrong ends the run through
`world.give_up`; nothing is ever raised into production code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from journeyman.journal.record import decode_records
from journeyman.journal.store import Batch, Items, Table
from journeyman.sim import dump
from journeyman.sim.coverage import Facts, policies_of, transitions_of
from journeyman.sim.errors import Deadlock, PromiseBroken
from journeyman.sim.witness import Asked, Witness

if TYPE_CHECKING:
    from journeyman.engine import Door, FeedEvent, Queue
    from journeyman.journal.feed import Cursor
    from journeyman.kernel.policy import Policy
    from journeyman.sim.boot import Boot
    from journeyman.sim.disk import Disk
    from journeyman.sim.engine import SimEngine
    from journeyman.sim.feed import SimFeed
    from journeyman.sim.world import World


class Watch:
    def __init__(self, world: World) -> None:
        self._world = world
        self.checks: list[Callable[[], object]] = []  # of the user's own, in the order in which they were added
        self._witnesses: dict[Disk, Witness] = {}
        self._facts = Facts(world)
        self._policies: dict[Policy, None] = {}  # of the queues of all boots

    def add(self, check: Callable[[], object]) -> None:
        self.checks.append(check)

    def drop(self, checks: Sequence[Callable[[], object]]) -> None:
        """Ask these no more."""
        self.checks = [check for check in self.checks if not any(check is gone for gone in checks)]

    def witness(self, disk: Disk) -> Witness:
        found = self._witnesses.get(disk)
        if found is None:
            found = self._witnesses[disk] = Witness(self._world, disk)
        return found

    # --- what happens ---

    def written(self, boot: Boot, batch: Batch) -> None:
        """A commit is on the disk, whether or not its boot lives to hear of it."""
        try:
            self._written(boot, batch)
        except Exception as error:
            self._world.give_up(error)

    def _written(self, boot: Boot, batch: Batch) -> None:
        world = self._world
        records: Items = []
        events: list[tuple[int, Any]] = []
        for table, items, _ in batch.puts:
            if table is Table.EVENTS:
                records += items
                events += decode_records(items)
        world.trace.add_events(world.time(), records, events)
        self.witness(boot.machine.disk).written(boot, batch, records, events)
        self._facts.written(boot, events)
        if self.checks:
            self._ask()

    def boots(self, queues: Sequence[Queue]) -> None:
        """An engine with these queues is about to be opened."""
        self._policies.update((queue.policy, None) for queue in queues)

    def booted(self, boot: Boot) -> None:
        self._facts.booted(boot)
        self._tell(boot, "booted", boot)
        self._ask()

    def closing(self, boot: Boot) -> None:
        self._tell(boot, "closing", boot)

    def crashed(self, boot: Boot) -> None:
        self._facts.crashed(boot, self.witness(boot.machine.disk))
        self._tell(boot, "crashed", boot)

    def lost(self, boot: Boot) -> None:
        """A commit that was under way when the process died is not on the disk."""
        self._world.trace.reached["sometimes a commit under way was lost"] += 1

    def lost_newest(self, boot: Boot) -> None:
        self._world.trace.reached["sometimes an acknowledged commit taken back by a power cut"] += 1
        self._tell(boot, "lost_newest")

    def entered(self, boot: Boot, seq: int) -> None:
        try:
            self.witness(boot.machine.disk).entered(boot, seq)
        except Exception as error:
            self._world.give_up(error)

    def left(self, boot: Boot, seq: int) -> None:
        try:
            self.witness(boot.machine.disk).left(boot, seq)
        except Exception as error:
            self._world.give_up(error)

    def step(self, boot: Boot, what: str, start: int, name: str) -> None:
        """A durable step of the run that began at seq `start`: `step_begun` or `step_returned`."""
        self._world.pulse.news()
        self._tell(boot, "step", what, start, name)

    def _tell(self, boot: Boot, what: str, *about: Any) -> None:
        try:
            getattr(self.witness(boot.machine.disk), what)(*about)
        except Exception as error:
            self._world.give_up(error)

    def asked(self, engine: SimEngine, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], door: Door) -> Asked:
        """A call from outside begins."""
        return self.witness(engine.machine.disk).asked(name, args, kwargs, getattr(door, "name", ""))

    def answered(self, asked: Asked, answer: Any, error: BaseException | None) -> None:
        """It has returned, or raised."""
        name = asked.name
        self._world.note("call", name if error is None else f"{name}: {type(error).__name__}")
        self._facts.answered(asked, error)
        try:
            asked.witness.answered(asked, answer, error)
        except Exception as failure:
            self._world.give_up(failure)

    def told(self, engine: SimEngine, feed: SimFeed, place: Cursor, said: FeedEvent | Exception) -> None:
        """A feed that stood at `place` has given an event, or raised."""
        try:
            self.witness(engine.machine.disk).told(feed, place, said)
        except Exception as failure:
            self._world.give_up(failure)

    def finish(self) -> None:
        """The scenario is over, and everything has come to rest."""
        for witness in self._witnesses.values():
            witness.finish()
        self._ask()

    def sum_up(self) -> None:
        """For the trace: what this run has reached."""
        reached = self._world.trace.reached
        for witness in self._witnesses.values():
            reached.update(transitions_of(witness.moves))
        reached.update(policies_of(self._policies))
        reached.update({f"fault {name}": n for name, n in self._world.dice.struck.items() if n})

    def _ask(self) -> None:
        for check in self.checks:
            try:
                said = check()
                name = getattr(check, "__name__", repr(check))
                if isinstance(said, Awaitable):
                    if isinstance(said, Coroutine):
                        said.close()
                    raise TypeError(f"the invariant {name} returned {said!r}, which nobody can await here: make it a plain function")
                if said is not None and not said:  # False, or what counts as it, such as numpy's
                    raise PromiseBroken("your invariant", name)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                self._world.give_up(error)

    # --- when nothing moves ---

    def deadlock(self) -> Deadlock:
        return Deadlock("nothing can happen any more, and the scenario still waits\n" + self.dump())

    def dump(self) -> str:
        """Every unfinished task and why it does not run; what comes next; where the scenario waits."""
        return dump.of(self._world, self._witnesses.values())
