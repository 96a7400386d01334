"""A server for the pages alone: hypercorn on trio, until it is told to stop.

The socket is opened here, so that a port that is taken is an error in plain words, and port 0 can say which one it became.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable
from typing import Final

import trio

try:
    import hypercorn.trio
    from hypercorn.config import Config
except ImportError as missing:
    raise ImportError(f"the web server is hypercorn ({missing.name} is missing): pip install 'journeyman[web]'") from None

from starlette.types import ASGIApp

_BACKLOG: Final = 100
_GRACE: Final = 2.0  # seconds for requests under way when it is told to stop


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0: any free one.  OSError."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def serve(app: ASGIApp, door: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
    """Answer on this socket, which is closed in the end, until SIGINT or SIGTERM.  `ready` is called when it answers."""
    config = Config()
    config.bind = [f"fd://{door.detach()}"]
    config.accesslog = None
    config.errorlog = logging.getLogger("journeyman.dashboard.server")
    config.loglevel = "WARNING"
    config.graceful_timeout = config.shutdown_timeout = _GRACE
    config.include_server_header = False
    config.h11_max_incomplete_size = 16_384
    trio.run(_serve, app, config, ready)


async def _serve(app: ASGIApp, config: Config, ready: Callable[[], object]) -> None:
    told = trio.Event()
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:

        async def listen() -> None:
            async for _ in signals:
                told.set()
                return

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await nursery.start(_answer, app, config, told)
            ready()


async def _answer(app: ASGIApp, config: Config, told: trio.Event, task_status: trio.TaskStatus[list[str]]) -> None:
    await hypercorn.trio.serve(app, config, shutdown_trigger=told.wait, task_status=task_status)  # type: ignore[arg-type]


__all__ = ["listening", "serve"]
