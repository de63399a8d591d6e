"""Tables of a benchmark: `metrics.csv` for programs, `report.md` with the plots for people."""

import csv
import io
import math
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from pathlib import Path

import numpy as np

from undertow.base import SettingsError, write_text
from undertow.benchmarks.outcomes import Outcome, by_method
from undertow.benchmarks.plots import write_plots
from undertow.metrics import DatasetSummary, paired_bootstrap

COLUMNS = (
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


def write_report(outcomes: SequenceOf[Outcome], out: Path | str, reference: str | None = None) -> str:
    """Writes `metrics.csv`, `report.md` and two plots into the folder `out` and returns the text of the report.

    Without matplotlib there are no plots, and the report says what to install.

    Args:
        outcomes: what `run_benchmark`, `read_outcomes` or `score_folder` returned.
        out: folder to write to.
        reference: method that the others are compared with; the first one if not given.

    Raises:
        SettingsError: if there are no outcomes, or none of `reference`.
    """
    report = markdown_report(outcomes, reference)
    try:
        pictures = [f"![{path.stem}]({path.name})" for path in write_plots(outcomes, out)]
    except SettingsError as error:
        pictures = [f"No plots: {error}."]
    report += "\n" + "\n\n".join(["## J&F over time", *pictures]) + "\n"
    write_text(Path(out) / "metrics.csv", metrics_csv(outcomes))
    write_text(Path(out) / "report.md", report)
    return report


def metrics_csv(outcomes: Iterable[Outcome]) -> str:
    """Returns the CSV text with one row per method, sequence and object; scores lie in 0..1."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for outcome in outcomes:
        pace = outcome.seconds_per_frame
        for number, scores in outcome.objects.items():
            region, contour = scores.region_summary, scores.contour_summary
            figures = (region.mean, region.recall, region.decay, contour.mean, contour.recall, contour.decay)
            row = (*figures, (region.mean + contour.mean) / 2)
            writer.writerow(
                [outcome.method, outcome.sequence, number, len(outcome.frames)]
                + [f"{value:.6f}" for value in row]
                + ["" if pace is None else f"{pace:.6f}"]
            )
    return text.getvalue()


def markdown_report(outcomes: SequenceOf[Outcome], reference: str | None = None) -> str:
    """Returns the whole report: methods, sequences, and differences from the reference method.

    Raises:
        SettingsError: if there are no outcomes, or none of `reference`.
    """
    methods = by_method(outcomes)
    if not methods:
        raise SettingsError("there are no outcomes to report; run the benchmark first")
    reference = reference or next(iter(methods))
    if reference not in methods:
        raise SettingsError(f"reference method '{reference}' is not one of {', '.join(methods)}")
    parts = [
        f"# {outcomes[0].dataset}",
        f"Protocol {outcomes[0].protocol}. Scores in percent; the first and last frame of a sequence do not count.",
        method_table(outcomes),
        "## J&F by sequence",
        sequence_table(outcomes),
    ]
    if len(methods) > 1:
        parts += [
            f"## Difference from {reference} in J&F",
            "Mean over sequences, with its 95 % interval from a paired bootstrap over sequences.",
            difference_table(outcomes, reference),
        ]
    return "\n\n".join(parts) + "\n"


def method_table(outcomes: SequenceOf[Outcome]) -> str:
    """Returns the markdown table of methods, as the official evaluators average: over all objects of all sequences."""
    methods = by_method(outcomes)
    most = max(len(sequences) for sequences in methods.values())
    rows = []
    for method, sequences in methods.items():
        summary = DatasetSummary.of(outcome.objects for outcome in sequences.values())
        figures = [summary.combined]
        for measure in (summary.region, summary.contour):
            figures += [measure.mean, measure.recall, measure.decay]
        seconds = [second for outcome in sequences.values() for second in outcome.seconds]
        pace = f"{sum(seconds) / len(seconds):.3f}" if seconds else "-"
        # Means over different sequences do not compare, so an unfinished method shows it.
        count = f"{len(sequences)}" if len(sequences) == most else f"**{len(sequences)} of {most}**"
        rows.append([method, *map(_percent, figures), pace, count, str(summary.objects)])
    header = [
        "method",
        "J&F",
        "J",
        "J recall",
        "J decay",
        "F",
        "F recall",
        "F decay",
        "s/frame",
        "sequences",
        "objects",
    ]
    return _table(header, rows)


def sequence_table(outcomes: SequenceOf[Outcome]) -> str:
    """Returns the markdown table of J&F with a row per sequence and a column per method; the best is bold."""
    methods = by_method(outcomes)
    rows = []
    for name in dict.fromkeys(outcome.sequence for outcome in outcomes):
        cells = [_percent(found[name].combined) if name in found else "-" for found in methods.values()]
        best = max((float(cell) for cell in cells if cell != "-"), default=math.nan)
        bold = [f"**{cell}**" if len(cells) > 1 and cell != "-" and float(cell) == best else cell for cell in cells]
        rows.append([name, *bold])
    return _table(["sequence", *methods], rows)


def difference_table(outcomes: SequenceOf[Outcome], reference: str) -> str:
    """Returns the markdown table of each method's J&F minus the reference's, over the sequences both have."""
    methods = by_method(outcomes)
    rows = []
    for method, sequences in methods.items():
        shared = [name for name in sequences if name in methods[reference]]
        if method == reference or not shared:
            continue
        gaps = np.array([sequences[name].combined - methods[reference][name].combined for name in shared])
        middle, low, high = paired_bootstrap(gaps)
        wins = f"{np.count_nonzero(gaps > 0)} of {len(gaps)}"
        rows.append([method, f"{100 * middle:+.1f}", f"{100 * low:+.1f} to {100 * high:+.1f}", wins])
    return _table(["method", "difference", "95 % interval", "sequences better"], rows)


def _percent(value: float) -> str:
    return f"{100 * value:.1f}"


def _table(header: list[str], rows: list[list[str]]) -> str:
    """Returns a markdown table with padded columns, the first to the left and numbers to the right."""
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header))]

    def line(cells: list[str]) -> str:
        padded = [
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = ["-" * width if column == 0 else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([line(header), line(rule), *map(line, rows)])
