"""Which annotations a handler may have: values of them must come back from stored bytes as what they were.

Problem.  msgspec rebuilds nearly everything, but it was made for JSON, where bytes, instants and UUIDs are all text: `bytes | str` and
`datetime | str` are ambiguous to it, and enums must be all str or all int.  CBOR tells these apart.  And a class it does not know is found
out when a value comes, which for a handler is a year too late.  Choice: every annotation is looked through when the handler is
registered.  What only msgspec refuses gets a *stand-in*, a class of ours that knows what to make of a stored value: a union whose members
are stored in different forms, an enum whose members are.  Stand-ins reach through containers, not into the fields of classes, which
msgspec reads by itself.  What cannot be told apart when it comes back is refused, with what to write instead.

Rejected: trying the members of a union one after another (what comes back would hang on their order).
"""

from __future__ import annotations

import enum
import os
import types
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import PurePath
from typing import Annotated, Any, ClassVar, Final, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import inspect as kinds

from journeyman.actors.ending import storable as said
from journeyman.journal.cbor import CodecError, decode_payload, encode_payload
from journeyman.kernel.bounds import ERROR_MESSAGE_MAX

# What passes msgspec as it is, because CBOR has it.
_NATIVE: Final = (bytes, bytearray, memoryview, datetime, Decimal, UUID)

# The form in which a value is stored, by its type when it is read.
_FORMS: Final[Mapping[type, str]] = types.MappingProxyType(
    {
        type(None): "null", bool: "a bool", int: "an int", float: "a float", str: "text", bytes: "bytes", datetime: "an instant",
        UUID: "a UUID", Decimal: "a decimal", list: "a list", dict: "a map",
    }
)  # fmt: skip
# The forms that values of an annotation take.
_FORMS_OF: Final[Mapping[type, tuple[str, ...]]] = types.MappingProxyType(
    {
        kinds.NoneType: ("null",), kinds.BoolType: ("a bool",), kinds.IntType: ("an int",), kinds.FloatType: ("a float",),
        kinds.StrType: ("text",), kinds.DateType: ("text",), kinds.TimeType: ("text",), kinds.TimeDeltaType: ("text",),
        kinds.BytesType: ("bytes",), kinds.ByteArrayType: ("bytes",), kinds.MemoryViewType: ("bytes",), kinds.DateTimeType: ("an instant",),
        kinds.UUIDType: ("a UUID",), kinds.DecimalType: ("a decimal",), kinds.ListType: ("a list",), kinds.SetType: ("a list",),
        kinds.FrozenSetType: ("a list",), kinds.VarTupleType: ("a list",), kinds.TupleType: ("a list",), kinds.NamedTupleType: ("a list",),
        kinds.DictType: ("a map",), kinds.TypedDictType: ("a map",), kinds.DataclassType: ("a map",),
    }
)  # fmt: skip
_INSTEAD: Final[Mapping[str, str]] = types.MappingProxyType(
    {"text": "annotate str and convert it in the handler", "a map": "make them msgspec.Struct classes with tag=True"}
)
_MAPS: Final = (kinds.StructType, kinds.DataclassType, kinds.TypedDictType, kinds.DictType)


# --- values -----------------------------------------------------------------------------------------------------------


def to_builtins(value: Any) -> Any:
    """A value in parts that CBOR has.  TypeError for a class that has no stored form, ValueError for one that raises when it is read."""
    try:
        # In one order whatever the hash seed: equal arguments have equal bytes in every process (`id=` compares their digests).
        return msgspec.to_builtins(value, builtin_types=_NATIVE, enc_hook=_enc_hook, order="deterministic")
    except TypeError:  # members that cannot be compared stay in the order in which they come; what has no stored form fails again
        return msgspec.to_builtins(value, builtin_types=_NATIVE, enc_hook=_enc_hook)
    except (ValueError, RecursionError):
        raise
    except Exception as error:  # a comparison of the user's own may raise anything
        raise _foreign_error(error) from error


def convert(value: Any, kind: Any) -> Any:
    """What was stored, as `kind` (as `storable` gave it).  ValueError if it does not fit, or its class refuses it with whatever error."""
    if kind is Any:
        return value
    try:
        return msgspec.convert(value, kind, builtin_types=_NATIVE, dec_hook=_dec_hook)
    except (ValueError, RecursionError):  # msgspec makes ValidationErrors, which are ValueErrors, of what it expects of a class
        raise
    except Exception as error:  # a `__post_init__` of the user's may raise anything
        raise _foreign_error(error) from error


