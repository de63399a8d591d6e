"""Encoded clips as training examples: some frames of a clip, seen through a window that stays or drifts."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Float16, Int
from torch import Tensor
from transformers import CLIPTokenizer

from undertow.training.latents import caption_tokens


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
    """Latents of all encoded clips and the tokens of their captions; float16 on disk, memory-mapped."""

    def __init__(self, folder: Path, tokenizer: CLIPTokenizer, scaling_factor: float):
        self.latents, self.tokens = [], []
        self.scaling_factor = scaling_factor
        for path in sorted(folder.glob("*.latents.npy")):
            self.latents.append(np.load(path, mmap_mode="r"))
            captions = json.loads((folder / f"{path.name.split('.')[0]}.json").read_text())
            self.tokens.append([caption_tokens(tokenizer, each) for each in captions])
        self.null = caption_tokens(tokenizer, [""])[0]

    def batch(self, cut: Cut, seed: tuple[int, ...]) -> tuple[Float[Tensor, "n t 4 h w"], Int[Tensor, "n tokens"]]:
        """Returns scaled latents and caption tokens, a function of `cut`, `seed` and the store alone."""
        random = np.random.default_rng(seed)
        size = (cut.width, cut.height) if random.random() < 0.5 else (cut.height, cut.width)
        examples, tokens = [], []
        for _ in range(cut.count):
            shard = int(random.integers(len(self.latents)))
            index = int(random.integers(len(self.latents[shard])))
            examples.append(_example(random, self.latents[shard][index], cut, size))
            captions = self.tokens[shard][index]
            caption = captions[int(random.integers(len(captions)))]
            tokens.append(self.null if random.random() < cut.empty else caption)
        scaled = torch.from_numpy(np.stack(examples)).float() * self.scaling_factor
        return scaled, torch.stack(tokens)


def _example(
    random: np.random.Generator, clip: Float16[np.ndarray, "T 4 H W"], cut: Cut, size: tuple[int, int]
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
