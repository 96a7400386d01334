"""The rows of the speed table, in its order; one file each."""

from __future__ import annotations

from row import Row

from rows import backlog, drain, drain_one, latency, open_pending, producers, replay, simulation, submit_many, submit_one

ROWS: tuple[Row, ...] = (
    submit_one.ROW,
    producers.ROW,
    submit_many.ROW,
    drain.ROW,
    drain_one.ROW,
    latency.ROW,
    open_pending.ROW,
    backlog.ROW,
    replay.ROW,
    simulation.ROW,
)
