"""What layers of a network know, as pictures: heat maps with numbers, and curves over timesteps."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from undertow.base import SettingsError
from undertow.drawing.heat import heat_colours

# Colours of curves, told apart also by people who see few colours (Okabe and Ito), from the fourth on with dashes.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _DPI = "#202024", 110


def heat_table(
    values: Float[np.ndarray, "rows columns"],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    title: str,
    axes: tuple[str, str],
    unit: str,
    marked: tuple[int, int] | None = None,
    digits: int = 0,
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns a heat map with the number in every cell, NaN cells being empty.

    Args:
        values: the numbers.
        rows: names of the rows, top first.
        columns: names of the columns.
        title: what is shown.
        axes: what rows and what columns are.
        unit: of the colour bar.
        marked: the (row, column) of a cell to be framed.
        digits: after the point, in cells; there are no numbers in tables of more than 1500 cells.

    Raises:
        SettingsError: if matplotlib is not installed.
    """
    from matplotlib.colors import ListedColormap

    height, width = values.shape
    figure, plot = _figure(2.4 + 0.1 * max(map(len, rows)) + 0.5 * width, 1.6 + 0.3 * height)
    colours = ListedColormap(heat_colours() / 255).with_extremes(bad="white")
    low, high = (float(np.nanmin(values)), float(np.nanmax(values))) if np.isfinite(values).any() else (0.0, 1.0)
    picture = plot.imshow(values, cmap=colours, aspect="auto", vmin=low, vmax=high)
    plot.set_xticks(range(width), columns, rotation=90 if max(map(len, columns)) > 4 else 0, fontsize=8)
    plot.set_yticks(range(height), rows, fontsize=8)
    plot.set_ylabel(axes[0])
    plot.set_xlabel(axes[1])
    plot.set_title(title, fontsize=10, loc="left")
    if values.size <= 1500:
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            value = float(values[row, column])
            # Light cells carry dark figures.
            ink = _INK if high > low and (value - low) / (high - low) > 0.6 else "white"
            plot.text(column, row, f"{value:.{digits}f}", ha="center", va="center", fontsize=7, color=ink)
    if marked is not None:
        from matplotlib.patches import Rectangle

        plot.add_patch(Rectangle((marked[1] - 0.5, marked[0] - 0.5), 1, 1, fill=False, edgecolor="#00C2FF", lw=2.5))
    bar = figure.colorbar(picture, ax=plot, fraction=0.05, pad=0.02)
    bar.set_label(unit)
    return _drawn(figure)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    title: str,
    axes: tuple[str, str],
    level: tuple[str, float] | None = None,
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns curves with a legend beside them.

    Args:
        series: (x, y) by name, in the order of the legend; a name that begins with "features" is dashed.
        title: what is shown.
        axes: what x and what y is.
        level: name and height of a horizontal line to compare with.

    Raises:
        SettingsError: if matplotlib is not installed.
    """
    figure, plot = _figure(8.4, 3.8)
    for number, (name, (x, y)) in enumerate(series.items()):
        style = "--" if name.startswith("features") else "-"
        plot.plot(x, y, style, marker="o", markersize=4, color=COLOURS[number % len(COLOURS)], label=name)
    if level is not None:
        plot.axhline(level[1], color="#909090", lw=1.2, ls=":", label=level[0])
    plot.set_xlabel(axes[0])
    plot.set_ylabel(axes[1])
    plot.set_title(title, fontsize=10, loc="left")
    plot.grid(alpha=0.3)
    for side in ("top", "right"):
        plot.spines[side].set_visible(False)
    plot.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _drawn(figure)


def _figure(width: float, height: float) -> tuple[Any, Any]:
    """Returns a figure of so many inches and its axes, without a window or any state of its own."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("plots need matplotlib; run: pip install 'undertow[bench]'") from error
    figure = Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    return figure, figure.add_subplot()


def _drawn(figure: Any) -> UInt8[np.ndarray, "h w 3"]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
