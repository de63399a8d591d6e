"""Trains the autoencoder: pictures and a few black-and-white masks, absolute and gradient error, a whisper of KL."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from jaxtyping import Float
from torch import Tensor

from undertow.base import atomic_path
from undertow.training.learner import Learner
from undertow.training.pictures import Shard, open_shard


@dataclass(frozen=True)
class AutoencoderSettings:
    """How the autoencoder is trained: `crop` pixels, `masks` is the share of black-and-white masks among pictures."""

    steps: int = 1600
    batch: int = 24
    crop: int = 64
    rate: float = 2e-3
    masks: float = 0.08
    kl: float = 1e-5
    seed: int = 0


def available_shards(folder: Path) -> list[Shard]:
    """Returns the finished shards in `folder`."""
    return [open_shard(folder, int(path.stem)) for path in sorted(folder.glob("[0-9]*.json"))]


def to_unit(images: Tensor) -> Float[Tensor, "n 3 h w"]:
    """Returns uint8 images (n, h, w, 3) as float in [-1, 1], channels first."""
    return images.permute(0, 3, 1, 2).float() / 127.5 - 1


def crops(shards: list[Shard], settings: AutoencoderSettings, step: int) -> Float[Tensor, "n 3 h w"]:
    """Returns the batch of `step`: random crops, flipped at random; a function of seed, step and shards alone."""
    random = np.random.default_rng((settings.seed, step))
    batch = []
    for _ in range(settings.batch):
        shard = shards[random.integers(len(shards))]
        index = random.integers(len(shard.images))
        height, width = shard.images.shape[1:3]
        y, x = random.integers(height - settings.crop + 1), random.integers(width - settings.crop + 1)
        window = slice(y, y + settings.crop), slice(x, x + settings.crop)
        if random.random() < settings.masks:
            patch = np.repeat(shard.masks[index][window][..., None], 3, axis=2)
        else:
            patch = shard.images[index][window]
        patch = patch[:, ::-1] if random.random() < 0.5 else patch
        batch.append(patch.transpose(1, 0, 2) if random.random() < 0.5 else patch)
    return to_unit(torch.from_numpy(np.stack(batch)))


def train_autoencoder(
    model: AutoencoderKL, learner: Learner, shards: list[Shard], settings: AutoencoderSettings
) -> Iterator[dict[str, float]]:
    """Trains until `settings.steps`, yielding the losses of every step; stop iterating to pause."""
    device = next(model.parameters()).device
    while learner.step < settings.steps:
        images = crops(shards, settings, learner.step).to(device)
        generator = torch.Generator(device).manual_seed(settings.seed * 1_000_003 + learner.step)
        with torch.autocast(device.type, torch.bfloat16):
            posterior = model.encode(images).latent_dist
            decoded = model.decode(posterior.sample(generator)).sample
        decoded = decoded.float()
        pixel = (decoded - images).abs().mean()
        # Differences of neighbours keep edges sharp, which a plain absolute error trades away.
        edges = sum((decoded.diff(dim=d) - images.diff(dim=d)).abs().mean() for d in (2, 3))
        kl = posterior.kl().mean() / images[0].numel()
        learner.update(pixel + edges + settings.kl * kl, settings.steps)
        yield {"pixel": float(pixel.detach()), "edges": float(edges.detach()), "kl": float(kl.detach())}


@torch.no_grad()
def encode_shard(model: AutoencoderKL, folder: Path, number: int, batch: int = 16) -> bool:
    """Writes the latents (posterior mode, unscaled, float16) of one shard beside it.

    Returns:
        Whether there was anything to do.
    """
    path = folder / f"{number:05d}.latents.npy"
    if path.exists():
        return False
    device = next(model.parameters()).device
    shard = open_shard(folder, number)
    latents = []
    for start in range(0, len(shard.images), batch):
        images = to_unit(torch.from_numpy(np.array(shard.images[start : start + batch]))).to(device)
        with torch.autocast(device.type, torch.bfloat16):
            mode = model.encode(images).latent_dist.mode()
        latents.append(mode.half().cpu().numpy())
    with atomic_path(path) as temporary:
        np.save(temporary, np.concatenate(latents), allow_pickle=False)
    return True


@torch.no_grad()
def reconstruction(model: AutoencoderKL, shard: Shard, count: int = 32) -> dict[str, float]:
    """Returns PSNR of pictures (dB), and mean absolute error and mIoU of masks after a round trip."""
    device = next(model.parameters()).device
    pictures = to_unit(torch.from_numpy(np.array(shard.images[:count]))).to(device)
    masks = to_unit(torch.from_numpy(np.repeat(np.array(shard.masks[:count])[..., None], 3, axis=3))).to(device)
    back = model.decode(model.encode(pictures).latent_dist.mode()).sample.clamp(-1, 1)
    mask_back = model.decode(model.encode(masks).latent_dist.mode()).sample.clamp(-1, 1)
    error = ((back - pictures) / 2).square().mean()
    a, b = masks[:, 0] > 0, mask_back.mean(dim=1) > 0
    overlap = (a & b).sum((1, 2)) / (a | b).sum((1, 2)).clamp(min=1)
    return {
        "psnr": float(-10 * torch.log10(error)),
        "mask_mae": float((mask_back - masks).abs().mean() / 2),
        "mask_miou": float(overlap[a.any(2).any(1)].mean()),
    }
