"""Rows 6 and 7: arguments and results come back as the types their annotations name; what does not fit fails the caller."""

from __future__ import annotations

import enum
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypedDict
from uuid import UUID

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from journeyman.engine import Handler, InvalidPayload, Queue
from journeyman.journal.cbor import CodecError, decode_payload, encode_payload


class Colour(enum.Enum):
    RED = "r"
    BLUE = "b"


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"
    PAIR = (1, 2)


class Level(enum.IntEnum):
    LOW = 1


@dataclass
class Address:
    name: str
    colour: Colour = Colour.RED
    more: list[Address] = field(default_factory=list)


@dataclass(frozen=True)
class Pair:
    x: int
    y: int


class Point(NamedTuple):
    x: int
    y: float


class Options(TypedDict, total=False):
    depth: int


class Record(msgspec.Struct, frozen=True):
    at: datetime
    blob: bytes


@attrs.define
class Crate:
    path: Path


class Opaque: ...


NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


def taking(annotation: Any) -> Handler[..., Any]:
    async def take(it: Any) -> Any: ...

    take.__annotations__ = {"it": annotation, "return": annotation}
    return Queue("q").handler(take)


VALUES: list[tuple[Any, Any]] = [
    (str, "a@example.org"), (str, ""), (int, 0), (int, -(2**70)), (int, 2**63), (float, 1.5), (float, float("inf")), (bool, True),
    (None, None), (bytes, b""), (bytes, bytes(range(256))), (str | None, None), (int | str, "a"), (list[int], [1, 2]),
    (tuple[int, ...], (1, 2)), (tuple[int, str], (1, "a")), (set[str], {"a", "b"}), (frozenset[int], frozenset({1})),
    (dict[str, int], {"a": 1}), (dict[int, bytes], {1: b"x"}), (Mapping[str, Any], {"a": [1, {"b": None}]}), (Colour, Colour.BLUE),
    (Level, Level.LOW), (Literal["x", "y"], "y"), (datetime, NOON), (date, NOON.date()), (timedelta, timedelta(seconds=1.5)),
    (UUID, UUID(int=7)), (Decimal, Decimal("1.10")), (Path, Path("/tmp/a")), (Path, Path("/tmp/\udcff")),
    (list[Path | None], [Path("a"), None]), (Address, Address("n", Colour.BLUE, [Address("m")])), (Point, Point(1, 2.5)),
    (Options, {"depth": 3}), (Record, Record(NOON, b"\x00")), (Crate, Crate(Path("x"))), (Annotated[int, msgspec.Meta(ge=0)], 3),
    (dict[str, list[Address]], {"a": [Address("n")]}), (Any, [1, "a", None, 1.5, b"x", {"k": 1, 2: 3}]), (Any, NOON),
    (Any, UUID(int=7)), (Any, Decimal("1.5")),
    # what msgspec alone takes for ambiguous, and CBOR tells apart
    (bytes | str, b"a"), (bytes | str, "a"), (bytes | str | None, None), (datetime | str, NOON), (datetime | str, "noon"),
    (datetime | date, NOON), (datetime | date, NOON.date()), (UUID | bytes | str, UUID(int=7)), (Decimal | str | float, Decimal("1.5")),
    (Decimal | str | float, 1.5), (Path | int, Path("a")), (Path | int, 7), (list[bytes | str], [b"a", "a"]),
    (dict[str, tuple[datetime | str, ...]], {"a": (NOON, "noon")}), (Mixed, Mixed.ONE), (Mixed, Mixed.TWO), (Mixed, Mixed.PAIR),
    (list[Mixed | None], [Mixed.ONE, None]), (Mixed | bytes, b"x"), (Address | str | bytes, Address("n")),
    (dict[tuple[int, str], int], {(1, "a"): 2}), (set[Pair], {Pair(1, 2)}),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value"), VALUES, ids=lambda it: repr(it)[:40])
def test_there_and_back(annotation: Any, value: Any) -> None:  # row 6
    handler = taking(annotation)
    for args, kwargs in (([value], {}), ([], {"it": value})):
        data = handler.encode_call(args, kwargs)
        (back,), named = handler.decode_call(data)
        assert (back, type(back), named) == (value, type(value), {})
        assert data == encode_payload(decode_payload(data))  # canonical
    result = handler.decode_result(handler.encode_result(value))
    assert (result, type(result)) == (value, type(value))


@given(st.binary(max_size=2000))
def test_the_same_bytes_out(data: bytes) -> None:  # row 7
    handler = taking(bytes)
    assert handler.decode_call(handler.encode_call([data], {})) == ([data], {})
    assert handler.decode_result(handler.encode_result(data)) == data


def test_other_bytes() -> None:
    for value in (bytearray(b"ab"), memoryview(b"ab"), memoryview(bytearray(b"axbx"))[::2]):
        for handler in (taking(bytes), taking(Any), taking(bytes | str)):
            assert handler.decode_call(handler.encode_call([value], {})) == ([b"ab"], {})
            assert handler.decode_result(handler.encode_result([value])) == [b"ab"]


DECIMALS = ["-0", "-0.00", "-0E+7", "0E-3", "NaN", "-NaN123", "sNaN", "Infinity", "-Infinity", "1.10"]


@pytest.mark.parametrize("text", DECIMALS)
@pytest.mark.parametrize("annotation", [Decimal, Any, Decimal | str])
def test_a_decimal_is_the_same_to_the_last_sign(text: str, annotation: Any) -> None:  # row 6
    handler, value = taking(annotation), Decimal(text)
    (back,), _ = handler.decode_call(handler.encode_call([value], {}))
    result = handler.decode_result(handler.encode_result(value))
    assert back.as_tuple() == result.as_tuple() == value.as_tuple()


@pytest.mark.parametrize("data", ["d9010c83000008", "d9010c83000021", "d9010c820000", "d9010c8300616101", "d9010c83002001", "d9010c6161"])
def test_a_decimal_that_is_none(data: str) -> None:
    with pytest.raises(CodecError):
        decode_payload(bytes.fromhex(data))


CBOR = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(CBOR, max_size=4), st.dictionaries(st.text(st.characters(codec="ascii", categories=["Ll"]), min_size=1), CBOR, max_size=3))
def test_any_value_without_annotations(args: list[Any], kwargs: dict[str, Any]) -> None:
    @Queue("q").handler
    async def take(*args: Any, **kwargs: Any) -> None: ...

    assert take.decode_call(take.encode_call(args, kwargs)) == (args, kwargs)


