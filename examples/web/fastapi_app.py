"""FastAPI (Starlette, and whatever else has a lifespan).  Run it with: uvicorn fastapi_app:app"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, HTTPException
from jobs import jobs, welcome

from journeyman import EngineStopped, QueueFull, Task, TaskNotFound


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with jobs:
        yield


app = FastAPI(lifespan=lifespan)


@app.post("/welcome/{to}", status_code=202)
async def submit(to: str) -> dict[str, str]:
    try:
        handle = await jobs.aio.submit(welcome, to)
    except (QueueFull, EngineStopped) as error:
        raise HTTPException(503, str(error)) from error
    return {"id": handle.id}


@app.get("/tasks/{id}")
async def look(id: str, wait: float = 0.0) -> dict[str, Any]:
    try:
        return shown(await jobs.aio.wait(id, timeout=min(wait, 30.0)) if wait else await jobs.aio.get(id))
    except TimeoutError:
        return shown(await jobs.aio.get(id))
    except TaskNotFound as error:
        raise HTTPException(404, str(error)) from error


@app.get("/count")
def count() -> int:
    """FastAPI runs a plain `def` in a thread, where calls may block."""
    return jobs.count(queue="mail")


def shown(task: Task) -> dict[str, Any]:
    return {"id": task.id, "state": task.state, "result": task.result}
