"""What a function becomes when it is registered."""

from __future__ import annotations

import functools
import pickle
from typing import TYPE_CHECKING, Any

import pytest

from journeyman.engine import Context, InvalidName, Queue
from journeyman.engine.handler import named_handler

if TYPE_CHECKING:
    from journeyman.engine import Context as OnlyForTheChecker  # noqa: F401

mail = Queue("mail")


@mail.handler
async def send(ctx: Context, to: str, subject: str = "hi") -> str:
    """Send it."""
    return f"{ctx} {to} {subject}"


@mail.handler(timeout=5, heartbeat=None)
def receive(box: str) -> int:
    return len(box)


class Later:
    """Used in an annotation above its definition, below."""


def test_a_plain_call_stays_plain() -> None:
    assert receive("inbox") == 5
    assert (receive.__name__, send.__doc__) == ("receive", "Send it.")


async def test_a_plain_call_of_an_async_handler() -> None:
    assert await send("ctx", "a") == "ctx a hi"


def test_what_the_shell_asks_of_it() -> None:
    assert (send.name, send.queue_name, send.threaded, send.takes_context) == ("send", "mail", False, True)
    assert (send.timeout_us, send.heartbeat_us) == (None, None)
    assert (receive.threaded, receive.takes_context, receive.timeout_us, receive.heartbeat_us) == (True, False, 5_000_000, 0)


def test_the_context_is_recognised() -> None:
    queue = Queue("q")

    @queue.handler
    async def by_class(ctx: Context) -> None: ...

    @queue.handler
    async def by_string(ctx: "Context") -> None: ...  # noqa: UP037

    @queue.handler
    async def by_name_alone(ctx: Context, n: int) -> None: ...

    @queue.handler(ctx=True)
    async def said_so(anything, n: int) -> None: ...  # type: ignore[no-untyped-def]

    @queue.handler(ctx=False)
    async def said_not(ctx, n: int) -> None: ...  # type: ignore[no-untyped-def]

    @queue.handler
    async def untyped(anything, n: int) -> None: ...  # type: ignore[no-untyped-def]

    takes = {name: handler.takes_context for name, handler in queue.handlers.items()}
    assert takes == {
        "by_class": True, "by_string": True, "by_name_alone": True, "said_so": True, "said_not": False, "untyped": False,
    }  # fmt: skip


def test_the_context_imported_for_the_checker_only() -> None:
    space: dict[str, Any] = {"__name__": "nowhere"}
    exec("from __future__ import annotations\nasync def f(ctx: Context, n: int) -> None: ...", space)
    made = Queue("q").handler(space["f"])
    assert made.takes_context
    assert made.encode_call((3,), {})


def test_a_context_in_doubt_or_in_the_wrong_place() -> None:
    queue = Queue("q")
    with pytest.raises(TypeError, match="annotate ctx"):

        @queue.handler
        async def doubt(ctx, n): ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="first positional parameter, not 'ctx'"):

        @queue.handler
        async def second(n: int, ctx: Context) -> None: ...

    with pytest.raises(TypeError, match="no positional parameter"):

        @queue.handler(ctx=True)
        async def none() -> None: ...  # type: ignore[arg-type]


def test_what_cannot_be_a_handler() -> None:
    queue = Queue("q")

    def generator() -> Any:
        yield 1

    async def async_generator() -> Any:
        yield 1

    async def coroutine() -> None: ...

    for wrong in (generator, async_generator, 7):
        with pytest.raises(TypeError, match="handler"):
            queue.handler(wrong)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="is async"):
        queue.handler(run_in="thread")(coroutine)
    with pytest.raises(ValueError, match="not available"):
        queue.handler(run_in="cloud")(len)  # type: ignore[call-overload]
    with pytest.raises(InvalidName, match="handler name"):
        queue.handler(functools.partial(coroutine))
    assert not queue.handler(name="partial")(functools.partial(coroutine)).threaded
    assert not queue.handlers.keys() - {"partial"}


def test_annotations_from_further_down_and_from_the_function_around() -> None:
    from dataclasses import dataclass

    queue = Queue("q")

    @dataclass
    class Local:
        n: int

    @queue.handler
    async def local(it: Local) -> None: ...

    queue.enter()
    assert local.decode_call(local.encode_call((Local(3),), {})) == ([Local(3)], {})


def test_travels_by_name() -> None:
    assert pickle.loads(pickle.dumps(send)) is send

    @Queue("q").handler
    async def inside() -> None: ...

    with pytest.raises(pickle.PicklingError, match="top level"):
        pickle.dumps(inside)


def test_known_by_name_only() -> None:
    handler = named_handler("send", "mail")
    call = handler.encode_call(("a",), {"subject": "b"})
    assert handler.decode_call(call) == (["a"], {"subject": "b"})
    assert send.decode_call(call) == (["a", "b"], {})
    assert handler.using(delay=1).handler.name == "send"