def _foreign_error(error: Exception) -> ValueError:
    """An error of the user's class, as one that callers expect: a class that was changed must not break who only reads."""
    return ValueError(f"its class raised {type(error).__name__}: {said(error, ERROR_MESSAGE_MAX)}")


def _enc_hook(value: Any) -> Any:
    if isinstance(value, PurePath):
        text = str(value)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            return os.fsencode(text)
        return text
    raise TypeError(f"{type(value).__module__}.{type(value).__qualname__} has no stored form; use a dataclass, a builtin type or bytes")


def _dec_hook(kind: type, value: Any) -> Any:
    if issubclass(kind, StandIn):
        return kind.rebuild(value)
    if issubclass(kind, PurePath) and isinstance(value, (str, bytes)):
        return kind(os.fsdecode(value))
    raise TypeError(f"expected {kind.__name__}, got {type(value).__name__}")


# --- stand-ins --------------------------------------------------------------------------------------------------------


class _AnythingPasses(type):
    """msgspec looks whether what `rebuild` gave is an instance of the class it asked for."""

    def __instancecheck__(cls, instance: object) -> bool:
        return True


class StandIn(metaclass=_AnythingPasses):
    """For an annotation that msgspec cannot rebuild.  `forms`: those its values are stored in."""

    forms: ClassVar[Mapping[str, Any]] = {}
    name: ClassVar[str] = ""

    @classmethod
    def rebuild(cls, value: Any) -> Any:
        raise NotImplementedError


class _Union(StandIn):
    """`forms`: the member whose values are stored so."""

    @classmethod
    def rebuild(cls, value: Any) -> Any:
        form = _FORMS.get(type(value), "")
        if form not in cls.forms:
            raise TypeError(f"Expected `{cls.name}`, got `{type(value).__name__}`")
        return convert(value, cls.forms[form])


class _Enum(StandIn):
    members: ClassVar[Mapping[bytes, enum.Enum]] = {}  # by the stored bytes of their values

    @classmethod
    def rebuild(cls, value: Any) -> Any:
        found = cls.members.get(encode_payload(value))
        if found is None:
            raise ValueError(f"{value!r} is no value of {cls.name}")
        return found


