"""Sweeps: every combination of some settings, measured like any method, and the best of them as a card.

Each combination is a method of `run_benchmark`, so that a stopped sweep goes on, and one that is widened measures only
what is new.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from undertow.affinity import get_preset
from undertow.backbones import Card, locate
from undertow.backbones.cards.card_file import write_card_file
from undertow.base import Progress, SettingsError, write_text
from undertow.base.options import assigned
from undertow.benchmarks.core.methods import Method
from undertow.benchmarks.core.outcomes import Outcome, by_method
from undertow.benchmarks.core.runner import run_benchmark
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.methods import model_method
from undertow.benchmarks.report import charts
from undertow.benchmarks.report.tables import Table, best_method, difference_table, percent
from undertow.observing.settings import noise_level
from undertow.tracking import TrackSettings

REPORT = "sweep.md"
# Settings that a card has a place for.
ON_CARDS = ("tokens", "timestep", "noising", "temperature", "topk", "recent")


@dataclass(frozen=True)
class Point:
    """One combination.

    Attributes:
        model: Name, folder or fusion of models.
        preset: Way to propagate; `None` for the model's own.
        values: What is set, as it is typed, by the names of settings.
        method: What measures it.
    """

    model: str
    preset: str | None
    values: Mapping[str, str]
    method: Method


def parse_axes(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Returns the values of each setting that is swept, from texts such as "tokens=900,1600,3600".

    Raises:
        SettingsError: if one is no such list, or a setting is named twice.
    """
    axes: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, listed = text.partition("=")
        values = tuple(dict.fromkeys(value.strip() for value in listed.split(",") if value.strip()))
        if not equals or not values or name.strip() in axes:
            raise SettingsError(f"--over is '{text}'; give each setting once, such as --over tokens=900,1600,3600")
        axes[name.strip()] = values
    return axes


def points(
    models: Sequence[str], presets: Sequence[str | None], axes: Mapping[str, Sequence[str]], **options: Any
) -> list[Point]:
    """Returns every combination of models, presets and values, in the order in which they were given.

    `options` are those of `model_method`.

    Raises:
        SettingsError: if a setting is unknown or does not take a value.
        WeightsUnavailable: if a model's weights are unavailable; nothing has run by then.
    """
    found = []
    for model, preset, values in itertools.product(models, presets, itertools.product(*axes.values())):
        chosen = dict(zip(axes, values, strict=True))
        assignments = [f"{name}={value}" for name, value in chosen.items()]
        method = model_method(model, preset, assignments=assignments, **options)
        found.append(Point(model, preset, chosen, method))
    return found


def run_sweep(
    samples: Sequence[Sample], swept: Sequence[Point], out: Path, protocol: str, progress: Progress, **options: Any
) -> str:
    """Measures every combination and returns the table as markdown.

    Writes `sweep.md`, the chart `sweep.png` (where matplotlib is installed), and `card.json`, a card of the best model
    with the best numbers, as far as cards have a place for them. `options` are those of `run_benchmark`.
    """
    outcomes = run_benchmark(samples, [each.method for each in swept], out, protocol, progress, **options)
    best = next(each for each in swept if each.method.name == best_method(outcomes))
    said = f"Protocol {protocol}; differences are from the first row, seconds by the clock of this machine."
    parts = [f"# Sweep on {samples[0].dataset}", said, sweep_table(swept, outcomes).markdown()]
    try:
        charts.save(draw_sweep(swept, outcomes), out / "sweep.png")
        parts.append("![sweep](sweep.png)")
    except SettingsError as error:
        parts.append(f"No chart: {error}.")
    written = write_best(best, outcomes, out / "card.json")
    parts.append(written)
    text = "\n\n".join(parts) + "\n"
    write_text(out / REPORT, text)
    return text


