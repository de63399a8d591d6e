"""Writes the report of a benchmark: `report.html` and `report.md` for people, `metrics.csv` for programs.

It ends with the frames on which the best method did worst: where to look first.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from undertow.base import SettingsError, UndertowError, atomic_path, inside, write_text
from undertow.benchmarks.core.datasets import get_dataset
from undertow.benchmarks.core.outcomes import RESULTS, Outcome, by_method
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.report import charts, page
from undertow.benchmarks.report.charts import curve
from undertow.benchmarks.report.tables import (
    Table,
    best_method,
    check_outcomes,
    difference_table,
    escaped,
    method_table,
    metrics_csv,
    percent,
    published_table,
    sequence_table,
)
from undertow.drawing import overlay

WIDTH = 320


@dataclass(frozen=True)
class WorstFrame:
    """One frame of one sample and its score in [0, 1]."""

    method: str
    sequence: str
    frame: str
    score: float


def worst_frames(outcomes: Sequence[Outcome], most: int = 6, each: int = 2) -> list[WorstFrame]:
    """Returns the frames of one method with the lowest scores, the worst first, at most `each` of a sample.

    Neighbouring frames fail together, so that a list of the very worst would show one failure many times: frames of
    one sample are at least a fifth of its length apart.
    """
    found = []
    for outcome in outcomes:
        values = curve(outcome)
        apart = max(2, len(values) // 5)
        taken: list[int] = []
        for place in np.argsort(values, kind="stable"):
            if np.isfinite(values[place]) and all(abs(int(place) - other) >= apart for other in taken):
                taken.append(int(place))
            if len(taken) == each:
                break
        found += [
            WorstFrame(outcome.method, outcome.sequence, outcome.frames[place], float(values[place])) for place in taken
        ]
    return sorted(found, key=lambda frame: frame.score)[:most]


def picture(frame: WorstFrame, samples: Mapping[str, Sample], out: Path) -> str | None:
    """Returns a data address of the frame with truth beside prediction, `None` if there is nothing that may be shown.

    Only datasets that say so (`Dataset.may_show`) are shown, only masks, and predictions only if they were kept.
    """
    sample = samples.get(frame.sequence)
    if not isinstance(sample, MaskSample) or not get_dataset(sample.dataset).may_show:
        return None
    index = sample.frames.index(frame.frame)
    try:
        with sample.open() as video:
            image = video[index]
        panels = [overlay(image, sample.load_mask(index))]
        results = inside(out / RESULTS, frame.method, single=True)
        if sample.result(results, suffix="").is_dir():
            labels = get_task(sample.task).read(results, sample, index, get_dataset(sample.dataset).rules[0])
            panels.append(overlay(image, labels))
    except (UndertowError, OSError):
        return None
    return _address(np.concatenate(panels, axis=1), WIDTH * len(panels))


def _address(image: UInt8[np.ndarray, "h w 3"], width: int) -> str:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    buffer = io.BytesIO()
    Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS).save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


INTERVAL = "Mean over sequences, with its 95 % interval from a paired bootstrap over sequences."
PUBLISHED = "What papers print for this dataset, with their own weights and hardware; not measured by this program."


def write_report(
    outcomes: Sequence[Outcome],
    out: Path | str,
    reference: str | None = None,
    samples: Sequence[Sample] = (),
) -> str:
    """Writes `report.html`, `report.md`, `metrics.csv` and plots into the folder `out`; returns the markdown text.

    Without matplotlib there are no plots, and the report says what to install.

    Args:
        outcomes: What `run_benchmark`, `read_outcomes` or `score_folder` returned.
        out: Folder to write to.
        reference: Method that the others are compared with; the first one if not given.
        samples: The dataset, whose worst frames are then shown as pictures if its licence lets them be.

    Raises:
        SettingsError: if there are no outcomes, or none of `reference`.
    """
    out = Path(out)
    reference = check_outcomes(outcomes, reference)
    report = markdown_report(outcomes, reference)
    try:
        pictures = [f"![{path.stem}]({path.name})" for path in write_plots(outcomes, out)]
        if pictures:
            report += "\n" + "\n\n".join(["## Over time", *pictures]) + "\n"
        drawn = _figures(outcomes)
    except SettingsError as error:
        report += f"\n## Over time\n\nNo plots: {error}.\n"
        drawn = [page.paragraph(f"No plots: {error}.")]
    write_text(out / "metrics.csv", metrics_csv(outcomes))
    write_text(out / "report.html", _html(outcomes, reference, drawn, out, samples))
    write_text(out / "report.md", report)
    return report


def markdown_report(outcomes: Sequence[Outcome], reference: str | None = None) -> str:
    """Returns the tables in markdown: methods, what papers print, samples, and differences from the reference.

    Raises:
        SettingsError: if there are no outcomes, or none of `reference`.
    """
    reference = check_outcomes(outcomes, reference)
    parts = [f"# {escaped(outcomes[0].dataset)}", _protocol(outcomes), method_table(outcomes).markdown()]
    published = published_table(outcomes)
    if published is not None:
        parts += ["## Published", PUBLISHED, published.markdown()]
    parts += [f"## {_headline(outcomes)} by sequence", sequence_table(outcomes).markdown()]
    if len(by_method(outcomes)) > 1:
        parts += [
            f"## Difference from {escaped(reference)} in {_headline(outcomes)}",
            INTERVAL,
            difference_table(outcomes, reference).markdown(),
        ]
    return "\n\n".join(parts) + "\n"


def write_plots(outcomes: Sequence[Outcome], out: Path | str) -> list[Path]:
    """Draws `over_time.png` (mean curves) and `sequences.png` (small multiples) into `out` and returns their paths.

    A task that is not scored frame by frame has neither.

    Raises:
        SettingsError: if there is nothing to draw, or matplotlib is not installed.
    """
    check_outcomes(outcomes, None)
    paths = []
    for name, draw in (("over_time", charts.draw_over_time), ("sequences", charts.draw_sequences)):
        figure = draw(outcomes)
        if figure is not None:
            with atomic_path(Path(out) / f"{name}.png") as temporary:
                charts.save(figure, temporary, dpi=120)
            paths.append(Path(out) / f"{name}.png")
    return paths


def _html(outcomes: Sequence[Outcome], reference: str, drawn: list[str], out: Path, samples: Sequence[Sample]) -> str:
    title = f"{outcomes[0].dataset}, {_headline(outcomes)}"
    parts = [
        page.heading(outcomes[0].dataset, 1),
        page.paragraph(_protocol(outcomes), "soft"),
        page.heading("Methods"),
        page.table(method_table(outcomes)),
    ]
    published = published_table(outcomes)
    if published is not None:
        parts.append(page.table(published, "published", PUBLISHED))
    if len(by_method(outcomes)) > 1:
        parts += [
            page.heading(f"Difference from {reference} in {_headline(outcomes)}"),
            page.table(difference_table(outcomes, reference), caption=INTERVAL),
        ]
    parts += drawn
    parts += [page.heading(f"{_headline(outcomes)} by sequence"), page.table(sequence_table(outcomes))]
    parts += _worst(outcomes, out, samples)
    return page.page(title, parts)


def _figures(outcomes: Sequence[Outcome]) -> list[str]:
    """Returns the charts that the outcomes have something for, each with its heading."""
    best = best_method(outcomes)
    of_best = [outcome for outcome in outcomes if outcome.method == best]
    headline = _headline(outcomes)
    count = len({outcome.sequence for outcome in outcomes})
    which = (
        "every sequence" if count <= charts.MOST_SAMPLES else f"the first {charts.MOST_SAMPLES} of {count} sequences"
    )
    found: list[tuple[str, str, Any, str]] = [
        ("By sequence", "bars", charts.draw_bars(outcomes), f"{headline} of {which}."),
        ("Over time", "time", charts.draw_over_time(outcomes), "Mean over sequences, stretched to the same length."),
        ("Each sequence over time", "each", charts.draw_sequences(outcomes), f"One curve for each method, {which}."),
        ("By distance", "distance", charts.draw_thresholds(outcomes), "Visible points found within a distance."),
        ("Confusion", "confusion", charts.draw_confusion(of_best), "What the pixels of a class are taken for."),
    ]
    return [
        part
        for title, salt, figure, caption in found
        if figure is not None
        for part in (page.heading(title), page.chart(charts.as_svg(figure, salt), caption))
    ]


def _worst(outcomes: Sequence[Outcome], out: Path, samples: Sequence[Sample]) -> list[str]:
    """Returns the worst frames of the best method as a list, with pictures where they may be shown."""
    method = best_method(outcomes)
    frames = worst_frames([outcome for outcome in outcomes if outcome.method == method])
    if not frames:
        return []
    known = {sample.name: sample for sample in samples}
    rows = tuple((frame.sequence, frame.frame, percent(frame.score)) for frame in frames)
    parts = [
        page.heading(f"Worst frames of {method}"),
        page.table(Table(("sequence", "frame", "score"), rows)),
    ]
    pictures = [(picture(frame, known, out), frame) for frame in frames]
    shown = [
        (address, f"{frame.sequence}, frame {frame.frame}: {percent(frame.score)}")
        for address, frame in pictures
        if address is not None
    ]
    if shown:
        parts += [page.paragraph("Left the truth, right the prediction where it was kept.", "soft"), page.frames(shown)]
    return parts


def _protocol(outcomes: Sequence[Outcome]) -> str:
    text = f"Protocol {outcomes[0].protocol}. Scored by the rules '{outcomes[0].rules}'. Scores in percent."
    missing = {outcome.method: 0 for outcome in outcomes}
    for outcome in outcomes:
        missing[outcome.method] += int(outcome.facts.get("missing", 0)) + int(outcome.totals.get("missing", 0))
    for method, count in missing.items():
        if count:
            verbs = "results are missing and count" if count > 1 else "result is missing and counts"
            text += f" Of {method}, {count} {verbs} as 0."
    return text


def _headline(outcomes: Sequence[Outcome]) -> str:
    return get_task(outcomes[0].task).headline_measure(outcomes)
