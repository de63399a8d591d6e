"""Numbers as pictures: heat maps, with figures or without, and curves.

Colours go from black through purple and orange to pale yellow, in steps that look equally large. The ramp is laid out
in OKLab (Björn Ottosson, 2020), where distances are close to perceived ones: lightness rises evenly, while hue and
strength of colour follow a few anchors.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt8

from undertow.base import SettingsError

# (lightness, chroma, hue in degrees); lightness is equally spaced, chroma stays inside what a screen can show.
ANCHORS = (
    (0.10, 0.03, 285.0),
    (0.27, 0.11, 295.0),
    (0.44, 0.16, 335.0),
    (0.61, 0.17, 385.0),
    (0.78, 0.15, 425.0),
    (0.95, 0.09, 463.0),
)
NOT_A_NUMBER = 128


def heat(
    values: Shaped[np.ndarray, "h w"], *, low: float | None = None, high: float | None = None
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns an RGB picture of numbers: `low` is nearly black, `high` pale yellow, equal steps look equal.

    Args:
        values: Any real numbers; those that are not finite become mid-grey.
        low: Value of the darkest colour, by default the least finite value.
        high: Value of the lightest colour, by default the largest finite value; values beyond are clipped.
    """
    numbers = np.asarray(values, np.float64)
    finite = np.isfinite(numbers)
    seen = numbers[finite] if finite.any() else np.zeros(1)
    low = float(seen.min()) if low is None else low
    high = float(seen.max()) if high is None else high
    share = (np.where(finite, numbers, low) - low) / (high - low if high > low else 1.0)
    picture: UInt8[np.ndarray, "h w 3"] = heat_colours()[np.rint(255 * share.clip(0, 1)).astype(np.intp)]
    picture[~finite] = NOT_A_NUMBER
    return picture


@cache
def heat_colours() -> UInt8[np.ndarray, "256 3"]:
    """Returns the ramp as 256 RGB colours, from dark to light."""
    place = np.linspace(0, 1, 256)
    knots = np.linspace(0, 1, len(ANCHORS))
    lightness, chroma, hue = (np.interp(place, knots, anchor) for anchor in zip(*ANCHORS, strict=True))
    angle = np.deg2rad(hue)
    colours = oklab_to_srgb(np.stack([lightness, chroma * np.cos(angle), chroma * np.sin(angle)], axis=1))
    shown: UInt8[np.ndarray, "256 3"] = np.rint(255 * colours.clip(0, 1)).astype(np.uint8)
    return shown


def oklab_to_srgb(lab: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 3"]:
    """Returns sRGB in 0..1 (beyond if a screen cannot show it) for OKLab, by Ottosson's matrices."""
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = (lab @ to_cones.T) ** 3 @ to_linear.T
    positive = linear.clip(min=0)
    srgb: Float[np.ndarray, "n 3"] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * positive ** (1 / 2.4) - 0.055
    )
    return srgb


# Colours of curves, which colour-blind people can distinguish (Okabe and Ito), from the fourth on with dashes.
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

    Rows are named from the top, `axes` says what rows and columns are, and `unit` is that of the colour bar. A cell
    that is `marked`, as (row, column), is framed. Figures have so many `digits` after the point; tables of more than
    1500 cells have none.

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

    The series are (x, y) by name, in the order of the legend; a name that begins with "features" is dashed. A `level`
    is the name and height of a horizontal line to compare with.

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
