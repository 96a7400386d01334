"""The web pages of one journal as an ASGI app: any server's, alone or below another app.

Problem.  An operator wants to look, in a browser, at a journal that an engine in another process works on, and must be able to break
nothing by it: not block the engine, not make its file grow, not change anything, not be tricked into showing it to others.

Choice.  The app is made of a path and only reads, through what `journeyman top` reads with (journal/following.py): the state is recovered
once and then brought up to date at each request, by the events that are new; what is on disk is read in one short snapshot.  Nothing is
open between two requests, nothing runs between them, and no page costs more than it shows, but for the first one.  One request is answered
at a time, on a thread, and a few may wait; the rest is told to come back (503).  A page is made of plain values, drawn by a template
without scripts, or given as JSON.

An engine of the same process is asked for its metrics instead (docs/METRICS.md): LMDB allows one environment a file and process, so such an
app answers 503 and says why.

Rejected: pages that ask the engine (an operator looks most when it does not answer, and each page would cost the loop that runs
handlers); actions on these pages (they need accounts and tokens, which `journeyman retry` and its like do not); scripts that reload.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from importlib.resources import files
from typing import Any, Final

try:
    import anyio.to_thread
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import JSONResponse, RedirectResponse, Response
    from starlette.routing import Route
    from starlette.types import ASGIApp

    from journeyman.dashboard.templating import render
except ImportError as missing:
    raise ImportError(f"web pages need starlette and jinja2 ({missing.name} is missing): pip install 'journeyman[web]'") from None

from journeyman.dashboard import asked, lists, overview
from journeyman.dashboard.detail import task_page
from journeyman.dashboard.door import Door
from journeyman.dashboard.shown import Hiding
from journeyman.journal.following import Follower, Newest
from journeyman.journal.redaction import Redaction
from journeyman.journal.wording import jsonable, visible
from journeyman.kernel.errors import JourneymanError
from journeyman.kernel.lifecycle import State

WAITING: Final = 16  # requests that wait for their turn
_NO_TASK: Final = "there is no such task in this journal: it was never submitted here, or retention has dropped it"
_STATES: Final = tuple(state.value for state in State)
_TITLES: Final = {400: "That makes no sense", 404: "Not here", 405: "For reading only", 500: "A bug", 503: "Not now"}

Values = dict[str, Any]
Answer = Callable[[Newest, Request], tuple[str, Values]]


def app(
    path: str | os.PathLike[str],
    *,
    hosts: Collection[str] = (),
    base_path: str = "",
    redact: Iterable[str] = (),
    reveal: bool = False,
) -> ASGIApp:
    """The pages of the journal in the directory `path`, which need not be there yet.

    `hosts`: names under which it is served, beside localhost, 127.0.0.1 and [::1]; other requests are refused; ("*",) takes any, for an app
    below another that checks them.  `base_path`: served below this path, such as "/jobs", as the server sees it; an app that is mounted
    below another needs none.  `redact`: fields of these names are hidden too; `reveal`: nothing is.  ValueError for what is no host, or
    no path.
    """
    pages = Pages(path, Redaction(redact, reveal=reveal))
    return Door(pages.starlette(), hosts, base_path)


class Busy(Exception):
    """More requests wait than may."""


class Pages:
    """The answers of one app."""

    def __init__(self, path: str | os.PathLike[str], redaction: Redaction) -> None:
        self._follower = Follower(path)
        self._hiding = Hiding(redaction)
        self._turn = threading.Lock()  # should two loops share the app
        self._waiting = 0
        self._one = anyio.CapacityLimiter(1)

    def starlette(self) -> Starlette:
        by_state = [Route(f"/{state}", self._page(self._of_state(state))) for state in _STATES if state != State.RUNNING]
        routes = [
            Route("/", self._page(self._overview)),
            Route("/running", self._page(self._running)),
            Route("/upcoming", self._page(self._upcoming)),
            *by_state,
            Route("/tasks", self._page(self._tasks)),
            Route("/task/{id}", self._page(self._task)),
            Route("/queue", self._page(self._queue)),
            Route("/schedules", self._page(self._schedules)),
            Route("/journal", self._page(self._journal)),
            Route("/search", _search),
            Route("/style.css", _file("style.css", "text/css")),
            Route("/icon.svg", _file("icon.svg", "image/svg+xml")),
        ]
        # Starlette raises on what a handler of Exception has answered, so that the server logs it with its traceback.
        failures = {HTTPException: _http, Exception: _bug}
        return Starlette(routes=routes, exception_handlers=failures)  # type: ignore[arg-type]

    def _page(self, answer: Answer) -> Callable[[Request], Any]:
        """An endpoint that gives what `answer` says."""

        async def endpoint(request: Request) -> Response:
            try:
                return await self._answered(answer, request)
            except asked.BadQuestion as error:
                return failed(request, 400, str(error))
            except asked.NotThere as error:
                return failed(request, 404, str(error))
            except Busy:
                return failed(request, 503, "too many requests wait for this journal: come back in a moment", {"Retry-After": "1"})
            except JourneymanError as error:
                return failed(request, 503, str(error))

        return endpoint

    async def _answered(self, answer: Answer, request: Request) -> Response:
        if self._waiting >= WAITING:
            raise Busy
        self._waiting += 1
        try:
            return await anyio.to_thread.run_sync(self._made, answer, request, limiter=self._one)
        finally:
            self._waiting -= 1

    def _made(self, answer: Answer, request: Request) -> Response:
        """Reads, and draws what was read when nothing is open any more."""
        with self._turn, self._follower.newest() as newest:
            self._hiding.learn(newest)
            template, values = answer(newest, request)
        return shown(request, template, values)

    # --- the pages ----------------------------------------------------------------------------------------------------

    def _overview(self, newest: Newest, request: Request) -> tuple[str, Values]:
        asked.query(request.query_params, ())
        return "overview.html", {"tab": "overview", **overview.overview(newest)}

    def _running(self, newest: Newest, request: Request) -> tuple[str, Values]:
        question = asked.list_question(newest, request.query_params, by_instant=True, without=("state",))
        return "list.html", {"tab": "running", "state": "running", **lists.running(newest, question, self._hiding), **_choices(newest)}

    def _upcoming(self, newest: Newest, request: Request) -> tuple[str, Values]:
        question = asked.list_question(newest, request.query_params, by_instant=True, without=("state",))
        found = lists.upcoming(newest, question, self._hiding)
        return "list.html", {"tab": "upcoming", "state": "upcoming", **found, **_choices(newest)}

    def _tasks(self, newest: Newest, request: Request) -> tuple[str, Values]:
        question = asked.list_question(newest, request.query_params)
        return "list.html", {"tab": "tasks", "state": None, **lists.newest_first(newest, question, self._hiding), **_choices(newest)}

    def _of_state(self, state: str) -> Answer:
        def answer(newest: Newest, request: Request) -> tuple[str, Values]:
            question = asked.list_question(newest, request.query_params, without=("state",))
            question = question._replace(filters=question.filters._replace(states=frozenset({State(state)})))
            return "list.html", {"tab": state, "state": state, **lists.newest_first(newest, question, self._hiding), **_choices(newest)}

        return answer

    def _task(self, newest: Newest, request: Request) -> tuple[str, Values]:
        asked.query(request.query_params, ())
        found = newest.task(asked.task_id(request.path_params["id"]))
        if found is None:
            raise asked.NotThere(_NO_TASK)
        return "task.html", {"tab": "", **task_page(newest, found, self._hiding)}

    def _queue(self, newest: Newest, request: Request) -> tuple[str, Values]:
        found = asked.query(request.query_params, ("name",))
        if "name" not in found:
            raise asked.BadQuestion("say which queue: /queue?name=...")
        return "queue.html", {"tab": "", **overview.queue_page(newest, asked.queue_named(newest, found["name"]))}

    def _schedules(self, newest: Newest, request: Request) -> tuple[str, Values]:
        asked.query(request.query_params, ())
        return "schedules.html", {"tab": "schedules", **overview.schedules(newest)}

    def _journal(self, newest: Newest, request: Request) -> tuple[str, Values]:
        asked.query(request.query_params, ())
        return "journal.html", {"tab": "journal", **overview.journal_page(newest)}


def _choices(newest: Newest) -> Values:
    """What the form of a list offers."""
    return {"queue_names": [one.name for one in newest.picture.queues[: overview.QUEUES]], "states": _STATES}


async def _search(request: Request) -> Response:
    """A form's way to a task's page."""
    try:
        found = asked.query(request.query_params, ("id",))
        id = asked.task_id(found.get("id", ""))
    except asked.BadQuestion as error:
        return failed(request, 400, str(error))
    hexed = id.hex()
    return RedirectResponse(f"{root_of(request)}/task/{hexed}", 303)


def _file(name: str, kind: str) -> Callable[[Request], Any]:
    data = files("journeyman.dashboard").joinpath(name).read_bytes()

    async def endpoint(request: Request) -> Response:
        return Response(data, media_type=kind)

    return endpoint


# --- answers ----------------------------------------------------------------------------------------------------------


def root_of(request: Request) -> str:
    """What stands before every address of this app."""
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _wants_json(request: Request) -> bool:
    wanted = request.query_params.get("format")
    if wanted in ("json", "html"):
        return wanted == "json"
    accepts = request.headers.get("accept", "")
    return "application/json" in accepts and "text/html" not in accepts


def shown(
    request: Request, template: str, values: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A page, or the same as JSON."""
    if _wants_json(request):
        plain = {name: value for name, value in values.items() if name not in ("tab", "queue_names", "states")}
        return JSONResponse(jsonable(plain), status, headers)
    return Response(render(template, root_of(request), values), status, headers, "text/html")


def failed(request: Request, status: int, words: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that says what is wrong."""
    title = _TITLES.get(status, "It cannot be done")
    values = {"tab": "", "status": status, "title": title, "error": visible(words)}
    return shown(request, "failed.html", values, status, headers)


async def _http(request: Request, error: HTTPException) -> Response:
    words = "there is no such page" if error.status_code == 404 else error.detail
    return failed(request, error.status_code, words, error.headers)


async def _bug(request: Request, error: Exception) -> Response:
    return failed(request, 500, "this page could not be made: a bug of Journeyman's; the server's log says more")


__all__ = ["WAITING", "app"]
