"""The pages as an app of another program's: below its paths, on either loop, with many that ask at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.applications import Starlette
from starlette.routing import Mount

from journeyman import Engine, Queue
from journeyman.dashboard import app, overview
from journeyman.dashboard.app import WAITING
from journeyman.journal.following import Newest
from tests.dashboard.asking import Reply, asked
from tests.dashboard.browsing import Page
from tests.dashboard.sample import made


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("web") / "jobs"
    made(path, 3)
    return path


@pytest.mark.parametrize("loop", ["trio", "asyncio"])
def test_row_65_below_another_app_on_either_loop(sample: Path, loop: str) -> None:
    outer = Starlette(routes=[Mount("/ops/jobs", app(sample, hosts=["ops.example.org"]))])

    async def main() -> None:
        page = await asked(outer, "/ops/jobs/", host="ops.example.org")
        assert page.status == 200
        links = [link for link in Page(page.text).links if not link.startswith("#")]
        assert len(links) > 20
        assert all(link.startswith("/ops/jobs/") for link in links)
        for link in links:
            assert (await asked(outer, link, host="ops.example.org")).status == 200, link
        assert (await asked(outer, "/ops/jobs/nowhere", host="ops.example.org")).status == 404
        assert (await asked(outer, "/ops/jobs/", host="evil.example")).status == 400
        assert (await asked(outer, "/ops/jobs/", host="ops.example.org", method="POST")).status == 405

    if loop == "trio":
        trio.run(main)
    else:
        asyncio.run(main())


async def test_row_65_more_than_a_few_at_a_time_are_told_to_come_back(sample: Path) -> None:
    pages, replies = app(sample), []

    async def ask() -> None:
        replies.append(await asked(pages, "/tasks"))

    async with trio.open_nursery() as nursery:
        for _ in range(3 * WAITING):
            nursery.start_soon(ask)
    answered = [reply for reply in replies if reply.status == 200]
    assert len(answered) >= WAITING
    refused = [reply for reply in replies if reply.status != 200]
    assert refused
    assert {(reply.status, reply.headers["retry-after"]) for reply in refused} == {(503, "1")}
    assert (await asked(pages, "/tasks")).status == 200


async def test_row_65_an_engine_of_the_same_process_is_said_to_be_in_the_way(tmp_path: Path) -> None:
    queue = Queue("q")
    pages = app(tmp_path / "jobs")
    async with Engine(tmp_path / "jobs", [queue]):
        reply = await asked(pages, "/")
        assert reply.status == 503
        assert "this process" in Page(reply.text).words
    assert (await asked(pages, "/")).status == 200


async def test_row_65_a_bug_is_not_told_to_the_browser(sample: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(newest: Newest) -> dict[str, Any]:
        raise RuntimeError("inner words")

    pages = app(sample)
    with monkeypatch.context() as patched:
        patched.setattr(overview, "overview", broken)
        reply: Reply = await asked(pages, "/")
    assert reply.status == 500
    assert "inner words" not in reply.text
    assert "Traceback" not in reply.text
    assert "the server's log says more" in Page(reply.text).words
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert (await asked(pages, "/")).status == 200


@pytest.mark.parametrize("host", ["http://x", "x/y", "a b", ""])
def test_row_65_what_is_no_host(host: str) -> None:
    with pytest.raises(ValueError, match="a host is a name"):
        app("somewhere", hosts=[host])


@pytest.mark.parametrize("path", ["jobs", "/jobs/", "/", "/a b", "/../x?y"])
def test_row_65_what_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="a base path begins with a slash"):
        app("somewhere", base_path=path)


async def test_row_65_nothing_is_pinned_between_two_pages(sample: Path) -> None:
    pages = app(sample)
    for _ in range(3):
        assert (await asked(pages, "/tasks")).status == 200
    reply = await asked(pages, "/journal?format=json")
    assert '"readers":0' in reply.text.replace(" ", "")
