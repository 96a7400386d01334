"""A Hypothesis state machine whose rules drive a simulated engine, step by step.

    class Letters(SimulationMachine):
        def queues(self):
            return [mail]

        @rule(to=st.text())
        def send(self, to):
            self.submit("letter", send, to)

        @rule()
        def check(self):
            self.then(lambda world, engine: ...)              # any async function

    TestLetters = Letters.TestCase

Problem.  Rules are plain calls, one after another, in Hypothesis's hands; a simulated world lives inside one `trio.run`.
Choice: rules *write down* what is to be done, and at the end of the example one world does it all (`teardown`).  So an example is a list
of commands: it runs in one piece (as deterministic as `simulate` is), shrinks as lists do, and is printed as the rules that were
called.  Results are not known while rules run; what depends on them goes into `then`, and into `invariant`.
Rejected: trio in guest mode, turned by hand between rules (the clock's autojump then depends on when the host lets it look);
a thread that holds the world open (two threads, one of them trio's: no order that a seed decides).

When an example fails it is written to `save_to` (sim/examples.py), so that the smallest one, which Hypothesis runs last, is what is left
in the file; `journeyman sim replay FILE` runs it again.  This module needs the extra `sim`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Final

import trio
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize
from hypothesis.strategies import DataObject, SearchStrategy

from journeyman.engine import HandlerNotFound, InvalidPayload, JourneymanError, PayloadTooLarge, Queue, QueueNotFound
from journeyman.sim.examples import FOLDER, Outline, cut_off, play
from journeyman.sim.faults import Faults
from journeyman.sim.patience import CUT_SHORT, Command, come_to_rest, insist
from journeyman.sim.simulate import simulate
from journeyman.sim.strategies import CLIENT_WAITS, PHASES, fault_plans, seeds
from journeyman.sim.trace import Trace
from journeyman.sim.world import World, of_each_boot

MISTAKES: Final = (HandlerNotFound, QueueNotFound, InvalidPayload, PayloadTooLarge)


class SimulationMachine(RuleBasedStateMachine):
    """Subclass it, give `queues`, and write rules with the calls below.

    fault_strategy: what can go wrong.  save_to: the folder for the smallest failing example; None: nowhere.
    TestCase.settings: Hypothesis's for state machines, without its explain phase (`strategies.PHASES` says why).  To change them and keep
    that: `TestLetters.settings = settings(TestLetters.settings, max_examples=500)`.
    """

    fault_strategy: ClassVar[SearchStrategy[Faults]] = fault_plans()
    save_to: ClassVar[Path | str | None] = FOLDER

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        case = cls.TestCase
        case.settings = settings(case.settings, phases=[phase for phase in case.settings.phases if phase in PHASES])

    def __init__(self) -> None:
        super().__init__()
        self.seed = 0
        self.faults = Faults.none()
        self.trace: Trace | None = None
        self.handles: dict[str, Any] = {}  # by label, while the world runs
        self._commands: list[tuple[str, Callable[[World, Any, Command], Awaitable[None]], Command]] = []  # what, how to do it, it
        self._invariants: list[Callable[[World], object]] = []

    def queues(self, *args: Any, **kwargs: Any) -> Iterable[Queue]:
        """What the engine is opened with, at each boot: `def queues(self)`, or `def queues(self, world)` for handlers that want
        `world.effects` or `world.random`.  A `world.invariant` made in it holds until the next boot.
        """
        return ()

    async def finish(self, world: World, engine: Any) -> None:
        """Awaited when all commands are done and nothing moves any more: the place for what must be true in the end.

        A handler that waits for ever ends the example before that with Deadlock, unless it is `Faults(handler_hang=...)` that made it hang:
        then this is awaited after a virtual day, with that task still running.
        """

    @initialize(data=st.data())
    def begin(self, data: DataObject) -> None:
        self.seed = data.draw(seeds(), "seed")
        self.faults = data.draw(self.fault_strategy, "faults")

    # --- for rules: what is to be done, in this order ---------------------------------------------------------------------

    def submit(self, label: str, handler: Any, *args: Any, **kwargs: Any) -> None:
        """Submit a task; `label` names it in later rules (the newest task of that label)."""

        async def command(world: World, engine: Any) -> None:
            self.handles[label] = await engine.submit(handler, *args, **kwargs)

        self._add(f"submit {label}: {handler}{args!r}{kwargs or ''}", command)

    def cancel(self, label: str) -> None:
        self._about(f"cancel {label}", label, lambda handle: handle.cancel())

    def wait(self, label: str, timeout: float = CLIENT_WAITS) -> None:
        """Wait until it has ended, for at most `timeout` virtual seconds."""
        self._about(f"wait for {label}", label, lambda handle: handle.wait(timeout))

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""

        async def command(world: World, engine: Any) -> None:
            await trio.sleep(seconds)

        self._add(f"sleep {seconds:g}", command)

    def crash(self) -> None:
        """Kill the process."""

        async def command(world: World, engine: Any) -> None:
            await world.crash()

        self._add("crash", command)

    def then(self, command: Command, what: str = "") -> None:
        """Anything else, checks above all: `await command(world, engine)`.

        What it raises fails the example: forgiven is only what the calls above are refused.  Where the engine goes down under it
        (EngineCrashed, EngineStopped, JournalError) it is begun again when the engine is up, at most a hundred times; then that is
        raised.  So a submit in it wants an `id=`, and one that kills the process itself awaits `engine.ready()` after that.
        """
        self._commands.append((what or getattr(command, "__name__", "then"), insist, command))

    def promise(self, check: Callable[[World], object]) -> None:
        """Have `check(world)` called after every commit of this example; it raises AssertionError or returns False."""
        self._invariants.append(check)

    def _about(self, what: str, label: str, do: Callable[[Any], Awaitable[object]]) -> None:
        async def command(world: World, engine: Any) -> None:
            if label in self.handles:
                await do(self.handles[label])

        self._add(what, command)

    def _add(self, what: str, command: Command) -> None:
        self._commands.append((what, self._do, command))

    # --- the world ----------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Hypothesis has called all the rules of this example: now they happen."""
        if not self._commands or cut_off():  # an example that was given up says nothing, and costs a world
            return
        outline = Outline(self.seed, self.faults.facts(), [what for what, _, _ in self._commands])
        run = partial(simulate, self._scenario, seed=self.seed, faults=self.faults)
        self.trace = play(run, outline, self.save_to, type(self))

    async def _scenario(self, world: World) -> None:
        for check in self._invariants:
            world.invariant(lambda check=check: check(world))
        async with world.engine(queues=of_each_boot(world, self.queues)) as engine:
            for _, do, command in self._commands:
                await do(world, engine, command)
            await come_to_rest(world, engine)
            await self.finish(world, engine)

    async def _do(self, world: World, engine: Any, command: Command) -> None:
        """One command of ours; that the process is down, and what the engine refuses, is part of a client's day.  A call that no engine
        with these queues could take is a mistake in the machine.
        """
        try:
            await command(world, engine)
        except CUT_SHORT:
            await engine.ready()
        except MISTAKES:
            raise
        except (JourneymanError, trio.TooSlowError) as refused:
            world.note("refused", f"{type(refused).__name__}: {refused}")
