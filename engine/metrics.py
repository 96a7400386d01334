"""Metrics for Prometheus: a collector of prometheus_client's that asks the engine whenever it is scraped (extra `metrics`).

Problem.  A scrape comes in on a thread of a web server, an engine lives in a loop of trio, and what it says must be durable (law 3).
Choice: nothing is kept here.  `collect`, on any other thread, asks the loop and waits, at most `timeout` seconds; `text` does the same
inside the loop, for programs that serve their own pages.  So figures are never older than the question, and nothing runs between two.

Rejected: prometheus_client's own counters, filled as things happen (they would show what a crash takes back, and cost each task); a
thread that refreshes gauges every few seconds (an idle engine wakes once a minute at most).

Counters begin at 0 when the `Metrics` of an engine are first made, as is usual for what starts with a process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Final, Self

import trio

try:
    from prometheus_client import REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError:
    raise ImportError("metrics need prometheus_client: pip install 'journeyman[metrics]'") from None

from journeyman.actors.tally import BOUNDS, Buckets, Tally
from journeyman.engine.errors import EngineStopped
from journeyman.engine.measures import JournalMeasures, Measures, QueueMeasures
from journeyman.kernel.duration import Seconds, seconds

if TYPE_CHECKING:
    from journeyman.engine.engine import Door

_EDGES: Final = (*(f"{bound:g}" if bound % 1 else f"{bound:.1f}" for bound in BOUNDS), "+Inf")


class Metrics(Collector):
    """The metrics of one engine, or of one namespace.

        async with Engine("var/jobs", queues=[mail]) as engine:
            Metrics(engine)  # from here on it counts
            prometheus_client.start_http_server(9100)

    Make it in the engine's own loop of trio.  `registry`: where it is registered, None for nowhere.  `prefix`: how all names begin.
    `timeout`: how many seconds a scrape waits for the journal at most; TooSlowError then, which a scrape answers with an error.
    EngineStopped where the engine is not open.  When it is closed there is nothing to tell, and no error; `close`, or a `with` block, takes
    it out of the registry.
    """

    def __init__(
        self, engine: Door, registry: CollectorRegistry | None = REGISTRY, *, prefix: str = "journeyman", timeout: Seconds = 5.0
    ) -> None:
        try:
            self._token = trio.lowlevel.current_trio_token()
        except RuntimeError:
            raise RuntimeError("make Metrics(engine) inside `async with Engine(...)`: it asks the engine through its loop") from None
        self._engine = engine
        self._prefix = prefix
        self._timeout = seconds(timeout, "timeout")
        self._registry = registry
        engine.tally()
        if registry is not None:
            registry.register(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take it out of the registry.  A second call does nothing."""
        if self._registry is not None:
            self._registry.unregister(self)
            self._registry = None

    def describe(self) -> Iterable[Metric]:
        """Registering asks nothing: it happens in the engine's own loop."""
        return []

    def collect(self) -> Iterable[Metric]:
        """For prometheus_client, on a thread of its own.  RuntimeError in the engine's loop, which it would hold up: `text` is for that."""
        try:
            measures = trio.from_thread.run(self._ask, trio_token=self._token)
        except (trio.RunFinishedError, EngineStopped):
            return []
        except RuntimeError as error:
            if _in_this_loop(self._token):
                raise RuntimeError("in the engine's own loop, `await metrics.text()`: collecting waits for that loop") from error
            raise
        return list(_families(measures, self._prefix))

    async def text(self) -> bytes:
        """The page that a scrape wants, in the text format of Prometheus.  EngineStopped once the engine is closed."""
        page = CollectorRegistry()
        page.register(_Collected(list(_families(await self._ask(), self._prefix))))
        return generate_latest(page)

    async def _ask(self) -> Measures:
        with trio.fail_after(self._timeout):
            return await self._engine.measures()


