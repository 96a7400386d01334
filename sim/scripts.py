"""Handlers that do as they are told: a task's argument is the script of its run, a list of [act, value].

So a run's behaviour is data like the rest of a plan, and a task that fails twice, then snoozes, then succeeds with a large result is five
short lists.  The functions here are registered as handlers by `queue_of`, which makes a `Queue` from its facts; nothing in them knows
whether it is in a simulation, except for `world.effects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import trio

from journeyman.engine import (
    Cancel,
    Constant,
    Context,
    Exponential,
    Fatal,
    JourneymanError,
    Linear,
    Queue,
    Rate,
    Retention,
    Retry,
    RetryLater,
    Snooze,
)
from journeyman.sim.errors import PromiseBroken
from journeyman.sim.world import World

Script = list[Any]  # of [act, value]


class Failed(Exception):
    """What a script's `fail` raises."""


class OddlyFailed(Exception):
    """What a script's `odd` raises: not among what a picky `Retry.on` names."""


# --- acts -------------------------------------------------------------------------------------------------------------


def act(world: World, ctx: Context, name: str, value: Any, at: int) -> Any:
    """One act that awaits nothing; a result if the script ends here.  `at`: where in the script."""
    match name, value:
        case "effect", _:
            life = ctx._attempt.task.seq  # an id may be used again when its task has been dropped
            key = f"{ctx.id} of {life} run {ctx.attempt} act {at}"
            world.effects.append(key)
            # With relaxed durability a power cut may take back the start, and with it the number, of a run that had begun.
            if world.effects.count(key) > 1 and not any(engine.machine.disk.relaxed for engine in world.engines):
                world.give_up(PromiseBroken("no attempt runs twice", key))
        case "once", _:
            world.effects.once(ctx.idempotency_key)
        case "fail", runs if ctx.attempt <= runs:
            raise Failed(f"run {ctx.attempt} of {runs} that fail")
        case "odd", runs if ctx.attempt <= runs:
            raise OddlyFailed(f"run {ctx.attempt}")
        case "later", [runs, delay] if ctx.attempt <= runs:
            raise RetryLater("later", delay)
        case "park", [runs, delay] if ctx.attempt <= runs:
            raise RetryLater("nobody before", delay, scope="queue")
        case "snooze", [runs, delay] if ctx.attempt <= runs:
            raise Snooze(delay)
        case "cancel", runs if ctx.attempt <= runs:
            raise Cancel("by its own wish")
        case "fatal", runs if ctx.attempt <= runs:
            raise Fatal("hopeless")
        case "progress", fraction:
            ctx.progress(fraction, f"act {at}")
        case "heartbeat", _:
            ctx.heartbeat()
        case "child", [handler, script]:
            ctx.submit(handler, script)
        case "chance", share:
            if ctx.random.random() < share:
                raise Failed("by chance")
        case "big", size:
            return "x" * int(size)
        case "unstorable", _:
            return object()
    return None


async def slow_act(world: World, ctx: Context, name: str, value: Any) -> bool:
    """One act that awaits; whether `name` is one."""
    match name, value:
        case "sleep", seconds:
            await trio.sleep(seconds)
        case "hang", runs:
            if ctx.attempt <= runs:
                await trio.sleep_forever()
        case "beat", [times, gap]:
            for _ in range(int(times)):
                await trio.sleep(gap)
                await ctx.heartbeat()
        case "shield", seconds:
            with trio.CancelScope(shield=True):
                await trio.sleep(seconds)
        case "finally", seconds:
            try:
                await trio.sleep(seconds)
            finally:
                world.effects.append(f"cleaned up after {ctx.id}")
        case "thread", _:
            await trio.to_thread.run_sync(lambda: world.effects.append(f"thread of {ctx.id}"))
        case "nursery", [seconds, runs]:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep, seconds)
                nursery.start_soon(_fails, seconds / 2, ctx.attempt <= runs)
        case "spawn", [handler, script]:
            await ctx.engine.submit(handler, script)
        case "look", _:
            task = await ctx.engine.get(ctx.id)
            if task.state != "running" or task.attempt != ctx.attempt:
                world.give_up(PromiseBroken("a running handler's task runs", f"{ctx.id} run {ctx.attempt} is seen as {task}"))
        case _:
            return False
    return True


async def _fails(seconds: float, really: bool) -> None:
    await trio.sleep(seconds)
    if really:
        raise Failed("in a nursery")


# --- handlers -----------------------------------------------------------------------------------------------------------


def _functions(world: World) -> Mapping[tuple[str, str], Callable[..., Any]]:
    """(kind, signature) -> a handler of this world."""

    async def follow(ctx: Context, script: Script) -> Any:
        for at, (name, value) in enumerate(script):
            if not await slow_act(world, ctx, name, value):
                result = act(world, ctx, name, value, at)
                if result is not None:
                    return result
        return len(script)

    def follow_at_once(ctx: Context, script: Script) -> Any:
        for at, (name, value) in enumerate(script):
            result = act(world, ctx, name, value, at)
            if result is not None:
                return result
        return len(script)

    async def asynchronous(ctx: Context, script: list[Any]) -> Any:
        return await follow(ctx, script)

    async def asynchronous_wider(ctx: Context, script: list[Any], more: int = 0) -> Any:
        return await follow(ctx, script)

    async def asynchronous_other(ctx: Context, script: str) -> Any:
        return script

    def plain(ctx: Context, script: list[Any]) -> Any:
        return follow_at_once(ctx, script)

    def plain_wider(ctx: Context, script: list[Any], more: int = 0) -> Any:
        return follow_at_once(ctx, script)

    def plain_other(ctx: Context, script: str) -> Any:
        return script

    return {
        ("async", "same"): asynchronous,
        ("async", "wider"): asynchronous_wider,
        ("async", "other"): asynchronous_other,
        ("def", "same"): plain,
        ("def", "wider"): plain_wider,
        ("def", "other"): plain_other,
    }


# --- queues -----------------------------------------------------------------------------------------------------------


def queue_of(facts: Mapping[str, Any], world: World) -> Queue:
    """The queue that `facts` describe: {name, policy, handlers: [{name, kind, signature, ...}]}."""
    queue = Queue(facts["name"], **policy_of(facts.get("policy", {})))
    functions = _functions(world)
    for one in facts.get("handlers", ()):
        limits = {name: one[name] for name in ("timeout", "heartbeat") if name in one}
        queue.handler(name=one["name"], **limits)(functions[one.get("kind", "async"), one.get("signature", "same")])
    return queue


def policy_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What `Queue` takes, from facts: `retry`, `rate` and `retention` are maps of their fields, a backoff is [shape, number ...]."""
    policy = dict(facts)
    if "retry" in policy:
        retry = dict(policy["retry"])
        if "backoff" in retry:
            shape, *numbers = retry["backoff"]
            retry["backoff"] = _BACKOFFS[shape](*numbers)
        if "on" in retry:
            retry["on"] = (Failed, JourneymanError) if retry["on"] == "some" else (Exception,)
        policy["retry"] = Retry(**retry)
    if "rate" in policy:
        policy["rate"] = Rate(**policy["rate"])
    if policy.get("rate_per_key") is not None:
        policy["rate_per_key"] = Rate(**policy["rate_per_key"])
    if "retention" in policy:
        policy["retention"] = Retention(**policy["retention"])
    return policy


def _called(step: float) -> Callable[[int], float]:
    def backoff(n: int) -> float:
        return step * n

    return backoff


_BACKOFFS: Mapping[str, Callable[..., Any]] = {
    "constant": Constant,
    "linear": Linear,
    "exponential": Exponential,
    "called": _called,
}
