"""Damages the masks of real sequences in known ways, and says what an evaluator has to find.

    python benchmarks/speed/make_damaged.py --root DATA --out damaged --table damaged.md --json damaged.json
    undertow bench score davis-folders --root DATA --results damaged/eroded
    undertow bench score davis-folders --root damaged/pairs --results damaged/swapped

`DATA` has folders `davis-<sequence>/frames` and `masks` with one object each. Every kind of damage becomes a folder
`<out>/<kind>/<sequence>/<frame>.png` of palette PNGs, which the official evaluator reads as well. Swapped ids need two
objects: they are made of pairs of sequences, whose truth is written to `<out>/pairs` in the layout of `DATA`, the first
sequence's object in front; `frames` there is a link to the first one's. The expected figures come from the plain
evaluation in `score_speed.py`, not from undertow.
"""

import argparse
import json
import zlib
from pathlib import Path

import numpy as np
from score_speed import plain_scores

from undertow.masks import read_label_map, write_label_map
from undertow.metrics.statistics import Summary

KINDS = ("identity", "eroded", "dilated", "shifted", "dropped", "noisy", "swapped")
SEED = 20260
REACH = 4
SHIFT = (6, 10)
FIGURES = ("J mean", "J recall", "J decay", "F mean", "F recall", "F decay")


def damage(kind, labels, sequence, time, count):
    """Returns a damaged label map.

    Args:
        kind: "identity" nothing; "eroded" and "dilated" by a square of 9 x 9 pixels; "shifted" 6 pixels down and 10 to
            the right; "dropped" a fifth of the frames emptied; "noisy" one pixel in a hundred changes sides; "swapped"
            objects 1 and 2 exchange ids from the middle of the sequence on.
        labels: the map, uint16 (h, w).
        sequence: its name; with the frame it decides the random numbers.
        time: index of the frame.
        count: frames in the sequence.
    """
    generator = np.random.default_rng([SEED, zlib.crc32(sequence.encode()), time])
    if kind == "eroded":
        return np.where((running(np.minimum, labels) == labels) & (running(np.maximum, labels) == labels), labels, 0)
    if kind == "dilated":
        return running(np.maximum, labels)
    if kind == "shifted":
        moved = np.zeros_like(labels)
        moved[SHIFT[0] :, SHIFT[1] :] = labels[: -SHIFT[0], : -SHIFT[1]]
        return moved
    if kind == "dropped":
        return np.zeros_like(labels) if generator.random() < 0.2 else labels
    if kind == "noisy":
        flipped = generator.random(labels.shape) < 0.01
        return np.where(flipped, np.where(labels == 0, 1, 0), labels).astype(np.uint16)
    if kind == "swapped" and time >= count // 2:
        return np.array([0, 2, 1], np.uint16)[labels]
    return labels


def running(extreme, labels):
    """Returns the running minimum or maximum of a map over `REACH` pixels to every side."""
    for axis in (0, 1):
        still = np.moveaxis(labels, axis, 0)
        result = labels.copy()
        moved = np.moveaxis(result, axis, 0)
        for shift in range(1, REACH + 1):
            extreme(moved[shift:], still[:-shift], out=moved[shift:])
            extreme(moved[:-shift], still[shift:], out=moved[:-shift])
        labels = result
    return labels


def paste(front, back):
    """Returns a map of two objects, the first one in front."""
    return np.where(front == 1, 1, np.where(back == 1, 2, 0)).astype(np.uint16)


def read_sequence(root, name):
    """Returns the true label maps of a sequence, or of a pair called `a+b` as far as both go, by frame name."""
    parts = []
    for part in name.split("+"):
        files = sorted((root / f"davis-{part}" / "masks").glob("*.png"))
        parts.append({path.stem: read_label_map(path) for path in files})
    if len(parts) == 1:
        return parts[0]
    return {frame: paste(parts[0][frame], parts[1][frame]) for frame in parts[0] if frame in parts[1]}


def sequence_names(root, kind):
    """Returns the sequences that are damaged in a way: those of one object, or neighbours of them in pairs."""
    names = sorted(folder.parent.name.removeprefix("davis-") for folder in root.glob("davis-*/masks"))
    if kind != "swapped":
        return names
    return [f"{first}+{second}" for first, second in zip(names[::2], names[1::2], strict=False)]


def expected_scores(damaged, truth):
    """Returns (J, F) by object and frame, the first and the last frame left out, by the plain evaluation."""
    frames = list(truth)
    objects = int(truth[frames[0]].max())
    # Frame by frame, since the stacks of a whole sequence would be gigabytes.
    rows = [plain_scores(damaged[name][None], truth[name][None], objects) for name in frames[1:-1]]
    return {number: np.concatenate([row[number] for row in rows]) for number in range(1, objects + 1)}


def figures(scores):
    """Returns the six official figures of a sequence, averaged over its objects, from (J, F) by object and frame."""
    objects = [[Summary.of(kind) for kind in np.transpose(one)] for one in scores.values()]
    return {
        f"{letter} {name}": float(np.mean([getattr(one[place], name) for one in objects]))
        for place, letter in enumerate("JF")
        for name in ("mean", "recall", "decay")
    }


def table(expected):
    """Returns the expected figures of every kind as a Markdown table, in hundredths."""
    lines = ["| damage | sequences | J&F | " + " | ".join(FIGURES) + " |", "|---|---:|" + "---:|" * (len(FIGURES) + 1)]
    for kind, by_sequence in expected.items():
        means = [100 * np.mean([row[name] for row in by_sequence.values()]) for name in FIGURES]
        cells = " | ".join(f"{value:.3f}" for value in ((means[0] + means[3]) / 2, *means))
        lines.append(f"| {kind} | {len(by_sequence)} | {cells} |")
    return "\n".join(lines) + "\n"


def as_json(expected):
    """Returns the figures as JSON, to twelve places, with a line for each sequence."""
    kinds = []
    for kind, by_sequence in expected.items():
        rows = ({name: round(value, 12) for name, value in row.items()} for row in by_sequence.values())
        lines = (f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in zip(by_sequence, rows, strict=True))
        kinds.append(f" {json.dumps(kind)}: {{\n" + ",\n".join(lines) + "\n }")
    return "{\n" + ",\n".join(kinds) + "\n}\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--table", type=Path)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    expected = {}
    for kind in asked.kinds.split(","):
        expected[kind] = {}
        for name in sequence_names(asked.root, kind):
            truth = read_sequence(asked.root, name)
            damaged = {}
            for time, (frame, labels) in enumerate(truth.items()):
                damaged[frame] = damage(kind, labels, name, time, len(truth)).astype(np.uint16)
                write_label_map(asked.out / kind / name / f"{frame}.png", damaged[frame])
                if kind == "swapped":
                    write_label_map(asked.out / "pairs" / f"davis-{name}" / "masks" / f"{frame}.png", labels)
            if kind == "swapped" and not (link := asked.out / "pairs" / f"davis-{name}" / "frames").exists():
                link.symlink_to((asked.root / f"davis-{name.split('+')[0]}" / "frames").resolve())
            expected[kind][name] = figures(expected_scores(damaged, truth))
    print(table(expected))
    if asked.table:
        asked.table.write_text(table(expected))
    if asked.json:
        asked.json.write_text(as_json(expected))


if __name__ == "__main__":
    main()
