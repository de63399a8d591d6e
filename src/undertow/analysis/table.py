"""The table of an analysis: a row per site, timestep, head and thing compared, averaged over clips, and its ranking."""

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from undertow.analysis.scores import SiteScores
from undertow.backbones import Site

Compared = Literal["query-key", "features", "features (cosine)"]
_NAN = float("nan")


@dataclass(frozen=True)
class Row:
    """What one site, asked at one timestep, knows of motion.

    Attributes:
        layer: Its number among the sites of the network, in running order.
        site: Its module path.
        stride: Image pixels per side of a token.
        timestep: What the network was given.
        head: Number of the head; `None` for all heads together.
        compared: Queries with keys, or intermediate features with themselves, by inner products or by cosine.
        accuracy: Matching accuracy in percent.
        confidence_cross: Largest weight of the joint softmax on other frames, where the point is seen.
        confidence_self: The same on the own frame.
        confidence_text: The same on the text; NaN where the attention has no text.
        attention_cross: Share of the joint softmax that goes to other frames.
        attention_self: Share on the own frame.
        attention_text: Share on the text.
        harmonic: Harmonic mean of accuracy, cross confidence and cross attention, each stretched to 0..1 over the
            table (rows of single heads among themselves); NaN for features.
    """

    layer: int
    site: str
    stride: int
    timestep: int
    head: int | None
    compared: Compared
    accuracy: float
    confidence_cross: float = _NAN
    confidence_self: float = _NAN
    confidence_text: float = _NAN
    attention_cross: float = _NAN
    attention_self: float = _NAN
    attention_text: float = _NAN
    harmonic: float = _NAN


MEASURES = tuple(field.name for field in fields(Row) if field.type in (float, "float"))
Rank = Literal["accuracy", "harmonic"]


def score_rows(layer: int, site: Site, timestep: int, scores: SiteScores) -> list[Row]:
    """Returns the rows of one site's queries and keys on one clip, heads first (unless there is one), all last."""
    rows = []
    for place in range(len(scores.accuracy)) if site.heads > 1 else (1,):
        head = None if place == site.heads else place
        named = {f"confidence_{part}": float(values[place]) for part, values in scores.confidence.items()}
        named |= {f"attention_{part}": float(values[place]) for part, values in scores.attention.items()}
        accuracy = float(scores.accuracy[place])
        rows.append(Row(layer, site.path, site.stride, timestep, head, "query-key", accuracy, **named))
    return rows


def feature_rows(
    layer: int, site: Site, timestep: int, accuracy: Float64[np.ndarray, "heads"], compared: Compared
) -> list[Row]:
    """Returns the rows of one site's features on one clip: parts of the channels first, all last."""
    last = len(accuracy) - 1
    return [
        Row(layer, site.path, site.stride, timestep, None if place == last else place, compared, float(value))
        for place, value in enumerate(accuracy)
    ]


def average(clips: Iterable[Sequence[Row]]) -> list[Row]:
    """Returns the rows averaged over clips, every clip counting the same, with their harmonic means.

    A clip on which a measure is NaN does not count for it.
    """
    found: dict[tuple[object, ...], list[Row]] = {}
    for rows in clips:
        for row in rows:
            found.setdefault((row.layer, row.timestep, row.head is None, row.head, row.compared), []).append(row)
    means = []
    for rows in found.values():
        values = {name: _mean([getattr(row, name) for row in rows]) for name in MEASURES}
        means.append(replace(rows[0], **values))  # type: ignore[arg-type]
    return with_harmonic(means)


def with_harmonic(rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with DiffTrack's harmonic mean: of three measures, each min-max normalised over the table.

    Single heads are normalised among themselves, because they are another table. What has the least of one measure
    gets 0, as in the paper, whatever the others are. Where a measure says nothing (one value for all), it is left out.
    """
    values: dict[int, float] = {}
    for together in (True, False):
        chosen = [i for i, row in enumerate(rows) if row.compared == "query-key" and (row.head is None) is together]
        if not chosen:
            continue
        names = ("accuracy", "confidence_cross", "attention_cross")
        table = np.array([[getattr(rows[i], name) for name in names] for i in chosen])
        low, high = table.min(axis=0), table.max(axis=0)
        table = (table - low)[:, high > low] / (high - low)[high > low]
        if not table.shape[1]:
            continue
        with np.errstate(divide="ignore", invalid="ignore"):
            harmonic = table.shape[1] / (1 / table).sum(axis=1)
        values |= dict(zip(chosen, np.nan_to_num(harmonic, nan=0.0, posinf=0.0), strict=True))
    return [replace(row, harmonic=float(values[i])) if i in values else row for i, row in enumerate(rows)]


def ranked(rows: Iterable[Row], by: Rank = "accuracy", *, keep: Callable[[Row], bool] = lambda row: True) -> list[Row]:
    """Returns the rows that `keep` accepts and that have the measure, best first; of equals, the earlier layer."""
    known = [row for row in rows if keep(row) and not np.isnan(getattr(row, by))]
    heads = [-1 if row.head is None else row.head for row in known]
    order = sorted(zip(known, heads, strict=True), key=lambda pair: (-getattr(pair[0], by), pair[0].layer, pair[1]))
    return [row for row, _ in order]


def to_csv(rows: Iterable[Row]) -> str:
    """Returns all rows as CSV with a header; the head of all heads together is "all"."""
    text = io.StringIO()
    names = [field.name for field in fields(Row)]
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        values = {name: getattr(row, name) for name in names} | {"head": "all" if row.head is None else row.head}
        writer.writerow([f"{value:.6g}" if isinstance(value, float) else value for value in values.values()])
    return text.getvalue()


def to_markdown(rows: Sequence[Row]) -> str:
    """Returns rows as a markdown table, in the order given."""
    lines = [
        "| layer | site | timestep | head | compared | accuracy | confidence cross / self / text "
        "| attention cross / self / text | harmonic |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        confidence = " / ".join(_short(getattr(row, f"confidence_{part}"), 3) for part in ("cross", "self", "text"))
        attention = " / ".join(_short(getattr(row, f"attention_{part}"), 2) for part in ("cross", "self", "text"))
        head = "all" if row.head is None else str(row.head)
        site = row.site.replace(".transformer_blocks.0.attn1", "")
        lines.append(
            f"| {row.layer} | `{site}` | {row.timestep} | {head} | {row.compared} | {row.accuracy:.1f} "
            f"| {confidence} | {attention} | {_short(row.harmonic, 2)} |"
        )
    return "\n".join(lines) + "\n"


def _short(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else _NAN
