"""The published shapes of video transformers, and small ones of each kind, to build models with random weights from.

The published configurations are those of the repositories the cards name; the small ones run in milliseconds and are
for tests.
"""

import hashlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import diffusers
import torch

from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.dit_kinds import block_paths, first_blocks, kind_of
from undertow.backbones.adapters.video_autoencoder import FrameAutoencoder
from undertow.backbones.cards.registry import list_cards
from undertow.backbones.cards.video_cards import middle_card
from undertow.backbones.observation import Conditioning
from undertow.backbones.sampling.schedule import read_schedule
from undertow.backbones.weights.networks import cast
from undertow.base import SettingsError


@dataclass(frozen=True)
class VideoArchitecture:
    """The networks of a video transformer, as class names of diffusers and what their constructors are given.

    Attributes:
        transformer: class of the denoiser.
        denoiser: its arguments; what they leave out is diffusers' default.
        autoencoder: class of the autoencoder.
        vae: its arguments.
        scheduler: configuration of the scheduler, with its class.
        text: (tokens, width) of the text states.
        pooled: width of the vector for the whole text; 0 if there is none.
        positions: see `Card.positions`.
    """

    transformer: str
    denoiser: Mapping[str, Any]
    autoencoder: str
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    text: tuple[int, int]
    pooled: int = 0
    positions: Literal["base", "cells"] = "base"


def _ddim(snr_shift_scale: float) -> dict[str, Any]:
    return {
        "_class_name": "CogVideoXDDIMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "set_alpha_to_one": True,
        "snr_shift_scale": snr_shift_scale,
        "timestep_spacing": "trailing",
    }


def _cogvideox(scaling_factor: float, snr_shift_scale: float, **denoiser: Any) -> VideoArchitecture:
    return VideoArchitecture(
        transformer="CogVideoXTransformer3DModel",
        denoiser=denoiser,
        autoencoder="AutoencoderKLCogVideoX",
        vae={"scaling_factor": scaling_factor},
        scheduler=_ddim(snr_shift_scale),
        text=(226, 4096),
    )


def _wan(**denoiser: Any) -> VideoArchitecture:
    return VideoArchitecture(
        transformer="WanTransformer3DModel",
        denoiser={"text_dim": 4096, **denoiser},
        autoencoder="AutoencoderKLWan",
        vae={},
        scheduler={"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"},
        text=(512, 4096),
    )


_5B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}

