"""Asks an ASGI app in this process, without a server."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, NamedTuple

from starlette.types import ASGIApp


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    text: str


async def asked(app: ASGIApp, target: str, *, host: str = "localhost", method: str = "GET") -> Reply:
    """One request, on whatever loop this is."""
    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http", "path": path,
        "raw_path": path.encode(), "query_string": query.encode(), "root_path": "", "headers": [(b"host", host.encode())],
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
    }  # fmt: skip
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    try:
        await app(scope, receive, send)
    except Exception:
        if not sent:
            raise
    headers = {name.decode().lower(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:]).decode())