class _Collected(Collector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _in_this_loop(token: trio.lowlevel.TrioToken) -> bool:
    try:
        return trio.lowlevel.current_trio_token() is token
    except RuntimeError:
        return False


def _families(measures: Measures, prefix: str) -> Iterator[Metric]:
    yield from _of_queues(measures.queues, prefix)
    yield from _counters([(name, queue.tally) for name, queue in measures.queues.items() if queue.tally is not None], prefix)
    if measures.journal is not None:
        yield from _of_journal(measures.journal, prefix)


def _of_queues(queues: Mapping[str, QueueMeasures], prefix: str) -> Iterator[Metric]:
    tasks = GaugeMetricFamily(f"{prefix}_tasks", "Tasks by state, as far as retention keeps them.", labels=["queue", "state"])
    restarts = CounterMetricFamily(f"{prefix}_queue_restarts", "Deaths of a queue's actor of a bug, each with a restart.", labels=["queue"])
    gauges = [(GaugeMetricFamily(f"{prefix}_{name}", text, labels=["queue"]), read) for name, text, read in _GAUGES]
    for name, queue in queues.items():
        for state, count in queue.stats.counts.items():
            tasks.add_metric([name, str(state)], count)
        restarts.add_metric([name], queue.restarts)
        for gauge, read in gauges:
            gauge.add_metric([name], read(queue))
    yield tasks
    yield restarts
    for gauge, _ in gauges:
        yield gauge


_GAUGES: Final[tuple[tuple[str, str, Callable[[QueueMeasures], float]], ...]] = (
    ("attempts_running", "Attempts that hold a slot now.", lambda queue: queue.running),
    ("queue_concurrency", "Slots of a queue.", lambda queue: queue.stats.policy.concurrency),
    ("oldest_pending_seconds", "How long the oldest due task has waited.", lambda queue: queue.stats.oldest_pending or 0),
    ("tasks_parked", "Tasks that cannot run here: no handler, or arguments that do not fit it.", lambda queue: queue.stats.parked),
    ("stragglers", "Threads that run on after their attempt was given up.", lambda queue: queue.stats.stragglers),
    ("queue_paused", "1 while a queue is paused.", lambda queue: queue.stats.paused),
    ("queue_broken", "1 when a queue was given up for a bug.", lambda queue: queue.stats.broken),
)  # fmt: skip


def _counters(counted: Sequence[tuple[str, Tally]], prefix: str) -> Iterator[Metric]:
    by_handler = ["queue", "handler"]
    submitted = CounterMetricFamily(f"{prefix}_tasks_submitted", "Tasks submitted.", labels=by_handler)
    ended = CounterMetricFamily(f"{prefix}_tasks_ended", "Tasks that ended, by the state they ended in.", labels=[*by_handler, "state"])
    attempts = CounterMetricFamily(f"{prefix}_attempts", "Attempts that ended, by what ended them.", labels=[*by_handler, "outcome"])
    retries = CounterMetricFamily(f"{prefix}_retries", "Attempts that failed and are followed by another.", labels=by_handler)
    durations = HistogramMetricFamily(f"{prefix}_attempt_duration_seconds", "How long attempts took.", labels=by_handler)
    rejected = CounterMetricFamily(f"{prefix}_rejected", "What stale attempts said, and nobody heard.", labels=["queue"])
    for name, tally in counted:
        for handler, count in tally.submitted.items():
            submitted.add_metric([name, handler], count)
            retries.add_metric([name, handler], tally.retries[handler])
        for (handler, state), count in tally.ended.items():
            ended.add_metric([name, handler, state], count)
        for (handler, outcome), count in tally.attempts.items():
            attempts.add_metric([name, handler, outcome], count)
        for handler, buckets in tally.durations.items():
            durations.add_metric([name, handler], _cumulated(buckets), buckets.sum_us / 1_000_000)
        rejected.add_metric([name], tally.rejected)
    yield from (submitted, ended, attempts, retries, durations, rejected)


def _cumulated(buckets: Buckets) -> list[tuple[str, float]]:
    return list(zip(_EDGES, accumulate(buckets.counts), strict=True))


def _of_journal(journal: JournalMeasures, prefix: str) -> Iterator[Metric]:
    yield GaugeMetricFamily(f"{prefix}_journal_seq", "Number of the newest event.", value=journal.seq)
    yield CounterMetricFamily(f"{prefix}_journal_commits", "Commits since the engine was opened.", value=journal.commits)
    yield GaugeMetricFamily(f"{prefix}_journal_used_bytes", "Bytes of data.mdb.", value=journal.used_bytes)
    yield GaugeMetricFamily(f"{prefix}_journal_free_bytes", "Of these, free for what comes next.", value=journal.free_bytes)
    yield GaugeMetricFamily(f"{prefix}_disk_free_bytes", "Free on the journal's disk.", value=journal.disk_free)


__all__ = ["Metrics"]
