"""`journeyman from-test`: what it writes happens again, and says no if it does not."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trio
from typer.testing import CliRunner

from journeyman.cli.app import app
from journeyman.cli.from_history import test_of
from journeyman.cli.policy_source import changed, keyword_items, parameters
from journeyman.cli.source import Group, Literals, call, import_lines, lines, named, text
from journeyman.engine import Constant, Engine, Exponential, Linear, Queue, Rate, Retention, Retry
from journeyman.journal.course import course_of
from journeyman.journal.redaction import Redaction
from journeyman.journal.view import open_journal
from journeyman.kernel.events import TaskSubmitted
from journeyman.sim import World, simulate
from journeyman.sim.swarm import swarm_scenario
from tests.cli.beside import Beside
from tests.cli.other_lives import live
from tests.cli.recorded import id_of, record

# Each of them with the runs it made and how it ended.
LIVES = {
    "succeed": ("assert_ran(1)", "then_succeeded()"),
    "flaky": ("3,", "then_dead_lettered("),
    "doze": ("raise Snooze(0.1)", "then_succeeded()"),
    "hang": ("engine.cancel(TASK, reason=", "then_cancelled()"),
    "deaf": ("CancelScope(shield=True)", "then_cancelled()"),
    "never begun": ("delay=3", "then_cancelled()"),
    "overrun": ("timeout=0.1", "then_dead_lettered()"),
    "fatal": ("raise Fatal from", "then_succeeded()"),
    "later": ("raise RetryLater(ConnectionError(", "then_succeeded()"),
    "gives up": ("raise Cancel(", "then_cancelled()"),
    "choosy": ("on=(OSError,)", "then_dead_lettered("),
    "squeezed": ("engine.pause(", "then_succeeded()"),
    "keyed": ("engine.pause(", "then_succeeded()"),
    "moved": ("engine.reschedule(TASK, delay=0.05", "then_succeeded()"),
    "held": ("engine.resume(", "then_succeeded()"),
    "late": ("deadline=0.1", "then_cancelled()"),
    "cancelled while held": ("engine.pause(", "then_cancelled()"),
    "beat": ("await busy(ctx, 0.6", "then_succeeded()"),
    "lost": ("world.crash()", "then_succeeded()"),
    "once": ('on_crash="interrupt"', "then_interrupted()"),
    "stopped": ("# The engine was stopped, and started again.", "then_succeeded()"),
}


COLLECTED = ("succeed", "flaky", "lost", "doze")  # run by pytest; the others are played in this process


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("recorded") / "jobs")


@pytest.fixture(scope="module")
def sources(journal: Path) -> dict[str, str]:
    """What is made of each life, by name."""
    with open_journal(journal) as view:
        courses = {name: course_of(view, UUID(id_of(name)).bytes) for name in LIVES}
        redaction = Redaction().learn(view.parameters())
    return {name: test_of(course, redaction) for name, course in courses.items() if course is not None}


def made(journal: Path, name: str, *options: str) -> str:
    """The same by the command, in this process."""
    done = CliRunner().invoke(app, ["from-test", str(journal), id_of(name), *options])
    assert done.exit_code == 0, done.output
    return done.stdout


def play(source: str) -> None:
    module: dict[str, Any] = {"__name__": "played"}
    exec(compile(source, "played.py", "exec"), module)
    module["test_it_happens_again"]()


# row 89
@pytest.mark.parametrize("name", LIVES)
def test_it_happens_again(sources: dict[str, str], name: str) -> None:
    for words in LIVES[name]:
        assert words in sources[name]
    play(sources[name])


def test_the_files_pass_as_tests_and_please_the_linter(sources: dict[str, str], tmp_path: Path) -> None:
    for number, name in enumerate(sources):
        (tmp_path / f"{'test' if name in COLLECTED else 'course'}_{number}.py").write_text(sources[name])
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    for tool, said in (
        (("pytest", "-q", "-p", "no:cacheprovider"), f"{len(COLLECTED)} passed"),
        (("ruff", "check", "--isolated", "--no-cache", "--select", "E,F,W,B,I,UP,SIM,RUF,PT,C4,PIE"), "All checks passed"),
        (("ruff", "format", "--isolated", "--no-cache", "--check"), "already formatted"),
    ):
        done = subprocess.run([sys.executable, "-m", *tool, "."], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert said in done.stdout


@pytest.mark.parametrize(
    ("name", "recorded", "otherwise"),
    [
        ("flaky", "attempts=3", "attempts=4"),
        ("flaky", "Constant(0.05)", "Constant(0.08)"),
        ("doze", "Snooze(0.1)", "Snooze(0.2)"),
        ("hang", '        await engine.cancel(TASK, reason="too long", by="ops")\n', ""),
        ("lost", "        world.crash()\n", ""),
        ("once", ', on_crash="interrupt"', ""),
    ],
)
def test_it_does_not_happen_again_under_another_policy(sources: dict[str, str], name: str, recorded: str, otherwise: str) -> None:
    assert recorded in sources[name]
    with pytest.raises(AssertionError):
        play(sources[name].replace(recorded, otherwise))


@pytest.mark.parametrize(("name", "most", "others"), [("keyed", 5, 1), ("squeezed", 5, 2)])
def test_those_who_were_in_its_way_take_part(journal: Path, name: str, most: int, others: int) -> None:
    source = made(journal, name, "--with-neighbours", str(most))
    assert "engine.pause" not in source
    assert source.count("await engine.submit(") == others + 1
    play(source)
    with pytest.raises(AssertionError):
        play(re.sub(r"\[\(0\.\d+, None\)\]", "[(0.01, None)]", source))


def test_those_who_were_not_in_its_way_stay_outside(journal: Path) -> None:
    done = CliRunner().invoke(app, ["from-test", str(journal), id_of("squeezed"), "--with-neighbours", "1"])
    assert "the test pauses the queue instead" in done.stderr
    assert 'engine.pause("narrow")' in done.stdout
    play(done.stdout)


def test_secrets_are_not_written(journal: Path, sources: dict[str, str]) -> None:
    source = sources["succeed"]
    assert source.count('"[hidden]"') == 3  # token= as argument and in the result, password in meta
    assert "geheim" not in source
    shown = made(journal, "succeed", "--reveal")
    assert 'token="geheim"' in shown
    play(shown)


def test_written_to_a_file_and_checked(journal: Path, tmp_path: Path) -> None:
    file = tmp_path / "test_incident.py"
    done = CliRunner().invoke(app, ["from-test", str(journal), id_of("flaky"), "-o", str(file), "--check", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["events"], found["source"]) == (7, file.read_text())
    done = CliRunner().invoke(app, ["from-test", str(journal), id_of("flaky"), "-o", str(file)])
    assert (done.exit_code, "is there already" in done.stderr) == (2, True)


def test_wrong_calls(journal: Path, tmp_path: Path) -> None:
    for arguments, code, words in (
        ([str(journal), "x"], 2, "is no task id"),
        ([str(journal), str(UUID(int=1))], 2, "there is no task"),
        ([str(tmp_path), str(UUID(int=1))], 5, "there is no journal"),
    ):
        done = CliRunner().invoke(app, ["from-test", *arguments])
        assert done.exit_code == code
        assert words in done.stderr


# --- source -----------------------------------------------------------------------------------------------------------


VALUES = [
    None, True, -3, 1.5, float("inf"), "", "plain", 'with "quotes"', "it's", "both \" and '", "new\nline\\", "\u201c\u00e9\U0001f600\x00",
    "x" * 500,
    b"", b"\x00\xff'\"", b"y" * 300, [], [1, [2, {}]], (1,), (), {"a": {"b": [1, 2]}, 3: None}, set(), {1, 2}, frozenset({3}),
    datetime(2026, 11, 22, 10, 30, tzinfo=UTC), datetime(2026, 1, 1, 0, 0, 0, 7), date(2026, 1, 2), timedelta(seconds=3),
    UUID(int=5), Decimal("1.50"), {"long": ["word " * 30, {"deep": ["z" * 100]}]},
]  # fmt: skip


def test_literals_are_the_values(tmp_path: Path) -> None:
    """Each value comes back from its source, and formatters leave the layout alone."""
    literals = Literals()
    body = [line for number, value in enumerate(VALUES) for line in lines(literals.of(value), before=f"v{number} = ")]
    source = "\n".join([*import_lines(literals.imports), "", *body]) + "\n"
    assert source.isascii()
    module: dict[str, Any] = {}
    exec(source, module)
    for number, value in enumerate(VALUES):
        assert module[f"v{number}"] == value
        assert type(module[f"v{number}"]) is type(value)
    (tmp_path / "values.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--no-cache", "--diff", "values.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_layout() -> None:
    assert list(lines(call("f", "1", named("x", "2")), before="await ")) == ["await f(1, x=2)"]
    long = call("f", *["argument" * 3] * 4, named("x", Group("[", ("1", "2"), "]")))
    assert list(lines(long, 4)) == ["    f(", *["        " + "argument" * 3 + ","] * 4, "        x=[1, 2],", "    )"]
    assert list(lines(call("f", text("a" * 61))))[1:-1] == ['    "' + "a" * 60 + '"', '    "a"']


# --- policies and unfinished tasks --------------------------------------------------------------------------------------


POLICIES = [
    Queue("q"),
    Queue("q", concurrency=7, retry=Retry(attempts=9, backoff=Exponential(0.5, 1.1, 77), jitter=0, crashes=0), on_crash="interrupt"),
    Queue("q", retry=Retry(backoff=Linear(2, 9), jitter=0.25), rate=Rate(10, 60, 3, "api"), rate_per_key=Rate(1, 0.5)),
    Queue("q", timeout=1.5, heartbeat=0.000001, retention=Retention(3, None, 0, 7, payload="failed", result=False), max_pending=0),
    Queue("q", max_payload=7, per_key=3, key_order="relaxed", aging=60, fair_by="owner", weight=9, retry=Retry(backoff=Constant(0))),
]


@pytest.mark.parametrize("queue", POLICIES)
def test_a_policy_comes_back_from_its_source(queue: Queue) -> None:
    literals = Literals()
    items = keyword_items(parameters(queue.policy, literals))
    module: dict[str, Any] = {}
    source = "\n".join(
        [*import_lines(literals.imports), "from journeyman import Queue", *lines(call("Queue", '"q"', *items), before="q = ")]
    )
    exec(source, module)
    assert module["q"].policy == queue.policy
    usual = Queue("q").policy
    assert set(changed(usual, queue.policy, literals)) == set(parameters(queue.policy, literals))


@pytest.mark.parametrize("seed", [0, 4, 15, 36, 55, 74, 97, 104, 105, 109, 147, 151, 154, 178, 248, 390, 639, 931, 1053])
def test_what_happened_in_random_worlds_happens_again(seed: int, tmp_path: Path) -> None:
    """Crashes, disks that lag, operators, keys, dependencies, debounced submits: whatever the swarm draws."""
    scenario, faults = swarm_scenario(seed)

    async def saved(world: World) -> None:
        await scenario(world)
        world.save(tmp_path / "jobs")

    simulate(saved, seed=seed, faults=faults, converge=False)
    with open_journal(tmp_path / "jobs") as view:
        ids = [event.task for _, event in view.events() if isinstance(event, TaskSubmitted)]
        courses = [course for id in ids if (course := course_of(view, id)) is not None]
        assert courses
        for course in courses:
            play(test_of(course, Redaction()))


def test_tasks_that_have_not_ended(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    with Beside(path) as engine:
        engine.tell("open")
        engine.tell("pause")
        engine.tell("later", 1)
        engine.tell("hang", 3)
        engine.tell("entered", 2)
        with open_journal(path) as view:
            with view.newest() as found:
                ids = [id for queue in found.state.queues.values() for id in queue.tasks]
            states = []
            for id in ids:
                course = course_of(view, id)
                assert course is not None
                source = test_of(course, Redaction())
                assert "assert life.state is None" in source
                play(source)
                states.append(course.task.state)
    assert sorted(states) == ["pending", "running", "running", "scheduled"]


def test_every_other_kind_of_history(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    trio.run(live, path)
    with open_journal(path) as view:
        born = [event for _, event in view.events() if isinstance(event, TaskSubmitted)]
        options = {option for event in born for option in event.options or ()}
        assert options >= {"schedule", "parent", "after", "debounce_us", "unique", "key"}
        for event in born:
            course = course_of(view, event.task)
            assert course is not None
            play(test_of(course, Redaction().learn(view.parameters())))


def test_a_policy_that_was_changed_meanwhile(tmp_path: Path) -> None:
    """The run that failed under the first policy is retried under the second."""
    path = tmp_path / "jobs"
    queue = Queue("q", retry=Retry(attempts=1, backoff=Constant(0.01)))

    @queue.handler
    async def fail() -> None:
        raise ValueError("no")

    async def main() -> str:
        async with Engine(path, [queue]) as engine:
            handle = await engine.submit(fail.using(delay=0.3))
            await engine.configure("q", retry=Retry(attempts=2, backoff=Constant(0.2), jitter=0))
            await handle.wait()
            await engine.configure("q", concurrency=5)
        return handle.id

    id = trio.run(main)
    source = CliRunner().invoke(app, ["from-test", str(path), id]).stdout
    assert "retry=Retry(attempts=1, backoff=Constant(0.01))" in source
    assert source.count("engine.configure(") == 1
    play(source)
