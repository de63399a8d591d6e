"""Tables of a benchmark: methods, samples, differences, and what papers print for the same data."""

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.files import shipped_rows
from undertow.benchmarks.core.outcomes import Outcome, by_method
from undertow.benchmarks.core.task import get_task
from undertow.metrics import paired_bootstrap

OBJECT_COLUMNS = (
    "method",
    "sequence",
    "object",
    "frames",
    "J_mean",
    "J_recall",
    "J_decay",
    "F_mean",
    "F_recall",
    "F_decay",
    "J&F",
    "seconds_per_frame",
)


@dataclass(frozen=True)
class Published:
    """One row of a paper, as it is printed.

    The figures were obtained with weights, sizes and hardware of their authors; a row says nothing about what this
    library would measure with the same weights.

    Attributes:
        method: As the paper calls it.
        figures: Percent by measure.
        source: The paper.
        note: What else decides the row.
    """

    method: str
    figures: Mapping[str, float]
    source: str
    note: str = ""


def _published() -> dict[str, tuple[Published, ...]]:
    """Returns the rows of published.csv, where "|" stands between measures and a space between figures."""
    found: dict[str, tuple[Published, ...]] = {}
    for row in shipped_rows("undertow.benchmarks.report", "published.csv"):
        figures = dict(zip(row["measures"].split(" | "), map(float, row["figures"].split()), strict=True))
        published = Published(row["method"], figures, row["source"], row["note"])
        found[row["dataset"]] = (*found.get(row["dataset"], ()), published)
    return found


#: What papers print for a dataset, to stand beside our own rows and be marked as theirs.
PUBLISHED = _published()


@dataclass(frozen=True)
class Table:
    """Cells as text, the first column to the left and the others to the right; `**` marks bold."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """Returns the table in markdown with padded columns."""
        # Markdown wants a dash beside the colon of a column to the right.
        lines = [tuple(map(escaped, line)) for line in (self.header, *self.rows)]
        widths = [max(2, *(len(line[column]) for line in lines)) for column in range(len(self.header))]

        def line(cells: Sequence[str]) -> str:
            padded = [
                cell.ljust(width) if column == 0 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
            ]
            return f"| {' | '.join(padded)} |"

        rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
        return "\n".join([line(lines[0]), line(rule), *map(line, lines[1:])])


def escaped(text: str) -> str:
    """Returns text of which markdown makes nothing but text, whatever name is in it; a bold cell stays bold."""
    if bold := re.fullmatch(r"\*\*(.+)\*\*", text):
        return f"**{escaped(bold[1])}**"
    return re.sub(r"[\\`*\[\]|$]|<(?=[a-zA-Z/!?])", r"\\\g<0>", text)


def check_outcomes(outcomes: Sequence[Outcome], reference: str | None) -> str:
    """Returns the reference method: the one named, or the first.

    Raises:
        SettingsError: if there are no outcomes, none of `reference`, or one that is damaged.
    """
    methods = by_method(outcomes)
    if not methods:
        raise SettingsError("there are no outcomes to report; run the benchmark first")
    for outcome in outcomes:
        try:
            get_task(outcome.task).summarise([outcome])
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise SettingsError(
                f"the outcome of '{outcome.method}' on '{outcome.sequence}' is damaged ({type(error).__name__}); "
                "remove it and run again"
            ) from error
    reference = reference or next(iter(methods))
    if reference not in methods:
        raise SettingsError(f"reference method '{reference}' is not one of {', '.join(methods)}")
    return reference


def best_method(outcomes: Sequence[Outcome]) -> str:
    """Returns the method with the highest headline measure."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    measure = task.headline_measure(outcomes)
    scores = {method: task.summarise(list(found.values()))[measure] for method, found in methods.items()}
    return max(scores, key=lambda method: (math.isfinite(scores[method]), scores[method]))


