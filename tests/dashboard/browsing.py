"""A server of web pages in a process of its own, as a user starts it, and whoever reads its pages."""

from __future__ import annotations

import http.client
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple, Self
from urllib.parse import urljoin, urlsplit


class Answer(NamedTuple):
    """What came back."""

    status: int
    headers: dict[str, str]  # names in lower case
    text: str

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Server:
    """`journeyman web` for the journal at `path`, until the end of the block."""

    def __init__(self, path: Path, *options: str) -> None:
        self._call = [sys.executable, "-W", "error", "-m", "journeyman", "web", str(path), "--port", "0", *options]

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self._call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"http://(\S+?):(\d+)(\S*)/ ", line := self.process.stdout.readline())
        assert found is not None, (line, self.process.communicate(timeout=10))
        self.host, self.port, self.root = found[1], int(found[2]), found[3]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.said = self.process.communicate(timeout=10)[1]
        assert self.process.returncode == 0, self.said

    @property
    def address(self) -> str:
        return f"http://{self.host}:{self.port}{self.root}"

    def ask(self, target: str, method: str = "GET", **headers: str) -> Answer:
        """The answer to one request.  `target`: from the root of the server on; `host=` another Host."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            connection.putrequest(method, target, skip_host=True)
            connection.putheader("Host", headers.pop("host", f"{self.host}:{self.port}"))
            for name, value in headers.items():
                connection.putheader(name, value)
            connection.endheaders()
            found = connection.getresponse()
            named = {name.lower(): value for name, value in found.getheaders()}
            return Answer(found.status, named, found.read().decode("utf-8"))
        finally:
            connection.close()

    def page(self, place: str, **headers: str) -> Answer:
        """The same below the base path."""
        return self.ask(self.root + place, **headers)


class Page(HTMLParser):
    """What stands on a page: its elements, its links, its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    @property
    def links(self) -> list[str]:
        return [value for _, attributes in self.tags for name, value in attributes.items() if name in ("href", "src") and value]

    def link(self, relation: str) -> str | None:
        """The address of the next or previous page."""
        return next((attributes["href"] for tag, attributes in self.tags if tag == "a" and attributes.get("rel") == relation), None)


def crawled(server: Server, start: str) -> dict[str, Answer]:
    """Every page that can be reached from `start` by links, by its address without a fragment."""
    found: dict[str, Answer] = {}
    waiting = [start]
    while waiting:
        target = waiting.pop()
        if target in found:
            continue
        answer = found[target] = server.ask(target)
        if answer.headers.get("content-type", "").startswith("text/html"):
            for link in Page(answer.text).links:
                parts = urlsplit(urljoin(f"http://x{target}", link))
                assert parts.netloc == "x", f"{target} leads elsewhere: {link}"
                waiting.append(parts.path + (f"?{parts.query}" if parts.query else ""))
    return found
