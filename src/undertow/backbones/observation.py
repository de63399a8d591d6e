"""What a backbone takes and gives, and the protocol that all adapters share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones.cards.card import Card, Noising, Site


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is conditioned on.

    Attributes:
        tensor: one state per text token, float32.
        provenance: whether it came from the null text, another text, or was learned.
        text: the text, or `None` if learned.
        pooled: one vector for the whole text, of models that read one too (HunyuanVideo).
        first_frame: clean latent that an image-to-video model continues; `None` for the first of the latents that are
            observed, which should then be clean.
    """

    tensor: Float[Tensor, "tokens dim"]
    provenance: Literal["null", "text", "learned"]
    text: str | None = None
    pooled: Float[Tensor, "dim"] | None = None
    first_frame: Float[Tensor, "c h w"] | None = None


@dataclass(frozen=True)
class Observation:
    """What one forward of the denoiser showed, per site path.

    Attributes:
        queries: queries per head, before the 1/√d of the attention.
        keys: keys per head; of the text tokens at a cross-attention.
        features: empty unless asked for. Of image models, the hidden states that enter the transformer block of the
            site, before its first norm; of video transformers, what the attention of the site returns for each visual
            token, all heads side by side, before its output projection (DiffTrack's "intermediate feature").
        grid: (height, width) in tokens; token i*width + j is grid cell (i, j).
        stride: image pixels per side of a token.
        text_queries: queries per head of the text tokens, at the joint attentions of models that have them.
        text_keys: their keys.
    """

    queries: Mapping[str, Float[Tensor, "f a s d"]]
    keys: Mapping[str, Float[Tensor, "f a s d"]]
    features: Mapping[str, Float[Tensor, "f s c"]]
    grid: tuple[int, int]
    stride: int
    text_queries: Mapping[str, Float[Tensor, "a n d"]] = field(default_factory=dict)
    text_keys: Mapping[str, Float[Tensor, "a n d"]] = field(default_factory=dict)


class Backbone(Protocol):
    """A loaded, frozen diffusion model."""

    @property
    def card(self) -> Card:
        """What is known of the model."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others."""

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels."""

    def input_size(
        self,
        height: int,
        width: int,
        *,
        tokens: int | None = None,
        size: tuple[int, int] | None = None,
        fit: Literal["aspect", "squash"] = "aspect",
    ) -> tuple[int, int]:
        """Returns the (height, width) a frame is shown at."""

    def encode(
        self, images: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "f c lh lw"]:
        """Returns clean latents."""

    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "f h w 3"]:
        """Returns the images of clean latents."""

    def embed(self, text: str) -> Conditioning:
        """Returns the states of a text."""

    def noise(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, frame_indices: Sequence[int]
    ) -> Float[Tensor, "f c h w"]:
        """Returns latents with Gaussian noise."""

    def invert(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns latents carried up by DDIM inversion."""

    def prepare(
        self,
        latents: Float[Tensor, "f c h w"],
        noising: Noising,
        frame_indices: Sequence[int],
        conditioning: Conditioning | None = None,
    ) -> Float[Tensor, "f c h w"]:
        """Returns latents at the level of `noising`."""

    def observe(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        sites: Sequence[Site],
        conditioning: Conditioning | None = None,
        *,
        features: bool = False,
    ) -> Observation:
        """Returns the queries and keys of `sites`."""

    def denoise(
        self, latents: Float[Tensor, "f c h w"], timestep: int, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction of the denoiser."""

    def to_x0_eps(
        self, prediction: Float[Tensor, "f c h w"], latents: Float[Tensor, "f c h w"], timestep: int
    ) -> tuple[Float[Tensor, "f c h w"], Float[Tensor, "f c h w"]]:
        """Returns the clean latents and the noise that a prediction stands for."""