VIDEO_ARCHITECTURES: Mapping[str, VideoArchitecture] = {
    "cogvideox-2b": _cogvideox(1.15258426, 3.0),
    "cogvideox-5b": _cogvideox(0.7, 1.0, **_5B),
    "cogvideox-5b-i2v": _cogvideox(0.7, 1.0, in_channels=32, use_learned_positional_embeddings=True, **_5B),
    "hunyuan-video": VideoArchitecture(
        transformer="HunyuanVideoTransformer3DModel",
        denoiser={},
        autoencoder="AutoencoderKLHunyuanVideo",
        vae={},
        scheduler={"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0},
        # The pipeline reads at most 256 tokens; the empty text has few.
        text=(4, 4096),
        pooled=768,
    ),
    "wan2.1-1.3b": _wan(num_attention_heads=12, num_layers=30, ffn_dim=8960),
    "wan2.1-14b": _wan(num_attention_heads=40, num_layers=40, ffn_dim=13824),
}

_SMALL_COGVIDEOX: Mapping[str, Any] = {
    "num_attention_heads": 2,
    "attention_head_dim": 16,
    "num_layers": 3,
    "in_channels": 4,
    "out_channels": 4,
    "time_embed_dim": 32,
    "text_embed_dim": 32,
    "max_text_seq_length": 16,
    "sample_height": 12,
    "sample_width": 16,
}
_SMALL_COGVIDEOX_VAE: Mapping[str, Any] = {
    "block_out_channels": (8, 8, 8, 8),
    "layers_per_block": 1,
    "latent_channels": 4,
    "norm_num_groups": 4,
    "scaling_factor": 0.7,
}


def _small(**denoiser: Any) -> VideoArchitecture:
    return VideoArchitecture(
        transformer="CogVideoXTransformer3DModel",
        denoiser={**_SMALL_COGVIDEOX, **denoiser},
        autoencoder="AutoencoderKLCogVideoX",
        vae=_SMALL_COGVIDEOX_VAE,
        scheduler=_ddim(1.0),
        text=(16, 32),
    )


SMALL_ARCHITECTURES: Mapping[str, VideoArchitecture] = {
    # In the shape of `tiny-video`: an image autoencoder, rotary embedding by cells.
    "joint": replace(
        _small(use_rotary_positional_embeddings=True),
        autoencoder="AutoencoderKL",
        vae={
            "block_out_channels": (8, 8, 8),
            "down_block_types": ("DownEncoderBlock2D",) * 3,
            "up_block_types": ("UpDecoderBlock2D",) * 3,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        positions="cells",
    ),
    # In the shapes of CogVideoX 2B, 5B and 5B image to video.
    "joint-sine": _small(),
    "joint-rotary": _small(use_rotary_positional_embeddings=True),
    "joint-image": _small(in_channels=8, use_rotary_positional_embeddings=True, use_learned_positional_embeddings=True),
    "dual": VideoArchitecture(
        transformer="HunyuanVideoTransformer3DModel",
        denoiser={
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "num_layers": 2,
            "num_single_layers": 2,
            "num_refiner_layers": 1,
            "text_embed_dim": 32,
            "pooled_projection_dim": 8,
            "rope_axes_dim": (4, 6, 6),
        },
        autoencoder="AutoencoderKLHunyuanVideo",
        vae={
            "block_out_channels": (8, 8, 8, 8),
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 4,
            "mid_block_add_attention": False,
        },
        scheduler={"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 7.0},
        text=(5, 32),
        pooled=8,
    ),
    "self": VideoArchitecture(
        transformer="WanTransformer3DModel",
        denoiser={
            "in_channels": 4,
            "out_channels": 4,
            "num_attention_heads": 2,
            "attention_head_dim": 16,
            "num_layers": 3,
            "ffn_dim": 32,
            "freq_dim": 16,
            "text_dim": 32,
            "rope_max_seq_len": 64,
        },
        autoencoder="AutoencoderKLWan",
        vae={
            "base_dim": 4,
            "z_dim": 4,
            "num_res_blocks": 1,
            "latents_mean": (-0.8, 0.1, 0.4, -0.3),
            "latents_std": (2.8, 1.5, 2.3, 2.7),
        },
        scheduler={"_class_name": "UniPCMultistepScheduler", "prediction_type": "flow_prediction"},
        text=(12, 32),
    ),
}


def random_video_backbone(
    name: str = "joint",
    seed: int = 0,
    *,
    architecture: VideoArchitecture | None = None,
    last_block: int | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    rotary: bool = True,
) -> VideoDiT:
    """Returns a video transformer with random weights.

    Transformer and autoencoder are the real classes. Instead of a text encoder, there are random states of the right
    number and width, a function of the text.

    Args:
        name: a published model (see `VIDEO_ARCHITECTURES`), or a small one of a kind: `joint` (in the shape of
            `tiny-video`), `joint-sine`, `joint-rotary`, `joint-image` (CogVideoX 2B, 5B, 5B image to video), `dual`
            (HunyuanVideo) or `self` (Wan). A small one gets a card that reads its middle block.
        seed: of the weights.
        architecture: other networks than those called `name`.
        last_block: index of the last block that is built; `None` for all.
        device: where to build it; on "meta" nothing is allocated, and only shapes come out.
        dtype: number type of the weights.
        rotary: see `VideoDiT`.

    Raises:
        SettingsError: if nothing is called `name`.
    """
    known = {**VIDEO_ARCHITECTURES, **SMALL_ARCHITECTURES}
    architecture = architecture or known.get(name)
    if architecture is None:
        raise SettingsError(f"no video transformer is called '{name}'; known are {', '.join(known)}")
    kind = kind_of(architecture.transformer)
    if kind is None:
        raise SettingsError(f"{architecture.transformer} is no video transformer that undertow reads")
    denoiser_class: Any = getattr(diffusers, architecture.transformer)
    arguments = inspect.signature(denoiser_class).parameters.values()
    whole = {each.name: each.default for each in arguments if each.default is not each.empty} | dict(
        architecture.denoiser
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with torch.device(device):
            transformer = cast(denoiser_class(**first_blocks(kind, whole, last_block)), dtype)
            vae = getattr(diffusers, architecture.autoencoder)(**architecture.vae)
    schedule, frames = read_schedule(architecture.scheduler), FrameAutoencoder(cast(vae, dtype))
    known_cards = {card.name: card for card in list_cards()}
    card = known_cards.get(name)
    if card is None:
        card = replace(middle_card(name, kind, whole, schedule, frames.stride), positions=architecture.positions)
    return VideoDiT(
        card,
        transformer,
        frames,
        schedule,
        lambda text: _random_states(text, architecture),
        device=torch.device(device),
        dtype=dtype,
        rotary=rotary,
        blocks=len(block_paths(kind, whole)),
    )


def _random_states(text: str, architecture: VideoArchitecture) -> Conditioning:
    """Returns states that are a function of the text, of unit variance."""
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big"))
    pooled = torch.randn(architecture.pooled, generator=generator) if architecture.pooled else None
    return Conditioning(torch.randn(architecture.text, generator=generator), "text", text, pooled)
