"""Playing a plan: clients in lanes side by side, and the operator who deploys.

What a step may be refused is said per verb, in `REFUSALS`; that the process died or is stopping can meet any step; anything else ends the
run.  After a crash a client waits until the process is back and goes on with its next step, or makes the same call again if the
step says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import trio

from journeyman.engine import (
    DuplicateTask,
    EngineStopped,
    Handle,
    HandlerExists,
    HandlerNotFound,
    InvalidPayload,
    JournalError,
    NotCancellable,
    NotRetryable,
    PayloadTooLarge,
    Queue,
    QueueExists,
    QueueFull,
    QueueNotFound,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
)
from journeyman.sim.errors import EngineCrashed
from journeyman.sim.scripts import policy_of, queue_of
from journeyman.sim.world import World

if TYPE_CHECKING:
    from journeyman.sim.plan import Plan

_SUBMIT = (QueueNotFound, HandlerNotFound, InvalidPayload, PayloadTooLarge, QueueFull, DuplicateTask)
# What each verb's call may be refused, beyond what can meet any call.
REFUSALS: Final[Mapping[str, tuple[type[BaseException], ...]]] = {
    "submit": _SUBMIT,
    "submit_many": _SUBMIT,
    "wait": (TaskNotFound, trio.TooSlowError),
    "result": (TaskNotFound, TaskFailed, TaskCancelled, trio.TooSlowError),
    "cancel": (TaskNotFound, NotCancellable),
    "retry": (TaskNotFound, NotRetryable, QueueFull),
    "get": (TaskNotFound,),
    "explain": (TaskNotFound,),
    "history": (TaskNotFound,),
    "list": (QueueNotFound, TaskNotFound),
    "drain": (trio.TooSlowError,),
    "create_queue": (QueueExists, HandlerExists),
    **dict.fromkeys(("retry_all", "clear", "pause", "resume", "configure", "prune", "count"), (QueueNotFound,)),
}
_DISK: Final = ("disk_full", "read_error", "bit_flip")
AGAIN: Final = 5  # times that a client makes a call again


class Player:
    """One run of one plan."""

    def __init__(self, world: World, plan: Plan) -> None:
        self.world = world
        self.plan = plan
        self.deployed = 0
        self.queues: dict[str, Queue] = {}
        self.handles: dict[str, Handle[Any]] = {}
        self.engine = world.engine(self._deploy, **plan.engine)
        self._left = len(plan.lanes)  # lanes still at work
        self._turn = trio.Event()  # the engine is to be left: a redeploy, or the end

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            for lane in self.plan.lanes:
                nursery.start_soon(self._lane, lane)
            while self._left:
                async with self.engine:
                    await self._turn.wait()
                self._turn = trio.Event()

    def _deploy(self) -> list[Queue]:
        """What the next boot is given."""
        deploys = self.plan.deploys
        facts = deploys[self.deployed % len(deploys)] if deploys else []
        queues = [queue_of(one, self.world) for one in facts]
        self.queues = {queue.name: queue for queue in queues}
        return queues

    async def _lane(self, steps: list[Any]) -> None:
        try:
            await self.engine.ready()
            for verb, arguments in steps:
                await self._step(verb, arguments)
        except Exception as error:
            self.world.give_up(error)  # bare: a nursery would wrap it
        finally:
            self._left -= 1
            if not self._left:
                self._turn.set()

    async def _step(self, verb: str, arguments: Mapping[str, Any]) -> None:
        do: Callable[..., Awaitable[object]] = getattr(self, f"do_{verb}")
        for _ in range(AGAIN):
            try:
                with trio.move_on_after(arguments.get("patience", float("inf"))):  # a caller that gives up, too, is a caller
                    await do(**{name: value for name, value in arguments.items() if name not in ("patience", "again")})
            except REFUSALS.get(verb, ()):
                return
            except (EngineCrashed, EngineStopped, JournalError) as error:
                if isinstance(error, JournalError) and not any(self.world.dice.struck[name] for name in _DISK):
                    raise
                await self.engine.ready()
                if arguments.get("again"):
                    continue
            return

    # --- what is around the engine ------------------------------------------------------------------------------------

    async def do_sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)

    async def do_crash(self, power: bool = False) -> None:
        await self.world.crash(power=power)

    async def do_clock(self, seconds: float) -> None:
        self.world.step_clock(seconds)

    async def do_deploy(self, to: int, how: str = "restart") -> None:
        """The engine is left and entered again, or the process dies, and what comes up is another deployment."""
        self.deployed = to
        if how == "crash":
            await self.world.crash()
        else:
            self._turn.set()
            await trio.lowlevel.checkpoint()

    async def do_stop(self, grace: float | None = None) -> None:
        try:
            await self.engine.stop(grace)
        finally:
            self._turn.set()

    # --- submitting ---------------------------------------------------------------------------------------------------

    async def do_submit(self, handler: str, script: list[Any], options: Mapping[str, Any] | None = None, label: str = "") -> None:
        self.handles[label] = await self.engine.submit(self._target(handler, options), script)

    async def do_submit_many(self, items: list[list[Any]], label: str = "") -> None:
        """items: [handler, script, options]; their handles are called `label`.0, `label`.1 and so on."""
        calls: list[Any] = [(self._target(handler, options), (script,), {}) for handler, script, options in items]
        for n, handle in enumerate(await self.engine.submit_many(calls)):
            self.handles[f"{label}.{n}"] = handle

    def _target(self, name: str, options: Mapping[str, Any] | None) -> Any:
        """The handler, or only its name where this deployment has no code for it."""
        queue = self.queues.get(name.partition(".")[0])
        handler: Any = queue.handlers.get(name) if queue is not None else None
        if handler is None:
            handler = self.engine.handler(name, queue=name.partition(".")[0])
        if not options:
            return handler
        chosen = dict(options)
        if "at" in chosen:
            chosen["at"] = self.world.now() + timedelta(seconds=chosen["at"])
        if "owner" in chosen:
            chosen["owner"] = tuple(chosen["owner"])
        return handler.using(**chosen)

    # --- one task; nothing to do where its submit was left out or refused ---------------------------------------------------

    async def do_wait(self, label: str, timeout: float) -> None:
        if label in self.handles:
            await self.handles[label].wait(timeout)

    async def do_result(self, label: str, timeout: float) -> None:
        if label in self.handles:
            await self.handles[label].result(timeout)

    async def do_cancel(self, label: str, running: bool = True) -> None:
        if label in self.handles:
            await self.engine.cancel(self.handles[label].id, "by plan", running=running)

    async def do_retry(self, label: str) -> None:
        if label in self.handles:
            await self.engine.retry(self.handles[label].id)

    async def do_get(self, label: str) -> None:
        if label in self.handles:
            await self.engine.get(self.handles[label].id)

    async def do_explain(self, label: str) -> None:
        if label in self.handles:
            await self.engine.explain(self.handles[label].id)

    async def do_history(self, label: str) -> None:
        if label in self.handles:
            await self.engine.history(self.handles[label].id)

    # --- many tasks -----------------------------------------------------------------------------------------------------

    async def do_list(self, **filters: Any) -> None:
        """Two pages."""
        page = await self.engine.list(**filters)
        if page:
            await self.engine.list(**filters, before=page[-1].seq)

    async def do_count(self, **filters: Any) -> None:
        await self.engine.count(**filters)

    async def do_stats(self) -> None:
        await self.engine.stats()

    async def do_retry_all(self, queue: str, state: str) -> None:
        await self.engine.retry_all(queue, state)

    async def do_clear(self, queue: str) -> None:
        await self.engine.clear(queue)

    async def do_pause(self, queue: str) -> None:
        await self.engine.pause(queue)

    async def do_resume(self, queue: str) -> None:
        await self.engine.resume(queue)

    async def do_configure(self, queue: str, policy: Mapping[str, Any]) -> None:
        await self.engine.configure(queue, **policy_of(policy), by="plan", reason="by plan")

    async def do_prune(self, older_than: float, queue: str | None = None, states: tuple[str, ...] = ("succeeded", "cancelled")) -> None:
        await self.engine.prune(older_than, queue, states=states)

    async def do_drain(self, timeout: float) -> None:
        await self.engine.drain(timeout)

    async def do_create_queue(self, facts: Mapping[str, Any]) -> None:
        await self.engine.create_queue(queue_of(facts, self.world))
