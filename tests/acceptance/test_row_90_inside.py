"""Row 90: what a handler may not do inside a step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from journeyman.engine import Context, Engine, Queue


async def test_row_90_what_is_recorded_with_the_success_is_refused_inside_a_step(tmp_path: Path) -> None:
    """FOUND 237: a later attempt skips the step, and it would be lost."""
    queue = Queue("q")
    said: list[str] = []

    @queue.handler
    async def work(ctx: Context) -> None:
        for call in (lambda: ctx.put(b"k", b"v"), lambda: ctx.get(b"k"), lambda: ctx.delete(b"k"), lambda: ctx.submit("work")):

            def inside(call: Any = call) -> None:
                try:
                    call()
                except RuntimeError as error:
                    said.append(str(error))

            async def also(inside: Any = inside) -> None:
                inside()

            await ctx.step(f"plain {len(said)}", inside)
            await ctx.step(f"async {len(said)}", also)
        ctx.put(b"k", b"outside")

    async with Engine(tmp_path, [queue]) as engine:
        await (await engine.submit(work)).result()
        assert await engine.value(b"k") == b"outside"
        assert await engine.count() == 1
    assert len(said) == 8
    assert all("inside step" in text for text in said)
