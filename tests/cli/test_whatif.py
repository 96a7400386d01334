"""`journeyman whatif` on journals that real engines made."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import trio
from typer.testing import CliRunner, Result

from journeyman.cli.app import app
from journeyman.cli.failures import WrongCall
from journeyman.cli.plots import check_plot
from journeyman.engine import Constant, Engine, Exponential, Queue, Rate, Retry
from journeyman.journal import open_journal
from journeyman.journal.whatif import Variant, settings, what_if
from tests.cli.journals import journeyman


def worked(path: Path) -> Path:
    """Queues that are held up by something else each: slots, a rate, keys, retries; the last one by all of it, and priorities."""
    queues = [
        Queue("slots", concurrency=1),
        Queue("rate", concurrency=50, rate=Rate(60, burst=2)),
        Queue("keys", concurrency=8),
        Queue("retries", concurrency=4, retry=Retry(attempts=3, backoff=Constant(0.05))),
        Queue("all", concurrency=3, rate=Rate(50, burst=3), per_key=1, retry=Retry(attempts=3, backoff=Exponential(0.02, 2, 0.5))),
    ]

    async def work(n: int, fails: bool) -> None:
        await trio.sleep(0.015 + 0.001 * (n * n % 11))
        if fails:
            raise ValueError("no such address")

    async def main() -> None:
        handlers = [queue.handler(name=f"work {queue.name}")(work) for queue in queues]
        async with Engine(path, queues) as engine:
            for n in range(60):
                for queue, handler in zip(queues, handlers, strict=True):
                    own = handler.using(key=f"k{n % 3}") if queue.name == "keys" else handler
                    own = handler.using(key=f"k{n % 7}", priority=n % 4) if queue.name == "all" else own
                    await engine.submit(own, n, queue.name in ("retries", "all") and n % 6 == 0)
            await engine.drain()

    trio.run(main)
    return path


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return worked(tmp_path_factory.mktemp("whatif") / "jobs")


def here(*arguments: object) -> Result:
    """The command in this process, which saves a second."""
    return CliRunner().invoke(app, ["whatif", *map(str, arguments)])


def answered(journal: Path, *arguments: object) -> dict[str, Any]:
    done = here(journal, *arguments, "--json")
    assert done.exit_code in (0, 1), done.stderr
    found = dict(json.loads(done.stdout))
    assert found["baseline"]["trusted"] is (done.exit_code == 0)  # with timers in it, that hangs on how busy this machine is
    return found


# row 87
@pytest.mark.parametrize(("queue", "near"), [("slots", 0.9), ("keys", 0.9), ("retries", 0.5), ("rate", 0.5), ("all", 0.1)])
def test_under_its_own_policy_a_real_queue_behaves_as_recorded(journal: Path, queue: str, near: float) -> None:
    """Also on a busy machine, where timers are late and a rate adds that up.  Exact where no timer is in it, and mostly where one is;
    where a rate, backoffs and keys meet, one start that comes in another order moves those after it, and only their sum is near."""
    with open_journal(journal) as view:
        found = what_if(view, queue, [])
    assert found.baseline.compared == found.baseline.starts == found.recorded.starts
    assert found.baseline.near is not None and found.baseline.near >= near
    was, now = found.recorded, found.as_it_was.figures
    assert now.wait_mean_us == pytest.approx(was.wait_mean_us, rel=0.2, abs=10_000)
    assert (was.succeeded, was.failures, was.dead_letters) == (now.succeeded, now.failures, now.dead_letters)
    assert now.makespan_us == pytest.approx(was.makespan_us, rel=0.2)


# row 87
def test_side_by_side(journal: Path) -> None:
    found = answered(
        journal, "--queue", "retries", "--set", "retry.jitter=0", "--variant", "retry.attempts=1",
        "--variant", "rate=20/1s burst 5 concurrency=16",
    )  # fmt: skip
    assert found["queue"] == "retries"
    assert found["recorded"]["dead_letters"] == found["as_it_was"]["dead_letters"] == 10
    once, slow = found["variants"]
    assert (once["name"], once["policy"]) == ("retry.attempts=1", {"jitter_ppm": 0, "attempts": 1})
    assert (once["dead_letters"], once["retries"], once["starts"]) == (10, 0, 60)
    assert (slow["policy"]["rate"], slow["policy"]["concurrency"]) == ([20, 1_000_000, 5], 16)
    assert slow["makespan_us"] > (60 + 20 - 5) * 50_000
    assert slow["limited_us"] > 0
    assert len(found["assumptions"]) >= 3


def test_for_people(journal: Path) -> None:
    done = journeyman("whatif", journal, "--queue", "slots", "--set", "concurrency=4")
    assert done.returncode == 0, done.stderr
    for words in ("recorded", "as it was", "concurrency=4", "wait p95", "slots in use", "It assumes:", "60 of 60 starts compared"):
        assert words in done.stdout
    alone = here(journal, "--queue", "slots")
    assert (alone.exit_code, "as it was" in alone.stdout) == (0, True)


def test_a_span(journal: Path) -> None:
    whole = answered(journal, "--queue", "slots")
    later = answered(journal, "--queue", "slots", "--since", 400)
    assert later["recorded"]["starts"] < whole["recorded"]["starts"]
    assert later["recorded"]["succeeded"] < 60
    sooner = answered(journal, "--queue", "slots", "--until", 400)
    assert sooner["recorded"]["starts"] < whole["recorded"]["starts"]


def test_a_bad_baseline_is_said_loudly_and_ends_with_1(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    mine, other = Queue("mine", concurrency=10), Queue("other", concurrency=10)

    async def main() -> None:
        async def work(seconds: float) -> None:
            await trio.sleep(seconds)

        here, there = mine.handler(name="here")(work), other.handler(name="there")(work)
        async with Engine(path, [mine, other], max_concurrency=1) as engine:
            await engine.submit_many([there.bind(0.02) for _ in range(10)])
            await engine.submit_many([here.bind(0.01) for _ in range(10)])
            await engine.drain()

    trio.run(main)
    done = here(path, "--queue", "mine", "--set", "concurrency=20")
    assert done.exit_code == 1
    assert "DO NOT TRUST THIS COMPARISON" in done.stdout
    assert "max_concurrency" in done.stdout


# row 87
def test_plots_are_files_of_their_kind(journal: Path, tmp_path: Path) -> None:
    for name in ("out.svg", "again.svg", "out.html"):
        done = here(journal, "--queue", "slots", "--set", "concurrency=4", "--plot", tmp_path / name)
        assert done.exit_code == 0, done.stderr
    svg = (tmp_path / "out.svg").read_bytes()
    assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    assert svg == (tmp_path / "again.svg").read_bytes()
    html = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert html.startswith("<!doctype html>")
    assert html.rstrip().endswith("</html>")
    assert "as it was" in html
    assert 'src="http' not in html  # it needs no network


def test_where_a_plot_cannot_be_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WrongCall, match=r"FILE.svg or FILE.html"):
        check_plot(tmp_path / "out.png")
    with pytest.raises(WrongCall, match="make it first"):
        check_plot(tmp_path / "nowhere" / "out.svg")
    monkeypatch.setattr("journeyman.cli.plots.find_spec", lambda name: None)
    with pytest.raises(WrongCall, match=r"drawn by plotly, which is not installed: pip install 'journeyman\[plot\]'"):
        check_plot(tmp_path / "out.html")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--queue", "mails"), "the journal knows no queue 'mails'; there are: all, keys, rate, retries, slots"),
        (("--queue", "slots", "--set", "concurency=3"), "there is no setting 'concurency'; there are: concurrency, rate"),
        (("--queue", "slots", "--variant", "rate=3"), "rate=3: not a rate; write rate=20/1s"),
        (("--queue", "slots", "--until", "3"), "no run of queue 'slots' came to its end in this span"),
        (("--queue", "slots", "--plot", "out.png"), "name the plot FILE.svg or FILE.html"),
    ],
)
def test_wrong_calls_say_what_there_is(journal: Path, arguments: tuple[str, ...], words: str) -> None:
    done = here(journal, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert "Traceback" not in done.stderr


# Ctrl-C, for real, at the N-th call of a function that the command comes by.
STOPPED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
module, name, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
owner = __import__(module, fromlist=["x"])
*path, last = name.split(".")
for part in path:
    owner = getattr(owner, part)
called, left = getattr(owner, last), [number]
def counting(*args, **options):
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), signal.SIGINT)
    return called(*args, **options)
setattr(owner, last, counting)
sys.argv = ["journeyman", *sys.argv[4:]]
from journeyman.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("module", "name", "number"),
    [
        ("journeyman.journal.lmdb_store", "LmdbStore.scan", 1),  # a read transaction is open, or about to be
        ("journeyman.journal.whatif.hearing", "Hearing.hear", 100),
        ("journeyman.journal.whatif.playing", "Player._turn", 30),  # the baseline
        ("journeyman.journal.whatif.playing", "Player._turn", 200),  # a variant
        ("journeyman.cli.plots", "_svg", 1),
        ("journeyman.cli.plots", "os.replace", 1),
    ],
)
def test_ctrl_c_leaves_nothing_behind(journal: Path, tmp_path: Path, module: str, name: str, number: int) -> None:
    before = {path.name: path.read_bytes() for path in journal.iterdir() if path.name != "lock.mdb"}
    words = ["whatif", str(journal), "--queue", "slots", "--set", "concurrency=4", "--plot", str(tmp_path / "out.svg")]
    done = subprocess.run(
        [sys.executable, "-c", STOPPED, module, name, str(number), *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (130, "journeyman: stopped\n"), done.stdout
    assert list(tmp_path.iterdir()) == []
    assert {path.name: path.read_bytes() for path in journal.iterdir() if path.name != "lock.mdb"} == before
    with open_journal(journal) as view:
        assert view.gauge().readers == 0


def test_the_same_from_python(journal: Path) -> None:
    with open_journal(journal) as view:
        found = what_if(view, "slots", [Variant("more", settings(["concurrency=20"]))])
    assert found.variants[0].played.figures.makespan_us < found.recorded.makespan_us
