"""Row 70: recurring tasks, through the public door, on virtual time."""

from __future__ import annotations

import contextlib
import logging
from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock

from journeyman.engine import Context, Engine, EngineStopped, Priority, Queue, Retention, ScheduleNotFound
from journeyman.engine.schedule import Schedule
from journeyman.journal.memory_store import MemoryStore
from journeyman.sim import EngineCrashed, Faults, World, simulate
from tests.acceptance.stores import events_in
from tests.acceptance.virtual import EPOCH_US, TrioClock

MINUTE, HOUR = 60.0, 3600.0


class Wall(TrioClock):
    """A wall clock that can be set."""

    offset = 0.0

    def wall(self) -> int:
        return super().wall() + round(self.offset * 1_000_000)


@pytest.fixture
def autojump_clock() -> MockClock:
    return MockClock(autojump_threshold=0)


class Desk:
    """A queue whose handler writes down when it ran, by trio's clock; an engine on it, again and again."""

    def __init__(self, **policy: object) -> None:
        self.queue = Queue("reports", **policy)  # type: ignore[arg-type]
        self.ran: list[float] = []
        self.store = MemoryStore()
        self.wall = Wall()
        self.takes = 0.0

        @self.queue.handler
        async def report(ctx: Context, what: str = "") -> None:
            self.ran.append(round(trio.current_time(), 3))
            await trio.sleep(self.takes)

        self.report = report

    def engine(self, *queues: Queue) -> Engine:
        return Engine("x", queues or [self.queue], store=self.store, clock=self.wall)


def at(seconds: float) -> datetime:
    """The instant that many seconds after the beginning of trio's time."""
    return datetime.fromtimestamp(EPOCH_US / 1e6, UTC) + timedelta(seconds=seconds)


async def only(engine: Engine) -> Schedule:
    [schedule] = await engine.schedules()
    return schedule


# row 70
async def test_row_70_every_fires_at_its_distance_without_drift(autojump_clock: MockClock) -> None:
    desk = Desk()
    desk.takes = 7.0
    async with desk.engine() as engine:
        began = trio.current_time()
        shown = await engine.schedule("tick", desk.report.using(priority=Priority.HIGH, tags=["t"]), every=30, args=("x",))
        assert (shown.name, shown.queue, shown.handler, shown.spec) == ("tick", "reports", "report", "every 30 s")
        assert shown.next_at == at(began + 30)
        await trio.sleep(3 * HOUR + 1)
        assert desk.ran == [began + 30.0 * n for n in range(1, 361)]
        newest = (await engine.list(limit=1))[0]
        assert (newest.payload, newest.priority, newest.tags) == ((["x"], {}), 10, ("t",))
        assert newest.schedule == ("tick", at(desk.ran[-1]))
        now = await only(engine)
        assert (now.fired, now.last_task, now.last_at, now.next_at) == (360, newest.id, at(desk.ran[-1]), at(desk.ran[-1] + 30))


