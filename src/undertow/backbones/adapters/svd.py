"""Stable Video Diffusion: its card, its published shape, and models of that shape with random weights."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLTemporalDecoder, UNetSpatioTemporalConditionModel
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from undertow.backbones.adapters.unet_video import VideoUNet
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.cards.registry import register_card
from undertow.backbones.weights.networks import read_network


def _site(up: int, index: int, heads: int, stride: int, *, temporal: bool = False) -> Site:
    inner = "temporal_transformer_blocks" if temporal else "transformer_blocks"
    path = f"up_blocks.{up}.attentions.{index}.{inner}.0.attn1"
    return Site(path, "temporal" if temporal else "self", heads, 64, stride)


@register_card
def svd() -> Card:
    """Returns the card of Stable Video Diffusion for 14 frames.

    Sites and levels are VidSeg's (supplementary, table 1): features of blocks 6, 7 and 8 at the last of 25 steps,
    spatial and temporal self-attention of block 8 pushed.
    """
    return Card(
        name="svd",
        hub_ids=("stabilityai/stable-video-diffusion-img2vid",),
        licence="Stability AI Community License",
        prediction="v_prediction",
        token_budget=72 * 128,
        latent_stride=8,
        sites={
            "track": (_site(3, 0, heads=5, stride=8),),
            "parse": tuple(_site(2, index, heads=10, stride=16) for index in range(3)),
            "correspond": (_site(2, 1, heads=10, stride=16),),
            "modulate": (_site(2, 2, heads=10, stride=16), _site(2, 2, heads=10, stride=16, temporal=True)),
        },
        noising=Noising(kind="noise", timestep=0, steps_grid=(0,)),
        window_radius=14,
        window_grid=(72, 128),
        family="unet-video",
        chunk=14,
        notes="sees 14 frames together; its timesteps are 0 (least noise) to 1008, 42 per step of its sampler",
    )


@dataclass(frozen=True)
class ClipArchitecture:
    """Constructor arguments of the networks; what they leave out is the published value."""

    unet: Mapping[str, Any] = field(default_factory=dict)
    vae: Mapping[str, Any] = field(
        default_factory=lambda: {
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "layers_per_block": 2,
        }
    )
    image_encoder: Mapping[str, Any] = field(
        default_factory=lambda: {
            "hidden_size": 1280,
            "intermediate_size": 5120,
            "num_hidden_layers": 32,
            "num_attention_heads": 16,
            "patch_size": 14,
            "projection_dim": 1024,
        }
    )


def random_clip_unet(
    card: Card,
    seed: int = 0,
    *,
    architecture: ClipArchitecture | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> VideoUNet:
    """Returns a model of the shape of Stable Video Diffusion with random weights, for tests and timing.

    Args:
        card: of the model; its sites must be in the architecture.
        seed: of the weights.
        architecture: shapes of the networks; `None` for the published ones.
        device: where to build it; on "meta" nothing is allocated.
        dtype: number type of the weights.
    """
    architecture = architecture or ClipArchitecture()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with torch.device(device):
            unet = UNetSpatioTemporalConditionModel(**architecture.unet)
            vae = AutoencoderKLTemporalDecoder(**architecture.vae)
            encoder = CLIPVisionModelWithProjection(CLIPVisionConfig(**architecture.image_encoder))
    return VideoUNet(card, unet, vae, lambda: encoder, device=torch.device(device), dtype=dtype)


def load_svd(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> VideoUNet:
    """Returns the model in a folder of the diffusers layout; the image encoder is read when an image is continued.

    Args:
        folder: with unet, vae and image_encoder.
        card: of the model; `None` for that of `svd` under the folder's name.
        device: where to run.
        dtype: number type of the weights.

    Raises:
        WeightsUnavailable: if weights are incomplete or damaged.
        SettingsError: if the card's sites are not in the denoiser.
    """
    unet = read_network(UNetSpatioTemporalConditionModel, folder, "unet", dtype)
    vae = read_network(AutoencoderKLTemporalDecoder, folder, "vae", dtype)
    if card is None:
        card = replace(svd(), name=folder.resolve().name, hub_ids=(), notes="read like svd")

    def encoder() -> CLIPVisionModelWithProjection:
        network: CLIPVisionModelWithProjection = read_network(
            CLIPVisionModelWithProjection, folder, "image_encoder", torch.float32
        )
        return network

    return VideoUNet(card, unet, vae, encoder, device=device, dtype=dtype)
