"""Baseline: the worker one would write by hand on sqlite3, WAL and synchronous=FULL.

One table with the index it needs, prepared statements, one connection, no retries, no history: a transition overwrites the last
one. It inserts one task a commit, as separate producers would, and claims and finishes each task with a commit of its own,
because a claim that is not durable runs twice after a crash and an end that is not durable runs again.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

SCHEMA = """
create table task (
    id integer primary key, queue text not null, handler text not null, payload blob not null,
    state text not null, priority integer not null,
    attempt integer not null default 0, due_at real not null, started_at real, finished_at real, result blob
) strict;
create index task_next on task (queue, state, priority desc, id);
"""
INSERT = "insert into task (queue, handler, payload, state, priority, due_at) values ('bench', 'noop', ?, 'pending', 5, ?)"
CLAIM = """
update task set state = 'running', attempt = attempt + 1, started_at = ?
where id = (select id from task where queue = 'bench' and state = 'pending' order by priority desc, id limit 1)
returning id, payload
"""
FINISH = "update task set state = 'succeeded', finished_at = ? where id = ?"
PAYLOAD = bytes(60)


def connect(directory: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(directory / "tasks.db", isolation_level=None)
    mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
    connection.execute("pragma synchronous = full")
    if mode != "wal" or connection.execute("pragma synchronous").fetchone()[0] != 2:
        raise AssertionError("SQLite refused WAL with synchronous=FULL")
    return connection


def inserts_per_second(directory: Path, tasks: int) -> float:
    """One task a commit, one after another.  SQLite has one writer, so more producers would only wait for one another."""
    connection = connect(directory)
    try:
        connection.executescript(SCHEMA)
        begun = time.perf_counter()
        for _ in range(tasks):
            connection.execute(INSERT, (PAYLOAD, time.time()))
        return tasks / (time.perf_counter() - begun)
    finally:
        connection.close()


def drained_per_second(directory: Path, tasks: int) -> float:
    """Claim, run a no-op, finish; filling the table is not timed."""
    connection = connect(directory)
    try:
        connection.executescript(SCHEMA)
        connection.execute("begin")
        connection.executemany(INSERT, ((PAYLOAD, time.time()) for _ in range(tasks)))
        connection.execute("commit")
        begun = time.perf_counter()
        done = 0
        while (claimed := connection.execute(CLAIM, (time.time(),)).fetchone()) is not None:
            connection.execute(FINISH, (time.time(), claimed[0]))
            done += 1
        spent = time.perf_counter() - begun
        if done != tasks:
            raise AssertionError(f"{done} of {tasks} drained")
        return done / spent
    finally:
        connection.close()
