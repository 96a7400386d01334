"""Row 65: web pages of a journal, read over HTTP from `journeyman web` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from journeyman import Engine, Queue
from journeyman.journal import open_journal
from tests.dashboard.browsing import Answer, Page, Server, crawled
from tests.dashboard.sample import BIDI, LONG, NAME, SCRIPT, SECRET, Beside, made

STATES = ("scheduled", "pending", "running", "retrying", "succeeded", "failed", "cancelled", "interrupted")
TABS = ("/", "/running", "/upcoming", "/tasks", "/schedules", "/journal", *(f"/{state}" for state in STATES))


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A journal with every state in it, of an engine that was killed twice: some tasks were running, and one is interrupted."""
    path = tmp_path_factory.mktemp("web") / "jobs"
    ids = made(path)
    for _ in range(2):
        with Beside(path):
            pass
    return path, ids


@pytest.fixture(scope="module")
def served(sample: tuple[Path, dict[str, str]]) -> Iterator[Server]:
    with Server(sample[0]) as server:
        yield server


@pytest.fixture(scope="module")
def everything(served: Server) -> dict[str, Answer]:
    """Every page that links lead to."""
    return crawled(served, "/")


def ids_on(answer: Answer) -> list[str]:
    return [str(row["id"]) for row in answer.json["rows"]]


def test_row_65_every_link_leads_to_a_page(sample: tuple[Path, dict[str, str]], everything: dict[str, Answer]) -> None:
    assert {answer.status for answer in everything.values()} == {200}
    assert {*TABS, *(f"/task/{id}" for id in sample[1].values())} <= everything.keys()


def test_row_65_below_a_path(sample: tuple[Path, dict[str, str]], everything: dict[str, Answer]) -> None:
    base = "/tools/jobs"
    with Server(sample[0], "--base-path", base) as server:
        assert server.root == base
        found = crawled(server, f"{base}/")
        assert {answer.status for answer in found.values()} == {200}
        assert all(target.startswith(f"{base}/") for target in found)
        assert len(found) == len(everything)
        assert server.ask(base).headers["location"] == f"{base}/"
        assert server.ask("/").status == server.ask(f"{base}x/").status == 404


@pytest.mark.parametrize("tab", ["/running", "/upcoming", *(f"/{state}" for state in STATES if state != "running")])
def test_row_65_a_list_holds_what_the_journal_does(sample: tuple[Path, dict[str, str]], served: Server, tab: str) -> None:
    with open_journal(sample[0]) as view, view.newest() as found:
        now, wanted = view.now(), {"/upcoming": ("scheduled", "retrying")}.get(tab, (tab[1:],))
        held = {task.id.hex() for queue in found.state.queues.values() for state in STATES if state in wanted
                for task in queue.listed(state, now)}  # fmt: skip
        held |= {task.id.hex() for queue in found.state.queues for state in ("succeeded", "failed", "cancelled", "interrupted")
                 if state in wanted for task in found.catalog.newest(queue, state, now, limit=1_000)}  # fmt: skip
    assert held
    assert {id.replace("-", "") for id in ids_on(served.page(f"{tab}?format=json&limit=200"))} == held
    page = Page(served.page(f"{tab}?limit=200").text)
    assert all(f"/task/{id[:8]}" in " ".join(page.links) for id in held)


def test_row_65_upcoming_is_ordered_by_due_instant(served: Server) -> None:
    rows = served.page("/upcoming?format=json").json["rows"]
    assert len(rows) == 2
    assert rows == sorted(rows, key=lambda row: row["due_at_us"])
    running = served.page("/running?format=json").json["rows"]
    assert [row["started_at_us"] for row in running] == sorted(row["started_at_us"] for row in running)
    assert running[0]["said"].startswith("50% half of ")