def _stand_in(kind: Any) -> Any:
    """`kind`, with stand-ins where msgspec needs them."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _for_union(kind, [_stand_in(member) for member in arguments])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _for_enum(kind)
    if origin is None or origin is Literal or not arguments:
        return kind
    if origin is Annotated:
        inner = _stand_in(arguments[0])
        return kind if inner is arguments[0] else inner
    inside = [_stand_in(argument) for argument in arguments]
    return kind if all(map(lambda new, old: new is old, inside, arguments)) else origin[tuple(inside)]


def _for_union(kind: Any, members: list[Any]) -> Any:
    stand_ins = any(isinstance(member, type) and issubclass(member, StandIn) for member in members)
    if not stand_ins and _msgspec_takes(kind):
        return kind
    forms: dict[str, Any] = {}
    for member in members:
        for form in _forms(member):
            if form in forms:
                instead = _INSTEAD.get(form, "choose one of them")
                raise TypeError(
                    f"`{_text(kind)}` cannot be told apart when it comes back: "
                    f"{_text(forms[form])} and {_text(member)} are both stored as {form}; {instead}"
                )
            forms[form] = member
    if "a float" in forms:
        forms.setdefault("an int", forms["a float"])  # an int will do where a float is wanted
    return _AnythingPasses("union", (_Union,), {"forms": forms, "name": _text(kind)})


def _msgspec_takes(kind: Any) -> bool:
    """Whether msgspec can rebuild this annotation without help."""
    try:
        kinds.type_info(kind)
    except TypeError:
        return False
    return True


def _forms(kind: Any) -> tuple[str, ...]:
    if isinstance(kind, type) and issubclass(kind, StandIn):
        return tuple(kind.forms)
    info = kinds.type_info(kind)
    if isinstance(info, kinds.CustomType) and issubclass(info.cls, PurePath):
        return "text", "bytes"
    if isinstance(info, kinds.EnumType):
        return tuple({_FORMS[type(to_builtins(member))]: None for member in info.cls})
    if isinstance(info, kinds.LiteralType):
        return tuple({_FORMS[type(value)]: None for value in info.values})
    if isinstance(info, kinds.StructType):
        return ("a list" if info.array_like else "a map",)
    found = _FORMS_OF.get(type(info))
    if found is None:
        raise TypeError(_foreign_text(kind))
    return found


def _for_enum(kind: type[enum.Enum]) -> Any:
    if _msgspec_takes(kind):
        return kind
    members: dict[bytes, enum.Enum] = {}
    forms: dict[str, Any] = {}
    for member in kind:
        try:
            data = encode_payload(to_builtins(member))
            forms[_FORMS[type(decode_payload(data))]] = kind
        except (CodecError, TypeError, ValueError, KeyError) as error:
            raise TypeError(f"the value of {member} cannot be stored ({error}): give the members str or int values") from None
        if members.setdefault(data, member) is not member:
            raise TypeError(f"{members[data]} and {member} are stored alike: give the members str or int values")
    return _AnythingPasses("enum", (_Enum,), {"forms": forms, "members": members, "name": kind.__qualname__})


# --- what is refused --------------------------------------------------------------------------------------------------


def storable(kind: Any, what: str) -> Any:
    """The annotation in the form that `convert` wants.  TypeError, naming `what`, if values of it could not be rebuilt."""
    try:
        kind = _stand_in(kind)
        problem = _problem(kinds.type_info(kind), set())
    except (TypeError, ValueError, NameError) as error:
        problem = str(error)
        if "is not supported" in problem:  # in the words of msgspec, of a field inside a class
            problem += "; inside a class give the field one type, or annotate it with Any"
    if problem is not None:
        raise TypeError(f"{what}: {problem}")
    return kind


def _problem(info: Any, seen: set[int]) -> str | None:
    """What inside a type cannot be rebuilt, if there is anything."""
    if isinstance(info, kinds.CustomType):
        return None if issubclass(info.cls, (PurePath, StandIn)) else _foreign_text(info.cls)
    if isinstance(info, (list, tuple)):
        return next((found for part in info if (found := _problem(part, seen)) is not None), None)
    if not isinstance(info, (kinds.Type, kinds.Field)) or id(info) in seen:
        return None
    seen.add(id(info))
    if isinstance(info, kinds.DictType) and (found := _key_problem(info.key_type)) is not None:
        return found
    return _problem([getattr(info, name) for name in info.__struct_fields__ if name != "default"], seen)


def _key_problem(info: Any) -> str | None:
    """A key that CBOR or msgspec would not give back: a map, which is unhashable, or what needs our own hook."""
    if isinstance(info, kinds.CustomType):
        return f"{_text(info.cls)} cannot be rebuilt as the key of a dict: use str, int or bytes for keys and convert them in the handler"
    if isinstance(info, _MAPS):
        return (
            f"{_text(getattr(info, 'cls', dict))} cannot be the key of a stored dict: use str, numbers, dates, enums or tuples of them, "
            "or give a list of pairs"
        )
    if isinstance(info, kinds.UnionType):
        inner: tuple[Any, ...] = info.types
    elif isinstance(info, (kinds.TupleType, kinds.NamedTupleType)):
        inner = info.item_types if isinstance(info, kinds.TupleType) else tuple(field.type for field in info.fields)
    elif isinstance(info, (kinds.VarTupleType, kinds.FrozenSetType)):
        inner = (info.item_type,)
    else:
        inner = ()
    return next((found for part in inner if (found := _key_problem(part)) is not None), None)


def _foreign_text(kind: Any) -> str:
    name = f"{kind.__module__}.{kind.__qualname__}" if isinstance(kind, type) else _text(kind)
    return f"{name} cannot be stored and rebuilt; use a dataclass, a msgspec or attrs class, an enum, a builtin type or Path"


def _text(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, StandIn):
        return kind.name
    return kind.__qualname__ if isinstance(kind, type) and get_origin(kind) is None else str(kind)


__all__ = ["convert", "storable", "to_builtins"]
