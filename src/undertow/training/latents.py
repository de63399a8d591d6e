"""Encoded pictures and clips as training examples: crops, diptychs of two views of one scene, drifting windows."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from numpy.random import Generator
from torch import Tensor
from transformers import CLIPTokenizerFast


@dataclass(frozen=True)
class Crops:
    """How one batch is cut.

    Args:
        height: Of every example, in latent cells; half of the batches are turned, height for width.
        width: Of every example, in latent cells.
        count: Number of examples.
        diptychs: Share of examples that are diptychs.
        jitter: Largest shift of a diptych's second view against its first, in latent cells.
        empty: Share of empty captions.
    """

    height: int
    width: int
    count: int
    diptychs: float
    jitter: int
    empty: float


class LatentStore:
    """Latents of all encoded shards and their captions' tokens; float16 on disk, memory-mapped.

    Pictures 2i and 2i + 1 of a shard are views of one scene at two times. Beside each other, at a noise level at which
    neither can be read alone, they are an image in which finding the same place again pays: what tracking needs,
    learnt from nothing but denoising.

    Args:
        folders: Folders of encoded shards, each with its share of the examples.
        tokenizer: Of the captions.
    """

    def __init__(self, folders: Mapping[Path, float], tokenizer: CLIPTokenizerFast):
        self.latents, captions, self.bounds = _read_shards(folders)
        self.tokens = [caption_tokens(tokenizer, each) for each in captions]
        self.null = caption_tokens(tokenizer, [""])[0]
        # Statistics of a thousand latents are enough for a scale.
        sample = np.concatenate([latents[:: max(1, len(latents) // 50)] for latents in self.latents[:20]])
        self.scaling_factor = 1.0 / float(sample.astype(np.float32).std())

    def batch(self, crops: Crops, seed: tuple[int, ...]) -> tuple[Float[Tensor, "n 4 h w"], Int[Tensor, "n tokens"]]:
        """Returns scaled latent crops and caption tokens, a function of `crops`, `seed` and the store alone."""
        random = np.random.default_rng(seed)
        size = (crops.width, crops.height) if random.random() < 0.5 else (crops.height, crops.width)
        examples, tokens = [], []
        for _ in range(crops.count):
            shard = _draw_shard(random, self.bounds)
            index = int(random.integers(len(self.latents[shard])))
            if random.random() < crops.diptychs:
                examples.append(self._diptych(random, shard, index, size, crops.jitter))
            else:
                corner = _corner(random, self.latents[shard].shape[2:], size)
                examples.append(_cut(self.latents[shard][index], corner, size))
            tokens.append(self.null if random.random() < crops.empty else self.tokens[shard][index])
        scaled = torch.from_numpy(np.stack(examples)).float() * self.scaling_factor
        return scaled, torch.stack(tokens)

    def _diptych(
        self, random: Generator, shard: int, index: int, size: tuple[int, int], jitter: int
    ) -> Float16[np.ndarray, "4 h w"]:
        """Returns two views of a scene, cut at nearly the same place, joined along the longer side."""
        latents, (height, width) = self.latents[shard], size
        axis = 1 if height >= width else 2
        panel = (height // 2, width) if axis == 1 else (height, width // 2)
        corner = _corner(random, latents.shape[2:], panel)
        shift = random.integers(-jitter, jitter + 1, 2)
        moved = np.clip(np.add(corner, shift), 0, np.subtract(latents.shape[2:], panel))
        views = [_cut(latents[index], corner, panel), _cut(latents[index ^ 1], (int(moved[0]), int(moved[1])), panel)]
        return np.concatenate(views, axis=axis)


def _read_shards(folders: Mapping[Path, float]) -> tuple[list[np.ndarray], list[list[Any]], Float[np.ndarray, "n"]]:
    """Returns the latents and captions of every shard, and bounds: a shard is drawn by where a number falls in them."""
    latents, captions = [], []
    weights: list[float] = []
    for folder, share in folders.items():
        paths = sorted(folder.glob("*.latents.npy"))
        latents += [np.load(path, mmap_mode="r") for path in paths]
        captions += [json.loads((folder / f"{path.name.split('.')[0]}.json").read_text()) for path in paths]
        weights += [share / len(paths)] * len(paths)
    return latents, captions, np.cumsum(weights) / sum(weights)


def _draw_shard(random: Generator, bounds: Float[np.ndarray, "n"]) -> int:
    return int(np.searchsorted(bounds[:-1], random.random(), side="right"))


def _corner(random: Generator, whole: tuple[int, ...], size: tuple[int, int]) -> tuple[int, int]:
    """Returns the row and column of a random crop's first cell."""
    return int(random.integers(whole[0] - size[0] + 1)), int(random.integers(whole[1] - size[1] + 1))


