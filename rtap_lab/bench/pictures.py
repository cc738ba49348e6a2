"""Pictures of a report: small vector graphics without a script, which can be printed.

The axes begin at zero, or say that they are logarithmic; the colours are those of Okabe and Ito, which colour-blind people tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


class Picture:
    """A picture as SVG."""

    def __init__(self, figure: Any) -> None:
        written = io.StringIO()
        figure.savefig(written, format="svg", bbox_inches="tight", metadata={"Date": None, "Creator": None})
        text = written.getvalue()
        self.svg = text[text.index("<svg") :]

    def _repr_svg_(self) -> str:
        return self.svg

    def __repr__(self) -> str:
        return "a picture"


def _figure(title: str, width: float, height: float) -> tuple[Any, Any]:
    from matplotlib import rcParams  # half a second
    from matplotlib.figure import Figure

    rcParams.update({"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "rtap"})
    figure = Figure(figsize=(width, height))
    axes = figure.subplots()
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def bars(title: str, values: Mapping[str, float], unit: str, *, goals: Mapping[str, float] | None = None) -> Picture:
    """Horizontal bars, one for each name, with their values.

    Args:
        title: What they are.
        values: By name.
        unit: Of all of them.
        goals: Marks by name.
    """
    figure, axes = _figure(title, 7, 0.6 + 0.34 * max(1, len(values)))
    names = list(values)[::-1]
    axes.barh(names, [values[name] for name in names], color=COLOURS[0], height=0.62)
    most = max([*values.values(), *(goals or {}).values(), 1e-9])
    for row, name in enumerate(names):
        axes.text(values[name] + most * 0.01, row, _shown(values[name]), va="center", fontsize=8)
        if goals and name in goals:
            axes.plot([goals[name]] * 2, [row - 0.4, row + 0.4], color=COLOURS[1], linewidth=2)
    axes.set_xlim(0, most * 1.15)
    axes.set_xlabel(unit + (" (a mark: the goal)" if goals else ""), fontsize=9)
    axes.tick_params(labelsize=9)
    return Picture(figure)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:,.3g}"


def lines(
    title: str, x: str, y: str, series: Mapping[str, Sequence[tuple[float, float]]], *, logarithmic: Sequence[str] = ()
) -> Picture:
    """Lines through points, one for each name.

    Args:
        title: What they are.
        x, y: What the axes are, with their units.
        series: Points by name.
        logarithmic: Which axes are: "x", "y". The others begin at zero.
    """
    figure, axes = _figure(title, 7, 3.2)
    for number, (name, points) in enumerate(series.items()):
        axes.plot(*zip(*points, strict=True), "o-", label=name, color=COLOURS[number % len(COLOURS)], markersize=4)
    if "x" in logarithmic:
        axes.set_xscale("log")
    else:
        axes.set_xlim(left=0)
    if "y" in logarithmic:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(x + (" (logarithmic)" if "x" in logarithmic else ""), fontsize=9)
    axes.set_ylabel(y + (" (logarithmic)" if "y" in logarithmic else ""), fontsize=9)
    axes.tick_params(labelsize=9)
    axes.grid(alpha=0.25)
    if len(series) > 1:
        axes.legend(fontsize=8, frameon=False)
    return Picture(figure)
