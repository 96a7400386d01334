"""What a planted bug is (tests/sim/planted.py)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from journeyman.sim.swarm import swarm

Edit = tuple[Callable[..., Any], str, str]


class Bug(NamedTuple):
    """edits: (function, text of its source, what it becomes).  seed: one that finds it.  run: what is simulated, given a seed."""

    name: str
    edits: tuple[Edit, ...]
    seed: int = -1
    run: Callable[[int], object] = lambda seed: swarm(seed).run()
