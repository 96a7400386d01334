"""What a handler takes and gives: its signature, read once.

Problem.  Arguments cross time: they are checked by the process that submits and used by one that may start a year later.  Both need the
same three things from a function: does this call fit, in which one way is it written down, and what type has each argument.
Choice: the signature is compiled to a *binder*, a native function with the same parameters, so that Python itself checks the call (0.2
us, and its own words for what is wrong), which returns the call in one canonical shape: as many arguments by position as possible, the
rest by name, defaults left out.  Left out, because a default belongs to the code that runs, and so that a parameter with a default can be
added later.  `send("a", subject="x")` and `send("a", "x")` are thereby one payload, with one digest.

Annotations that are still strings (`from __future__ import annotations`) are resolved one by one, at once where that is possible, at the
latest when an engine is entered.  The context is the first positional parameter, annotated with Context.

Rejected: `inspect.Signature.bind` (5 us a call); storing the arguments as called (two digests for one call).
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any, Final, NamedTuple

_CONTEXT_NAMES: Final = ("Context", "journeyman.Context", "engine.Context")
_POSITIONAL: Final = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_MISSING: Final = object()

Bound = tuple[list[Any], dict[str, Any]]


class Shape(NamedTuple):
    """A handler's parameters without the context.  `binder(*args, **kwargs)` gives the call in its canonical shape, or raises TypeError.

    `as_given`: a call with this many arguments by position and none by name is in that shape already; -1: there is no such number.
    """

    takes_context: bool
    parameters: tuple[inspect.Parameter, ...]
    binder: Callable[..., Bound]
    as_given: int


class Types(NamedTuple):
    """The resolved annotations; Any where there is none."""

    every: Mapping[str, Any]  # of all parameters, in their order
    positional: tuple[Any, ...]
    rest: Any  # of *args; None if there is none
    rest_name: str
    named: Mapping[str, Any]  # of every parameter that can be given by name
    extra: Any  # of **kwargs; None if there is none
    result: Any


def shape_of(function: Callable[..., Any], name: str, ctx: bool | None, scope: Mapping[str, Any]) -> Shape:
    """Read `function`.  `ctx` True or False says whether its first parameter is the context; None looks at the annotation.

    TypeError if a parameter other than the first is annotated with Context, or if that is in doubt.
    """
    parameters = list(inspect.signature(function).parameters.values())
    first = parameters[0] if parameters and parameters[0].kind in _POSITIONAL else None
    takes_context = ctx if ctx is not None else first is not None and _is_context(first.annotation, function, scope)
    if takes_context and first is None:
        raise TypeError(f"handler {name!r}: ctx=True, but it has no positional parameter to take the context")
    if ctx is None and not takes_context and first is not None and first.name == "ctx" and first.annotation is first.empty:
        raise TypeError(f"handler {name!r}: annotate ctx with Context if it is the context, or say ctx=False if it is an argument")
    own = parameters[1:] if takes_context else parameters
    for parameter in own:
        if ctx is not False and _is_context(parameter.annotation, function, scope):
            raise TypeError(f"handler {name!r}: the context must be the first positional parameter, not {parameter.name!r}")
    wants_a_name = any(p.kind is p.KEYWORD_ONLY and p.default is p.empty for p in own)
    as_given = -1 if wants_a_name else sum(p.kind in _POSITIONAL for p in own)
    return Shape(takes_context, tuple(own), _binder(name, own), as_given)


def _is_context(annotation: Any, function: Callable[..., Any], scope: Mapping[str, Any]) -> bool:
    from journeyman.engine.context import Context  # the context knows the engine, and the engine knows handlers

    if isinstance(annotation, str):
        try:
            annotation = resolved(annotation, function, scope)
        except NameError:
            # Imported for the type checker only, as many do: its name must say it.
            return annotation.strip("'\"") in _CONTEXT_NAMES
    return inspect.isclass(annotation) and issubclass(annotation, Context)


# --- annotations ------------------------------------------------------------------------------------------------------


def resolved(annotation: Any, function: Callable[..., Any], scope: Mapping[str, Any]) -> Any:
    """The type an annotation names, strings inside it included.  NameError if a name is not known (yet)."""
    plain = inspect.unwrap(function)
    holder = type("holder", (), {"__annotations__": {"it": annotation}})
    return typing.get_type_hints(holder, getattr(plain, "__globals__", {}), dict(scope), include_extras=True)["it"]


def types_of(function: Callable[..., Any], name: str, shape: Shape, scope: Mapping[str, Any]) -> Types:
    """Every annotation of `shape`, resolved.  NameError names the parameter whose type is not known."""

    def resolve(annotation: Any, what: str) -> Any:
        if annotation is inspect.Parameter.empty:
            return Any
        try:
            return resolved(annotation, function, scope)
        except NameError as error:
            raise NameError(f"handler {name!r}: the type of {what} cannot be resolved, {error}") from None

    found = {p.name: resolve(p.annotation, f"parameter {p.name!r}") for p in shape.parameters}
    kinds = inspect.Parameter
    returns = inspect.signature(function).return_annotation
    rest = next((p.name for p in shape.parameters if p.kind is kinds.VAR_POSITIONAL), "")
    by_name = {p.name: found[p.name] for p in shape.parameters if p.kind in (kinds.POSITIONAL_OR_KEYWORD, kinds.KEYWORD_ONLY)}
    return Types(
        every=found,
        positional=tuple(found[p.name] for p in shape.parameters if p.kind in _POSITIONAL),
        rest=found.get(rest),
        rest_name=rest,
        named=by_name,
        extra=next((found[p.name] for p in shape.parameters if p.kind is kinds.VAR_KEYWORD), None),
        result=resolve(returns, "the result"),
    )


# --- the binder -------------------------------------------------------------------------------------------------------


def _given(**named: Any) -> dict[str, Any]:
    return {name: value for name, value in named.items() if value is not _MISSING}


def _binder(name: str, parameters: list[inspect.Parameter]) -> Callable[..., Bound]:
    """A function with these parameters that returns the call in its canonical shape."""
    lines = "\n".join(_lines(parameters))
    scope: dict[str, Any] = {"_missing_": _MISSING, "_given_": _given}
    # The source holds nothing but parameter names, which are identifiers already.
    exec(f"def _call_({_header(parameters)}):\n{lines}", scope)
    binder: FunctionType = scope["_call_"]
    binder.__name__ = binder.__qualname__ = name  # so that Python's own complaint names the handler
    return binder


def _header(parameters: list[inspect.Parameter]) -> str:
    kinds = inspect.Parameter
    parts: list[str] = []
    last = None
    for p in parameters:
        if last is kinds.POSITIONAL_ONLY and p.kind is not kinds.POSITIONAL_ONLY:
            parts.append("/")
        if p.kind is kinds.KEYWORD_ONLY and last not in (kinds.KEYWORD_ONLY, kinds.VAR_POSITIONAL):
            parts.append("*")
        stars = "*" if p.kind is kinds.VAR_POSITIONAL else "**" if p.kind is kinds.VAR_KEYWORD else ""
        parts.append(f"{stars}{p.name}" + ("" if p.default is p.empty else "=_missing_"))
        last = p.kind
    if last is kinds.POSITIONAL_ONLY:
        parts.append("/")
    return ", ".join(parts)


def _lines(parameters: list[inspect.Parameter]) -> Iterator[str]:
    """One line for each number of positional arguments that the call may have, the full call last."""
    kinds = inspect.Parameter
    positional = [p for p in parameters if p.kind in _POSITIONAL]
    rest = next((p.name for p in parameters if p.kind is kinds.VAR_POSITIONAL), None)
    extra = next((p.name for p in parameters if p.kind is kinds.VAR_KEYWORD), None)
    only_named = [p for p in parameters if p.kind is kinds.KEYWORD_ONLY]
    for index, p in enumerate(positional):
        if p.default is not p.empty:
            later = [q for q in positional[index + 1 :] if q.kind is kinds.POSITIONAL_OR_KEYWORD]
            args = ", ".join(q.name for q in positional[:index])
            yield f" if {p.name} is _missing_: return [{args}], {_mapping(later + only_named, extra)}"
    args = ", ".join([p.name for p in positional] + ([f"*{rest}"] if rest else []))
    yield f" return [{args}], {_mapping(only_named, extra)}"


def _mapping(named: list[inspect.Parameter], extra: str | None) -> str:
    if any(p.default is not p.empty for p in named):
        pairs = ", ".join([f"{p.name}={p.name}" for p in named] + ([f"**{extra}"] if extra else []))
        return f"_given_({pairs})"
    if extra and not named:
        return extra
    pairs = ", ".join([f"{p.name!r}: {p.name}" for p in named] + ([f"**{extra}"] if extra else []))
    return f"{{{pairs}}}"


__all__ = ["Bound", "Shape", "Types", "resolved", "shape_of", "types_of"]
