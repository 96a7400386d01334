"""Curves over time drawn to a file: .svg by matplotlib, .html by plotly (one file that needs no network).

Both are large and neither is needed for anything else, so they are the extra `plot`, and loaded when something is drawn.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from journeyman.cli.failures import WrongCall

Curve = tuple[str, Sequence[tuple[int, int]]]  # a name, and (microseconds, value)
_LIBRARIES: Final = {".svg": "matplotlib", ".html": "plotly"}


def check_plot(path: Path) -> None:
    """WrongCall, before any work is done, if nothing could be drawn there."""
    library = _LIBRARIES.get(path.suffix)
    if library is None:
        raise WrongCall(f"{path} is neither .svg nor .html: name the plot FILE.svg or FILE.html")
    if find_spec(library) is None:
        raise WrongCall(f"{path.suffix} plots are drawn by {library}, which is not installed: pip install 'journeyman[plot]'")
    if not path.absolute().parent.is_dir():
        raise WrongCall(f"there is no directory {path.absolute().parent} to draw {path.name} in: make it first")


def plot(path: Path, title: str, curves: Sequence[Curve]) -> None:
    """Draw `curves`, steps from value to value, to `path`: there is the whole drawing, or whatever was there before."""
    part = path.with_name(path.name + ".part")
    try:
        (_svg if path.suffix == ".svg" else _html)(part, title, curves)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _points(curve: Curve, unit_us: float) -> tuple[list[float], list[int]]:
    points = curve[1]
    return [at / unit_us for at, _ in points], [value for _, value in points]


def _unit(curves: Sequence[Curve]) -> tuple[float, str]:
    longest = max((points[-1][0] for _, points in curves if points), default=0)
    if longest < 600_000_000:
        return 1e6, "seconds"
    return (60e6, "minutes") if longest < 4 * 3_600_000_000 else (3_600e6, "hours")


def _svg(path: Path, title: str, curves: Sequence[Curve]) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    unit_us, unit = _unit(curves)
    with matplotlib.rc_context({"svg.hashsalt": "journeyman"}):  # the same figures give the same file
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.add_subplot()
        for curve in curves:
            axes.step(*_points(curve, unit_us), where="post", label=curve[0], linewidth=1.2)
        axes.set_title(title)
        axes.set_xlabel(unit)
        axes.set_ylabel("tasks that wait")
        axes.legend()
        figure.savefig(path, format="svg", metadata={"Date": None})


def _html(path: Path, title: str, curves: Sequence[Curve]) -> None:
    import plotly.graph_objects as go

    unit_us, unit = _unit(curves)
    figure = go.Figure()
    for curve in curves:
        x, y = _points(curve, unit_us)
        figure.add_trace(go.Scatter(x=x, y=y, name=curve[0], mode="lines", line={"shape": "hv"}))
    figure.update_layout(title=title, xaxis_title=unit, yaxis_title="tasks that wait", template="plotly_white")
    figure.write_html(path, include_plotlyjs=True, div_id="whatif")


__all__ = ["Curve", "check_plot", "plot"]
