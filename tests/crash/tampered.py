"""Another LMDB under the same program: without sync (the control group that must lose data), or with a map that has to grow.

`lmdb.open` and `lmdb.Environment` are replaced in this process before the journal imports them, so the product needs no door for it.
"""

from __future__ import annotations

from typing import Any

SMALL_MAP = 1 << 18  # bytes


def lmdb(*, unsafe: bool = False, small_map: bool = False, die: str = "") -> None:
    import lmdb as module

    from crash.marks import Mark

    real = module.Environment
    mark = Mark.parse(die) if die.startswith("grow") else None

    class Environment:
        """What the journal believes to be an LMDB environment."""

        def __init__(self, path: str, *args: Any, **options: Any) -> None:
            if unsafe and not options.get("readonly"):
                options.update(sync=False, metasync=False)
            if small_map and "map_size" in options:
                options["map_size"] = min(options["map_size"], SMALL_MAP) if options["map_size"] else 0
            self._env = real(path, *args, **options)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._env, name)

        def __enter__(self) -> Environment:
            return self

        def __exit__(self, *exc: object) -> None:
            self._env.close()

        def set_mapsize(self, size: int) -> None:
            if mark is not None and size and mark.kind == "grow":
                mark.passed()
            self._env.set_mapsize(size)
            if mark is not None and size and mark.kind == "grow-after":
                mark.passed()

    module.Environment = Environment
    module.open = Environment
