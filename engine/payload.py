"""Arguments and results as bytes, and back: one codec a handler, compiled once.

A call is stored as the canonical CBOR of `[positional, named]` in the shape that engine/signature.py defines; a result as the CBOR of the
value.  docs/FORMAT.md names this codec 0.

Problem.  Any value an annotation can describe should pass (dataclasses, enums, paths, msgspec and attrs classes ...), a call that does
not fit must fail the caller and not a worker next week, and yet a submit of two strings has some 3 us for all of it.  Choice: three
steps.  The binder checks the call.  If every argument's exact type is a primitive that its annotation admits, the bytes are made at once
(`_ADMITTED`; the common case, under 1 us).  Otherwise msgspec turns the values into builtins and then, as the worker will, converts
these to the annotated types: what it cannot convert now it could not convert then.  Decoding takes the same two roads.

What an annotation does not say is not kept: without one, sets and tuples come back as lists, enums and paths as their values, dataclasses
as maps.  Instants, UUIDs and decimals are CBOR values of their own and come back as themselves.  Any bytes-like value is bytes.  A path is
text, or its bytes when it is not UTF-8 (file names need not be).  Which annotations there may be is engine/annotation.py's subject.

Rejected: pickle (runs code, breaks with every rename); JSON (no bytes); validation of live objects by isinstance (does not look inside).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import contains
from types import MappingProxyType, NoneType
from typing import Any, Final

from journeyman.engine.annotation import convert, storable, to_builtins
from journeyman.engine.errors import InvalidPayload
from journeyman.engine.signature import Bound, Shape, Types
from journeyman.journal.cbor import CodecError, decode_payload, encode_flat, encode_payload

_REFUSALS: Final = (CodecError, TypeError, ValueError, OverflowError, RecursionError)

_FLAT: Final[frozenset[type]] = frozenset(
    {str, int, bool, bytes, NoneType}
)  # their CBOR is the same from the fast encoder as from the canonical one
_NOTHING: Final[frozenset[type]] = frozenset()

# annotation -> exact types that need no conversion either way
_ADMITTED: Final[Mapping[Any, frozenset[type]]] = MappingProxyType(
    {
        **{kind: frozenset({kind}) for kind in (str, int, float, bool, bytes, NoneType)},
        **{kind | None: frozenset({kind, NoneType}) for kind in (str, int, float, bool, bytes)},
        Any: _FLAT,
    }
)


def _admitted(annotation: Any) -> frozenset[type]:
    try:
        return _ADMITTED.get(annotation, _NOTHING)
    except TypeError:  # an unhashable annotation, such as Annotated[...] with a list inside
        return _NOTHING


# --- the codecs -------------------------------------------------------------------------------------------------------


_NO_ARGUMENTS: Final = b"\x82\x80\xa0"  # of a call: an empty list, an empty map


class ResultCodec:
    """Results of one handler.  What it returns may be any value that can be stored; the annotation is applied on reading, where it fits."""

    __slots__ = ("_admitted", "_kind")

    def __init__(self, kind: Any = Any) -> None:
        self._kind = kind
        self._admitted = _admitted(kind)

    def encode(self, value: Any, name: str) -> bytes:
        """InvalidPayload, naming the handler, if the value has no encoding."""
        try:
            if type(value) in _FLAT:
                return encode_flat(value)
            data = encode_payload(to_builtins(value))
            decode_payload(data)
        except _REFUSALS as error:
            raise InvalidPayload(f"the result of {name} ({type(value).__name__}) cannot be stored: {_reason(error)}") from error
        return data

    def decode(self, data: bytes) -> Any:
        """The value, typed if it fits the annotation of today, plain if it does not.  InvalidPayload if it is no value at all."""
        try:
            value = decode_payload(data)
        except CodecError as error:
            raise InvalidPayload(f"a stored result cannot be read: {error}") from error
        if type(value) in self._admitted:
            return value
        try:
            return convert(value, self._kind)
        except _REFUSALS:
            return value


class CallCodec:
    """Calls of one handler."""

    __slots__ = ("_admitted", "_as_given", "_bind", "_flat", "_name", "_rest", "_rest_list", "_tuples", "_types")

    def __init__(self, name: str, shape: Shape, types: Types) -> None:
        types = _storable(types, name)
        self._name = name
        self._bind = shape.binder
        self._as_given = shape.as_given
        self._types = types
        self._admitted = tuple(_admitted(kind) for kind in types.positional)
        self._rest = _admitted(types.rest) if types.rest is not None else _NOTHING
        self._flat = not any(float in kinds_ for kinds_ in (*self._admitted, self._rest))
        # By number of arguments.  Made with a call, because types made of values are not for static checkers.
        self._tuples: list[Any] = [Any, *(tuple.__class_getitem__(types.positional[:n]) for n in range(1, len(types.positional) + 1))]
        self._rest_list: Any = list.__class_getitem__(types.rest)

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The bytes of a call.

        TypeError, in Python's own words, for a wrong call; InvalidPayload, naming the parameter, for a value that does not fit its
        annotation or cannot be stored.
        """
        positional: Sequence[Any]
        if len(args) == self._as_given and not kwargs and type(args) is tuple:
            positional, named = args, kwargs
            if self._flat and all(map(contains, self._admitted, map(type, args))):  # most calls: nothing to bind, convert or look into
                try:
                    return _flat_call(args)
                except _REFUSALS as error:
                    raise self._complaint(positional, named, error) from error
        else:
            positional, named = self._bind(*args, **kwargs)
        try:
            if not named and self._plain(positional):
                return _flat_call(positional) if self._flat else encode_payload([positional, {}])
            data = encode_payload(to_builtins([positional, named]))
            self._converted(*decode_payload(data))  # as the worker will
            return data
        except _REFUSALS as error:
            raise self._complaint(positional, named, error) from error

    def decode(self, data: bytes) -> Bound:
        """The arguments, typed.  InvalidPayload or TypeError if they no longer fit the handler."""
        args, kwargs = _parts(data, self._name)
        positional, named = self._bind(*args, **kwargs)
        if not named and self._plain(positional):
            return positional, named
        try:
            return self._converted(positional, named)
        except _REFUSALS as error:
            raise self._complaint(positional, named, error) from error

    def _plain(self, positional: Sequence[Any]) -> bool:
        """Whether every argument is a primitive that its annotation admits as it is."""
        admitted = self._admitted
        if not all(map(contains, admitted, map(type, positional))):
            return False
        return len(positional) <= len(admitted) or all(type(value) in self._rest for value in positional[len(admitted) :])

    def _converted(self, positional: list[Any], named: dict[str, Any]) -> Bound:
        count = min(len(positional), len(self._tuples) - 1)
        args = list(convert(positional[:count], self._tuples[count]))
        if len(positional) > count:
            args += convert(positional[count:], self._rest_list)
        types = self._types
        return args, {name: convert(value, types.named.get(name, types.extra)) for name, value in named.items()}

    def _complaint(self, positional: Sequence[Any], named: Mapping[str, Any], error: Exception) -> InvalidPayload:
        """The error said again with the name of the parameter, found by trying one at a time."""
        types = self._types
        names = [*list(types.every)[: len(types.positional)], *[types.rest_name] * len(positional)]
        kinds_ = [*types.positional, *[types.rest] * len(positional)]
        values = [*zip(names, positional, kinds_, strict=False)]
        values += [(name, value, types.named.get(name, types.extra)) for name, value in named.items()]
        for name, value, kind in values:
            if (reason := _unfit(value, kind)) is not None:
                return InvalidPayload(f"argument {name!r} of {self._name}: {reason}")
        return InvalidPayload(f"the arguments of {self._name} cannot be stored: {_reason(error)}")