MISMATCHES: list[tuple[Any, Any, str]] = [
    (str, 1, "Expected `str`, got `int`"), (int, "1", "got `str`"), (int, True, "got `bool`"), (int, 1.5, "got `float`"),
    (bytes, "a", "got `str`"), (str, b"a", "got `bytes`"), (datetime, "2026-01-01", "got `str`"), (list[int], [1, "2"], r"\$\[1\]"),
    (Address, {"nam": "x"}, "missing required field `name`"), (Address, Address(7), "name"), (Colour, "z", "Invalid enum value"),
    (Path, 7, "Path"), (str, None, "got `null`"), (Annotated[int, msgspec.Meta(ge=0)], -1, ">= 0"), (Any, Opaque(), "Opaque"),
    (Any, [lambda: 1], "function"), (str, "\ud800", "surrogate"), (Any, datetime(2026, 1, 1), "time ?zone|naive"),
    (Any, 3 + 4j, "complex"), (list[int], memoryview(b"ab"), "got `bytes`"), (bytes | str, 7, "Expected `bytes | str`, got `int`"),
    (Mixed, 2, "no value of Mixed"),
    (list[datetime | str], ["a", b"b"], r"\$\[1\]"),
]  # fmt: skip


@pytest.mark.parametrize(("annotation", "value", "says"), MISMATCHES, ids=lambda it: repr(it)[:40])
def test_a_value_that_does_not_fit(annotation: Any, value: Any, says: str) -> None:  # row 6
    with pytest.raises(InvalidPayload, match=rf"^argument 'it' of take: .*(?:{says})"):
        taking(annotation).encode_call([value], {})


