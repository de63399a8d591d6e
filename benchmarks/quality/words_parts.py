"""What each part of RefAM is worth: point accuracy on `world-refer` with and without it.

    python benchmarks/quality/words_parts.py --root DATA --model tiny-words --out parts.csv

The point is the hottest place of the map, before any mask is made. "blocks" reads every block alone.
"""

import argparse
import csv
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.analysis.words import text_sites
from undertow.backbones import Site, load
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.refer.sample import ReferSample
from undertow.benchmarks.refer.scoring import PICTURE_KINDS
from undertow.grounding import Grounder, WordSettings
from undertow.grounding.heat import points_into
from undertow.observing.settings import FrameSettings

NOTHING = WordSettings(magnets=0, phrase=False, spatial=False, least=0.0)
ALL = WordSettings(least=0.0)
PARTS: dict[str, WordSettings] = {
    "nothing": NOTHING,
    "noun phrase": replace(NOTHING, phrase=True),
    "noun phrase + magnets": replace(NOTHING, phrase=True, magnets=5),
    "noun phrase + places": replace(NOTHING, phrase=True, spatial=True),
    "all": ALL,
    **{f"{count} magnets": replace(ALL, magnets=count) for count in (0, 3, 8)},
    "reading A": replace(ALL, reading="A"),
    "reading B": replace(ALL, reading="B"),
    "reading C": replace(ALL, reading="C"),
    "sinks: keep": replace(ALL, sinks="keep"),
    "sinks: redirect": replace(ALL, sinks="redirect"),
    "sinks: fallback": replace(ALL, sinks="fallback"),
    "4 draws of noise": replace(ALL, repeats=4),
}


def pictures(root: Path, split: str) -> dict[Path, list[ReferSample]]:
    """Returns the samples of each picture."""
    found: dict[Path, list[ReferSample]] = defaultdict(list)
    for sample in open_dataset("world-refer", root, split):
        assert isinstance(sample, ReferSample)
        found[sample.video].append(sample)
    return found


def main() -> None:
    """Writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True, help="folder of benchmark worlds")
    parser.add_argument("--model", default="tiny-words", help="model that reads words")
    parser.add_argument("--split", default="all", help="all, calm or worlds")
    parser.add_argument("--timestep", type=int, help="noise level, if not the card's")
    parser.add_argument("--tokens", type=int, help="tokens of a picture, if not the card's")
    parser.add_argument("--only", default="", help="parts to look at, separated by commas; by default all")
    parser.add_argument("--out", type=Path, required=True, help="table to write")
    args = parser.parse_args()
    backbone = load(args.model)
    frames = FrameSettings(timestep=args.timestep, tokens=args.tokens)
    wanted = args.only.split(",") if args.only else [*PARTS, "blocks"]
    parts: dict[str, tuple[WordSettings, tuple[Site, ...]]] = {
        name: (settings, ()) for name, settings in PARTS.items() if name in wanted
    }
    if "blocks" in wanted:
        parts |= {f"block {number}": (ALL, (site,)) for number, site in enumerate(text_sites(backbone))}
    hits: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for path, samples in pictures(args.root, args.split).items():
        image = np.asarray(Image.open(path).convert("RGB"))
        masks = [sample.load(0)[0][0] for sample in samples]
        for name, (settings, sites) in parts.items():
            grounder = Grounder(backbone, image.shape[:2], settings, frames, sites=sites)
            sights = grounder.look(image, *(sample.texts[0] for sample in samples))
            for sample, mask, sight in zip(samples, masks, sights, strict=True):
                for kind in ("PA", *sample.kinds):
                    hits[name][kind].append(points_into(sight.heat, mask))
                hits[name]["chance"].append(sample.chance)
    columns = ("PA", "chance", *PICTURE_KINDS)
    with args.out.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("part", *columns))
        for name, found in hits.items():
            table.writerow((name, *(f"{100 * np.mean(found[each]):.1f}" if found[each] else "" for each in columns)))
            print(name, {each: round(100 * float(np.mean(found[each])), 1) for each in columns if found[each]})


if __name__ == "__main__":
    main()
