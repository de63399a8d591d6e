"""Charts of a benchmark: scores over time, per sample, over thresholds, and which class is taken for which."""

import io
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64

from undertow.base import SettingsError
from undertow.benchmarks.core.outcomes import Outcome, by_method
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.report.tables import percent

# Okabe and Ito's colours, which stay apart for colour-blind readers; dashes tell a second round of them.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("-", "--", ":")
STEPS = 101
MOST_SAMPLES = 60


def curve(outcome: Outcome) -> Float64[np.ndarray, " t"]:
    """Returns the score of every scored frame: the mean over its units and their measures, NaN where none counts."""
    values = [scores for unit in outcome.series.values() for scores in unit.values()]
    if not values:
        return np.zeros(0)
    return _mean_of_known(np.stack(values))


def mean_curve(outcomes: Sequence[Outcome]) -> Float64[np.ndarray, " steps"]:
    """Returns the score at 101 evenly spaced moments from first to last scored frame, averaged over samples.

    Where a sample has no score, because its objects come late, it does not count; NaN where none has.
    """
    moments = np.linspace(0, 1, STEPS)
    stretched = []
    for values in map(curve, outcomes):
        known = np.isfinite(values)
        if known.any():
            places = np.linspace(0, 1, len(values))[known]
            # Before its first object appears and after the last, a sample has no score.
            stretched.append(np.interp(moments, places, values[known], left=np.nan, right=np.nan))
    return _mean_of_known(np.array(stretched, np.float64).reshape(-1, STEPS))


def draw_over_time(outcomes: Sequence[Outcome]) -> Any:
    """Returns the figure of each method's mean curve, `None` if nothing is scored frame by frame."""
    if not _has_curves(outcomes):
        return None
    task = get_task(outcomes[0].task)
    figure = new_figure(7.0, 4.2)
    axes = figure.add_subplot()
    for place, (method, sequences) in enumerate(by_method(outcomes).items()):
        values = mean_curve(list(sequences.values()))
        headline = task.summarise(list(sequences.values()))[_headline(outcomes)]
        name = "" if _headline(outcomes) == _measured(outcomes) else f"{_headline(outcomes)} "
        label = f"{method} ({name}{percent(headline)})"
        axes.plot(np.linspace(0, 100, STEPS), 100 * values, label=label, linewidth=1.8, **_style(place))
    _dress(axes)
    axes.set_xlabel("time, % of the sequence")
    axes.set_ylabel(f"{_measured(outcomes)}, %")
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_sequences(outcomes: Sequence[Outcome], most: int = MOST_SAMPLES) -> Any:
    """Returns the figure of small multiples, a curve per method in each of at most `most` samples.

    `None` if there is one sample, which `draw_over_time` shows, or if nothing is scored frame by frame.
    """
    methods = by_method(outcomes)
    names = list(dict.fromkeys(outcome.sequence for outcome in outcomes))[:most]
    if len(names) < 2 or not _has_curves(outcomes):
        return None
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure = new_figure(max(5.0, 2.7 * columns), 1.9 * rows + 0.6)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    lines: dict[str, Any] = {}
    for axes, name in zip(grid.flat, names, strict=False):
        for place, (method, sequences) in enumerate(methods.items()):
            if name in sequences and len(values := curve(sequences[name])):
                moments = np.linspace(0, 100, len(values))
                if _is_sparse(values):
                    known = np.isfinite(values)
                    moments, values = moments[known], values[known]
                (lines[method],) = axes.plot(moments, 100 * values, linewidth=1.3, **_style(place))
        _dress(axes)
        axes.set_title(_shown(name, 30), fontsize=8)
    for axes in grid.flat[len(names) :]:
        axes.set_axis_off()
    # Where the last row is not full, the row above carries the labels.
    for axes in grid.flat[max(0, len(names) - columns) : len(names)]:
        axes.tick_params(labelbottom=True)
    figure.supxlabel("time, % of the sequence", fontsize=9)
    figure.supylabel(f"{_measured(outcomes)}, %", fontsize=9)
    _legend(figure, list(lines.values()), list(lines))
    return figure


