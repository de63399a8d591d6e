"""Denoising error on pictures that were trained on and on others of the same kind: is the data used up?

    python benchmarks/quality/denoising_gap.py --pictures work/pictures --models work/snapshots/* --out gap

Shards beyond those of the recipe are drawn into `--out` and encoded; as many of the run's own are taken. The error is
that of v-prediction, mean over crops as training cuts them, at four timesteps, with the same crops and noise for every
model. A model that learns its pictures by heart is better on those it has seen.
"""

import argparse
import json
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel

from undertow.base import set_threads
from undertow.training.architecture import build_scheduler, build_tokenizer
from undertow.training.autoencoder import encode_shard
from undertow.training.latents import Crops, LatentStore
from undertow.training.pictures import PictureSettings, make_shard

TIMESTEPS = (51, 201, 401, 601)
CROPS = Crops(24, 40, 16, diptychs=0.7, jitter=6, empty=0.12)


def prepare(out, pictures, vae, count):
    """Returns folders of seen and unseen shards, `count` of each, with latents of one autoencoder."""
    settings = PictureSettings()
    seen, unseen = out / "seen", out / "unseen"
    for folder in (seen, unseen):
        folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        for path in pictures.glob(f"{number:05d}.*"):
            if not (seen / path.name).exists():
                os.link(path, seen / path.name)
        make_shard(unseen, settings.shards + number, settings)
        encode_shard(vae, unseen, settings.shards + number)
    return seen, unseen


@torch.no_grad()
def error(model, store, scale, batches):
    """Returns the mean squared error of v at each timestep."""
    unet = UNet2DConditionModel.from_pretrained(model / "unet", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    text_encoder = CLIPTextModel.from_pretrained(model / "text_encoder", dtype=torch.float32)
    alphas, found = build_scheduler().alphas_cumprod, np.zeros((batches, len(TIMESTEPS)))
    store.scaling_factor = scale
    for batch in range(batches):
        latents, tokens = store.batch(CROPS, (1, batch))
        states = text_encoder(tokens).last_hidden_state
        noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(batch))
        for place, timestep in enumerate(TIMESTEPS):
            alpha = alphas[timestep]
            noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
            velocity = alpha.sqrt() * noise - (1 - alpha).sqrt() * latents
            with torch.autocast("cpu", torch.bfloat16):
                predicted = unet(noisy, timestep, encoder_hidden_states=states).sample
            found[batch, place] = float((predicted.float() - velocity).square().mean())
    return found.mean(0)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=Path, required=True, help="the run's pictures and latents")
    parser.add_argument("--models", type=Path, nargs="+", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--batches", type=int, default=12)
    parser.add_argument("--threads", type=int)
    asked = parser.parse_args()
    set_threads(asked.threads)
    vae = AutoencoderKL.from_pretrained(asked.models[0] / "vae", torch_dtype=torch.float32, low_cpu_mem_usage=False)
    folders = prepare(asked.out, asked.pictures, vae, asked.shards)
    tokenizer = build_tokenizer()
    stores = [LatentStore({folder: 1.0}, tokenizer) for folder in folders]
    print(f"| steps | {' | '.join(f'{name} t={t}' for name in ('seen', 'unseen') for t in TIMESTEPS)} |")
    print("|---:|" + "---:|" * 2 * len(TIMESTEPS))
    for model in asked.models:
        step = json.loads((model / "training.json").read_text())["step"]
        errors = [error(model, store, float(vae.config.scaling_factor), asked.batches) for store in stores]
        print(f"| {step} | " + " | ".join(f"{value:.4f}" for value in np.concatenate(errors)) + " |", flush=True)


if __name__ == "__main__":
    main()
