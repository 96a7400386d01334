"""`engine.values` while its keys are being changed: only what is durable, and all of it (FOUND 238)."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from journeyman.engine import Engine


@pytest.mark.parametrize("stored", [False, True])
async def test_row_22_a_listing_shows_states_that_were(tmp_path: Path, stored: bool) -> None:
    """A key that moves, as a transaction moves it: at each instant there is exactly one of it, beside keys that stay."""
    moves = 60

    async with Engine(tmp_path if stored else None) as engine, trio.open_nursery() as nursery:
        async with engine.transaction() as tx:
            tx.put(b"acc/000", b"1")
            for n in range(20):
                tx.put(b"stays/%02d" % n, b"1")
        over = trio.Event()

        async def move() -> None:
            for n in range(moves):
                async with engine.transaction() as tx:
                    tx.delete(b"acc/%03d" % n)
                    tx.put(b"acc/%03d" % (n + 1), b"1")
                    tx.put(b"stays/%02d" % (n % 20), b"%d" % n)
            over.set()

        nursery.start_soon(move)
        seen = 0
        while not over.is_set():
            assert len(await engine.values(b"acc/")) == 1
            assert len(await engine.values(b"acc/", limit=1)) == 1
            keys: list[bytes] = []
            while page := await engine.values(b"stays/", after=keys[-1] if keys else None, limit=3):
                keys += [key for key, _ in page]
            assert keys == [b"stays/%02d" % n for n in range(20)]
            seen += 1
        assert seen > 3
