"""What a backbone is conditioned on, and what it shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor

# Of frames in order, as `encode` gives them or at a noise level; and RGB frames of one size.
Latents: TypeAlias = Float[Tensor, "f c h w"]
Images: TypeAlias = UInt8[np.ndarray, "f h w 3"]


Spans = tuple[tuple[int, int], ...]
"""The characters (start, end) of a text that its tokens stand for."""


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is conditioned on.

    Attributes:
        tensor: One state per text token, float32.
        provenance: Whether it came from the null text, another text, or was learned.
        text: The text, or `None` if learned.
        pooled: One vector for the whole text, of models that read one too (HunyuanVideo).
        first_frame: Clean latent that an image-to-video model continues; `None` for the first of the latents that are
            observed, which should then be clean.
        spans: The characters (start, end) of the text that each state stands for, (0, 0) of special tokens and padding;
            empty where that is not known.
    """

    tensor: Float[Tensor, "tokens dim"]
    provenance: Literal["null", "text", "learned"]
    text: str | None = None
    pooled: Float[Tensor, "dim"] | None = None
    first_frame: Float[Tensor, "c h w"] | None = None
    spans: Spans = ()


@dataclass(frozen=True)
class Observation:
    """What one forward of the denoiser showed, per site path.

    Attributes:
        queries: Queries per head, before the 1/√d of the attention.
        keys: Keys per head; of the text tokens at a cross-attention.
        features: Empty unless asked for. Of image models, the hidden states that enter the transformer block of the
            site, before its first norm; of video transformers, what the attention of the site returns for each visual
            token, all heads side by side, before its output projection (DiffTrack's "intermediate feature").
        grid: (height, width) in tokens; token i*width + j is grid cell (i, j).
        stride: Image pixels per side of a token.
        text_queries: Queries per head of the text tokens, at the joint attentions of models that have them.
        text_keys: Their keys.
    """

    queries: Mapping[str, Float[Tensor, "f a s d"]]
    keys: Mapping[str, Float[Tensor, "f a s d"]]
    features: Mapping[str, Float[Tensor, "f s c"]]
    grid: tuple[int, int]
    stride: int
    text_queries: Mapping[str, Float[Tensor, "a n d"]] = field(default_factory=dict)
    text_keys: Mapping[str, Float[Tensor, "a n d"]] = field(default_factory=dict)
