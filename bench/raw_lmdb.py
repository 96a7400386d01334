"""Baseline: py-lmdb itself, committing one event at a time with sync.

This is the ceiling of any engine that keeps its events in LMDB and answers one caller at a time: no encoding, no threads, nothing
decided. An event is an 8-byte key, appended, and a value of 150 bytes, in a named database; LMDB flushes the data and then the
meta page.
"""

from __future__ import annotations

import time
from pathlib import Path

import lmdb

VALUE = bytes(range(150))


def commits_per_second(directory: Path, commits: int) -> float:
    env = lmdb.open(str(directory), max_dbs=4, map_size=1 << 30, sync=True, metasync=True, writemap=False)
    try:
        events = env.open_db(b"events")
        begun = time.perf_counter()
        for seq in range(commits):
            with env.begin(write=True, db=events) as transaction:
                if not transaction.put(seq.to_bytes(8, "big"), VALUE, append=True):
                    raise AssertionError("LMDB did not append")
        return commits / (time.perf_counter() - begun)
    finally:
        env.close()
