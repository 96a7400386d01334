"""What handlers did to the world outside: mails sent, cards charged.  A crash takes none of it back.

Each effect of a handler is a place where its process can die, before it and after it: of what a `def` handler does, and of what any handler
does between two awaits, the effects are all that the world outside can see.  Nothing is raised into a handler that dies so.  Its boot is
dead at once and commits nothing any more; what the handler still does is not heard.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator
from typing import TYPE_CHECKING

from journeyman.sim.disk import boot_of_handler
from journeyman.sim.errors import PromiseBroken

if TYPE_CHECKING:
    from journeyman.sim.world import World


class Effects:
    """A record that survives crashes.  What a handler of a boot that is dead already appends is not heard (DECISIONS 37)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._keys: list[Hashable] = []
        self._at: list[float] = []
        self._counts: Counter[Hashable] = Counter()

    def append(self, key: Hashable) -> None:
        """An effect took place.  `key`: what it was, such as ("charge", order); give the idempotency key where the service takes one.
        In a handler the process can die before it and after it.

        TypeError if it cannot be hashed: two effects are the same when their keys are equal, for good.
        """
        _require_hashable(key)
        boot = boot_of_handler()
        if boot is not None:
            if not boot.dead:
                self._world.pulse.effect(f"before the effect {key!s}")
            if boot.dead:
                return
        self._keys.append(key)
        self._counts[key] += 1
        self._at.append(self._world.time())
        self._world.note("effect", str(key))
        if boot is not None:
            self._world.pulse.news()
            self._world.pulse.effect(f"after the effect {key!s}")

    def once(self, key: Hashable) -> bool:
        """Record the effect unless it took place before, as a service does that takes idempotency keys; whether it is new."""
        _require_hashable(key)
        if key in self._counts:
            return False
        self.append(key)
        return key in self._counts

    def count(self, key: Hashable) -> int:
        return self._counts[key]

    @property
    def times(self) -> list[tuple[float, Hashable]]:
        """(seconds since the world began, key), in order."""
        return list(zip(self._at, self._keys, strict=True))

    def assert_at_most_once(self) -> None:
        """PromiseBroken naming every effect that took place more than once."""
        often = {key: n for key, n in self._counts.items() if n > 1}
        if often:
            raise PromiseBroken("effects at most once", ", ".join(f"{key!r} {n} times" for key, n in often.items()))

    def __iter__(self) -> Iterator[Hashable]:
        return iter(list(self._keys))

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._counts

    def __eq__(self, other: object) -> bool:
        return self._keys == (other._keys if isinstance(other, Effects) else other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Effects({self._keys!r})"


def _require_hashable(key: object) -> None:
    try:
        hash(key)
    except TypeError:
        raise TypeError(f"the key of an effect must be hashable, as a tuple of texts and numbers is, not {key!r}") from None
