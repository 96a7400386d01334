"""What a type checker must make of handlers.  Read by mypy and pyright (tests/test_typing.py), never run.

A line with `type: ignore` is one that both must refuse: an ignore that nothing needs is an error in both.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true, reportUnusedFunction=false
from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, assert_type, overload

from journeyman.engine import BoundCall, Context, Handle, Handler, Priority, Queue, SubmitSpec, Transaction
from journeyman.engine.spec import Item, Submittable

P = ParamSpec("P")
R = TypeVar("R")


class Engine(Protocol):
    """The doors of journeyman.engine.Engine that this file is about."""

    @overload
    async def submit(self, handler: Submittable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Handle[R]: ...
    @overload
    async def submit(self, handler: str, /, *args: Any, **kwargs: Any) -> Handle[Any]: ...
    async def submit_many(self, items: Iterable[Item]) -> list[Handle[Any]]: ...


mail = Queue("mail")


@dataclass
class Address:
    name: str


@mail.handler
async def with_context(ctx: Context, to: str, subject: str = "hi") -> int:
    return 1


@mail.handler
def threaded_with_context(ctx: Context, to: Address) -> str:
    return to.name


@mail.handler
async def plain(to: str, *, urgent: bool = False) -> bytes:
    return b""


@mail.handler
def threaded(n: int) -> list[int]:
    return [n]


@mail.handler
async def nothing() -> None: ...


@mail.handler(name="other", timeout=5, run_in="thread")
def configured(ctx: Context, n: int) -> float:
    return n / 2


@mail.handler(timeout=None)
async def configured_plain(n: int) -> float:
    return n / 2


@mail.handler(ctx=False)
def no_context(anything: Any, n: int) -> str:
    return ""


@mail.handler(ctx=True)
async def some_context(ctx: Any, n: int) -> str:
    return ""


assert_type(threaded(1), Any)
result: Handler[[int], list[int]] = threaded
wide: Handler[[int], Sequence[int]] = threaded  # covariant in the result
assert_type(with_context.using(delay=60, priority=Priority.HIGH).bind("a", subject="b"), BoundCall[int])
configured_once: SubmitSpec[[int], list[int]] = threaded.using(id="x")
assert_type(nothing.bind(), BoundCall[None])


async def submits(engine: Engine) -> None:
    assert_type(await engine.submit(with_context, "a"), Handle[int])
    assert_type(await engine.submit(with_context, "a", subject="b"), Handle[int])
    assert_type(await engine.submit(with_context, to="a"), Handle[int])
    assert_type(await engine.submit(threaded_with_context, Address("a")), Handle[str])
    assert_type(await engine.submit(plain, "a", urgent=True), Handle[bytes])
    assert_type(await engine.submit(threaded, 1), Handle[list[int]])
    assert_type(await engine.submit(nothing), Handle[None])
    assert_type(await engine.submit(configured, 1), Handle[float])
    assert_type(await engine.submit(configured_plain, 1), Handle[float])
    assert_type(await engine.submit(no_context, object(), 1), Handle[str])
    assert_type(await engine.submit(some_context, 1), Handle[str])
    assert_type(await engine.submit(plain.using(delay=60, timeout=None), "a", urgent=True), Handle[bytes])
    assert_type(await (await engine.submit(threaded, 1)).result(), list[int])
    assert_type(await engine.submit("threaded", 1), Handle[Any])
    await engine.submit_many([plain.bind("a"), threaded.bind(1), (threaded, (1,), {}), (plain.using(delay=1), ("a",), {"urgent": True})])


def submits_in_a_transaction(tx: Transaction) -> None:
    assert_type(tx.submit(with_context, "a", subject="b"), Handle[int])
    assert_type(tx.submit(plain.using(delay=60), "a", urgent=True), Handle[bytes])
    assert_type(tx.submit("threaded", 1), Handle[Any])
    assert_type(tx.get(b"k"), bytes | None)
    tx.put(b"k", "text")  # type: ignore
    tx.submit(threaded, "1")  # type: ignore


async def submits_with_its_success(ctx: Context) -> None:
    assert_type(ctx.submit(with_context, "a", subject="b"), Handle[int])
    assert_type(ctx.submit(plain.using(delay=60), "a", urgent=True), Handle[bytes])
    assert_type(await ctx.submit(threaded, 1), Handle[list[int]])
    assert_type(ctx.submit(nothing), Handle[None])
    assert_type(ctx.submit("threaded", 1), Handle[Any])
    await ctx.submit(with_context)  # type: ignore
    await ctx.submit(threaded, "1")  # type: ignore
    await ctx.submit(plain.using(delay=60), "a", True)  # type: ignore
    await ctx.submit(nothing, 1)  # type: ignore


async def fetched(url: str, *, tries: int = 3) -> list[bytes]:
    return [url.encode()] * tries


def counted(text: str) -> int:
    return len(text)


async def in_steps(ctx: Context) -> None:
    assert_type(await ctx.step("pages", fetched, "https://example.org", tries=2), list[bytes])
    assert_type(await ctx.step("count", counted, "abc"), Any)  # in a def handler there is nothing to await
    await ctx.step("pages", fetched)  # type: ignore
    await ctx.step("pages", fetched, 1)  # type: ignore
    await ctx.step("pages", fetched, "a", retries=2)  # type: ignore
    await ctx.step("count", counted, 1)  # type: ignore
    await ctx.step(fetched, "https://example.org")  # type: ignore


async def waits(engine: Engine, ctx: Context) -> None:
    assert_type(await (await engine.submit(threaded, 1)).result(timeout=timedelta(seconds=5)), list[int])
    await (await engine.submit(threaded, 1)).wait("5")  # type: ignore
    ctx.progress("0.5")  # type: ignore


async def refused(engine: Engine) -> None:
    await engine.submit(with_context)  # type: ignore
    await engine.submit(with_context, 1)  # type: ignore
    await engine.submit(with_context, "a", topic="b")  # type: ignore
    await engine.submit(plain, "a", True)  # type: ignore
    await engine.submit(threaded, "1")  # type: ignore
    await engine.submit(nothing, 1)  # type: ignore
    await engine.submit(configured, "1")  # type: ignore
    await engine.submit(plain.using(delay=60), 1)  # type: ignore
    threaded.bind("1")  # type: ignore
    threaded.using(dealy=1)  # type: ignore
    threaded.using(delay="soon")  # type: ignore
    not_so: Handler[[str], list[int]] = threaded  # type: ignore
    _ = not_so


def misdeclared() -> None:
    Queue("x", on_crash="explode")  # type: ignore
    Queue("x", concurency=3)  # type: ignore
    mail.handler(run_in="rocket")  # type: ignore
