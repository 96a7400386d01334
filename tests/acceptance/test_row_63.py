"""Row 63: metrics for Prometheus.  Every one is compared with what the journal says."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families

from journeyman.engine import Cancel, Constant, Context, Engine, EngineStopped, Queue, Retry, Snooze, State
from journeyman.engine.metrics import Metrics
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.sources import ROOT

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(page: str | bytes) -> Samples:
    text = page.decode() if isinstance(page, bytes) else page
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[f"journeyman_{name}", tuple(sorted(labels.items()))]


def work_queue(name: str = "work", handler: str = "do", **policy: Any) -> Queue:
    queue = Queue(name, concurrency=policy.pop("concurrency", 3), retry=Retry(attempts=2, backoff=Constant(0.01), jitter=0), **policy)

    @queue.handler(name=handler)
    async def do(ctx: Context, what: str) -> str:
        await trio.sleep(0.002)
        if what == "fail" or (what == "fail once" and ctx.attempt == 1):
            raise ValueError(what)
        if what == "snooze" and ctx.attempt == 1:
            raise Snooze(0.01)
        if what == "give up":
            raise Cancel("enough")
        if what == "hang":
            await trio.sleep_forever()
        return what

    return queue


@contextmanager
def served(registry: CollectorRegistry) -> Iterator[str]:
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def scraped(address: str) -> Samples:
    def ask() -> bytes:
        with urllib.request.urlopen(address, timeout=20) as answer:
            data: bytes = answer.read()
            return data

    return samples(await trio.to_thread.run_sync(ask))


async def test_row_63_every_counter_is_what_the_journal_says(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    words = ["fine", "fail", "fail once", "snooze", "give up", "fine", "fail once"]
    async with Engine(tmp_path, [work_queue()], grace=0) as engine:
        Metrics(engine, registry)
        handles = [await engine.submit("do", word) for word in words]
        later = await engine.submit(engine.handler("do", queue="work").using(delay=900), "fine")
        await engine.cancel(later.id)
        hanging = await engine.submit("do", "hang")
        for handle in handles:
            await handle.wait()
        await hanging.cancel()
        await hanging.wait()
        still = await engine.submit("do", "hang")
        assert (await engine.get(still.id)).state == State.RUNNING
        with served(registry) as address:
            found = await scraped(address)
        histories = [await engine.history(handle.id) for handle in (*handles, later, hanging, still)]
        stats = (await engine.stats())["work"]
    events = [event for history in histories for event in history]
    told = Counter(event.kind for event in events)
    assert value(found, "tasks_submitted_total", queue="work", handler="do") == told["TaskSubmitted"] == len(histories)
    for state, kind in (("succeeded", "TaskSucceeded"), ("failed", "TaskFailed"), ("cancelled", "TaskCancelled")):
        assert value(found, "tasks_ended_total", queue="work", handler="do", state=state) == told[kind] > 0
    begun = [event for event in events if event.kind == "TaskCancelled" and event.attempt]
    outcomes = {
        "succeeded": told["TaskSucceeded"],
        "failed": told["AttemptFailed"] + told["TaskFailed"],
        "snoozed": told["AttemptSnoozed"],
        "cancelled": len(begun),
    }
    for outcome, count in outcomes.items():
        assert value(found, "attempts_total", queue="work", handler="do", outcome=outcome) == count > 0
    assert value(found, "retries_total", queue="work", handler="do") == told["AttemptFailed"] > 0
    ended = sum(outcomes.values())
    assert value(found, "attempt_duration_seconds_count", queue="work", handler="do") == ended == told["AttemptStarted"] - 1
    assert value(found, "attempt_duration_seconds_bucket", queue="work", handler="do", le="+Inf") == ended
    assert 0.002 * (ended - 1) < value(found, "attempt_duration_seconds_sum", queue="work", handler="do")
    assert value(found, "attempts_running", queue="work") == 1
    assert value(found, "queue_concurrency", queue="work") == 3
    for state, count in stats.counts.items():
        assert value(found, "tasks", queue="work", state=state.value) == count
    assert value(found, "journal_seq") >= max(event.seq for event in events)
    assert value(found, "journal_commits_total") > 0
    assert value(found, "journal_used_bytes") > 0


async def test_row_63_buckets_add_up(tmp_path: Path) -> None:
    async with Engine(None, [work_queue()]) as engine:
        metrics = Metrics(engine, None)
        for _ in range(20):
            await (await engine.submit("do", "fine")).wait()
        found = samples(await metrics.text())
    edges = sorted(
        (float(dict(labels)["le"]), count)
        for (name, labels), count in found.items()
        if name == "journeyman_attempt_duration_seconds_bucket"
    )
    assert [edge for edge, _ in edges][:3] == [0.001, 0.005, 0.01]
    assert len(edges) == 15
    assert [count for _, count in edges] == sorted(count for _, count in edges)
    assert edges[-1][1] == 20
    assert edges[0][1] == 0, "they sleep for two milliseconds"


async def test_row_63_waiting_parked_paused() -> None:
    async with Engine(None, [work_queue(), Queue("empty")]) as engine:
        metrics = Metrics(engine, None)
        await engine.pause("work")
        await engine.submit("do", "fine")
        await engine.submit(engine.handler("gone", queue="empty"), 1)
        await trio.sleep(0.02)
        found = samples(await metrics.text())
        assert value(found, "queue_paused", queue="work") == 1
        assert value(found, "queue_paused", queue="empty") == 0
        assert value(found, "oldest_pending_seconds", queue="work") >= 0.02
        assert value(found, "tasks_parked", queue="empty") == 1
        assert value(found, "tasks", queue="work", state="pending") == 1
        await engine.create_queue(work_queue("late", "do late"))
        await (await engine.submit("do late", "fine")).wait()
        found = samples(await metrics.text())
        assert value(found, "tasks_ended_total", queue="late", handler="do late", state="succeeded") == 1


async def test_row_63_a_namespace_tells_of_itself_only() -> None:
    async with Engine(None, [work_queue()]) as engine:
        plugin = engine.namespace("plugin")
        await plugin.create_queue(work_queue("inner", "do inner"))
        whole, own = Metrics(engine, None), Metrics(plugin, None)
        await (await plugin.submit("do inner", "fine")).wait()
        await (await engine.submit("do", "fine")).wait()
        seen = samples(await own.text())
        assert {dict(labels).get("queue") for _, labels in seen} == {"inner"}
        assert value(seen, "tasks_submitted_total", queue="inner", handler="do inner") == 1
        assert value(samples(await whole.text()), "tasks_submitted_total", queue="plugin/inner", handler="do inner") == 1


async def test_row_63_in_the_loop_and_after_the_end(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    async with Engine(tmp_path, [work_queue()]) as engine:
        metrics = Metrics(engine, registry)
        with pytest.raises(RuntimeError, match=r"await metrics\.text\(\)"):
            metrics.collect()
        assert samples(await metrics.text())
    with served(registry) as address:
        assert await scraped(address) == {}
    with pytest.raises(EngineStopped):
        await metrics.text()
    metrics.close()
    metrics.close()
    with pytest.raises(EngineStopped):
        Metrics(engine, registry)
    assert list(registry.collect()) == []
    with pytest.raises(ValueError, match="timeout must be"):
        Metrics(engine, None, timeout=-1)


def test_row_63_after_the_loop_and_without_one() -> None:
    kept: list[Metrics] = []

    async def main() -> None:
        async with Engine(None, [work_queue()]) as engine:
            kept.append(Metrics(engine, None))

    trio.run(main)
    assert list(kept[0].collect()) == []
    with pytest.raises(RuntimeError, match="inside `async with Engine"):
        Metrics(Engine(None), None)


@pytest.mark.parametrize("seed", range(12))
def test_row_63_what_a_page_says_survives_the_crash_that_follows(seed: int) -> None:
    """Law 3: no counter is ahead of the disk."""
    queue = work_queue(concurrency=1)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            metrics = Metrics(engine, None)

            async def submit() -> None:
                for _ in range(5):
                    await trio.sleep(world.random.random() / 10)
                    try:
                        await engine.submit("do", "fine")
                    except EngineCrashed:
                        return

            async with trio.open_nursery() as nursery:
                nursery.start_soon(submit)
                await trio.sleep(world.random.random() / 4)
                page = samples(await metrics.text())
                world.crash()
                await engine.ready()
            key = ("journeyman_tasks_submitted_total", (("handler", "do"), ("queue", "work")))
            assert await engine.count() >= page.get(key, 0)

    simulate(scenario, seed=seed, faults=Faults(disk_latency=(0.01, 0.2), restart=0.1))


def test_row_63_the_page_names_what_there_is() -> None:
    page = (ROOT / "docs" / "METRICS.md").read_text(encoding="utf-8")
    written = {(name, kind, labels) for name, kind, labels in re.findall(r"^\| `(\w+)` \| (\w+) \| ([\w, ]*?) ?\|", page, re.MULTILINE)}

    async def main() -> bytes:
        async with Engine(None, [work_queue()]) as engine:
            metrics = Metrics(engine, None)
            for word in ("fail once", "fine"):
                await (await engine.submit("do", word)).wait()
            return await metrics.text()

    found = set()
    for family in text_string_to_metric_families(trio.run(main).decode()):
        labels = [label for label in family.samples[0].labels if label != "le"]
        order = ["queue", "handler", "state", "outcome"]
        name = f"{family.name}_total" if family.type == "counter" else family.name
        found.add((name, family.type, ", ".join(sorted(labels, key=order.index))))
    assert found == written


def test_row_63_without_the_library_its_extra_is_named(tmp_path: Path) -> None:
    program = "import sys; sys.modules['prometheus_client'] = None\nimport journeyman.engine.metrics"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False)
    assert "ImportError: metrics need prometheus_client: pip install 'journeyman[metrics]'" in done.stderr