def draw_bars(outcomes: Sequence[Outcome], most: int = MOST_SAMPLES) -> Any:
    """Returns the figure of the headline measure, a group of bars per sample and a bar per method."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    names = list(dict.fromkeys(outcome.sequence for outcome in outcomes))[:most]
    thick = 0.8 / len(methods)
    figure = new_figure(7.0, max(1.6, len(names) * (0.13 * len(methods) + 0.16) + 0.9))
    axes = figure.add_subplot()
    for place, (method, sequences) in enumerate(methods.items()):
        rows = [row for row, name in enumerate(names) if name in sequences]
        lengths = [100 * task.headline(sequences[names[row]]) for row in rows]
        axes.barh(
            [row + (place - (len(methods) - 1) / 2) * thick for row in rows], lengths, thick * 0.9,
            color=COLOURS[place % len(COLOURS)], alpha=1 - 0.35 * (place // len(COLOURS)), label=method,
        )  # fmt: skip
    axes.set_yticks(range(len(names)), [_shown(name, 40) for name in names], fontsize=8)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(0, 100)
    axes.set_xlabel(f"{_headline(outcomes)}, %", fontsize=9)
    axes.grid(axis="x", alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_thresholds(outcomes: Sequence[Outcome]) -> Any:
    """Returns the figure of points found within 1, 2, 4, 8 and 16 pixels, `None` unless the task has them."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    figures = {method: task.summarise(list(found.values())) for method, found in methods.items()}
    names = [name for name in next(iter(figures.values())) if re.fullmatch(r"<\d+(\.\d+)?", name)]
    if not names:
        return None
    figure = new_figure(5.6, 3.6)
    axes = figure.add_subplot()
    thresholds = [float(name[1:]) for name in names]
    for place, (method, found) in enumerate(figures.items()):
        axes.plot(thresholds, [100 * found[name] for name in names], marker="o", ms=4, label=method, **_style(place))
    axes.set_xscale("log", base=2)
    axes.set_xticks(thresholds, [f"{value:g}" for value in thresholds])
    axes.minorticks_off()
    axes.set_ylim(0, 100)
    axes.set_xlabel("distance below, pixels of a 256 x 256 picture")
    axes.set_ylabel("visible points, %")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, *axes.get_legend_handles_labels())
    return figure


def draw_confusion(outcomes: Sequence[Outcome], most: int = 40) -> Any:
    """Returns the figure of one method's confusion matrix, rows (truth) summing to 100 %, `None` unless there is one.

    With more than `most` classes only the most frequent ones are shown.
    """
    counted = get_task(outcomes[0].task).confusion(outcomes) if outcomes else None
    if counted is None:
        return None
    count, pixels = len(counted), counted.sum(1)
    names = [str(name) for name in outcomes[0].facts.get("classes", range(count))]
    kept = np.sort(np.argsort(-pixels, kind="stable")[:most])
    kept = kept[pixels[kept] > 0]
    shares = counted[np.ix_(kept, kept)] / pixels[kept, None]
    side = 1.8 + 0.3 * len(kept)
    figure = new_figure(side + 1.0, side)
    axes = figure.add_subplot()
    image = axes.imshow(100 * shares, cmap="cividis", vmin=0, vmax=100)
    axes.set_xticks(range(len(kept)), [_shown(names[each], 40) for each in kept], rotation=90, fontsize=7)
    axes.set_yticks(range(len(kept)), [_shown(names[each], 40) for each in kept], fontsize=7)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("truth", fontsize=9)
    if len(kept) <= 15:
        for row, column in np.ndindex(shares.shape):
            if shares[row, column] >= 0.005:
                tone = "#ffffff" if shares[row, column] < 0.55 else "#111111"
                axes.text(
                    column, row, f"{100 * shares[row, column]:.0f}", ha="center", va="center", fontsize=6, color=tone
                )
    axes.set_title(_shown(outcomes[0].method, 60), fontsize=9)
    figure.colorbar(image, ax=axes, fraction=0.04, label="% of the true pixels")
    return figure