# row 70
async def test_row_70_cron_in_a_zone(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        shown = await engine.schedule("nightly", desk.report, cron="30 3 * * *", timezone="Europe/Oslo")
        assert shown.next_at is not None
        assert (shown.next_at.hour, shown.next_at.minute, shown.next_at.utcoffset()) == (3, 30, timedelta(hours=1))
        times = await engine.preview("nightly", 200)
        assert len(times) == 200
        assert [(time.hour, time.minute) for time in times] == [(3, 30)] * 200
        assert {time.utcoffset() for time in times} == {timedelta(hours=1), timedelta(hours=2)}, "over a change of the clock"
        await trio.sleep(3 * 86_400)
        assert [at(ran) for ran in desk.ran] == times[:3]


# row 70
async def test_row_70_declared_again_it_keeps_its_place(autojump_clock: MockClock) -> None:
    desk = Desk()
    for _ in range(5):  # every life is shorter than the distance
        async with desk.engine() as engine:
            await engine.schedule("tick", desk.report, every=HOUR, misfire="once")
            await trio.sleep(0.45 * HOUR)
    assert desk.ran == pytest.approx([HOUR, 2 * HOUR], abs=0.02 * HOUR)
    kinds = [type(event).__name__ for event in events_in(desk.store)]
    assert kinds.count("ScheduleDeclared") == 1


# row 70
async def test_row_70_a_changed_spec_takes_effect_and_is_an_event(autojump_clock: MockClock) -> None:
    desk = Desk()
    other = Queue("other")

    @other.handler
    async def elsewhere() -> None:
        desk.ran.append(-1)

    async with desk.engine(desk.queue, other) as engine:
        await engine.schedule("tick", desk.report, every=60)
        await trio.sleep(61)
        await engine.schedule("tick", desk.report, every=10)
        assert (await only(engine)).next_at == at(71)
        await trio.sleep(15)
        assert len(desk.ran) == 2
        await engine.schedule("tick", elsewhere, every=10)
        assert (await only(engine)).queue == "other"
        await trio.sleep(15)
        assert desk.ran[2:] == [-1]
        await engine.unschedule("tick", reason="enough")
        with pytest.raises(ScheduleNotFound, match="tick"):
            await engine.unschedule("tick")
        with pytest.raises(ScheduleNotFound):
            await engine.preview("tick")
        await trio.sleep(60)
        assert len(desk.ran) == 3
        assert await engine.schedules() == []
    kinds = [type(event).__name__ for event in events_in(desk.store) if type(event).__name__.startswith("Schedule")]
    assert kinds == [
        "ScheduleDeclared", "ScheduleFired", "ScheduleDeclared", "ScheduleFired", "ScheduleDeclared", "ScheduleRemoved", "ScheduleFired",
        "ScheduleRemoved",
    ]  # fmt: skip


# row 70
@pytest.mark.parametrize(("misfire", "fires"), [("skip", 0), ("once", 1), ("all", 48)])
async def test_row_70_after_a_long_downtime(misfire: str, fires: int, autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("hourly", desk.report, cron="0 * * * *", misfire=misfire)  # type: ignore[arg-type]
        first = (await only(engine)).next_at
        assert first is not None
    await trio.sleep((first - at(trio.current_time())).total_seconds() + 47.5 * HOUR)
    async with desk.engine() as engine:
        await engine.drain()
        assert len(desk.ran) == fires
        schedule = await only(engine)
        assert schedule.next_at == first + timedelta(hours=48)
        assert schedule.skipped == ("misfire" if misfire == "skip" else None)
        if misfire == "all":
            assert [task.schedule for task in await engine.list()][::-1] == [("hourly", first + timedelta(hours=n)) for n in range(48)]


# row 70
async def test_row_70_a_restart_of_less_than_a_minute_misses_nothing(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("tick", desk.report, every=HOUR)
        await trio.sleep(HOUR - 10)
    await trio.sleep(40)
    async with desk.engine() as engine:
        await engine.drain()
        assert len(desk.ran) == 1


# row 70
async def test_row_70_overlap(autojump_clock: MockClock) -> None:
    for overlap, expected in (("skip", [60.0, 240.0, 420.0]), ("allow", [60.0 * n for n in range(1, 10)])):
        desk = Desk(concurrency=9)
        desk.takes = 150.0
        async with desk.engine() as engine:
            began = trio.current_time()
            await engine.schedule("tick", desk.report, every=60, overlap=overlap)  # type: ignore[arg-type]
            await trio.sleep(9 * MINUTE + 1)
            assert [round(ran - began) for ran in desk.ran] == expected
            assert (await only(engine)).skipped == ("overlap" if overlap == "skip" else None)


# row 70
async def test_row_70_paused_takes_tasks_in_and_full_says_so(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    desk = Desk(max_pending=2)
    async with desk.engine() as engine:
        await engine.schedule("tick", desk.report, every=60, overlap="allow")
        await engine.pause("reports")
        assert (await only(engine)).paused
        with caplog.at_level(logging.WARNING, "journeyman"):
            await trio.sleep(3 * MINUTE + 1)
        assert await engine.count(state="pending") == 2
        assert (await only(engine)).skipped == "max_pending"
        assert [record.schedule for record in caplog.records] == ["tick"]  # type: ignore[attr-defined]
        await engine.resume("reports")
        await engine.drain()
        assert len(desk.ran) == 2


# row 70
async def test_row_70_without_its_handler_it_is_shown_and_does_not_fire(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("tick", desk.report, every=60, misfire="once")
    bare = Queue("reports")
    async with desk.engine(bare) as engine:
        await trio.sleep(10 * MINUTE)
        schedule = await only(engine)
        assert schedule.next_at is None
        assert "no handler 'report'" in str(schedule.reason)
    async with desk.engine(Queue("else")) as engine:
        await trio.sleep(10 * MINUTE)
        assert "not declared" in str((await only(engine)).reason)
        await engine.create_queue(desk.queue)
        await engine.drain()
        assert len(desk.ran) == 1, "once, for all that was missed"
        assert (await only(engine)).reason is None


# row 70
async def test_row_70_clock_steps_fire_nothing_twice_and_silence_nothing(autojump_clock: MockClock) -> None:
    desk = Desk(retention=Retention(succeeded=None))
    async with desk.engine() as engine:
        await engine.schedule("cron", desk.report, cron="*/10 * * * *", overlap="allow")
        await engine.schedule("every", desk.report, every=600, overlap="allow")
        await trio.sleep(HOUR)
        desk.wall.offset = 30 * HOUR  # an error
        await trio.sleep(HOUR)
        desk.wall.offset = 0.0  # put right
        await trio.sleep(HOUR + 1)
        tasks = await engine.list(limit=1000)
        names = [task.schedule for task in tasks if task.schedule]
        cron = sorted(fire_at for name, fire_at in names if name == "cron")
        assert len(cron) == len(set(cron))
        began = at(0)
        assert sum(fire_at < began + timedelta(hours=4) for fire_at in cron) == 12, "two hours on the right clock, every ten minutes"
        every = [task.submitted_at for task in tasks if task.schedule and task.schedule[0] == "every"]
        assert len(every) == 18, "a distance is a distance"


# row 70
async def test_row_70_cron_follows_the_wall_within_a_minute(autojump_clock: MockClock) -> None:
    """A gap of less than an hour is not journalled, and cron is on time all the same."""
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("hourly", desk.report, cron="0 * * * *")
        due = (await only(engine)).next_at
        assert due is not None
        desk.wall.offset = 600.0  # as after a suspend of ten minutes
        await trio.sleep((due - at(trio.current_time())).total_seconds() - 600 + 60)
        assert len(desk.ran) == 1
        desk.wall.offset = -600.0
        await trio.sleep(HOUR + 1200 - 70)
        assert len(desk.ran) == 1, "never early"
        await trio.sleep(70)
        assert len(desk.ran) == 2


# row 70
async def test_row_70_an_idle_engine_wakes_once_a_minute(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("yearly", desk.report, cron="0 0 1 1 *")
        await engine.schedule("daily", desk.report, every=86_400)
        assert engine._session is not None
        actor, steps = engine._session.shell.actors["reports"], [0]
        production = actor.step

        def counted() -> None:
            steps[0] += 1
            production()

        actor.step = counted  # type: ignore[method-assign]
        await trio.sleep(HOUR)
        assert steps[0] <= 61


# row 70
async def test_row_70_survives_prune_compaction_and_checkpoints(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        await engine.schedule("tick", desk.report, every=60)
        await engine.schedule("cron", desk.report, cron="* * * * *")
        await trio.sleep(6 * HOUR)
        await engine.prune(0)
        before = await engine.schedules()
        assert engine._session is not None
        assert len(engine._session.shell.journal.loose) < 600, "the records of fires are folded away"
    async with desk.engine() as engine:
        assert await engine.schedules() == before
        assert before[0].fired + before[1].fired == len(desk.ran) == 720


# row 70
async def test_row_70_what_cannot_be_meant(autojump_clock: MockClock) -> None:
    desk = Desk()
    async with desk.engine() as engine:
        for bad in (
            {}, {"every": 0}, {"every": 5, "cron": "* * * * *"}, {"cron": "0 25 * * *"}, {"cron": "0 0 31 2 *"},
            {"every": 5, "misfire": "no"}, {"every": 5, "overlap": "no"}, {"every": 5, "overlap": ""}, {"every": 5, "timezone": "Oslo"},
            {"every": 5, "start": datetime(2026, 1, 1)}, {"every": 5, "start": at(9), "end": at(8)},
        ):  # fmt: skip
            with pytest.raises(ValueError, match=r".{10}"):
                await engine.schedule("s", desk.report, **bad)  # type: ignore[arg-type]
        for one in ({"delay": 5}, {"at": at(9)}, {"id": "01890a5d-ac96-774b-bcce-b302099a8057"}, {"deadline": at(9)}):
            with pytest.raises(ValueError, match="is for one task"):
                await engine.schedule("s", desk.report.using(**one), every=5)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await engine.schedule("s", desk.report, every=5, args=(1, 2, 3))
        assert await engine.schedules() == []


# row 70
@pytest.mark.parametrize("seed", range(12))
def test_row_70_never_twice_under_crashes_and_clock_steps(seed: int) -> None:
    queue = Queue("q", concurrency=3, retention=Retention(succeeded=None))
    fires: list[tuple[str, datetime]] = []

    @queue.handler
    async def note(ctx: Context) -> None:
        await trio.sleep(5)

    async def scenario(world: World) -> None:
        async with world.engine(queues=[queue]) as engine:
            while True:
                with contextlib.suppress(EngineCrashed, EngineStopped):
                    await engine.ready()
                    await engine.schedule("cron", note, cron="*/2 * * * *", timezone="Europe/Oslo", misfire="once", overlap="allow")
                    await engine.schedule("every", note, every=90, misfire="all")
                    break
            await trio.sleep(6 * HOUR)
            while not fires:
                with contextlib.suppress(EngineCrashed, EngineStopped):
                    await engine.ready()
                    fires.extend(task.schedule for task in await engine.list(limit=10_000) if task.schedule and task.schedule[0] == "cron")

    faults = Faults(crash=0.02, torn_commit=0.05, restart=120.0, clock_step=(0.02, 5_000.0), disk_latency=(0.0, 0.5))
    simulate(scenario, seed=seed, faults=faults)
    assert len(fires) == len(set(fires))
    assert fires
