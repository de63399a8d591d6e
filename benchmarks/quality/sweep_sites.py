"""Sweeps site, noise level, noising, temperature and kernel constants of mask tracking, at protocol `lab`.

    python benchmarks/quality/sweep_sites.py --root DATA --model tiny --out sweep.csv
    python benchmarks/quality/sweep_sites.py --root DATA --model tiny --presets pixels,latents --out controls.csv

Every preset is swept over the same grid, window, k and memory, on the sequences blackswan, camel, dog and parkour
(column `J&F`) and on validation worlds (column `worlds`, left out with `--worlds 0`) only; the others stay unseen until
a table is made. Features are computed once per site and noise level.
"""

import argparse
import csv
import itertools
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from undertow.affinity import get_preset
from undertow.backbones import load
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.core.sample import get_protocol
from undertow.benchmarks.masks.sample import MaskSample
from undertow.metrics import DatasetSummary, SequenceEvaluator
from undertow.tracking import MaskTracker, TrackSettings, resolve
from undertow.tracking.settings import observer_of
from undertow.training.validation import Validation
from undertow.video import Frame, Video
from undertow.world import FIRST_VALIDATION_SEED, make_scene

TUNING = "blackswan,camel,dog,parkour"
TEMPERATURES = {
    "attention": (0.03, 0.05, 0.07, 0.1, 0.15, 0.25, 0.35, 0.5),
    "features": (0.0035, 0.005, 0.007, 0.01, 0.015, 0.02),
    "latents": (0.01, 0.02, 0.03, 0.05, 0.1, 0.2),
    "pixels": (0.00125, 0.0025, 0.005, 0.01, 0.02),
}
NOISES = [*itertools.product(("noise", "clean"), (1, 21, 41, 101, 201, 301)), ("invert", 41), ("invert", 101)]
COLUMNS = ("preset", "site", "noising", "timestep", "temperature", "scope", "radius", "topk", "recent", "J&F", "worlds")


def read_clips(root, names, protocol):
    """Returns (sequence, frames, annotations) of each sequence under the protocol."""
    clips = []
    for sequence in select_samples(open_dataset("davis", root), names):
        assert isinstance(sequence, MaskSample)
        with Video(sequence.video) as video:
            numbers = protocol.frames(len(sequence.frames))
            frames = [Frame(i, Fraction(i), video[n], sequence.frames[n]) for i, n in enumerate(numbers)]
        clips.append((sequence, frames, [sequence.load_mask(n) for n in numbers]))
    return clips


def world_clips(count):
    """Returns the first `count` validation worlds in the same form; objects that frame 0 hardly shows do not count."""
    validation, clips = Validation(), []
    for number in range(count):
        scene = make_scene(FIRST_VALIDATION_SEED + number, validation.world)
        pictures = [scene.picture(float(step * validation.stride)) for step in range(validation.frames)]
        ids = [int(i) for i in np.unique(pictures[0].labels) if i and (pictures[0].labels == i).sum() >= 100]
        masks = [np.where(np.isin(picture.labels, ids), picture.labels, 0) for picture in pictures]
        frames = [Frame(i, Fraction(i), picture.image, str(i)) for i, picture in enumerate(pictures)]
        clips.append((SimpleNamespace(name=f"world {number}", ids=tuple(ids)), frames, masks))
    return clips


def candidate_sites(backbone, parts):
    """Returns every self-attention at the stride of the card's own site whose path holds one of `parts`."""
    own = backbone.card.sites["track"][0]
    sites = [site for site in backbone.sites() if site.stride == own.stride]
    return [site for site in sites if not parts or any(part in site.path for part in parts)]


def read_features(backbone, frames, settings):
    """Returns the features of all frames, in batches of four."""
    observer = observer_of(backbone, resolve(settings, backbone, *frames[0].image.shape[:2]))
    features = []
    for start in range(0, len(frames), 4):
        batch = frames[start : start + 4]
        features += observer.see([f.image for f in batch], [f.index for f in batch])
    return features


def score(backbone, clips, features, settings):
    """Returns J&F of every clip when tracked with the features given."""
    scores = []
    for (sequence, frames, masks), seen in zip(clips, features, strict=True):
        tracker, evaluator = MaskTracker(backbone, settings), SequenceEvaluator(sequence.ids)
        for frame, own, mask in zip(frames, seen, masks, strict=True):
            evaluator.update(tracker.advance(frame, own, mask if frame.index == 0 else None).labels, mask)
        scores.append(100 * DatasetSummary.of([evaluator.result()]).combined)
    return scores


def options():
    """Returns the command line's options; lists are separated by commas, empty ones stand for the defaults."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", default=None)
    parser.add_argument("--out", type=Path, default=Path("sweep.csv"))
    parser.add_argument(
        "--worlds", type=int, default=Validation().scenes, help="validation worlds beside the sequences"
    )
    for name, default in (("presets", "drift,dift"), ("sequences", TUNING), ("sites", ""), ("noises", "")):
        parser.add_argument(f"--{name}", default=default)
    for name in ("temperatures", "scopes", "radii", "topk", "recent"):
        parser.add_argument(f"--{name}", default="")
    return parser.parse_args()


def listed(text, kind=str):
    return [kind(part) for part in text.split(",") if part]


def main():
    asked = options()
    backbone, protocol = load(asked.model, dtype=asked.dtype), get_protocol("lab")
    card, names = backbone.card, listed(asked.sequences)
    clips = read_clips(asked.root, names, protocol) + world_clips(asked.worlds)
    sites = candidate_sites(backbone, listed(asked.sites))
    noises = [(kind, int(step)) for kind, step in (n.split(":") for n in listed(asked.noises))] or NOISES
    kernels = [listed(asked.scopes), listed(asked.radii, int), listed(asked.topk, int), listed(asked.recent, int)]
    with asked.out.open("w", newline="") as handle:
        rows = csv.writer(handle)
        rows.writerow([*COLUMNS, *names])
        for preset in listed(asked.presets):
            source = get_preset(preset).source
            places = (
                itertools.product(sites, noises) if source in ("attention", "features") else [(sites[0], NOISES[0])]
            )
            for site, (noising, timestep) in places:
                backbone.card = replace(card, sites={"track": (site,)})
                base = TrackSettings(
                    preset=preset, tokens=protocol.tokens, noising=noising, timestep=timestep, lost="keep"
                )  # fmt: skip
                features = [read_features(backbone, frames, base) for _, frames, _ in clips]
                temperatures = listed(asked.temperatures, float) or TEMPERATURES[source]
                for kernel in itertools.product(temperatures, *(choice or [None] for choice in kernels)):
                    begun = time.monotonic()
                    fields = ("temperature", "softmax_scope", "radius", "topk", "recent")
                    scores = score(backbone, clips, features, replace(base, **dict(zip(fields, kernel, strict=True))))
                    real, worlds = scores[: len(names)], scores[len(names) :]
                    means = [np.mean(part) if part else np.nan for part in (real, worlds)]
                    figures = [f"{figure:.2f}" for figure in (*means, *real)]
                    rows.writerow([preset, site.path, noising, timestep, *kernel, *figures])
                    handle.flush()
                    print(preset, site.path, noising, timestep, *kernel, *figures, f"{time.monotonic() - begun:.1f}s")


if __name__ == "__main__":
    main()