def _storable(types: Types, name: str) -> Types:
    """The same parameters, each with the annotation that rebuilds it."""
    kept = {parameter: storable(kind, f"handler {name!r}, parameter {parameter!r}") for parameter, kind in types.every.items()}
    return types._replace(
        every=kept,
        positional=tuple(kept.values())[: len(types.positional)],
        rest=kept.get(types.rest_name),
        named={parameter: kept[parameter] for parameter in types.named},
        extra=None if types.extra is None else [*kept.values()][-1],  # **kwargs come last
    )


def _flat_call(positional: Sequence[Any]) -> bytes:
    """The bytes of a call with nothing but flat arguments, all by position."""
    if not positional:
        return _NO_ARGUMENTS
    if len(positional) == 1:  # alone it is encoded in a third of the time that a list of one takes
        return b"\x82\x81" + encode_flat(positional[0]) + b"\xa0"
    return b"\x82" + encode_flat(positional) + b"\xa0"


def _unfit(value: Any, kind: Any) -> str | None:
    """Why one value cannot be stored and rebuilt as `kind`; None if it can."""
    try:
        convert(decode_payload(encode_payload(to_builtins(value))), kind)
    except _REFUSALS as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply, or holds itself"
    if isinstance(error, CodecError) and "naive datetime" in str(error):  # in the words of cbor2, which advise what nobody here can do
        return "a naive datetime does not say which instant it means: pass an aware one, such as datetime.now(UTC)"
    return str(error)


def _parts(data: bytes, name: str) -> tuple[list[Any], dict[str, Any]]:
    try:
        args, kwargs = decode_payload(data)
    except (CodecError, TypeError, ValueError) as error:
        raise InvalidPayload(f"the stored arguments of {name} cannot be read: {error}") from error
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise InvalidPayload(f"the stored arguments of {name} are not a call")
    return args, kwargs


class AnyCall:
    """Calls of a handler that this process knows by name only: nothing is checked but that the values can be stored."""

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def encode(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bytes:
        """The bytes of a call.  InvalidPayload if a value cannot be stored."""
        try:
            data = encode_payload(to_builtins([list(args), dict(kwargs)]))
            decode_payload(data)
        except _REFUSALS as error:
            raise InvalidPayload(f"the arguments of {self._name} cannot be stored: {_reason(error)}") from error
        return data

    def decode(self, data: bytes) -> Bound:
        """The arguments as plain values."""
        return _parts(data, self._name)


__all__ = ["AnyCall", "CallCodec", "ResultCodec"]
