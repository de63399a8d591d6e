"""The published shapes of Stable Diffusion, from which models with random weights can be built for tests and timing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card
from undertow.backbones.sampling.schedule import Schedule
from undertow.base import SettingsError


@dataclass(frozen=True)
class Architecture:
    """Constructor arguments of a model's networks; what they leave out is diffusers' default."""

    unet: Mapping[str, Any]
    vae: Mapping[str, Any]
    scheduler: Mapping[str, Any]
    text_length: int = 77


def _stable_diffusion(prediction: str, sample_size: int, **unet: Any) -> Architecture:
    return Architecture(
        unet={
            "sample_size": sample_size,
            "in_channels": 4,
            "out_channels": 4,
            "block_out_channels": (320, 640, 1280, 1280),
            "layers_per_block": 2,
            "down_block_types": (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D"),
            "up_block_types": ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3),
            **unet,
        },
        vae={
            "block_out_channels": (128, 256, 512, 512),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "sample_size": sample_size * 8,
            "scaling_factor": 0.18215,
        },
        scheduler={
            "beta_start": 0.00085,
            "beta_end": 0.012,
            "beta_schedule": "scaled_linear",
            "num_train_timesteps": 1000,
            "prediction_type": prediction,
            "steps_offset": 1,
            "set_alpha_to_one": False,
            "clip_sample": False,
        },
    )


# `attention_head_dim` is diffusers' historical name for the number of heads.
_SD2 = {
    "attention_head_dim": (5, 10, 20, 20),
    "cross_attention_dim": 1024,
    "use_linear_projection": True,
    "upcast_attention": True,
}

ARCHITECTURES: Mapping[str, Architecture] = {
    "sd-2.1": _stable_diffusion("v_prediction", 96, **_SD2),
    "sd-2.1-base": _stable_diffusion("epsilon", 64, **(_SD2 | {"upcast_attention": False})),
    "sd-1.5": _stable_diffusion("epsilon", 64, attention_head_dim=8, cross_attention_dim=768),
}


def random_backbone(
    card: Card,
    seed: int = 0,
    *,
    architecture: Architecture | None = None,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
) -> ImageUNet:
    """Returns a model of the shape of `card` with random weights.

    The denoiser and the autoencoder are as published. The text encoder is a one-layer stand-in that gives states of
    the right number and width.

    Args:
        card: of the model; its sites must be in the architecture.
        seed: of the weights.
        architecture: shapes of the networks; `None` for the published ones of `card`.
        device: where to build it; on "meta" nothing is allocated, and only shapes come out.
        dtype: number type of the weights.

    Raises:
        SettingsError: if no architecture is published under the name of `card`.
    """
    architecture = architecture or ARCHITECTURES.get(card.name)
    if architecture is None:
        raise SettingsError(f"no architecture is known for '{card.name}'; known are {', '.join(ARCHITECTURES)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with torch.device(device):
            unet = UNet2DConditionModel(**architecture.unet)
            vae = AutoencoderKL(**architecture.vae)
        text = random_text(architecture)
    return ImageUNet(
        card,
        unet,
        vae,
        Schedule.from_config(architecture.scheduler),
        lambda: text,
        device=torch.device(device),
        dtype=dtype,
    )


def random_text(architecture: Architecture) -> tuple[CLIPTokenizer, CLIPTextModel]:
    """Returns a tokenizer that spells every word and an untrained one-layer text encoder, on the CPU."""
    letters = [chr(code) for code in range(33, 127)]
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(letter + "</w>" for letter in letters)]
    tokenizer = CLIPTokenizer(
        vocab={entry: number for number, entry in enumerate(entries)},
        merges=[],
        model_max_length=architecture.text_length,
    )
    width = architecture.unet["cross_attention_dim"]
    encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=architecture.text_length,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return tokenizer, encoder