def sweep_table(swept: Sequence[Point], outcomes: Sequence[Outcome]) -> Table:
    """Returns score, difference from the first combination, and seconds of each; the best is bold."""
    methods, best = by_method(outcomes), best_method(outcomes)
    compared = {row[0]: row[1:] for row in difference_table(outcomes, swept[0].method.name).rows}
    rows = []
    for each in swept:
        score, seconds = measured(methods[each.method.name])
        shown = f"**{percent(score)}**" if each.method.name == best else percent(score)
        difference = compared.get(each.method.name, ("", "", ""))
        rows.append((each.model, each.preset or "-", *each.values.values(), shown, *difference, f"{seconds:.3f}"))
    head = ("model", "preset", *swept[0].values, _headline(outcomes), "difference", "95 % interval", "better on")
    return Table((*head, "s/frame"), tuple(rows))


def measured(found: Mapping[str, Outcome]) -> tuple[float, float]:
    """Returns the headline measure of one method, in shares of one, and seconds of a frame."""
    outcomes = list(found.values())
    task, seconds = get_task(outcomes[0].task), [second for each in outcomes for second in each.seconds]
    return task.summarise(outcomes)[task.headline_measure(outcomes)], sum(seconds) / max(1, len(seconds))


def draw_sweep(swept: Sequence[Point], outcomes: Sequence[Outcome]) -> Any:
    """Returns the scores against the first setting that is swept, a line for each combination of the others.

    Raises:
        SettingsError: if matplotlib is not installed.
    """
    axis = next(iter(swept[0].values))
    lines: dict[str, list[tuple[str, float]]] = {}
    methods = by_method(outcomes)
    for each in swept:
        others = [f"{name} {value}" for name, value in each.values.items() if name != axis]
        label = ", ".join([each.model, *([each.preset] if each.preset else []), *others])
        lines.setdefault(label, []).append((each.values[axis], measured(methods[each.method.name])[0]))
    figure = charts.new_figure(6.4, 3.8)
    axes = figure.add_subplot()
    numeric = all(value.replace(".", "", 1).isdecimal() for values in lines.values() for value, _ in values)
    for place, (label, values) in enumerate(lines.items()):
        across = [float(value) if numeric else value for value, _ in values]
        colour = charts.COLOURS[place % len(charts.COLOURS)]
        axes.plot(across, [100 * score for _, score in values], "o-", color=colour, label=label, linewidth=1.8)
    axes.set_xlabel(axis, fontsize=9)
    axes.set_ylabel(f"{_headline(outcomes)}, %", fontsize=9)
    axes.legend(fontsize=8, frameon=False)
    return figure


def write_best(best: Point, outcomes: Sequence[Outcome], path: Path) -> str:
    """Writes the card of the best combination and returns a sentence about it; models without a card have none."""
    if "+" in best.model or (card := locate(best.model).card) is None:
        return f"The best is {best.method.name}; it has no card that could be changed."
    score, seconds = measured(by_method(outcomes)[best.method.name])
    chosen = tuned_card(card, best, f"{card.name}-swept")
    facts = {"dataset": outcomes[0].dataset, "protocol": outcomes[0].protocol, "settings": dict(best.values)}
    write_card_file(path, chosen, like=card, measured={**facts, "score": score, "seconds_per_frame": seconds})
    others = [name for name in best.values if name not in ON_CARDS]
    beside = f"; a card has no place for {', '.join(others)}" if others else ""
    return f"The best is {best.method.name}: `--model {path}` is {card.name} with these numbers{beside}."


def tuned_card(card: Card, best: Point, name: str) -> Card:
    """Returns a card with the numbers of a combination."""
    settings = assigned(TrackSettings(), [f"{setting}={value}" for setting, value in best.values.items()])
    preset = get_preset(best.preset or card.preset).name
    changes: dict[str, Any] = {"name": name, "preset": preset, "calibrated": ()}
    for setting, attribute in (("tokens", "token_budget"), ("topk", "topk"), ("recent", "recent")):
        if (value := getattr(settings, setting)) is not None:
            changes[attribute] = value
    if settings.tokens is not None:
        # Those of single purposes would count before what was measured.
        changes["budgets"] = {}
    if settings.timestep is not None or settings.noising is not None:
        changes["noising"] = noise_level(card.noising, settings.timestep, settings.noising)
    if settings.temperature is not None:
        changes["temperatures"] = {**card.temperatures, preset: settings.temperature}
    return replace(card, **changes)


def _headline(outcomes: Sequence[Outcome]) -> str:
    return get_task(outcomes[0].task).headline_measure(outcomes)
