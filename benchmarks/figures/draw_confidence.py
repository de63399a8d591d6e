"""Does low confidence mean a poor mask? Tracks real sequences and holds every score against the J of its frame.

    python benchmarks/figures/draw_confidence.py --root DATA --csv confidence.csv --out docs/images/confidence.png
    python benchmarks/figures/draw_confidence.py --csv confidence.csv --out docs/images/confidence.png

The first tracks the sequences (at protocol `lab`, default settings) and writes one row per object and later frame; the
second only reads those rows. Both print the tables of docs/confidence.md and draw its picture; numbers only.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from undertow import track
from undertow.backbones import load
from undertow.base import atomic_path
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.sample import get_protocol
from undertow.metrics.calibration import (
    area_under_risk_coverage,
    area_under_roc,
    expected_calibration_error,
    rank_correlation,
    reliability_table,
    risk_coverage,
)
from undertow.metrics.similarity import region_similarity
from undertow.tracking import TrackSettings
from undertow.video import Video

CONFIDENCES = ("presence", "margin", "mass")
# What needs no confidence at all: the longer ago the mask was given, the worse.
CONTROL = "age"
COLUMNS = ("sequence", "frame", "object", "age", "area", "true_area", *CONFIDENCES, "lost", "J")
COLOURS = {"presence": "#0072B2", "margin": "#D55E00", "mass": "#009E73", CONTROL: "#777777"}
FAILED = 0.5


def measure(backbone, sequence, protocol):
    """Yields one row per object and frame after the first."""
    numbers = protocol.frames(len(sequence.frames))
    with Video(sequence.video) as video:
        images = (video[n] for n in numbers)
        results = track(Video(images), sequence.load_mask(0), backbone, TrackSettings(tokens=protocol.tokens))
        for age, (number, result) in enumerate(zip(numbers, results, strict=True)):
            if age == 0 or sequence.frames[number] not in sequence.masks:
                continue
            truth = sequence.load_mask(number)
            for identity, score in result.scores.items():
                true = truth == identity
                yield {
                    "sequence": sequence.name,
                    "frame": number,
                    "object": identity,
                    "age": age,
                    "area": score.area,
                    "true_area": int(true.sum()),
                    "presence": round(score.presence, 6),
                    "margin": round(score.margin, 6),
                    "mass": round(score.mass, 6),
                    "lost": int(score.lost),
                    "J": round(region_similarity(result.labels == identity, true), 6),
                }


def write_rows(path, rows):
    with atomic_path(path) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path):
    """Returns columns of numbers by name, and the sequence of each row."""
    rows = list(csv.DictReader(path.open()))
    # Neither there nor shown: J is 1 by convention, and a presence of 0 is just as right.
    judged = [row for row in rows if int(row["area"]) or int(row["true_area"])]
    print(f"{len(judged)} masks of {len({row['sequence'] for row in rows})} sequences;", end=" ")
    print(f"{len(rows) - len(judged)} rows left out, where the object is neither there nor shown")
    columns = {name: np.array([float(row[name]) for row in judged]) for name in COLUMNS[1:]}
    columns[CONTROL] = -columns["age"]
    return columns, np.array([row["sequence"] for row in judged])


def interval(measure, values, score, sequences, samples=2000):
    """Returns the 95 % interval found by resampling whole sequences: frames of one sequence resemble each other."""
    generator, names = np.random.default_rng(0), np.unique(sequences)
    places = {name: np.flatnonzero(sequences == name) for name in names}
    found = []
    for _ in range(samples):
        chosen = np.concatenate([places[name] for name in generator.choice(names, len(names))])
        found.append(measure(values[chosen], score[chosen]))
    return np.nanquantile(found, [0.025, 0.975])


def within(values, age, score, sequences):
    """Returns the rank correlation inside a sequence, averaged over sequences: as it is, and with age taken out."""
    plain, partial = [], []
    for name in np.unique(sequences):
        part = sequences == name
        direct = rank_correlation(values[part], score[part])
        ages = rank_correlation(values[part], age[part]), rank_correlation(score[part], age[part])
        plain.append(direct)
        rest = np.sqrt((1 - ages[0] ** 2) * (1 - ages[1] ** 2))
        partial.append((direct - ages[0] * ages[1]) / rest if rest > 1e-6 else np.nan)
    return np.nanmean(plain), np.nanmean(partial) if np.isfinite(partial).any() else np.nan


def show_alarms(values, score, thresholds):
    """Prints what looking at every mask below a threshold would find, were the threshold known beforehand."""
    failed = score < FAILED
    print("| threshold | masks checked | failures found | failures among checked masks |\n|---:|---:|---:|---:|")
    for threshold in thresholds:
        alarm = values < threshold
        found = (alarm & failed).sum()
        shares = alarm.mean(), found / failed.sum(), found / max(alarm.sum(), 1)
        print(f"| {threshold:g} | " + " | ".join(f"{share:.0%}" for share in shares) + " |")
    print()


def show(columns, sequences):
    """Prints the tables."""
    score = columns["J"]
    right = score >= FAILED
    print(f"mean J {score.mean():.3f}; {np.mean(~right):.1%} of masks fail (J below {FAILED})\n")
    print("| | AUROC of failure | Spearman | inside | age out | risk-coverage | ECE for J | for J >= 0.5 |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for name in (*CONFIDENCES, CONTROL):
        values = columns[name]
        area, order = area_under_roc(values, score), rank_correlation(values, score)
        bounds = [interval(each, values, score, sequences) for each in (area_under_roc, rank_correlation)]
        inside = within(values, columns[CONTROL], score, sequences)
        errors = [expected_calibration_error(values, each) for each in (score, right)] if name != CONTROL else []
        cells = [f"{area:.3f} ({bounds[0][0]:.2f} to {bounds[0][1]:.2f})"]
        cells.append(f"{order:+.3f} ({bounds[1][0]:+.2f} to {bounds[1][1]:+.2f})")
        cells += [f"{each:+.2f}" if np.isfinite(each) else "-" for each in inside]
        cells += [f"{area_under_risk_coverage(values, score):.3f}", *(f"{error:.3f}" for error in errors)]
        print(f"| {name} | " + " | ".join(cells + ["-"] * (7 - len(cells))) + " |")
    print(f"\nrisk-coverage: nothing known {1 - score.mean():.3f}, least possible", end=" ")
    print(f"{area_under_risk_coverage(score, score):.3f}\n")
    show_alarms(columns["margin"], score, (0.3, 0.4, 0.5, 0.6, 0.7))
    for name in CONFIDENCES:
        print(f"| {name} | mean | mean J | J >= 0.5 | masks |\n|---|---:|---:|---:|---:|")
        tables = reliability_table(columns[name], score), reliability_table(columns[name], right)
        for one, other in zip(*tables, strict=True):
            span = f"{one.low:.3f} to {one.high:.3f}"
            print(f"| {span} | {one.confidence:.3f} | {one.score:.3f} | {other.score:.3f} | {one.count} |")
        print()
    print("| sequence | masks | J | " + " | ".join(CONFIDENCES) + " | lost |\n|---|---:|---:|" + "---:|" * 4)
    for name in np.unique(sequences):
        part = sequences == name
        means = [f"{columns[each][part].mean():.3f}" for each in ("J", *CONFIDENCES)]
        print(f"| {name} | {part.sum()} | " + " | ".join(means) + f" | {int(columns['lost'][part].sum())} |")


def draw(columns, out):
    """Draws mean J by decile of each confidence, and the risk-coverage curves."""
    figure = Figure(figsize=(9.0, 6.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2, 2)
    score = columns["J"]
    for axes, name in zip(grid.flat, CONFIDENCES, strict=False):
        axes.scatter(columns[name], score, s=5, color=COLOURS[name], alpha=0.25, linewidths=0)
        table = reliability_table(columns[name], score)
        axes.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
        axes.plot([one.confidence for one in table], [one.score for one in table], "o-", color="black", markersize=4)
        counts = sorted({one.count for one in table})
        sizes = "to".join(f" {count} " for count in dict.fromkeys((counts[0], counts[-1])))
        area = area_under_roc(columns[name], score)
        axes.set_title(f"{name}: J by tenths of{sizes}masks, AUROC {area:.2f}", fontsize=9)
        axes.set(xlabel=name, ylabel="J", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes = grid.flat[3]
    for name in (*CONFIDENCES, CONTROL):
        coverage, risk = risk_coverage(columns[name], score)
        axes.plot(100 * coverage, risk, label=name, color=COLOURS[name], linewidth=1.6)
    coverage, risk = risk_coverage(score, score)
    axes.plot(100 * coverage, risk, "--", color="black", linewidth=1, label="J itself")
    axes.axhline(1 - score.mean(), color="black", linestyle=":", linewidth=1, label="nothing known")
    axes.set_title("what is wrong with the most confident share", fontsize=9)
    axes.set(xlabel="kept, %", ylabel="mean 1 - J", xlim=(0, 100), ylim=(0, None))
    axes.legend(fontsize=8, frameon=False)
    for axes in grid.flat:
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="folder of annotated sequences; without it the rows are only read")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--protocol", default="lab")
    parser.add_argument("--csv", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    if asked.root:
        backbone, protocol, rows = load(asked.model), get_protocol(asked.protocol), []
        for sequence in open_dataset("davis", asked.root):
            rows += measure(backbone, sequence, protocol)
            print(sequence.name, len(rows), flush=True)
        write_rows(asked.csv, rows)
    columns, sequences = read_rows(asked.csv)
    show(columns, sequences)
    draw(columns, asked.out)


if __name__ == "__main__":
    main()