def method_table(outcomes: Sequence[Outcome]) -> Table:
    """Returns the table of methods, each figure averaged as the dataset's official evaluator does."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    most = max(len(sequences) for sequences in methods.values())
    measures: tuple[str, ...] = ()
    rows = []
    for method, sequences in methods.items():
        figures = task.summarise(list(sequences.values()))
        measures = tuple(figures)
        seconds = [second for outcome in sequences.values() for second in outcome.seconds]
        pace = f"{sum(seconds) / len(seconds):.3f}" if seconds else "-"
        # Means over different samples do not compare, so an unfinished method shows it.
        count = f"{len(sequences)}" if len(sequences) == most else f"**{len(sequences)} of {most}**"
        objects = [str(sum(len(outcome.series) for outcome in sequences.values()))] if task.name == "masks" else []
        rows.append((method, *map(percent, figures.values()), pace, count, *objects))
    columns = ("s/frame", "sequences", *(["objects"] if task.name == "masks" else []))
    return Table(("method", *measures, *columns), tuple(rows))


def published_table(outcomes: Sequence[Outcome]) -> Table | None:
    """Returns what papers print for the dataset in the columns of `method_table`, `None` if nothing is known."""
    task = get_task(outcomes[0].task)
    published = PUBLISHED.get(outcomes[0].dataset, ())
    measures = [
        measure for measure in task.summarise(list(outcomes)) if any(measure in row.figures for row in published)
    ]
    if not measures:
        return None
    rows = []
    for row in published:
        cells = [f"{row.figures[name]:.1f}" if name in row.figures else "-" for name in measures]
        if set(cells) != {"-"}:
            rows.append((row.method, *cells, row.note, row.source))
    return Table(("published", *measures, "with", "source"), tuple(rows))


def sequence_table(outcomes: Sequence[Outcome]) -> Table:
    """Returns the headline measure with a row per sample and a column per method; the best is bold."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    rows = []
    for name in dict.fromkeys(outcome.sequence for outcome in outcomes):
        cells = [percent(task.headline(found[name])) if name in found else "-" for found in methods.values()]
        best = max((float(cell) for cell in cells if cell != "-"), default=math.nan)
        bold = [f"**{cell}**" if len(cells) > 1 and cell != "-" and float(cell) == best else cell for cell in cells]
        rows.append((name, *bold))
    return Table(("sequence", *methods), tuple(rows))


def difference_table(outcomes: Sequence[Outcome], reference: str) -> Table:
    """Returns each method's headline measure minus the reference's, over the samples both have."""
    task = get_task(outcomes[0].task)
    methods = by_method(outcomes)
    rows = []
    for method, sequences in methods.items():
        shared = [name for name in sequences if name in methods[reference]]
        if method == reference or not shared:
            continue
        gaps = np.array([task.headline(sequences[each]) - task.headline(methods[reference][each]) for each in shared])
        gaps = gaps[np.isfinite(gaps)]
        if not gaps.size:
            continue
        middle, low, high = paired_bootstrap(gaps)
        wins = f"{np.count_nonzero(gaps > 0)} of {len(gaps)}"
        # One sample says nothing of how much samples differ.
        interval = f"{100 * low:+.1f} to {100 * high:+.1f}" if len(gaps) > 1 else "-"
        rows.append((method, f"{100 * middle:+.1f}", interval, wins))
    return Table(("method", "difference", "95 % interval", "sequences better"), tuple(rows))


def metrics_csv(outcomes: Iterable[Outcome]) -> str:
    """Returns CSV text with scores in 0..1: for masks a row per method, sequence and object, else per sample."""
    outcomes = list(outcomes)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if outcomes and outcomes[0].task == "masks":
        writer.writerow(OBJECT_COLUMNS)
        writer.writerows(row for outcome in outcomes for row in _object_rows(outcome))
    elif outcomes:
        task = get_task(outcomes[0].task)
        figures = [task.summarise([outcome]) for outcome in outcomes]
        measures = list(dict.fromkeys(name for each in figures for name in each))
        writer.writerow(["method", "sequence", "frames", *measures, "seconds_per_frame"])
        for outcome, each in zip(outcomes, figures, strict=True):
            values = [f"{each.get(name, math.nan):.6f}" for name in measures]
            writer.writerow([outcome.method, outcome.sequence, len(outcome.frames), *values, _pace(outcome)])
    return text.getvalue()


def percent(value: float) -> str:
    """Returns a share as percent with one digit, "-" if there is none."""
    return f"{100 * value:.1f}" if math.isfinite(value) else "-"


def _object_rows(outcome: Outcome) -> Iterable[list[str | int]]:
    for number, scores in outcome.objects.items():
        region, contour = scores.region_summary, scores.contour_summary
        figures = (region.mean, region.recall, region.decay, contour.mean, contour.recall, contour.decay)
        row = [f"{value:.6f}" for value in (*figures, (region.mean + contour.mean) / 2)]
        yield [outcome.method, outcome.sequence, number, len(outcome.frames), *row, _pace(outcome)]


def _pace(outcome: Outcome) -> str:
    pace = outcome.seconds_per_frame
    return "" if pace is None else f"{pace:.6f}"
