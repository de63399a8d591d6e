"""Trains `tiny`'s denoiser from nothing on several mixes of pictures and scores it along the way: what should it see?

    python benchmarks/quality/mix_curves.py --photos DIR --root DATA --work mixes --out mixes.csv

Every run has the autoencoder of the shipped `tiny`, the same pictures and views, and the same number of steps; runs
differ in the share of examples that are views of photographs, and in the seed. Scores are J&F at protocol `lab` of all
sequences below DATA at the site and noise of `tiny`'s card, lost objects kept; they choose nothing. A run that is
finished in `--work` is not trained again, one that was interrupted goes on.
"""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from ablate_tiny import short_recipe
from sweep_sites import candidate_sites, read_clips, read_features, score

from undertow.backbones import get_card, load
from undertow.backbones.weights.locating import embedded_folder
from undertow.base import set_threads
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.sample import get_protocol
from undertow.tracking import TrackSettings
from undertow.training.architecture import build_scheduler, export, read_parts
from undertow.training.recipe import TinyRecipe, fresh_parts, train_tiny
from undertow.training.validation import validate

PRESETS = "dift", "drift"


def mixed_recipe(share, seed, steps, shards):
    """Returns the shipped recipe cut to `steps` and `shards`, with this share of examples from photographs."""
    recipe = short_recipe(steps, shards)
    return replace(
        recipe,
        photos=replace(recipe.photos, shards=shards, share=share),
        denoiser=replace(recipe.denoiser, seed=seed),
        seed=seed,
    )


def start_of(work, seed):
    """Returns a folder with the shipped autoencoder and a denoiser that has learnt nothing."""
    folder = work / f"start-{seed}"
    if not (folder / "model_index.json").exists():
        parts = fresh_parts(TinyRecipe(seed=seed))
        shipped = read_parts(embedded_folder(get_card("tiny")))
        export(folder, replace(parts, vae=shipped.vae), build_scheduler(), {})
    return folder


def share_pictures(work, folder):
    """Lets all runs read the same pictures, views and latents."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("pictures", "views"):
        (work / name).mkdir(parents=True, exist_ok=True)
        if not (folder / name).exists():
            (folder / name).symlink_to((work / name).resolve())


def scores(model, clips, protocol):
    """Yields (preset, J&F of each clip, J&F of the validation worlds) of a model folder."""
    backbone, like = load(str(model)), get_card("tiny")
    (site,) = candidate_sites(backbone, [like.sites["track"][0].path])
    backbone.card = replace(like, sites={"track": (site,)})
    for preset in PRESETS:
        settings = TrackSettings(preset=preset, tokens=protocol.tokens, lost="keep")
        features = [read_features(backbone, frames, settings) for _, frames, _ in clips]
        yield preset, score(backbone, clips, features, settings), 100 * validate(backbone, settings)


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="DAVIS tree or folder")
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("mixes"))
    parser.add_argument("--out", type=Path, default=Path("mixes.csv"))
    parser.add_argument("--shares", default="0,0.5,1")
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--at", default="150,300,600,1200", help="steps that are scored")
    parser.add_argument("--shards", type=int, default=16)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main():
    asked = options()
    set_threads(asked.threads)
    protocol = get_protocol("lab")
    steps = [int(step) for step in asked.at.split(",")]
    names = [sample.name for sample in open_dataset("davis", asked.root)]
    clips = read_clips(asked.root, names, protocol)
    with asked.out.open("a", newline="") as handle:
        rows = csv.writer(handle)
        if not asked.out.stat().st_size:
            rows.writerow(("share", "seed", "step", "preset", *names, "lab", "worlds"))
        for seed in map(int, asked.seeds.split(",")):
            for share in map(float, asked.shares.split(",")):
                folder = asked.work / f"share-{share:g}-seed-{seed}"
                share_pictures(asked.work, folder)
                recipe = mixed_recipe(share, seed, asked.steps, asked.shards)
                if not (folder / "model" / "model_index.json").exists():
                    train_tiny(
                        folder,
                        folder / "model",
                        recipe,
                        photos=asked.photos,
                        start=start_of(asked.work, seed),
                        processes=1,
                        snapshots=steps,
                    )
                for step in steps:
                    for preset, found, worlds in scores(folder / "snapshots" / f"{step:06d}", clips, protocol):
                        row = [*(f"{figure:.1f}" for figure in (*found, np.mean(found), worlds))]
                        rows.writerow((f"{share:g}", seed, step, preset, *row))
                        handle.flush()


if __name__ == "__main__":
    main()
