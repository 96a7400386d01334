"""The results as one picture: how many times its minimum each figure reaches.

The rows have different units, so the common axis is the ratio to the minimum, on a logarithmic scale: right of the line at 1 is a
pass, whatever the unit; the open diamond is the aim; the thin line is the range over the rounds. For times the ratio is inverted,
so that right is always better.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("svg")

import matplotlib.pyplot as plt
from report import show
from row import Result, Target

PASS, FAIL, AIM = "#2a7f62", "#b23a48", "#c77f1b"


def against(target: Target, value: float) -> float:
    bound = target.least if target.least is not None else target.aim
    assert bound is not None
    return bound / value if target.lower else value / bound


def judged(results: list[Result]) -> list[tuple[Result, Target]]:
    return [(result, target) for result in results for target in result.row.targets if target.least is not None]


def draw(results: list[Result], path: Path, caption: str) -> None:
    """Write the picture as SVG; equal results give equal bytes."""
    lines = judged(results)
    if not lines:
        return
    plt.rcParams.update({"svg.hashsalt": "journeyman", "svg.fonttype": "none", "font.family": "sans-serif", "font.size": 10})
    figure, axes = plt.subplots(figsize=(10, 0.62 * len(lines) + 1.4))
    for position, (result, target) in enumerate(reversed(lines)):
        ratios = sorted(against(target, value) for value in result.values(target))
        middle = against(target, result.median(target))
        axes.barh(position, middle - 0.05, left=0.05, height=0.55, color=PASS if middle >= 1 else FAIL, zorder=2)
        axes.plot([ratios[0], ratios[-1]], [position, position], color="black", linewidth=1, zorder=3)
        if target.aim is not None:
            axes.plot(
                against(target, target.aim),
                position,
                marker="D",
                markersize=8,
                markerfacecolor="white",
                markeredgecolor=AIM,
                markeredgewidth=2,
                zorder=4,
            )
        axes.text(1.01, position, show(result.median(target), target.unit), transform=axes.get_yaxis_transform(), va="center")
    axes.axvline(1, color="black", linewidth=1.2, linestyle="--", zorder=3)
    axes.set_xscale("log")
    axes.set_xlim(left=0.25)
    axes.set_xticks([0.5, 1, 2, 5, 10], ["0.5x", "1x", "2x", "5x", "10x"])
    axes.set_xticks([], minor=True)
    axes.set_yticks(range(len(lines)), [f"{result.row.title}\n{target.label}" for result, target in reversed(lines)])
    axes.set_xlabel("times the minimum (dashed line); diamonds are the aims")
    axes.grid(axis="x", color="#dddddd", zorder=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.text(0.01, 0.005, caption, fontsize=7, color="#555555")
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, format="svg", metadata={"Date": None})
    plt.close(figure)
