"""Tables of ablations: our rows with their differences and intervals, and below them what DRIFT prints.

All the paper's rows are Stable Diffusion on DAVIS-2017 val at full length (protocol `full`), as arXiv 2511.19936 prints
them; none of them was measured by this program.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.benchmarks.ablation.methods import Seconds, tuning_seconds
from undertow.benchmarks.ablation.variants import Ablation, Variant
from undertow.benchmarks.core.files import shipped_rows
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.report.tables import Table, percent
from undertow.metrics import paired_bootstrap

SETTING = "SD 2.1, DAVIS-2017 val, every frame"


@dataclass(frozen=True)
class PublishedRow:
    """One row of a table of the paper.

    Attributes:
        title: What it is, in our words.
        figure: As it is printed: J&F in percent, or seconds per object.
        note: What else decides it.
        timestep: Noise level, where the row is a point of a curve.
        weights: Model that it was measured with, where rows are models.
    """

    title: str
    figure: str
    note: str = ""
    timestep: int | None = None
    weights: str = "sd-2.1"

    @property
    def value(self) -> float | None:
        """The figure as a number; `None` if it is a difference or nothing."""
        try:
            return None if self.figure.startswith(("+", "-")) else float(self.figure)
        except ValueError:
            return None


def _paper() -> dict[str, tuple[PublishedRow, ...]]:
    """Returns the rows of published.csv by ablation, none for those that the paper shows without numbers."""
    found: dict[str, tuple[PublishedRow, ...]] = {"attention": (), "embeddings": ()}
    for row in shipped_rows("undertow.benchmarks.ablation", "published.csv"):
        timestep = int(row["timestep"]) if row["timestep"] else None
        printed = PublishedRow(row["title"], row["figure"], row["note"], timestep, row["weights"])
        found[row["ablation"]] = (*found.get(row["ablation"], ()), printed)
    return found


PAPER = _paper()

Found = Mapping[str, Mapping[str, Outcome]]
"""Outcomes by variant and by sequence."""

COLUMNS = ("variant", "title", "source", "timestep", "J&F", "J", "F", "difference", "low", "high", "better",
           "sequences", "note")  # fmt: skip
NOT_MEASURED = "not measured"
# What tuned variants are, but for the tuning.
UNTUNED = "text-null"


@dataclass(frozen=True)
class Row:
    """What was measured of a variant, in shares of one; NaN where there is nothing.

    Attributes:
        variant: Which.
        combined: J&F, averaged as the dataset's rules say.
        region: J.
        contour: F.
        difference: J&F minus that of the first variant, mean over the sequences that both have.
        interval: Its 95 % interval by a paired bootstrap over sequences.
        better: On how many sequences it is better.
        sequences: How many it was measured on.
        shared: How many of them the first variant was measured on too.
        note: Why there is nothing.
    """

    variant: Variant
    combined: float = math.nan
    region: float = math.nan
    contour: float = math.nan
    difference: float = math.nan
    interval: tuple[float, float] = (math.nan, math.nan)
    better: int = 0
    sequences: int = 0
    shared: int = 0
    note: str = ""


def rows_of(ablation: Ablation, found: Found, missing: Mapping[str, str] | None = None) -> list[Row]:
    """Returns what was measured of each variant of an ablation.

    Args:
        ablation: What is compared.
        found: Outcomes.
        missing: Why a variant was not measured, by its name.
    """
    missing = missing or {}
    reference = found.get(ablation.variants[0].name, {})
    return [_row(each, found.get(each.name, {}), reference, missing.get(each.name, "")) for each in ablation.variants]


def ablation_table(rows: Sequence[Row]) -> Table:
    """Returns our rows: scores in percent, and differences from the first row over the sequences that both have."""
    most = max((row.sequences for row in rows), default=0)
    lines = []
    for place, row in enumerate(rows):
        # Means over different sequences do not compare, so an unfinished row shows it; its difference does.
        count = f"{row.sequences}" if row.sequences in (0, most) else f"**{row.sequences} of {most}**"
        scores = [row.note, "", ""] if row.note else [percent(each) for each in (row.combined, row.region, row.contour)]
        lines.append((titled(row.variant), *scores, *(_difference(row) if place else ("", "", "")), count))
    header = ("", "J&F", "J", "F", "difference", "95 % interval", "better on", "sequences")
    return Table(header, tuple(lines))


def grid_table(rows: Sequence[Row]) -> Table:
    """Returns J&F by the number of points (rows) and of prompts (columns)."""
    points = sorted({row.variant.sam.points for row in rows})
    prompts = sorted({row.variant.sam.prompts for row in rows})
    cells = {(row.variant.sam.points, row.variant.sam.prompts): row for row in rows}
    lines = [(f"n {n}", *(cells[n, p].note or percent(cells[n, p].combined) for p in prompts)) for n in points]
    return Table(("", *(f"p {p}" for p in prompts)), tuple(lines))


def seconds_table(ablation: Ablation, seconds: Mapping[str, Seconds], missing: Mapping[str, str]) -> Table:
    """Returns what each variant takes: CPU and wall-clock seconds of a frame, and of an object before the first one."""
    lines = []
    for variant in ablation.variants:
        one = seconds.get(variant.name)
        if one is None:
            lines.append((titled(variant), missing.get(variant.name) or NOT_MEASURED, "", ""))
        else:
            tuning = f"{_tuning(variant, seconds):.2f}" if variant.tuning and UNTUNED in seconds else ""
            lines.append((titled(variant), f"{one.cpu:.3f}", f"{one.wall:.3f}", tuning))
    return Table(("", "CPU s/frame", "s/frame", "tuning, s/step"), tuple(lines))


def paper_table(name: str) -> Table | None:
    """Returns what the paper prints for an ablation, `None` if nothing is known."""
    if not PAPER[name]:
        return None
    return Table(("the paper", "prints", "with"), tuple((row.title, row.figure, row.note) for row in PAPER[name]))


def models_table() -> Table:
    """Returns the paper's table 6, which no embedded model can repeat."""
    rows = tuple((each.title, each.figure, each.note, f"needs weights of {each.weights}") for each in PAPER["models"])
    return Table(("model", "the paper prints", "with", "ours"), rows)