def test_row_65_a_task_in_detail(sample: tuple[Path, dict[str, str]], served: Server) -> None:
    ids = sample[1]
    page = Page(served.page(f"/task/{ids['failed']}").text)
    for words in (
        "RuntimeError",
        "Traceback",
        "in fatal",
        "run 1",
        "25%",
        "1 of 1 failed",
        "AttemptStarted",
        "TaskFailed",
        "it has ended: failed",
    ):
        assert words in page.words, words
    after = served.page(f"/task/{ids['after']}?format=json").json
    assert [one["id"] for one in after["waits_for"]] == [ids["pending"]]
    assert {reason["kind"] for reason in after["reasons"]} >= {"waits for", "paused", "no engine"}
    assert [one["id"] for one in served.page(f"/task/{ids['pending']}?format=json").json["waited_for_by"]] == [ids["after"]]
    child = served.page(f"/tasks?format=json&parent={ids['odd']}")
    assert len(ids_on(child)) == 1
    assert served.page(f"/task/{ids_on(child)[0]}?format=json").json["parent"]["id"] == ids["odd"]
    steps = served.page(f"/task/{ids['odd']}?format=json").json["steps"]
    assert [step["name"] for step in steps] == [NAME]
    assert SCRIPT[:8] in steps[0]["value"]
    assert "key busy" in served.page(f"/task/{ids['behind']}").text


def test_row_65_hostile_text_is_only_text(sample: tuple[Path, dict[str, str]], served: Server, everything: dict[str, Answer]) -> None:
    harm = {"script", "i", "b", "style", "iframe", "object", "embed", "base", "img", "video", "audio", "svg"}
    for target, answer in everything.items():
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        page = Page(answer.text)
        assert not harm & {tag for tag, _ in page.tags}, target
        assert not {name for _, attributes in page.tags for name in attributes if name.startswith("on") or name == "style"}, target
        assert not set(BIDI) & {"\u202e", "\u2066", "\x1b", "\x07"} & set(answer.text), target
        assert len(answer.text) < 300_000, target
    task = Page(served.page(f"/task/{sample[1]['failed']}").text)
    assert SCRIPT in task.words
    assert "abc\ufffdtxt.exe" in task.words
    long = Page(served.page(f"/task/{sample[1]['long']}").text)
    assert f"of {len(LONG) + 2:,} characters]" in long.words  # with its quotation marks
    assert LONG[:20_000] not in long.words
    assert SCRIPT in Page(served.page("/").text).words  # why a queue is paused


def test_row_65_secrets_are_hidden_where_they_are_repeated_too(
    sample: tuple[Path, dict[str, str]], served: Server, everything: dict[str, Answer]
) -> None:
    assert not [target for target, answer in everything.items() if SECRET in answer.text]
    page = Page(served.page(f"/task/{sample[1]['secret']}").text)
    assert "cannot log in as bad@example.org with [hidden]" in page.words
    with Server(sample[0], "--reveal") as open_hearted:
        assert SECRET in open_hearted.page(f"/task/{sample[1]['secret']}").text
    with Server(sample[0], "--redact", "to") as strict:
        assert "bad@example.org" not in strict.page(f"/task/{sample[1]['secret']}").text
        assert "bad@example.org" not in strict.page("/failed").text


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "QUERY"])
def test_row_65_nothing_but_reading(served: Server, method: str) -> None:
    for target in ("/", "/tasks", "/nowhere", "/style.css"):
        answer = served.ask(target, method)
        assert (answer.status, answer.headers["allow"]) == (405, "GET, HEAD")


def test_row_65_head_is_get_without_a_body(served: Server) -> None:
    head = served.ask("/", "HEAD")
    assert (head.status, head.text) == (200, "")


