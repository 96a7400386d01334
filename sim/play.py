"""Playing a plan: clients in lanes side by side, and the operator who deploys.

What a step may be refused is said per verb, in `REFUSALS`; that the process died or is stopping can meet any step; anything else ends the
run.  After a crash a client waits until the process is back and goes on with its next step, or makes the same call again if the
step says so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import trio

from journeyman.engine import (
    BudgetExhausted,
    Door,
    DuplicateTask,
    EngineStopped,
    Handle,
    HandlerExists,
    HandlerNotFound,
    InvalidPayload,
    JournalError,
    Limits,
    NotCancellable,
    NotRetryable,
    NotWaiting,
    PayloadTooLarge,
    Queue,
    QueueExists,
    QueueFull,
    QueueNotFound,
    ScheduleNotFound,
    TaskCancelled,
    TaskFailed,
    TaskNotFound,
)
from journeyman.sim.errors import EngineCrashed, PromiseBroken
from journeyman.sim.scripts import policy_of, queue_of
from journeyman.sim.world import World

if TYPE_CHECKING:
    from journeyman.sim.plan import Plan

_SUBMIT = (QueueNotFound, HandlerNotFound, InvalidPayload, PayloadTooLarge, QueueFull, DuplicateTask, TaskNotFound)
_OF_QUEUES = (
    "retry_all", "clear", "pause", "resume", "configure", "prune", "count", "cancel_all", "reschedule_all", "reprioritise_all",
)  # fmt: skip
# What each verb's call may be refused, beyond what can meet any call.
REFUSALS: Final[Mapping[str, tuple[type[BaseException], ...]]] = {
    "submit": _SUBMIT,
    "submit_many": _SUBMIT,
    "wait": (TaskNotFound, trio.TooSlowError),
    "result": (TaskNotFound, TaskFailed, TaskCancelled, trio.TooSlowError),
    "cancel": (TaskNotFound, NotCancellable),
    "reschedule": (TaskNotFound, NotWaiting),
    "reprioritise": (TaskNotFound, NotWaiting),
    "retry": (TaskNotFound, NotRetryable, QueueFull),
    "get": (TaskNotFound,),
    "explain": (TaskNotFound,),
    "history": (TaskNotFound,),
    "list": (QueueNotFound, TaskNotFound),
    "drain": (trio.TooSlowError,),
    "create_queue": (QueueExists, HandlerExists),
    "plug": (QueueExists, HandlerExists, BudgetExhausted),
    "schedule": (QueueNotFound, HandlerNotFound, InvalidPayload, PayloadTooLarge, ValueError),
    **dict.fromkeys(("unschedule", "preview"), (ScheduleNotFound,)),
    **dict.fromkeys(_OF_QUEUES, (QueueNotFound,)),
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
        options = dict(plan.engine)
        self.terms: Mapping[str, Mapping[str, Any]] = options.pop("namespaces", {})
        self.engine = world.engine(self._deploy, **options)
        self.door: Door = self.engine
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
        for _ in range(AGAIN):
            try:
                do: Callable[..., Awaitable[object]] = getattr(self._at(arguments.get("door")), f"do_{verb}")
                with trio.move_on_after(arguments.get("patience", float("inf"))):  # a caller that gives up, too, is a caller
                    await do(**{name: value for name, value in arguments.items() if name not in ("patience", "again", "door")})
            except REFUSALS.get(verb, ()):
                return
            except (EngineCrashed, EngineStopped, JournalError) as error:
                if isinstance(error, JournalError) and not any(self.world.dice.struck[name] for name in _DISK):
                    raise
                await self.engine.ready()
                if arguments.get("again"):
                    continue
            return

    def _at(self, door: str | None) -> Player:
        """This player, or one at the door of a plugin."""
        if door is None:
            return self
        terms = dict(self.terms.get(door, {}))
        if "limits" in terms:
            limits = dict(terms["limits"])
            if "retention" in limits:
                limits["retention"] = tuple(limits["retention"])
            terms["limits"] = Limits(**limits)
        other = copy(self)
        other.door, other.queues = self.engine.namespace(door, **terms), {}
        return other

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
        self.handles[label] = await self.door.submit(self._target(handler, options), script)

    async def do_submit_many(self, items: list[list[Any]], label: str = "") -> None:
        """items: [handler, script, options]; their handles are called `label`.0, `label`.1 and so on."""
        calls: list[Any] = [(self._target(handler, options, n), (script,), {}) for n, (handler, script, options) in enumerate(items)]
        for n, handle in enumerate(await self.door.submit_many(calls)):
            self.handles[f"{label}.{n}"] = handle

    def _target(self, name: str, options: Mapping[str, Any] | None, place: int = 0) -> Any:
        """The handler, or only its name where this deployment has no code for it.  `place`: in a submit_many."""
        queue = self.queues.get(name.partition(".")[0])
        handler: Any = queue.handlers.get(name) if queue is not None else None
        if handler is None:
            handler = self.door.handler(name, queue=name.partition(".")[0])
        if not options:
            return handler
        chosen = dict(options)
        if "at" in chosen:
            chosen["at"] = self.world.now() + timedelta(seconds=chosen["at"])
        if "owner" in chosen:
            chosen["owner"] = tuple(chosen["owner"])
        if "after" in chosen:  # what was left out or refused cannot be named
            known = [one if isinstance(one, int) else self.handles.get(one) for one in chosen["after"]]
            chosen["after"] = [one for one in known if one is not None and not (isinstance(one, int) and one >= place)]
            if not chosen["after"]:
                chosen.pop("after_failure", None)
        return handler.using(**chosen)

    # --- recurring ------------------------------------------------------------------------------------------------------

    async def do_schedule(self, name: str, handler: str, script: list[Any], when: Mapping[str, Any]) -> None:
        timing = dict(when)
        for limit in ("start", "end"):
            if limit in timing:
                timing[limit] = self.world.now() + timedelta(seconds=timing[limit])
        await self.engine.schedule(name, self._target(handler, None), args=(script,), **timing)

    async def do_unschedule(self, name: str) -> None:
        await self.engine.unschedule(name)

    async def do_schedules(self) -> None:
        await self.engine.schedules()

    async def do_preview(self, name: str) -> None:
        times = await self.engine.preview(name, 3)
        if times != sorted(set(times)):
            self.world.give_up(PromiseBroken("a preview is in order", str(times)))

    # --- one task; nothing to do where its submit was left out or refused ---------------------------------------------------

    async def do_wait(self, label: str, timeout: float) -> None:
        if label in self.handles:
            await self.handles[label].wait(timeout)

    async def do_result(self, label: str, timeout: float) -> None:
        if label in self.handles:
            await self.handles[label].result(timeout)

    async def do_cancel(self, label: str, running: bool = True) -> None:
        if label in self.handles:
            await self.door.cancel(self.handles[label].id, "by plan", running=running)

    async def do_retry(self, label: str) -> None:
        if label in self.handles:
            await self.door.retry(self.handles[label].id)

    async def do_reschedule(self, label: str, delay: float | None = None, at: float | None = None) -> None:
        if label in self.handles:
            instant = None if at is None else self.world.now() + timedelta(seconds=at)
            await self.door.reschedule(self.handles[label].id, delay=delay, at=instant, by="plan")

    async def do_reprioritise(self, label: str, priority: int) -> None:
        if label in self.handles:
            await self.door.reprioritise(self.handles[label].id, priority, by="plan")

    async def do_get(self, label: str) -> None:
        if label in self.handles:
            await self.door.get(self.handles[label].id)

    async def do_explain(self, label: str) -> None:
        if label in self.handles:
            await self.door.explain(self.handles[label].id)

    async def do_history(self, label: str) -> None:
        if label in self.handles:
            await self.door.history(self.handles[label].id)

    # --- many tasks -----------------------------------------------------------------------------------------------------

    async def do_list(self, **filters: Any) -> None:
        """Two pages."""
        page = await self.door.list(**filters)
        if page:
            await self.door.list(**filters, before=page[-1].seq)

    async def do_count(self, **filters: Any) -> None:
        await self.door.count(**filters)

    async def do_stats(self) -> None:
        await self.door.stats()

    async def do_retry_all(self, queue: str, state: str) -> None:
        await self.door.retry_all(queue, state)

    async def do_cancel_all(self, **order: Any) -> None:
        await self.door.cancel_all(**order, by="plan", reason="by plan")

    async def do_reschedule_all(self, **order: Any) -> None:
        await self.door.reschedule_all(**order, by="plan")

    async def do_reprioritise_all(self, **order: Any) -> None:
        await self.door.reprioritise_all(**order, by="plan")

    async def do_clear(self, queue: str) -> None:
        await self.door.clear(queue)

    async def do_pause(self, queue: str) -> None:
        await self.door.pause(queue)

    async def do_resume(self, queue: str) -> None:
        await self.door.resume(queue)

    async def do_configure(self, queue: str, policy: Mapping[str, Any]) -> None:
        await self.door.configure(queue, **policy_of(policy), by="plan", reason="by plan")

    async def do_prune(self, older_than: float, queue: str | None = None, states: tuple[str, ...] = ("succeeded", "cancelled")) -> None:
        await self.door.prune(older_than, queue, states=states)

    async def do_drain(self, timeout: float) -> None:
        await self.door.drain(timeout)

    async def do_create_queue(self, facts: Mapping[str, Any]) -> None:
        await self.door.create_queue(queue_of(facts, self.world))

    do_plug = do_create_queue
