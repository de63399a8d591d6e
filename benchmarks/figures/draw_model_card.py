"""Draws the pictures of a model card: samples from captions, features in three colours, losses.

    python benchmarks/figures/draw_model_card.py --model tiny --log work/denoiser.jsonl --out docs/images

Everything shown is procedural, so the pictures may be shared.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler
from PIL import Image

from undertow.backbones import load, resolve
from undertow.drawing import contact_sheet
from undertow.tracking import TrackSettings
from undertow.tracking import resolve as resolve_settings
from undertow.tracking.settings import observer_of
from undertow.world import FIRST_VALIDATION_SEED, WorldSettings, crossing_scene, make_scene

STEPS = 50


def samples(backbone, captions, seed, side=40, guidance=3.0):
    """Returns an image per caption by DDIM with classifier-free guidance, from noise of `side` latents a side."""
    scheduler = DDIMScheduler.from_pretrained(resolve(backbone.card), subfolder="scheduler")
    scheduler.set_timesteps(STEPS)
    null = backbone.condition("")
    images = []
    for number, caption in enumerate(captions):
        generator = torch.Generator().manual_seed(seed + number)
        latents = torch.randn(1, 4, side, side, generator=generator)
        text = backbone.condition(caption)
        for step in scheduler.timesteps:
            free = backbone.denoise(latents, int(step), null)
            told = backbone.denoise(latents, int(step), text)
            latents = scheduler.step(free + guidance * (told - free), step, latents).prev_sample
        images.append(backbone.decode(latents)[0])
    return images


def principal_colours(features):
    """Returns (f, s, 3) in 0..255: the three leading principal components of all frames together, stretched."""
    flat = torch.cat(list(features)).double()
    flat = flat - flat.mean(0)
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    colours = flat @ axes[:3].T
    low, high = colours.quantile(0.02, dim=0), colours.quantile(0.98, dim=0)
    return ((colours - low) / (high - low)).clamp(0, 1).mul(255).byte().reshape(len(features), -1, 3).numpy()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    backbone = load(asked.model)

    scenes = [make_scene(FIRST_VALIDATION_SEED + n, WorldSettings()) for n in range(4)]
    captions = ["", *(scene.caption for scene in scenes), "a large striped red disc is in the middle."]
    drawn = samples(backbone, captions, seed=0)
    pictures = contact_sheet(drawn, 3, [caption or "(no caption)" for caption in captions], width=320)
    Image.fromarray(pictures).save(asked.out / f"{asked.model}-samples.png")

    scene = crossing_scene()
    frames = [scene.picture(float(time)).image for time in (0, 16, 32, 47)]
    rows, titles = [], []
    for model in (asked.model, f"{asked.model}-untrained"):
        shown = load(model)
        settings = resolve_settings(TrackSettings(preset="dift"), shown, *frames[0].shape[:2])
        seen = observer_of(shown, settings).see(frames, range(len(frames)))
        colours = principal_colours([each.keys[0] for each in seen]).reshape(len(frames), *settings.grid, 3)
        rows += [np.asarray(Image.fromarray(c).resize((480, 270), Image.Resampling.NEAREST)) for c in colours]
        titles += [f"{model}, frame {time}" for time in (0, 16, 32, 47)]
    sheet = contact_sheet([*frames, *rows], 4, [*(f"frame {t}" for t in (0, 16, 32, 47)), *titles], width=300)
    Image.fromarray(sheet).save(asked.out / f"{asked.model}-pca.png")

    if asked.log:
        from matplotlib import pyplot

        lines = {row["step"]: row["loss"] for row in map(json.loads, asked.log.read_text().splitlines())}
        steps, losses = np.array(sorted(lines)), np.array([lines[step] for step in sorted(lines)])
        smooth = np.convolve(np.pad(losses, 5, mode="edge"), np.ones(11) / 11, mode="valid")
        figure, axes = pyplot.subplots(figsize=(6, 3))
        axes.plot(steps, losses, color="0.8", linewidth=0.8)
        axes.plot(steps, smooth, color="tab:blue")
        axes.set(xlabel="step", ylabel="weighted v-prediction loss", ylim=(0.15, 0.6))
        axes.spines[["top", "right"]].set_visible(False)
        figure.tight_layout()
        figure.savefig(asked.out / f"{asked.model}-loss.png", dpi=130)


if __name__ == "__main__":
    main()