@pytest.mark.parametrize(
    ("target", "status", "words"),
    [
        ("/nowhere", 404, "no such page"),
        ("/task/", 404, "no such page"),
        ("/%2e%2e/%2e%2e/etc/passwd", 404, "no such page"),
        ("/task/01890a5d-ac96-774b-bcce-b302099a8057", 404, "no such task"),
        ("/task/17", 400, "a UUID such as"),
        ("/task/%3Cscript%3E", 400, "a UUID such as"),
        ("/search?id=17", 400, "a UUID such as"),
        ("/search", 400, "a UUID such as"),
        ("/queue?name=nobody", 404, "no queue 'nobody'"),
        ("/queue", 400, "say which queue"),
        ("/tasks?queue=nobody", 404, "no queue 'nobody'"),
        ("/tasks?state=done", 400, "state is one of"),
        ("/tasks?owner=seven", 400, "kind:id"),
        ("/tasks?before=x", 400, "a whole number"),
        ("/tasks?before=-1", 400, "a whole number"),
        ("/tasks?after=99999999999999999999", 400, "a whole number"),
        ("/tasks?before=9999999999999999999", 400, "a whole number"),
        ("/tasks?before=1&after=2", 400, "give one of them"),
        ("/tasks?limit=0", 400, "limit is from 1 to 200"),
        ("/tasks?limit=1000000", 400, "limit is from 1 to 200"),
        ("/tasks?handlr=send", 400, "no parameter 'handlr'"),
        ("/tasks?parent=17", 400, "a UUID such as"),
        ("/tasks?format=xml", 400, "json or html"),
        ("/tasks?key=" + "k" * 600, 400, "longer than anything"),
        ("/upcoming?after=17", 400, "a place in this list"),
        ("/running?state=failed", 400, "no parameter 'state'"),
    ],
)
def test_row_65_what_is_not_there_or_makes_no_sense(served: Server, target: str, status: int, words: str) -> None:
    answer = served.ask(target)
    assert answer.status == status
    assert words in Page(answer.text).words
    as_json = served.ask(target, accept="application/json")
    if "format=" not in target:
        assert as_json.status == as_json.json["status"] == status


def test_row_65_every_answer_says_what_a_browser_may_do(served: Server) -> None:
    for target in ("/", "/nowhere", "/tasks?limit=0", "/style.css", "/icon.svg", "/journal?format=json"):
        headers = served.ask(target).headers
        policy = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        assert headers["content-security-policy"] == policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"


def test_row_65_only_for_the_hosts_it_is_for(sample: tuple[Path, dict[str, str]], served: Server) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "evil.example:80", "", "localhost@evil.example", "a b", "[::1"):
        answer = served.ask("/", host=host)
        assert answer.status == 400, host
        assert "Overview" not in answer.text
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8642", "[::1]:80"):
        assert served.ask("/", host=host).status == 200, host
    with Server(sample[0], "--allow-host", "jobs.example.org") as named:
        assert named.ask("/", host="jobs.example.org").status == named.ask("/", host="jobs.example.org:8080").status == 200
        assert named.ask("/", host="example.org").status == 400


def test_row_65_filters_and_names_that_need_quoting(sample: tuple[Path, dict[str, str]], served: Server) -> None:
    ids = sample[1]
    page = Page(served.page(f"/task/{ids['odd']}").text)
    filters = [link for link in page.links if link.startswith(("/tasks?owner", "/tasks?key", "/tasks?unique", "/tasks?source"))]
    assert len(filters) == 4
    for link in filters:
        assert ids["odd"] in ids_on(served.ask(f"{link}&format=json")), link
    assert ids_on(served.page("/tasks?tag=t&format=json")) == [ids["failed"]]
    assert ids["long"] in ids_on(served.page("/tasks?handler=fatal&queue=mail&state=failed&format=json"))
    assert NAME in Page(served.page("/schedules").text).words
    assert served.page(f"/search?id={ids['odd']}").headers["location"] == f"/task/{ids['odd'].replace('-', '')}"


