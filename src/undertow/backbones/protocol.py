"""What a backbone takes and gives, and the protocol that all adapters share."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.reading.edits import Edit
from undertow.backbones.reading.prefix import ConditionedObserver
from undertow.backbones.reading.suffix import Trace
from undertow.backbones.sampling.schedule import NoiseSchedule


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


class Backbone(Protocol):
    """A loaded, frozen diffusion model.

    Every adapter has all of this; what a family cannot do raises SettingsError with a sentence that says so. Weights
    that were not read at loading are read when a method first needs them.
    """

    @property
    def card(self) -> Card:
        """What is known of the model."""

    @property
    def device(self) -> torch.device:
        """Where the weights are."""

    @property
    def dtype(self) -> torch.dtype:
        """Number type of the weights."""

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise levels that the model was trained with."""

    @property
    def denoiser(self) -> torch.nn.Module:
        """The network that holds the attentions by their site paths, with all of its weights."""

    @property
    def channels(self) -> int:
        """Channels of a latent."""

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels."""

    @property
    def image_to_video(self) -> bool:
        """Whether the model continues a given first frame."""

    @property
    def encoder_width(self) -> int:
        """Channels of the autoencoder at full resolution, the widest activation of an observation per pixel."""

    @property
    def denoiser_width(self) -> int:
        """Channels of the denoiser's widest activation per latent cell."""

    def parts(self, sites: Sequence[Site] | None = None) -> Mapping[str, int]:
        """Returns the bytes of the weights that are loaded now, by network; of the denoiser what `sites` take."""

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others, however much of it is loaded."""

    def read(self, sites: Sequence[Site] | None = None) -> None:
        """Reads the weights that observing `sites` needs, or all of the denoiser's, unless they were read before."""

    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Returns the attentions of some kinds in running order, by default those that compare visual tokens."""

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
        """Returns clean latents, one per image."""

    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "f h w 3"]:
        """Returns the images of clean latents, one per latent."""

    def decode_float(self, latents: Float[Tensor, "f c lh lw"]) -> Float[Tensor, "f 3 h w"]:
        """Returns the images of clean latents before rounding: black is -1 and white 1, not clipped."""

    def decode_clip(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "t h w 3"]:
        """Returns the frames of a generated clip, of which a video autoencoder makes several per latent."""

    def condition(
        self,
        text: str | None = None,
        *,
        images: UInt8[np.ndarray, "f h w 3"] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Conditioning:
        """Returns the conditioning on a text (`None` for the null text) of frames that go together."""

    def pieces(self, text: str) -> list[str]:
        """Returns what the tokenizer makes of a text; piece i is state i + 1 of `condition(text)`."""

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
        edits: Sequence[Edit] = (),
        grad: bool = False,
    ) -> Observation:
        """Returns the queries and keys of `sites`; with `grad`, differentiable by latents and conditioning."""

    def observer(
        self,
        latents: Float[Tensor, "1 c h w"],
        timestep: int,
        sites: Sequence[Site],
        *,
        features: bool = False,
        compiled: bool = False,
        recomputed: bool = False,
    ) -> ConditionedObserver:
        """Returns queries and keys of one frame as a differentiable function of many conditionings."""

    def denoise(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        edits: Sequence[Edit] = (),
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction of the denoiser."""

    def trace(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
    ) -> Trace:
        """Returns one forward remembered, to be run again from a block of the decoder."""

    def to_x0_eps(
        self, prediction: Float[Tensor, "f c h w"], latents: Float[Tensor, "f c h w"], timestep: int
    ) -> tuple[Float[Tensor, "f c h w"], Float[Tensor, "f c h w"]]:
        """Returns the clean latents and the noise that a prediction stands for."""
