"""Measures how a parser finds classes that come into view later, on validation worlds of the family "entrances".

    python benchmarks/quality/parse_novelty.py --worlds 4 --out novelty.csv

Frame 0 is the anchor; every fourth frame is shown, at about 1600 tokens, in batches of four. For each `novelty`:
`found`, the share of the pixels of classes absent from the anchor that get a number of their own, and `false`, the
share of all other pixels that do.
"""

import argparse
import csv
from dataclasses import replace
from itertools import count as counting
from itertools import islice
from pathlib import Path

import numpy as np

from undertow.backbones import load
from undertow.parsing import ParseSettings, parse
from undertow.world import FIRST_VALIDATION_SEED, make_family_scene, semantic_map


def with_late_classes(frames):
    """Yields (images, semantic maps) of worlds in which a class that frame 0 lacks has a hundredth of a later frame."""
    for seed in counting(FIRST_VALIDATION_SEED + 21_000):
        scene = make_family_scene("entrances", seed, 270, 480)
        pictures = [scene.picture(4.0 * time) for time in range(frames)]
        maps = [semantic_map(scene, picture) for picture in pictures]
        if max((~np.isin(labels, np.unique(maps[0]))).mean() for labels in maps) > 0.01:
            yield np.stack([picture.image for picture in pictures]), maps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--novelty", default="1.5,2,3,4")
    parser.add_argument("--out", type=Path, default=Path("novelty.csv"))
    options = parser.parse_args()
    backbone = load(options.model)
    base = ParseSettings(method="vidseg", tokens=1600, batch=4, discover=True, agree=False, upsampling="bilinear")
    counts = {float(novelty): np.zeros(4) for novelty in options.novelty.split(",")}
    for images, maps in islice(with_late_classes(options.frames), options.worlds):
        known = np.unique(maps[0])
        for novelty in counts:
            settings = replace(base, novelty=novelty)
            for result in list(parse(images, {0: maps[0]}, backbone, settings))[1:]:
                late, new = ~np.isin(maps[result.index], known), ~np.isin(result.labels, known)
                counts[novelty] += [(late & new).sum(), late.sum(), (~late & new).sum(), (~late).sum()]
        with options.out.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("novelty", "found", "false", "late pixels"))
            for novelty, (found, late, false, rest) in counts.items():
                writer.writerow((novelty, f"{found / max(late, 1):.3f}", f"{false / max(rest, 1):.4f}", int(late)))


if __name__ == "__main__":
    main()