def test_row_65_pages_of_a_list_while_new_tasks_come(tmp_path: Path) -> None:
    """Beside an engine that submits all the time, in a process of its own: each task once, forwards and backwards."""
    path = tmp_path / "jobs"

    async def fill() -> list[str]:
        queue = Queue("q", concurrency=8)

        @queue.handler
        async def work(number: int) -> None: ...

        async with Engine(path, [queue]) as engine:
            handles = await engine.submit_many([work.bind(n) for n in range(237)])
            await engine.drain()
            return [handle.id for handle in handles]

    ids = trio.run(fill)
    busy = """
import sys, trio
from journeyman import Engine, Queue
q = Queue("q", concurrency=8)
@q.handler
async def work(number: int) -> None: ...
async def main():
    async with Engine(sys.argv[1], [q]) as engine:
        print("ready", flush=True)
        while True:
            await (await engine.submit(work, 1)).wait()
trio.run(main)
"""
    child = subprocess.Popen([sys.executable, "-c", busy, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        assert child.stdout.readline() == "ready\n"
        with Server(path) as server:
            seen = followed(server, "next", "/succeeded?limit=20")
            assert [id for id in seen if id in set(ids)] == ids[::-1]
            assert len(set(seen)) == len(seen)
            assert not set(ids_on(server.page("/succeeded?format=json&limit=5"))) & set(seen)  # so new ones have come meanwhile
            oldest = server.page("/succeeded?format=json&after=0&limit=20").json
            assert [row["id"] for row in oldest["rows"]][::-1] == ids[:20]
            first = oldest["rows"][0]["seq"]
            back = ids[:20]
            while len(back) < len(ids):
                page = server.page(f"/succeeded?format=json&after={first}&limit=20").json
                back += [row["id"] for row in page["rows"]][::-1]
                first = page["rows"][0]["seq"]
                assert page["next"] is not None
            assert back[: len(ids)] == ids
            assert server.page("/journal?format=json").json["owner_pid"] == child.pid
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def followed(server: Server, relation: str, target: str | None) -> list[str]:
    """The ids on this page and all that its links lead to."""
    seen: list[str] = []
    while target is not None:
        page = Page(server.ask(target).text)
        seen += [link.rpartition("/")[2] for link in page.links if link.startswith(f"{server.root}/task/")]
        target = page.link(relation)
    return seen


def test_row_65_upcoming_by_the_page(tmp_path: Path) -> None:
    path = tmp_path / "jobs"

    async def fill() -> list[str]:
        queue, other = Queue("q"), Queue("other")

        @queue.handler
        async def work(number: int) -> None: ...

        @other.handler(name="work2")
        async def work2(number: int) -> None: ...

        async with Engine(path, [queue, other]) as engine:
            order = [(n * 37) % 101 for n in range(101)]
            calls = [(work if n % 2 else work2).using(delay=3600 + n, tags=("odd",) if n % 2 else ()).bind(n) for n in order]
            handles = await engine.submit_many(calls)
            await engine.cancel(handles[order.index(50)].id)
            return [handle.id for n, handle in sorted(zip(order, handles, strict=True)) if n != 50]

    ids = trio.run(fill)
    with Server(path) as server:
        assert followed(server, "next", "/upcoming?limit=9") == ids
        last = server.page("/upcoming?format=json&limit=9&after=9999999999999999.1").json
        assert last["rows"] == []
        place = last["previous"]["before"]
        back: list[str] = []
        while place is not None:
            page = server.page(f"/upcoming?format=json&limit=9&before={place}").json
            back = [row["id"] for row in page["rows"]] + back
            place = page["previous"] and page["previous"]["before"]
        assert back == ids
        odd = [id for n, id in zip([n for n in range(101) if n != 50], ids, strict=True) if n % 2]
        assert followed(server, "next", "/upcoming?limit=9&queue=q") == odd
        assert followed(server, "next", "/upcoming?limit=9&tag=odd") == odd


def test_row_65_no_journal_a_damaged_one_and_one_that_comes(tmp_path: Path) -> None:
    path = tmp_path / "jobs"
    with Server(path) as server:
        answer = server.page("/")
        assert answer.status == 503
        assert "there is no journal at" in Page(answer.text).words
        assert server.page("/style.css").status == 200
        made(path, 2)
        assert server.page("/").status == 200
        data = path / "data.mdb"
        content = bytearray(data.read_bytes())
        data.rename(path / "kept.mdb")
        for page in range(2 * 4096, len(content), 4096):
            content[page : page + 64] = b"\xff" * 64
        data.write_bytes(content)
        answer = server.page("/")
        assert answer.status == 503
        assert "damaged" in Page(answer.text).words or "repair" in Page(answer.text).words
        assert "Traceback" not in answer.text
        (path / "kept.mdb").replace(data)
        assert server.page("/").status == 200


def test_row_65_stops_when_told_and_says_what_is_wrong(sample: tuple[Path, dict[str, str]]) -> None:
    with Server(sample[0]) as server:
        taken = subprocess.run(
            [sys.executable, "-m", "journeyman", "web", str(sample[0]), "--port", str(server.port)],
            capture_output=True, text=True, timeout=30, check=False,
        )  # fmt: skip
        assert taken.returncode == 2
        assert "cannot be listened on" in taken.stderr
        assert "Traceback" not in taken.stderr
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(10) == 0