def as_svg(figure: Any, salt: str) -> str:
    """Returns a figure as an `<svg>` element whose text and axes take the colour of the page around it."""
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": salt, "font.family": "sans-serif"}):
        save(figure, buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    # Two pictures in one page must not share names of clip paths and markers.
    text = re.sub(r'id="', f'id="{salt}-', text)
    text = re.sub(r'(url\(#|href="#)', rf"\g<1>{salt}-", text)
    width = re.search(r'<svg[^>]*? width="([\d.]+)pt"', text)
    text = re.sub(r'(<svg[^>]*?) width="[\d.]+pt"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[\d.]+pt"', r"\1", text, count=1)
    most = f'style="--natural:{float(width[1]) * 4 / 3:.0f}px" ' if width else ""
    text = text.replace("<svg ", f'<svg role="img" {most}', 1)
    # Text without a colour of its own is black in SVG.
    text = text.replace("#000000", "currentColor").replace("<text ", '<text fill="currentColor" ')
    return text.replace("stroke: #b0b0b0", "stroke: #808080")


def save(figure: Any, target: Any, **options: Any) -> None:
    """Writes a figure; letters that the font does not have are shown as boxes, without a word about each."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(target, **options)


def new_figure(width: float, height: float) -> Any:
    """Returns a figure that draws without a display and belongs to no global list, so that none needs closing.

    Raises:
        SettingsError: if matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise SettingsError("plots need matplotlib; run: pip install 'undertow[bench]'") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _legend(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draws a legend above the axes, in as many columns as are not cut off."""
    # A letter of this size is about 0.07 inches wide, the sample of a line beside it half an inch.
    width = figure.get_figwidth()
    labels = [_shown(label, int((width - 0.6) / 0.07)) for label in labels]
    columns = max(1, min(4, int(width / (0.07 * max(map(len, labels), default=0) + 0.6))))
    rows = math.ceil(len(labels) / columns)
    # Each row takes as much from the axes, unless the figure grows by it.
    figure.set_figheight(figure.get_figheight() + 0.18 * max(0, rows - 1))
    figure.legend(handles, labels, loc="outside upper left", ncols=columns, fontsize=8, frameon=False)


def _shown(name: str, most: int) -> str:
    """Returns a name as text for a chart, without its middle if it is too long, as names often differ at the end."""
    name = name.encode(errors="backslashreplace").decode()
    short = name if len(name) <= most else f"{name[: most // 2]}…{name[-(most - most // 2 - 1) :]}"
    # What stands between dollars would be a formula.
    return short.replace("$", r"\$")


def _is_sparse(values: Float64[np.ndarray, " t"]) -> bool:
    """Returns whether most scores stand alone, as those of every fifth frame do; a line with gaps would show none."""
    known = np.isfinite(values)
    joined = known[1:] & known[:-1]
    return bool(2 * np.count_nonzero(joined) < np.count_nonzero(known))


def _mean_of_known(table: Float64[np.ndarray, "n t"]) -> Float64[np.ndarray, " t"]:
    """Returns the mean of each column's numbers, NaN where there are none."""
    counts = np.isfinite(table).sum(0)
    mean: Float64[np.ndarray, " t"] = np.where(counts, np.nansum(table, 0) / np.maximum(counts, 1), np.nan)
    return mean


def _has_curves(outcomes: Sequence[Outcome]) -> bool:
    return any(len(outcome.frames) > 1 and outcome.series for outcome in outcomes)


def _headline(outcomes: Sequence[Outcome]) -> str:
    return get_task(outcomes[0].task).headline_measure(outcomes)


def _measured(outcomes: Sequence[Outcome]) -> str:
    """Returns what the curves show, by the names of their measures."""
    series: Mapping[str, Any] = next((unit for each in outcomes for unit in each.series.values()), {})
    return "&".join(series) if len(series) > 1 else next(iter(series), "score")


def _dress(axes: Any) -> None:
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)


def _style(place: int) -> dict[str, str]:
    turn, colour = divmod(place, len(COLOURS))
    return {"color": COLOURS[colour], "linestyle": DASHES[turn % len(DASHES)]}
