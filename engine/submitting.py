"""From a call to a command: which handler, which queue, which bytes, which options.

A handler may be given as itself, with options (`using`), as a bound call, or by name.  What is wrong with a call is found here,
in the submitting task, and not in the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from journeyman.actors.attempt import Attempt
from journeyman.actors.following import NAMED_US, follow_for_named
from journeyman.actors.queue_actor import QueueActor
from journeyman.actors.room import ROOM_PER_TASK
from journeyman.actors.submission import Submission
from journeyman.engine.after import Places, ids_alone
from journeyman.engine.errors import HandlerNotFound, JourneymanError, PayloadTooLarge, QueueBroken, QueueNotFound, given_up
from journeyman.engine.handler import Handler
from journeyman.engine.spec import BoundCall, SubmitSpec, Submittable
from journeyman.journal.digest import digest
from journeyman.journal.errors import JournalFull
from journeyman.kernel.bounds import SUBMIT_MANY_MAX

if TYPE_CHECKING:
    from journeyman.engine.scope import Scope

_new: Final = tuple.__new__  # a NamedTuple without its Python-level constructor: half the price


def prepare(session: Scope, target: Any, args: Sequence[Any], kwargs: Mapping[str, Any], parent: Attempt | None = None) -> Submission:
    """What a submit of `target` with these arguments comes to.

    Raises TypeError and InvalidPayload for the arguments, PayloadTooLarge, HandlerNotFound, QueueNotFound, QueueBroken, JournalFull.
    Whoever is given a Submission hands it over at once: a chosen id is looked for from here on.
    """
    known = session.routes.get(target) if type(target) is Handler else None
    spec, actor = resolve(session, target) if known is None else known
    payload = spec.handler.encode_call(args, kwargs)
    size, limit = len(payload), actor.state.policy.max_payload
    if size > limit:
        raise PayloadTooLarge(size, limit)
    whole = session.session
    shell = whole.shell
    if not spec.plain and by_calendar(spec):
        follow_for_named(shell)
    now = shell.now()
    more: dict[str, Any] | None = None
    if parent is not None:
        root = (parent.task.options or {}).get("root", parent.task.id)
        more = {"parent": parent.task.id, "root": root}
    if spec.after:
        more = {**(more or {}), "after": ids_alone(spec.after)}
    tight = shell.room.refuse(size)
    if tight is not None or actor.broken is not None:
        raise not_admitted(session, actor, tight)
    command = spec.command(whole.ids.mint(now), now, payload, digest(payload), more=more, internal=parent is not None)
    if spec.task is not None and parent is None:
        shell.choose(spec.task)
    return _new(Submission, (actor, command, payload, None))


def prepare_many(session: Scope, items: Iterable[Any]) -> tuple[list[Submission], list[bytes]]:
    """As `prepare`, for the items of `submit_many`; what consecutive items share is looked up once.

    With the ids that callers chose: whoever hands the submissions over says so of each (`Shell.choose`).  Raises ValueError beyond
    SUBMIT_MANY_MAX items.
    """
    items = items if isinstance(items, (list, tuple)) else list(islice(items, SUBMIT_MANY_MAX + 1))
    if session.shell.clock.drift(NAMED_US) and any(by_calendar(getattr(call_of(item)[0], "spec", None)) for item in items):
        follow_for_named(session.shell)
    ids = session.ids
    now = session.shell.now()
    found: list[Submission] = []
    sizes: dict[QueueActor, int] = {}
    chosen: list[bytes] = []
    last: Any = None
    places: Places | None = None
    shared: tuple[SubmitSpec[..., Any], QueueActor, Callable[..., bytes], int] | None = None
    for item in items:
        target, args, kwargs = call_of(item)
        if shared is None or target is not last:
            resolved, owner = resolve(session, target)
            last, shared = target, (resolved, owner, resolved.handler.encode_call, owner.state.policy.max_payload)
        spec, actor, encode, limit = shared
        payload = encode(args, kwargs)
        size = len(payload)
        if size > limit:
            raise PayloadTooLarge(size, limit)
        more: dict[str, Any] | None = None
        if spec.after:
            if places is None:
                places = Places(items, found)
            more = {"after": places.ids(spec.after, len(found))}
        found.append(_new(Submission, (actor, spec.command(ids.mint(now), now, payload, digest(payload), more=more), payload, None)))
        sizes[actor] = sizes.get(actor, 0) + size + ROOM_PER_TASK
        if spec.task is not None:
            chosen.append(spec.task)
        if len(found) > SUBMIT_MANY_MAX:
            raise ValueError(f"submit_many takes at most {SUBMIT_MANY_MAX:,} tasks, because they are one commit; submit in portions")
    for actor, total in sizes.items():
        admit(session, actor, total, lambda: max(len(submission.payload) for submission in found))
    return found, chosen


def by_calendar(spec: SubmitSpec[..., Any] | None) -> bool:
    """Whether it names an instant."""
    return spec is not None and not spec.plain and (spec.at_us is not None or spec.deadline_at is not None)


def admit(session: Scope, actor: QueueActor, payload_bytes: int, largest: Callable[[], int] | None = None) -> None:
    """QueueBroken or JournalFull, if this cannot be taken in now.  `largest`: the size of the largest payload, of several."""
    tight = session.shell.room.refuse(payload_bytes, largest)
    if tight is not None or actor.broken is not None:
        raise not_admitted(session, actor, tight)


def not_admitted(session: Scope, actor: QueueActor, tight: str | None) -> JourneymanError:
    """Why not: the queue was given up, or the disk is `tight`."""
    if actor.broken is not None:
        return QueueBroken(given_up(session.called(actor.name), actor.broken))
    session.shell.prune_wanted()
    return JournalFull(tight)


def resolve(session: Scope, target: Any) -> tuple[SubmitSpec[..., Any], QueueActor]:
    """The options, handler and queue of whatever was given to `submit`."""
    if type(target) is Handler and (known := session.routes.get(target)) is not None:
        return known
    spec = spec_of(session, target)
    actor = session.actor(spec.handler.queue_name)
    if actor is None:
        raise QueueNotFound(f"no queue {spec.handler.queue_name!r} in this engine: add it to Engine(queues=[...]) or create_queue it")
    if type(target) is Handler:
        session.routes[target] = spec, actor
    return spec, actor


def spec_of(session: Scope, target: Any) -> SubmitSpec[..., Any]:
    """The options and the handler of whatever was given to `submit`."""
    if isinstance(target, Submittable):
        spec = target.spec
        handler = spec.handler
        if session.handlers.get(handler.name) is not handler and isinstance(handler, Handler):
            raise HandlerNotFound(
                f"handler {handler.name!r} is not in this engine: give its queue {handler.queue_name!r} to Engine(queues=[...])"
            )
        return spec
    if isinstance(target, str):
        found = session.handlers.get(target)
        if found is None:
            raise HandlerNotFound(
                f"no handler {target!r} in this engine; for one of another process use engine.handler({target!r}, queue=...)"
            )
        return found.spec
    if callable(target):
        raise TypeError(f"{target!r} is a plain function; register it with @queue.handler, or give the name of a handler")
    raise TypeError(f"submit takes a handler, handler.using(...) or a handler's name, not {type(target).__name__}")


def call_of(item: Any) -> tuple[Any, Sequence[Any], Mapping[str, Any]]:
    """An item of `submit_many`: a bound call, or a tuple (handler, args, kwargs) whose tail may be left out."""
    if type(item) is BoundCall:
        return item.spec, item.args, item.kwargs
    if type(item) is tuple and len(item) == 3 and type(item[1]) is tuple and type(item[2]) is dict:
        return item  # the common form, recognised at once
    if isinstance(item, (tuple, list)) and 1 <= len(item) <= 3:
        parts: list[Any] = [*item]
        target, args, kwargs = parts + [(), {}][len(parts) - 1 :]
        if isinstance(args, (str, bytes)) or not isinstance(args, Sequence) or not isinstance(kwargs, Mapping):
            raise TypeError(f"an item of submit_many is (handler, args, kwargs) with args a sequence and kwargs a mapping, not {item!r}")
        return target, args, kwargs
    raise TypeError(f"an item of submit_many is (handler, args, kwargs) or handler.bind(...), not {item!r}")
