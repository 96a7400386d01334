"""Django in one file, as WSGI and as ASGI application.

    gunicorn --config gunicorn_conf.py django_app:wsgi      one process with threads; its hooks open the engine
    uvicorn django_app:asgi                                 the lifespan opens it
    python django_app.py runserver                          for development: as manage.py does below
    python django_app.py check                              other commands open no journal

In a project of the usual shape `wsgi` is in wsgi.py, `asgi` in asgi.py, and jobs.py stands beside the models.
"""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import Http404, HttpRequest, JsonResponse
from django.urls import path
from jobs import jobs, welcome

from journeyman import Task, TaskNotFound

settings.configure(DEBUG=False, SECRET_KEY="an example", ALLOWED_HOSTS=["*"], ROOT_URLCONF=__name__, USE_TZ=True)
django.setup()


def submit(request: HttpRequest, to: str) -> JsonResponse:
    return JsonResponse({"id": jobs.submit(welcome, to).id}, status=202)


async def look(request: HttpRequest, id: str) -> JsonResponse:
    """An async view: under ASGI it runs on the server's loop, under WSGI on one of its own thread; `.aio` is for both."""
    try:
        return JsonResponse(shown(await jobs.aio.wait(id, timeout=min(float(request.GET.get("wait", 0)), 30.0))))
    except TimeoutError:
        return JsonResponse(shown(await jobs.aio.get(id)))
    except TaskNotFound as error:
        raise Http404(str(error)) from error


def count(request: HttpRequest) -> JsonResponse:
    return JsonResponse(jobs.count(queue="mail"), safe=False)


def shown(task: Task) -> dict[str, Any]:
    return {"id": task.id, "state": task.state, "result": task.result}


urlpatterns = [path("welcome/<str:to>", submit), path("tasks/<str:id>", look), path("count", count)]

wsgi = get_wsgi_application()
_django = get_asgi_application()


async def asgi(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]) -> None:
    """Django's application, with the lifespan that it does not have itself."""
    if scope["type"] != "lifespan":
        return await _django(scope, receive, send)
    await receive()
    await jobs.aio.start()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await jobs.aio.stop()
    await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    # The reloader runs this twice: first as the parent, which only watches, then with RUN_MAIN as the server.
    if "runserver" in sys.argv and ("--noreload" in sys.argv or os.environ.get("RUN_MAIN")):
        jobs.start()  # and the interpreter's exit stops it
    execute_from_command_line(sys.argv)
