"""Charts of ablations: scores with intervals, curves over time and noise level, and a map of conditionings."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from undertow.backbones import Backbone, Conditioning
from undertow.base import SettingsError, atomic_path
from undertow.benchmarks.ablation.methods import ObjectTexts, Seconds
from undertow.benchmarks.ablation.tables import PAPER, SETTING, Found, Row, titled
from undertow.benchmarks.ablation.variants import Ablation
from undertow.benchmarks.report import charts
from undertow.benchmarks.report.charts import COLOURS, STEPS, mean_curve, new_figure
from undertow.tracking.tuning import read_facts, read_kernel

OURS, THEIRS = COLOURS[0], "#777777"


def draw(ablation: Ablation, rows: Sequence[Row], found: Found) -> Any:
    """Returns the figure of an ablation, `None` if nothing of it was measured."""
    measured = [row for row in rows if not row.note]
    if not measured:
        return None
    if ablation.kind == "rows":
        return draw_rows(ablation, measured)
    # Points of one curve have to be of the same sequences.
    most = max(row.sequences for row in measured)
    whole = [row for row in measured if row.sequences == most]
    if ablation.kind == "timesteps":
        return draw_timesteps(ablation, whole)
    return draw_grid(whole) if ablation.kind == "grid" else draw_curves(whole, found)


def draw_rows(ablation: Ablation, rows: Sequence[Row]) -> Any:
    """Returns scores of our rows with the intervals of their differences, and below them what the paper prints.

    An interval is that of the difference from the first row, laid around the row's own score where both were measured
    on the same sequences.
    """
    theirs = [each for each in PAPER[ablation.name] if each.value is not None]
    names = [titled(row.variant) for row in rows]
    figure = new_figure(7.4, 0.9 + 0.3 * (len(rows) + len(theirs) + bool(theirs)))
    axes = figure.add_subplot()
    first = rows[0]
    axes.axvline(100 * first.combined, color=OURS, linewidth=1, alpha=0.35)
    for place, row in enumerate(rows):
        if row is not first and math.isfinite(row.difference):
            low, high = (100 * (first.combined + each) for each in row.interval)
            axes.plot([low, high], [place, place], color=OURS, linewidth=2, alpha=0.5, solid_capstyle="butt")
        complete = row.sequences == first.sequences
        score = 100 * (row.combined if complete or row is first else first.combined + row.difference)
        axes.plot(score, place, "o", color=OURS, markersize=6, fillstyle="full" if complete else "none")
        axes.annotate(f"{score:.1f}", (score, place), (0, 6), textcoords="offset points", ha="center", fontsize=7)
        if not complete:
            names[place] += f" ({row.sequences} sequences)"
    for place, each in enumerate(theirs, start=len(rows) + 1):
        axes.plot(each.value, place, "s", color=THEIRS, markersize=5, fillstyle="none")
        axes.annotate(each.figure, (each.value, place), (0, 6), textcoords="offset points", ha="center", fontsize=7)
    ticks = [*range(len(rows)), *range(len(rows) + 1, len(rows) + 1 + len(theirs))]
    axes.set_yticks(ticks, [*names, *(f"paper: {each.title}" for each in theirs)], fontsize=8)
    for label, place in zip(axes.get_yticklabels(), ticks, strict=True):
        label.set_color(THEIRS if place > len(rows) else "black")
    axes.set_ylim((ticks[-1] if ticks else 0) + 0.6, -0.9)
    axes.margins(x=0.08)
    hollow = any(row.sequences != first.sequences for row in rows)
    below = "J&F, %" + "; hollow: by the difference on fewer sequences" * hollow
    below += f"; squares: {SETTING}" * bool(theirs)
    axes.set_xlabel(below, fontsize=9)
    return _dressed(figure, axes, "x")


def draw_curves(rows: Sequence[Row], found: Found) -> Any:
    """Returns the mean score over the time since the first frame, a curve for each row."""
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    for place, row in enumerate(rows):
        values = mean_curve(list(found[row.variant.name].values()))
        label = f"{titled(row.variant)} ({100 * row.combined:.1f})"
        axes.plot(np.linspace(0, 100, STEPS), 100 * values, color=COLOURS[place], label=label, linewidth=1.8)
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 100)
    axes.set_xlabel("time since the first frame, % of the sequence", fontsize=9)
    axes.set_ylabel("J&F, %", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return _dressed(figure, axes, "both")


def draw_timesteps(ablation: Ablation, rows: Sequence[Row]) -> Any:
    """Returns the score over the timestep given to the network, a line for each way to the noise level."""
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    lines: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        assert row.variant.noising is not None
        lines.setdefault(row.variant.title, []).append((row.variant.noising.timestep, 100 * row.combined))
    steps = sorted({step for points in lines.values() for step, _ in points})
    for place, (title, points) in enumerate(lines.items()):
        ours = [(steps.index(step), score) for step, score in sorted(points)]
        axes.plot(*zip(*ours, strict=True), marker="o", markersize=4, color=COLOURS[place], label=title)
    for each in PAPER[ablation.name]:
        if each.timestep is not None and each.value is not None:
            where = float(np.interp(each.timestep, steps, range(len(steps))))
            axes.plot(where, each.value, "s", color=THEIRS, fillstyle="none")
            axes.annotate(f"paper: {each.title} {each.figure}", (where, each.value), (6, 4),
                          textcoords="offset points", fontsize=7, color=THEIRS)  # fmt: skip
    axes.set_xticks(range(len(steps)), [str(step) for step in steps])
    axes.set_xlabel("timestep given to the network", fontsize=9)
    axes.set_ylabel("J&F, %", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return _dressed(figure, axes, "both")


def draw_grid(rows: Sequence[Row]) -> Any:
    """Returns the score over the number of prompts, a line for each number of points."""
    figure = new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    prompts = sorted({row.variant.sam.prompts for row in rows})
    for place, points in enumerate(sorted({row.variant.sam.points for row in rows})):
        own = sorted((row.variant.sam.prompts, 100 * row.combined) for row in rows if row.variant.sam.points == points)
        places = [(prompts.index(count), score) for count, score in own]
        axes.plot(*zip(*places, strict=True), marker="o", markersize=4, color=COLOURS[place], label=f"n = {points}")
    axes.set_xticks(range(len(prompts)), [str(count) for count in prompts])
    axes.set_xlabel("prompts of an object (p)", fontsize=9)
    axes.set_ylabel("J&F, %", fontsize=9)
    axes.legend(fontsize=8, frameon=False, title="points of a prompt", title_fontsize=8)
    return _dressed(figure, axes, "both")


def draw_seconds(ablation: Ablation, seconds: Mapping[str, Seconds]) -> Any:
    """Returns CPU seconds of a frame as bars, `None` if nothing was timed."""
    timed = [each for each in ablation.variants if each.name in seconds]
    if not timed:
        return None
    figure = new_figure(7.0, 0.9 + 0.28 * len(timed))
    axes = figure.add_subplot()
    values = [seconds[each.name].cpu for each in timed]
    axes.barh(range(len(timed)), values, 0.6, color=OURS)
    for place, value in enumerate(values):
        axes.annotate(f"{value:.2f}", (value, place), (4, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(range(len(timed)), [titled(each) for each in timed], fontsize=8)
    axes.set_ylim(len(timed) - 0.4, -0.6)
    axes.margins(x=0.1)
    axes.set_xlabel("CPU seconds of a frame, tuning not counted", fontsize=9)
    return _dressed(figure, axes, "x")


def draw_embeddings(groups: Mapping[str, Float[np.ndarray, "n d"]], seed: int = 0) -> Any:
    """Returns t-SNE of conditionings in two dimensions: each whole tensor is one point (the paper's figure 5).

    Args:
        groups: Flattened tensors by what they are, such as "learned".
        seed: Of the embedding.

    Raises:
        SettingsError: if scikit-learn is not installed, or there are fewer than five tensors.
    """
    places = embed(groups, seed)
    figure = new_figure(5.2, 4.4)
    axes = figure.add_subplot()
    markers = "osD^vP"
    for number, (name, values) in enumerate(places.items()):
        axes.scatter(values[:, 0], values[:, 1], s=34, marker=markers[number % len(markers)], alpha=0.85,
                     color=COLOURS[number % len(COLOURS)], label=f"{name} ({len(values)})", linewidths=0)  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.legend(fontsize=8, frameon=False, loc="best")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def embed(groups: Mapping[str, Float[np.ndarray, "n d"]], seed: int = 0) -> dict[str, Float[np.ndarray, "n 2"]]:
    """Returns the places of tensors in two dimensions by t-SNE (van der Maaten and Hinton, 2008), group by group."""
    try:
        from sklearn.manifold import TSNE  # type: ignore[import-untyped]
    except ImportError as error:
        raise SettingsError(
            "the map of conditionings needs scikit-learn; run: pip install 'undertow[bench]'"
        ) from error
    every = np.concatenate([np.asarray(values, np.float64) for values in groups.values()])
    if len(every) < 5:
        raise SettingsError(f"{len(every)} conditionings are too few for a map; measure more tuned sequences")
    # Centred, as PCA starts it; the perplexity has to be below the number of points.
    flat = TSNE(perplexity=min(30.0, (len(every) - 1) / 3), init="pca", random_state=seed).fit_transform(
        every - every.mean(0)
    )
    ends = np.cumsum([len(values) for values in groups.values()])[:-1]
    return dict(zip(groups, np.split(np.asarray(flat, np.float64), ends), strict=True))


def save(figure: Any, path: Path) -> None:
    """Writes a figure as PNG, atomically."""
    with atomic_path(path) as temporary:
        charts.save(figure, temporary, dpi=130, format="png")


def _dressed(figure: Any, axes: Any, grid: str) -> Any:
    axes.grid(axis=grid, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    return figure


def gather_conditionings(
    backbone: Backbone, folder: Path, texts: Sequence[Mapping[int, ObjectTexts]]
) -> dict[str, Float[np.ndarray, "n d"]]:
    """Returns whole conditionings as vectors, by what they are: the null text, class names, captions, and learned ones.

    Args:
        backbone: The model; kernels of others are skipped.
        folder: Where learned kernels are kept.
        texts: Of the objects of each sequence.
    """
    objects = [one for each in texts for one in each.values()]
    groups: dict[str, list[Conditioning]] = {"null text": [backbone.condition()]}
    for kind, title in (("class", "class names"), ("caption", "captions")):
        words = dict.fromkeys(one.of(kind) for one in objects)
        groups[title] = [backbone.condition(text) for text in words]
    for path in sorted(folder.glob("*.safetensors")):
        try:
            facts, kernel = read_facts(path), read_kernel(path, backbone)
        except SettingsError:
            # Of another model, or half written by another version.
            continue
        tuning = facts.get("tuning")
        if kernel.conditioning.provenance == "learned" and isinstance(tuning, dict):
            name = "learned, fast" if tuning.get("held_out") else "learned, paper"
            groups.setdefault(name + ", self left out" * bool(tuning.get("exclude_self")), []).append(
                kernel.conditioning
            )
    return {
        name: np.stack([each.tensor.float().cpu().numpy().ravel() for each in found])
        for name, found in groups.items()
        if found
    }
