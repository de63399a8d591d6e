"""Draws J&F against training steps, and against the noise level a frame is observed at.

    python benchmarks/figures/draw_curves.py --steps steps.csv --lines pixels=58.7 --out docs/images/training_steps.png
    python benchmarks/figures/draw_curves.py --noise noise.csv --lines pixels=58.7 --out docs/images/noise_levels.png
    python benchmarks/figures/draw_curves.py --mixes mixes.csv --out docs/images/training_mixes.png

`steps.csv` comes from `ablate_tiny.py --score`, `noise.csv` from `sweep_sites.py` with `--noises`, `mixes.csv` from
`mix_curves.py`; numbers only.
"""

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

WIDTH, HEIGHT = 7.0, 4.0


def read_steps(path):
    """Returns {label: [(step, J&F)]} of a table of snapshots."""
    curves = defaultdict(list)
    for row in csv.DictReader(path.open()):
        for what in ("lab", "worlds"):
            curves[f"{row['preset']}, {what}"].append((int(row["step"]), float(row[what])))
    return curves


def read_mixes(path):
    """Returns {label: [(step, J&F of real video, mean over seeds)]} of runs on several mixes of pictures."""
    found = defaultdict(list)
    for row in csv.DictReader(path.open()):
        label = f"{row['preset']}, {float(row['share']):.0%} photographs"
        found[label, int(row["step"])].append(float(row["lab"]))
    curves = defaultdict(list)
    for (label, step), figures in found.items():
        curves[label].append((step, sum(figures) / len(figures)))
    return curves


def read_noise(path):
    """Returns {label: [(timestep, best J&F over temperatures)]} of a sweep of noise levels."""
    best = {}
    for row in csv.DictReader(path.open()):
        key = f"{row['preset']}, {row['noising']}", int(row["timestep"])
        best[key] = max(best.get(key, 0.0), float(row["J&F"]))
    curves = defaultdict(list)
    for (label, timestep), figure in best.items():
        curves[label].append((timestep, figure))
    return curves


def draw(curves, lines, xlabel, out, logarithmic):
    figure, axes = plt.subplots(figsize=(WIDTH, HEIGHT), layout="constrained")
    markers = {"invert": "s", "noise": "o", "clean": "^"}
    colours = {}
    for label, points in sorted(curves.items()):
        preset, _, kind = label.partition(", ")
        colour = colours.setdefault(kind, f"C{len(colours)}")
        style = "-" if preset == "drift" else "--"
        axes.plot(*zip(*sorted(points), strict=True), style, marker=markers.get(kind, "o"), color=colour, label=label)
    for name, value in lines:
        axes.axhline(value, color="grey", linewidth=1, linestyle=":")
        axes.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", color="grey")
    if logarithmic:
        axes.set_xscale("log")
        steps = sorted({step for points in curves.values() for step, _ in points})
        axes.set_xticks(steps, list(map(str, steps)), minor=False)
        axes.set_xticks([], minor=True)
    axes.set(xlabel=xlabel, ylabel="J&F")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.savefig(out, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--mixes", type=Path)
    parser.add_argument("--lines", default="", help="name=value of horizontal lines, separated by commas")
    parser.add_argument("--out", type=Path, required=True)
    asked = parser.parse_args()
    lines = [
        (name, float(value)) for name, _, value in (part.partition("=") for part in asked.lines.split(",") if part)
    ]
    if asked.steps:
        draw(read_steps(asked.steps), lines, "training steps", asked.out, logarithmic=True)
    if asked.mixes:
        draw(read_mixes(asked.mixes), lines, "training steps", asked.out, logarithmic=True)
    if asked.noise:
        draw(read_noise(asked.noise), lines, "timestep", asked.out, logarithmic=False)


if __name__ == "__main__":
    main()
