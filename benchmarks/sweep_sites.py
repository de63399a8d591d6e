"""Sweeps site, noise level, noising and temperature of mask tracking, at protocol `lab`.

    python benchmarks/sweep_sites.py --root DATA --model tiny --out sweep.csv
    python benchmarks/sweep_sites.py --root DATA --model tiny --presets pixels,latents --out controls.csv

Every preset is swept over the same grid of temperatures, window, k and memory, on the sequences blackswan, camel, dog
and parkour only; the others stay unseen until a table is made. Features are computed once per site and noise level.
"""

import argparse
import csv
import itertools
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np

from undertow.affinity import get_preset
from undertow.backbones import Site, load
from undertow.benchmarks import get_protocol, open_dataset
from undertow.metrics import DatasetSummary, SequenceEvaluator
from undertow.tracking import MaskTracker, TrackSettings, resolve
from undertow.tracking.features import extract
from undertow.video import Frame, Video

TUNING = ("blackswan", "camel", "dog", "parkour")
TEMPERATURES = {
    "attention": (0.35, 0.5, 0.7, 1.0, 1.4, 2.0),
    "features": (0.02, 0.035, 0.05, 0.07, 0.1, 0.15, 0.2),
    "latents": (0.25, 0.5, 1.0, 2.0, 4.0, 8.0),
    "pixels": (0.01, 0.02, 0.04, 0.08, 0.16, 0.32),
}
NOISES = tuple(itertools.product(("noise", "clean"), (1, 21, 41, 101, 201, 301))) + (("invert", 41), ("invert", 101))


def stride_eight_sites(backbone):
    """Every self-attention of the denoiser that sees the stride of the card's own site."""
    own = backbone.card.sites["track"][0]
    sites = []
    for name, module in backbone.unet.named_modules():
        if name.endswith("attn1") and name.split(".")[:2] in (["up_blocks", "1"], ["down_blocks", "1"]):
            dim = module.to_q.weight.shape[0] // module.heads
            sites.append(Site(name, "self", module.heads, dim, own.stride))
    return sites


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--presets", default="drift,dift")
    parser.add_argument("--scopes", default="")
    parser.add_argument("--radii", default="", help="window radii in tokens of the lab grid")
    parser.add_argument("--noises", default="", help="such as noise:41,clean:1; all by default")
    parser.add_argument("--sites", default="", help="parts of site paths; all of the card's stride by default")
    parser.add_argument("--temperatures", default="")
    parser.add_argument("--topk", default="")
    parser.add_argument("--recent", default="")
    parser.add_argument("--sequences", default=",".join(TUNING))
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--out", default="sweep.csv")
    arguments = parser.parse_args()
    backbone = load(arguments.model, dtype=arguments.dtype)
    protocol = get_protocol("lab")
    wanted = arguments.sequences.split(",")
    sequences = [s for s in open_dataset("davis", arguments.root) if s.name in wanted]
    clips = []
    for sequence in sequences:
        with Video(sequence.video) as video:
            numbers = protocol.frames(len(sequence.frames))
            frames = [Frame(i, Fraction(i), video[n], sequence.frames[n]) for i, n in enumerate(numbers)]
        clips.append((sequence, frames, [sequence.load_mask(n) for n in numbers]))

    noises = [(n.split(":")[0], int(n.split(":")[1])) for n in arguments.noises.split(",") if n] or list(NOISES)
    sites = stride_eight_sites(backbone)
    if arguments.sites:
        sites = [s for s in sites if any(part in s.path for part in arguments.sites.split(","))]
    numbers = {name: [float(x) for x in getattr(arguments, name).split(",") if x] for name in ("temperatures",)}
    whole = {
        name: [int(x) for x in getattr(arguments, name).split(",") if x] or [None]
        for name in ("radii", "topk", "recent")
    }
    scopes = [s for s in arguments.scopes.split(",") if s] or [None]
    path = Path(arguments.out)
    card = backbone.card
    with path.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow(
            ["preset", "site", "noising", "timestep", "temperature", "scope", "radius", "topk", "recent", "J&F"]
            + wanted
        )
        for name in arguments.presets.split(","):
            source = get_preset(name).source
            models = source in ("attention", "features")
            places = itertools.product(sites, noises) if models else [(sites[0], noises[0])]
            for site, (noising, timestep) in places:
                backbone.card = replace(card, sites={"track": (site,)})
                base = TrackSettings(preset=name, tokens=protocol.tokens, noising=noising, timestep=timestep)
                features = []
                for _, frames, _ in clips:
                    settings = resolve(base, backbone, *frames[0].image.shape[:2])
                    features.append(
                        [
                            each
                            for start in range(0, len(frames), 4)
                            for each in extract(
                                backbone,
                                [f.image for f in frames[start : start + 4]],
                                [f.index for f in frames[start : start + 4]],
                                settings,
                            )
                        ]
                    )
                for temperature, scope, radius, topk, recent in itertools.product(
                    numbers["temperatures"] or TEMPERATURES[source], scopes, *whole.values()
                ):
                    begun = time.monotonic()
                    tried = replace(
                        base, temperature=temperature, softmax_scope=scope, radius=radius, topk=topk, recent=recent
                    )
                    scores = []
                    for (sequence, frames, masks), seen in zip(clips, features, strict=True):
                        tracker = MaskTracker(backbone, tried)
                        evaluator = SequenceEvaluator(sequence.ids)
                        for frame, own, mask in zip(frames, seen, masks, strict=True):
                            labels = tracker.advance(frame, own, mask if frame.index == 0 else None).labels
                            evaluator.update(labels, mask)
                        scores.append(DatasetSummary.of([evaluator.result()]).combined)
                    row = [name, site.path, noising, timestep, temperature, scope, radius, topk, recent]
                    row += [f"{100 * s:.2f}" for s in (np.mean(scores), *scores)]
                    rows.writerow(row)
                    handle.flush()
                    print(*row, f"{time.monotonic() - begun:.1f}s", flush=True)


if __name__ == "__main__":
    main()
