"""Curves of J&F over time: all sequences averaged, and each by itself."""

import math
from collections.abc import Sequence as SequenceOf
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from undertow.base import SettingsError, atomic_path
from undertow.benchmarks.outcomes import Outcome, by_method
from undertow.metrics import DatasetSummary

# Okabe and Ito's colours, which stay apart for colour-blind readers; dashes tell a second round of them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")
STEPS = 101


def write_plots(outcomes: SequenceOf[Outcome], out: Path | str) -> list[Path]:
    """Draws `over_time.png` (mean curves) and `sequences.png` (small multiples) into `out` and returns their paths.

    Raises:
        SettingsError: if there is nothing to draw, or matplotlib is not installed.
    """
    if not outcomes:
        raise SettingsError("there are no outcomes to draw; run the benchmark first")
    paths = [Path(out) / "over_time.png", Path(out) / "sequences.png"]
    for path, draw in zip(paths, (_draw_mean, _draw_sequences), strict=True):
        figure = draw(outcomes)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, dpi=120)
    return paths


def curve(outcome: Outcome) -> Float64[np.ndarray, " t"]:
    """Returns J&F of every scored frame, averaged over the objects."""
    mean: Float64[np.ndarray, " t"] = np.mean([scores.combined for scores in outcome.objects.values()], axis=0)
    return mean


def mean_curve(outcomes: SequenceOf[Outcome]) -> Float64[np.ndarray, " steps"]:
    """Returns J&F at 101 evenly spaced moments from first to last scored frame, averaged over sequences."""
    moments = np.linspace(0, 1, STEPS)
    curves = [curve(outcome) for outcome in outcomes]
    stretched = [np.interp(moments, np.linspace(0, 1, len(values)), values) for values in curves]
    mean: Float64[np.ndarray, " steps"] = np.mean(stretched, axis=0)
    return mean


def _draw_mean(outcomes: SequenceOf[Outcome]) -> Any:
    figure = _figure(7.0, 4.2)
    axes = figure.add_subplot()
    for place, (method, sequences) in enumerate(by_method(outcomes).items()):
        values = mean_curve(list(sequences.values()))
        summary = DatasetSummary.of(outcome.objects for outcome in sequences.values())
        label = f"{method} ({100 * summary.combined:.1f})"
        axes.plot(np.linspace(0, 100, STEPS), 100 * values, label=label, linewidth=1.8, **_style(place))
    _dress(axes)
    axes.set_xlabel("time, % of the sequence")
    axes.set_ylabel("J&F, %")
    axes.set_title(f"{outcomes[0].dataset}, {outcomes[0].protocol}", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _draw_sequences(outcomes: SequenceOf[Outcome]) -> Any:
    methods = by_method(outcomes)
    names = list(dict.fromkeys(outcome.sequence for outcome in outcomes))
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure = _figure(max(5.0, 2.7 * columns), 1.9 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lines: dict[str, Any] = {}
    for axes, name in zip(grid.flat, names, strict=False):
        for place, (method, sequences) in enumerate(methods.items()):
            if name in sequences:
                values = curve(sequences[name])
                moments = np.linspace(0, 100, len(values))
                (lines[method],) = axes.plot(moments, 100 * values, linewidth=1.3, **_style(place))
        _dress(axes)
        axes.set_title(name, fontsize=8)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    # Where the last row is not full, the row above carries the labels.
    for axes in grid.flat[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("time, % of the sequence", fontsize=9)
    figure.supylabel("J&F, %", fontsize=9)
    figure.legend(lines.values(), lines.keys(), loc="outside upper center", ncols=4, fontsize=8, frameon=False)
    return figure


def _dress(axes: Any) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _style(place: int) -> dict[str, str]:
    turn, colour = divmod(place, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[turn % len(DASHES)]}


def _figure(width: float, height: float) -> Any:
    """Returns a figure that draws without a display and belongs to no global list, so that none needs closing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("plots need matplotlib; run: pip install 'undertow[bench]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
