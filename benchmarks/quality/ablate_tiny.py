"""Trains variants of `tiny`'s recipe for a short while each and scores them: what made it work?

    python benchmarks/quality/ablate_tiny.py --base work --work ablations --root DATA --out ablations.csv
    python benchmarks/quality/ablate_tiny.py --score work/snapshots/* --root DATA --out steps.csv

Every variant differs from the recipe in one choice, has the same number of steps, and starts from the autoencoder of a
finished run (`--base`), whose pictures are shared where the variant leaves them alone. A variant that is finished in
`--work` is not trained again. Scores are J&F at protocol `lab` on the tuning sequences and of the validation worlds, at
the site and noise of `tiny`'s card, `drift` at the better of two temperatures.
"""

import argparse
import csv
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from sweep_sites import TUNING, candidate_sites, read_clips, read_features, score

from undertow.backbones import get_card, load
from undertow.base import set_threads
from undertow.benchmarks.core.sample import get_protocol
from undertow.tracking import TrackSettings
from undertow.training.denoiser import Grid
from undertow.training.recipe import TinyRecipe, train_tiny
from undertow.training.validation import validate

TEMPERATURES = {"dift": (0.015,), "drift": (0.07, 0.25)}
COLUMNS = ("variant", "step", "preset", "temperature", *TUNING.split(","), "lab", "worlds")


def short_recipe(steps, shards):
    """Returns the recipe that variants differ from: the shipped one, cut to `steps` of one size and `shards`."""
    recipe = TinyRecipe()
    grids = (Grid(16, 32, 24, 0.85), Grid(24, 40, 12, 0.15))
    return replace(
        recipe,
        pictures=replace(recipe.pictures, shards=shards),
        denoiser=replace(recipe.denoiser, steps=steps, grids=grids),
    )


def world(recipe, **changes):
    # Half as many pictures: these have to be drawn first, and a short run sees few of them twice.
    pictures = recipe.pictures
    changed = replace(pictures, shards=max(1, pictures.shards // 2), world=replace(pictures.world, **changes))
    return replace(recipe, pictures=changed)


def denoiser(recipe, **changes):
    return replace(recipe, denoiser=replace(recipe.denoiser, **changes))


def reshaped(recipe, *channels):
    # Those wider at one stride give up channels at stride 16, so that the file stays within its limit.
    return replace(recipe, shape=replace(recipe.shape, channels=channels))


VARIANTS = {
    "recipe": lambda recipe: recipe,
    "recipe, another seed": lambda recipe: denoiser(replace(recipe, seed=1), seed=1),
    "random start": lambda recipe: denoiser(
        replace(recipe, shape=replace(recipe.shape, matcher_logit=None)), matched=False
    ),
    "free queries and keys": lambda recipe: denoiser(recipe, matched=False),
    "no diptychs": lambda recipe: denoiser(recipe, diptychs=0.0),
    "uniform timesteps": lambda recipe: denoiser(recipe, middle=0.0, low=0.0),
    "no repeated objects": lambda recipe: world(recipe, copies=0.0),
    "no shared palettes": lambda recipe: world(recipe, shared_palette=0.0),
    "procedural materials only": lambda recipe: world(recipe, photographs=0.0),
    "half as wide": lambda recipe: reshaped(recipe, 16, 64, 64),
    "half as wide again": lambda recipe: reshaped(recipe, 48, 192, 192),
    "wider at stride 4": lambda recipe: reshaped(recipe, 64, 128, 112),
    "wider at stride 8": lambda recipe: reshaped(recipe, 32, 176, 64),
    "wider at strides 4 and 8": lambda recipe: reshaped(recipe, 48, 160, 80),
}


def prepare(folder, base, same_pictures, shards):
    """Puts the base run's autoencoder, and its pictures and latents where they serve, into a variant's folder."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    wanted = [base / "autoencoder.safetensors"]
    if same_pictures:
        wanted += [path for n in range(shards) for path in sorted((base / "pictures").glob(f"{n:05d}.*"))]
    for path in wanted:
        link = folder / path.relative_to(base)
        if not link.exists():
            os.link(path, link)


def scores(model, clips, protocol):
    """Yields (preset, temperature, J&F of each clip, J&F of the validation worlds) of a model folder."""
    backbone, like = load(str(model)), get_card("tiny")
    (site,) = candidate_sites(backbone, [like.sites["track"][0].path])
    backbone.card = replace(like, sites={"track": (site,)})
    for preset, temperatures in TEMPERATURES.items():
        base = TrackSettings(preset=preset, tokens=protocol.tokens, lost="keep")
        features = [read_features(backbone, frames, base) for _, frames, _ in clips]
        found = {t: score(backbone, clips, features, replace(base, temperature=t)) for t in temperatures}
        best = max(found, key=lambda t: np.mean(found[t]))
        yield preset, best, found[best], 100 * validate(backbone, replace(base, temperature=best))


def report(rows, name, model, clips, protocol):
    """Writes the scores of one model as rows of the table."""
    step = json.loads((Path(model) / "training.json").read_text()).get("step", "")
    for preset, temperature, figures, worlds in scores(model, clips, protocol):
        row = [name, step, preset, temperature, *(f"{figure:.1f}" for figure in (*figures, np.mean(figures), worlds))]
        rows.writerow(row)
        print(*row, flush=True)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="DAVIS tree or folder")
    parser.add_argument("--base", type=Path, help="work folder of a finished run")
    parser.add_argument("--work", type=Path, default=Path("ablations"))
    parser.add_argument("--out", type=Path, default=Path("ablations.csv"))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--shards", type=int, default=12)
    parser.add_argument("--only", default="", help="variants, separated by semicolons")
    parser.add_argument("--score", type=Path, nargs="*", help="score these model folders instead")
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


def main():
    asked = options()
    set_threads(asked.threads)
    protocol = get_protocol("lab")
    clips = read_clips(asked.root, TUNING.split(","), protocol)
    with asked.out.open("a", newline="") as handle:
        rows = csv.writer(handle)
        if not asked.out.stat().st_size:
            rows.writerow(COLUMNS)
        for model in asked.score or ():
            report(rows, model.name, model, clips, protocol)
            handle.flush()
        if asked.score:
            return
        for name in asked.only.split(";") if asked.only else VARIANTS:
            begun, base = time.monotonic(), short_recipe(asked.steps, asked.shards)
            recipe, folder = VARIANTS[name](base), asked.work / name.replace(",", "").replace(" ", "-")
            prepare(folder, asked.base, recipe.pictures == base.pictures, asked.shards)
            if not (folder / "model" / "model_index.json").exists():
                train_tiny(folder, folder / "model", recipe, processes=1)
            print(f"{name}: trained in {time.monotonic() - begun:.0f} s", flush=True)
            report(rows, name, folder / "model", clips, protocol)
            handle.flush()


if __name__ == "__main__":
    main()