def test_too_deep_or_endless() -> None:
    handler = taking(Any)
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    endless: list[Any] = []
    endless.append(endless)
    for value in (deep, endless):
        with pytest.raises(InvalidPayload, match="'it'"):
            handler.encode_call([value], {})
        with pytest.raises(InvalidPayload, match="result of take"):
            handler.encode_result(value)


def test_a_wrong_call_says_it_in_pythons_words() -> None:
    @Queue("q").handler
    async def send(to: str, subject: str = "hi", *, urgent: bool = False) -> None: ...

    for args, kwargs, says in [
        ((), {}, r"send\(\) missing 1 required positional argument: 'to'"),
        (("a", "b", True), {}, r"send\(\) takes from 1 to 2 positional arguments but 3 were given"),
        (("a",), {"topic": "x"}, r"send\(\) got an unexpected keyword argument 'topic'"),
        (("a",), {"to": "b"}, r"send\(\) got multiple values for argument 'to'"),
    ]:
        with pytest.raises(TypeError, match=says):
            send.encode_call(args, kwargs)  # type: ignore[arg-type]


def test_one_call_has_one_payload() -> None:
    @Queue("q").handler
    async def send(a: int, b: int = 1, c: int = 2, *, d: int = 3) -> None: ...

    assert send.encode_call([1, 7, 8], {}) == send.encode_call([], {"c": 8, "a": 1, "b": 7}) == encode_payload([[1, 7, 8], {}])
    assert send.encode_call([1], {"c": 8}) == encode_payload([[1], {"c": 8}])  # b stays the default of the day it runs
    assert send.encode_call([1], {"d": 8, "c": 0}) == send.encode_call([1], {"c": 0, "d": 8}) == encode_payload([[1], {"c": 0, "d": 8}])


def test_a_call_that_is_not_bound_again_has_the_bytes_of_one_that_is() -> None:
    queue = Queue("q")

    @queue.handler
    async def one(a: int | None) -> None: ...

    @queue.handler
    async def two(a: str, b: Any = 0, *rest: int, c: int = 1, **extra: int) -> None: ...

    @queue.handler
    async def real(a: float) -> None: ...

    @queue.handler
    async def none() -> None: ...

    @queue.handler
    async def keyed(a: int, *, b: int) -> None: ...

    calls: list[tuple[Handler[..., Any], tuple[Any, ...]]] = [
        (one, (7,)), (one, (None,)), (one, (-(2**70),)), (two, ("x",)), (two, ("x", b"y")), (two, ("x", [1], 2)),
        (real, (1.5,)), (real, (1,)), (none, ()),
    ]  # fmt: skip
    for handler, args in calls:  # only a tuple is taken as it is
        assert handler.encode_call(args, {}) == handler.encode_call([*args], {})
    assert one.encode_call((7,), {}) == encode_payload([[7], {}])
    for handler, args in [(keyed, (1,)), (one, ()), (one, (1, 2)), (none, (1,))]:
        with pytest.raises(TypeError, match=handler.name):
            handler.encode_call(args, {})


def test_every_kind_of_parameter() -> None:
    @Queue("q").handler
    async def take(a: int, b: str = "b", /, c: bytes = b"c", *rest: Colour, d: float, e: Point | None = None, **extra: Path) -> None: ...

    args, kwargs = [1, "x", b"y", Colour.RED, Colour.BLUE], {"d": 1.5, "e": Point(1, 2.0), "f": Path("f"), "a": Path("a")}
    assert take.decode_call(take.encode_call(args, kwargs)) == (args, kwargs)
    assert take.decode_call(take.encode_call([1], {"d": 2, "c": b"z"})) == ([1], {"d": 2.0, "c": b"z"})
    with pytest.raises(InvalidPayload, match="argument 'rest' of take"):
        take.encode_call([1, "x", b"y", 7], {"d": 1.0})
    with pytest.raises(InvalidPayload, match="argument 'f' of take"):
        take.encode_call([1], {"d": 1.0, "f": 7})


