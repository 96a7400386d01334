"""What every request and every answer goes through, whatever page it is for.

Problem.  A page on 127.0.0.1 is open to every web site that the same browser shows: a site may point a name of its own at 127.0.0.1 and
read what answers (DNS rebinding).  Choice: the `Host` of a request must be one of a list; a browser always sends the name in its address
bar.  Nothing here changes anything, and nothing but GET and HEAD is answered, by a list of what is allowed.  Every answer, errors too,
tells the browser to run no script, load nothing from elsewhere, be framed by nobody, guess no type and keep no copy.

The door also knows below which path the app is served (`base_path`), for a reverse proxy that leaves the path as it is.

Rejected: a check of `Origin` (navigations have none, and the list of hosts answers the question); a password (that is a proxy's trade).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

OURSELVES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
SAFE: Final = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class Door:
    """Before the pages.  `hosts`: names that are allowed beside this machine's own; "*" for any, where somebody else checks them.
    `base_path`: "" or "/jobs".  ValueError for what is neither a name nor a path."""

    def __init__(self, inner: ASGIApp, hosts: Collection[str], base_path: str) -> None:
        for host in hosts:
            if host != "*" and _HOST.fullmatch(host) is None:
                raise ValueError(f"a host is a name such as jobs.example.org, without a scheme or a path, not {host!r}")
        if base_path and re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", base_path) is None:
            raise ValueError(f"a base path begins with a slash, ends with none and holds letters, digits and ._~-, not {base_path!r}")
        self._inner = inner
        self._any = "*" in hosts
        self._hosts = OURSELVES | {host.lower() for host in hosts}
        self._base = base_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return
        if scope["type"] != "http":
            await _refuse_websocket(receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SAFE)
            await send(message)

        await self._answering(scope)(scope, receive, guarded)

    def _answering(self, scope: Scope) -> ASGIApp:
        """Who answers this request."""
        host = Headers(scope=scope).get("host", "")
        if not self._allows(host):
            return PlainTextResponse(
                f"this server does not answer for the host {host[:100]!a}: if it should, name it when it is started "
                "(--allow-host, or hosts= of dashboard.app)\n",
                400,
            )
        if scope["method"] not in ("GET", "HEAD"):
            return PlainTextResponse("these pages are for reading only: GET and HEAD\n", 405, {"Allow": "GET, HEAD"})
        if self._base:
            outer: str = scope.get("root_path", "")
            path: str = scope["path"]
            if path == outer + self._base:
                return RedirectResponse(path + "/", 308)
            if path.startswith(f"{outer}{self._base}/"):
                scope["root_path"] = outer + self._base
            else:
                return PlainTextResponse(f"nothing is here: the pages are below {self._base}/\n", 404)
        return self._inner

    def _allows(self, host: str) -> bool:
        if self._any:
            return True
        match = _HOST.fullmatch(host)
        return match is not None and (match[1].lower() in self._hosts or host.lower() in self._hosts)


async def _refuse_websocket(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 1008})


__all__ = ["OURSELVES", "Door"]