def ablation_csv(ablation: Ablation, rows: Sequence[Row]) -> str:
    """Returns our rows and the paper's as CSV; scores in percent."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        scores = (row.combined, row.region, row.contour, row.difference, *row.interval)
        timestep = row.variant.noising.timestep if row.variant.noising else ""
        cells = [f"{100 * each:.4f}" if math.isfinite(each) else "" for each in scores]
        name, title = row.variant.name, row.variant.title
        writer.writerow([name, title, "measured", timestep, *cells, row.better, row.sequences, row.note])
    writer.writerows(_paper_lines(ablation.name))
    return text.getvalue()


def seconds_csv(ablation: Ablation, seconds: Mapping[str, Seconds]) -> str:
    """Returns what variants take as CSV, and what the paper prints."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["variant", "title", "source", "cpu_seconds_per_frame", "seconds_per_frame", "tuning_seconds_per_step"]
    )
    for each in ablation.variants:
        if each.name in seconds:
            one = seconds[each.name]
            numbers = (one.cpu, one.wall, _tuning(each, seconds) if each.tuning and UNTUNED in seconds else 0)
            writer.writerow([each.name, each.title, "measured", *(f"{number:.6f}" for number in numbers)])
    for row in PAPER[ablation.name]:
        writer.writerow(["", row.title, f"the paper: {SETTING}; {row.note}", "", "", row.figure])
    return text.getvalue()


def titled(variant: Variant) -> str:
    """Returns a variant's title, with the timestep if it has one of its own."""
    return variant.title if variant.noising is None else f"{variant.title}, {variant.noising.timestep}"


def _tuning(variant: Variant, seconds: Mapping[str, Seconds]) -> float:
    return tuning_seconds(seconds[variant.name], seconds[UNTUNED])


def _difference(row: Row) -> tuple[str, str, str]:
    if not math.isfinite(row.difference):
        return "", "", ""
    # One sequence says nothing of how much sequences differ.
    ends = "{:+.1f} to {:+.1f}".format(*(100 * each for each in row.interval)) if row.shared > 1 else "-"
    return f"{100 * row.difference:+.1f}", ends, f"{row.better} of {row.shared}"


def _paper_lines(name: str) -> list[list[str]]:
    source = f"the paper: {SETTING}"
    lines = []
    for row in PAPER[name]:
        timestep = "" if row.timestep is None else str(row.timestep)
        lines.append(["", row.title, source, timestep, row.figure, *[""] * 7, row.note])
    return lines


def _row(variant: Variant, found: Mapping[str, Outcome], reference: Mapping[str, Outcome], note: str) -> Row:
    if not found:
        return Row(variant, note=note or NOT_MEASURED)
    outcomes = list(found.values())
    task = get_task(outcomes[0].task)
    figures = task.summarise(outcomes)
    shared = [name for name in found if name in reference]
    gaps = np.array([task.headline(found[name]) - task.headline(reference[name]) for name in shared])
    middle, low, high = paired_bootstrap(gaps) if len(gaps) else (math.nan,) * 3
    return Row(
        variant,
        figures["J&F"],
        figures["J"],
        figures["F"],
        middle,
        (low, high),
        int(np.count_nonzero(gaps > 0)),
        len(outcomes),
        len(shared),
    )
