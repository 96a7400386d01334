"""Row 94: the recipes for FastAPI, Flask and Django, each run by a real server, used over HTTP, stopped, killed and started again."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from journeyman.engine.background import BackgroundEngine
from tests.sources import ROOT

WEB = ROOT / "examples" / "web"
UVICORN = ("-m", "uvicorn", "--log-level", "warning", "--port", "{port}")
GUNICORN = ("-m", "gunicorn", "--log-level", "warning", "--config", "gunicorn_conf.py", "--bind", "127.0.0.1:{port}")
SERVED = {
    "fastapi": (*UVICORN, "fastapi_app:app"),
    "flask": (*GUNICORN, "flask_app:app"),
    "django over wsgi": (*GUNICORN, "django_app:wsgi"),
    "django over asgi": (*UVICORN, "django_app:asgi"),
}


class Site:
    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process = process
        self.port = port

    def ask(self, path: str, method: str = "GET") -> Any:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/{path}", method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def opened(self) -> Site:
        """Once it answers."""
        deadline = time.monotonic() + 30
        while True:
            try:
                self.ask("count")
                return self
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.process.kill()
                    raise AssertionError(f"it does not serve: {self.process.communicate()}") from None
                time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number


@contextmanager
def serving(kind: str, journal: Path) -> Iterator[Site]:
    port = free_port()
    command = [sys.executable, *(each.format(port=port) for each in SERVED[kind])]
    environment = {**os.environ, "JOBS": str(journal), "PYTHONPATH": str(WEB)}
    process = subprocess.Popen(command, cwd=WEB, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield Site(process, port).opened()
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.mark.parametrize("kind", SERVED)
def test_row_94_a_recipe_works_behind_its_server(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as site:
        id = site.ask("welcome/ann", "POST")["id"]
        assert site.ask(f"tasks/{id}?wait=10") == {"id": id, "state": "succeeded", "result": "welcomed ann in attempt 1"}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            site.ask("tasks/01890a5d-ac96-774b-bcce-b302099a8057")
        site.process.send_signal(signal.SIGTERM)
        _, err = site.process.communicate(timeout=30)
        assert "Traceback" not in err
        assert "was not stopped" not in err, "its hooks have stopped it"
    with BackgroundEngine(tmp_path) as engine:  # the journal is free, and what was acknowledged is in it
        assert engine.get(id).result == "welcomed ann in attempt 1"
        assert [event.kind for event in engine.history(id)][-1] == "TaskSucceeded"


@pytest.mark.parametrize("kind", ["fastapi", "flask"])
def test_row_94_what_a_killed_server_acknowledged_goes_on_in_the_next(kind: str, tmp_path: Path) -> None:
    with serving(kind, tmp_path) as site:
        ids = [site.ask(f"welcome/{n}", "POST")["id"] for n in range(20)]
        if kind == "flask":  # the worker, which has the engine
            children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
            site.process.kill()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        site.process.kill()
        site.process.wait()
    with serving(kind, tmp_path) as site:
        assert [site.ask(f"tasks/{id}?wait=20")["state"] for id in ids] == ["succeeded"] * 20
        assert site.ask("count") == 20


def test_row_94_djangos_server_for_development(tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "django_app.py", "runserver", f"127.0.0.1:{port}"]
    environment = {**os.environ, "JOBS": str(tmp_path / "jobs")}
    process = subprocess.Popen(
        command, cwd=WEB, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        site = Site(process, port).opened()
        id = site.ask("welcome/ann", "POST")["id"]
        assert site.ask(f"tasks/{id}?wait=10")["state"] == "succeeded"
        os.killpg(process.pid, signal.SIGINT)  # Ctrl-C in its terminal
        process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    with BackgroundEngine(tmp_path / "jobs") as engine:
        assert engine.get(id).result == "welcomed ann in attempt 1"


def test_row_94_management_commands_open_no_journal(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "django_app.py", "check"],
        cwd=WEB,
        env={**os.environ, "JOBS": str(tmp_path / "jobs")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert not (tmp_path / "jobs").exists()
