"""Flask, and any WSGI application.  One process has the engine, any number of threads use it:

gunicorn --config gunicorn_conf.py flask_app:app
"""

from typing import Any

from flask import Flask, Response, abort, jsonify, request
from jobs import jobs, welcome

from journeyman import Task, TaskNotFound

app = Flask(__name__)


@app.post("/welcome/<to>")
def submit(to: str) -> tuple[Response, int]:
    return jsonify(id=jobs.submit(welcome, to).id), 202


@app.get("/tasks/<id>")
def look(id: str) -> Response:
    try:
        return jsonify(shown(jobs.wait(id, timeout=min(request.args.get("wait", 0.0, float), 30.0))))
    except TimeoutError:
        return jsonify(shown(jobs.get(id)))
    except TaskNotFound:
        abort(404)


@app.get("/count")
def count() -> str:
    return str(jobs.count(queue="mail"))


def shown(task: Task) -> dict[str, Any]:
    return {"id": task.id, "state": task.state, "result": task.result}


if __name__ == "__main__":
    with jobs:
        app.run(threaded=True)  # without the reloader, which would be a second process
