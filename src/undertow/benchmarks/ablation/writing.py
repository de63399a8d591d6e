"""Ablations on paper: `ablation.md`, and a CSV and a chart of each."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from undertow.base import SettingsError, write_text
from undertow.benchmarks.ablation import figures, tables
from undertow.benchmarks.ablation.methods import Seconds
from undertow.benchmarks.ablation.tables import SETTING
from undertow.benchmarks.ablation.variants import Ablation

REPORT = "ablation.md"
INTERVAL = (
    "Differences are from the first row, over the sequences that both have, with 95 % intervals of a paired bootstrap "
    "over sequences."
)
PAPER_NOTE = f"What the paper prints: {SETTING} (protocol `full`), with its own weights and hardware."


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Everything that tables and charts are made of.

    Attributes:
        dataset: Its name.
        protocol: In words.
        model: Its name or folder.
        ablations: By name.
        extras: Which of "models" and "embeddings" are wanted.
        found: Outcomes by variant and sequence.
        missing: Why variants were not measured, by name.
        seconds: What variants take, by name.
        timed: Name of the sequence they were timed on.
        conditionings: Vectors by what they are.
    """

    dataset: str
    protocol: str
    model: str
    ablations: Mapping[str, Ablation]
    extras: tuple[str, ...]
    found: tables.Found
    missing: Mapping[str, str]
    seconds: Mapping[str, Seconds]
    timed: str
    conditionings: Mapping[str, Float[np.ndarray, "n d"]]


def write_ablations(measured: Measured, out: Path) -> str:
    """Writes `ablation.md`, and `<name>.csv` and `<name>.png` of every ablation, and returns the markdown.

    Without matplotlib there are no charts, and without scikit-learn no map; the text says what to install.
    """
    parts = [
        f"# Ablation of {measured.model} on {measured.dataset}",
        f"Protocol {measured.protocol}. Scores in percent. {INTERVAL} {PAPER_NOTE}",
    ]
    for ablation in measured.ablations.values():
        parts.append(f"## {ablation.title} ({ablation.paper})")
        parts += _seconds(measured, ablation, out) if ablation.kind == "seconds" else _scores(measured, ablation, out)
        theirs = tables.paper_table(ablation.name)
        parts += [] if theirs is None else [theirs.markdown()]
    if "embeddings" in measured.extras:
        parts += ["## Learned conditionings beside texts (figure 5)", *_map(measured, out)]
    if "models" in measured.extras:
        parts += ["## Models (table 6)", tables.models_table().markdown()]
    text = "\n\n".join(parts) + "\n"
    write_text(out / REPORT, text)
    return text


def _scores(measured: Measured, ablation: Ablation, out: Path) -> list[str]:
    rows = tables.rows_of(ablation, measured.found, measured.missing)
    write_text(out / f"{ablation.name}.csv", tables.ablation_csv(ablation, rows))
    if len({row.note for row in rows}) == 1 and rows[0].note:
        return [f"Nothing here is measured: {rows[0].note}."]
    table = tables.grid_table(rows) if ablation.kind == "grid" else tables.ablation_table(rows)
    return [table.markdown(), *_picture(lambda: figures.draw(ablation, rows, measured.found), ablation.name, out)]


def _seconds(measured: Measured, ablation: Ablation, out: Path) -> list[str]:
    write_text(out / f"{ablation.name}.csv", tables.seconds_csv(ablation, measured.seconds))
    return [
        f"Frames 4 to 11 that the protocol shows of {measured.timed}; tuning is that of one object and one step.",
        tables.seconds_table(ablation, measured.seconds, measured.missing).markdown(),
        *_picture(lambda: figures.draw_seconds(ablation, measured.seconds), ablation.name, out),
    ]


def _map(measured: Measured, out: Path) -> list[str]:
    learned = sum(len(found) for name, found in measured.conditionings.items() if name.startswith("learned"))
    if not learned:
        return ["No conditioning was learned; measure the ablation 'conditioning' first."]
    said = "Each whole conditioning is one point (t-SNE, perplexity at most 30)."
    return [said, *_picture(lambda: figures.draw_embeddings(measured.conditionings), "embeddings", out)]


def _picture(draw: Any, name: str, out: Path) -> list[str]:
    """Returns the reference to a chart that was drawn; nothing if there is nothing to draw, or why it could not be."""
    try:
        figure = draw()
    except SettingsError as error:
        return [f"No chart: {error}."]
    if figure is None:
        return []
    figures.save(figure, out / f"{name}.png")
    return [f"![{name}]({name}.png)"]