def test_arguments_that_no_longer_fit() -> None:  # DECISIONS 17
    @Queue("old").handler(name="send")
    async def old(to: str, n: int) -> None: ...

    @Queue("new").handler(name="send")
    async def new(to: str) -> None: ...

    @Queue("newer").handler(name="send")
    async def newer(to: str, n: str, more: str = "") -> None: ...

    call = old.encode_call(["a", 1], {})
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        new.decode_call(call)
    with pytest.raises(InvalidPayload, match="argument 'n' of send: Expected `str`, got `int`"):
        newer.decode_call(call)
    for garbage in (b"", b"\xff", call + b"\x00", encode_payload(7), encode_payload([1, 2]), encode_payload([[], [], []])):
        with pytest.raises(InvalidPayload, match="stored arguments of send"):
            old.decode_call(garbage)


def test_results_are_typed_where_they_fit() -> None:
    handler = taking(Address)
    assert handler.decode_result(handler.encode_result(Address("n"))) == Address("n")
    assert handler.decode_result(handler.encode_result({"name": "n"})) == Address("n")
    assert handler.decode_result(handler.encode_result([1, 2])) == [1, 2]  # not what was announced, and yet it is the result
    with pytest.raises(InvalidPayload, match="the result of take"):
        handler.encode_result(Opaque())
    with pytest.raises(InvalidPayload, match="cannot be read"):
        handler.decode_result(b"\xff")


@pytest.mark.parametrize("annotation", [Opaque, list[Opaque], dict[str, Opaque | None], complex, Opaque | int])
def test_annotations_that_cannot_be_rebuilt_are_refused(annotation: Any) -> None:  # DECISIONS 30
    with pytest.raises(TypeError, match="handler 'take', "):
        taking(annotation)


class Alike(enum.Enum):
    A = (1, 2)
    B = [1, 2]  # noqa: RUF012


class Odd(enum.Enum):
    A = 1
    B = date(2026, 3, 1)


@dataclass
class Field:
    it: bytes | str


WHY: list[tuple[Any, str]] = [
    (date | str, "date and str are both stored as text; annotate str and convert it in the handler"),
    (list[Path | str | None], "Path and str are both stored as text"),
    (Colour | str, "Colour and str are both stored as text"),
    (Level | int, "both stored as an int; choose one of them"),
    (Mixed | int, "Mixed and int are both stored as an int"),
    (Pair | Address, "Pair and Address are both stored as a map; make them msgspec.Struct classes with tag=True"),
    (set[int] | list[int], "both stored as a list"),
    (Alike, "Alike.A and Alike.B are stored alike: give the members str or int values"),
    (Odd, "value of Odd.B cannot be stored"),
    (Field, "inside a class give the field one type, or annotate it with Any"),
    (dict[Pair, int], "Pair cannot be the key of a stored dict: use .* or give a list of pairs"),
    (list[dict[tuple[str, Pair], int]], "Pair cannot be the key"),
    (dict[Path, int], "Path cannot be rebuilt as the key of a dict: use str"),
    (dict[Mixed, int], "Mixed cannot be rebuilt as the key"),
]


@pytest.mark.parametrize(("annotation", "says"), WHY, ids=lambda it: repr(it)[:40])
def test_a_refused_annotation_says_what_to_write_instead(annotation: Any, says: str) -> None:  # row 6, DECISIONS 30
    with pytest.raises(TypeError, match=rf"handler 'take', its result: .*{says}"):
        taking(annotation)


def test_without_annotations_containers_are_lists_and_maps() -> None:
    handler = taking(Any)
    (back,), _ = handler.decode_call(handler.encode_call([((1, 2), {3}, Colour.RED, Address("n"))], {}))
    assert back == [[1, 2], [3], "r", {"name": "n", "colour": "r", "more": []}]


def test_a_set_has_the_same_bytes_in_every_process() -> None:
    """The same `id=` again from another process compares digests.  Found by a stranger, as digests of simulations that differed."""
    program = (
        "from journeyman.engine.annotation import to_builtins; from journeyman.journal.cbor import encode_payload;"
        "print(encode_payload(to_builtins([[{'a', 'bb', 'ccc', 'dddd'}, {'k': {3, 1, 2}}], {}])).hex(), to_builtins({1, 'x'}))"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.split()[0]
        for seed in ("1", "2", "3")
    }
    assert len(said) == 1