def _cut(
    latents: Float16[np.ndarray, "4 H W"], corner: tuple[int, int], size: tuple[int, int]
) -> Float16[np.ndarray, "4 h w"]:
    return latents[:, corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]]


def caption_tokens(tokenizer: CLIPTokenizerFast, captions: list[str]) -> Int[Tensor, "n tokens"]:
    """Returns token ids of `captions`, padded to the model's length."""
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=tokenizer.model_max_length)["input_ids"]
    return torch.tensor(ids)


@dataclass(frozen=True)
class Cut:
    """How one batch is cut.

    Args:
        frames: Number of frames.
        height: Of the window, in latent cells; half of the batches are turned, height for width.
        width: Of the window, in latent cells.
        count: Number of examples.
        strides: Steps between frames of a clip, each as likely as the others if the clip is long enough for it.
        drifting: Share of windows that move from frame to frame, as a camera does.
        drift: Fastest drift, in latent cells per frame.
        empty: Share of empty captions.
    """

    frames: int
    height: int
    width: int
    count: int
    strides: tuple[int, ...] = (1, 2, 3)
    drifting: float = 0.5
    drift: float = 2.5
    empty: float = 0.12


class ClipStore:
    """Latents of all encoded clips and the tokens of their captions; float16 on disk, memory-mapped.

    Args:
        folders: Folders of encoded shards, each with its share of the examples.
        tokenizer: Of the captions.
        scaling_factor: Of the autoencoder.
    """

    def __init__(self, folders: Mapping[Path, float], tokenizer: CLIPTokenizerFast, scaling_factor: float):
        self.latents, captions, self.bounds = _read_shards(folders)
        self.tokens = [[caption_tokens(tokenizer, each) for each in shard] for shard in captions]
        self.scaling_factor = scaling_factor
        self.null = caption_tokens(tokenizer, [""])[0]

    def batch(self, cut: Cut, seed: tuple[int, ...]) -> tuple[Float[Tensor, "n t 4 h w"], Int[Tensor, "n tokens"]]:
        """Returns scaled latents and caption tokens, a function of `cut`, `seed` and the store alone."""
        random = np.random.default_rng(seed)
        size = (cut.width, cut.height) if random.random() < 0.5 else (cut.height, cut.width)
        examples, tokens = [], []
        for _ in range(cut.count):
            shard = _draw_shard(random, self.bounds)
            index = int(random.integers(len(self.latents[shard])))
            examples.append(_example(random, self.latents[shard][index], cut, size))
            captions = self.tokens[shard][index]
            caption = captions[int(random.integers(len(captions)))]
            tokens.append(self.null if random.random() < cut.empty else caption)
        scaled = torch.from_numpy(np.stack(examples)).float() * self.scaling_factor
        return scaled, torch.stack(tokens)


def _example(
    random: Generator, clip: Float16[np.ndarray, "T 4 H W"], cut: Cut, size: tuple[int, int]
) -> Float16[np.ndarray, "t 4 h w"]:
    """Returns some frames of a clip through a window; a drifting window stops at the picture's border."""
    strides = [stride for stride in cut.strides if stride * (cut.frames - 1) < len(clip)]
    stride = int(random.choice(strides))
    first = int(random.integers(len(clip) - stride * (cut.frames - 1)))
    room = np.subtract(clip.shape[2:], size)
    corner = random.uniform(0, room + 1)
    speed = random.uniform(-cut.drift, cut.drift, 2) * (random.random() < cut.drifting)
    windows = []
    for frame in range(cut.frames):
        y, x = np.clip(np.floor(corner + speed * frame), 0, room).astype(int)
        windows.append(clip[first + stride * frame, :, y : y + size[0], x : x + size[1]])
    return np.stack(windows)
