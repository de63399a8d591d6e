"""Writes a trained model in the folder layout every diffusers model has, as float16 safetensors, with its facts."""

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer

from undertow.base import SettingsError, write_json
from undertow.training.matchers import untie_matchers

LAYOUT = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}
PARTS = ((AutoencoderKL, "vae"), (UNet2DConditionModel, "unet"))


@dataclass(frozen=True)
class TinyParts:
    """The parts of `tiny` besides its noise schedule."""

    vae: AutoencoderKL
    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer


def read_parts(folder: Path) -> TinyParts:
    """Returns the parts of a finished model in float32.

    Raises:
        SettingsError: if the folder holds no such model.
    """
    try:
        # Not `from_pretrained`, which would write the folder's place on this machine into the exported files.
        vae, unet = (kind.from_config(kind.load_config(folder / part)) for kind, part in PARTS)
        for module, (_, part) in zip((vae, unet), PARTS, strict=True):
            weights = load_file(folder / part / "diffusion_pytorch_model.safetensors")
            module.load_state_dict({name: weight.float() for name, weight in weights.items()})
        text_encoder = CLIPTextModel.from_pretrained(
            folder / "text_encoder", dtype=torch.float32, local_files_only=True
        )
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise SettingsError(f"{folder} does not hold a model like tiny: {error}") from error
    return TinyParts(vae, unet, text_encoder, tokenizer)


def export(out: Path, parts: TinyParts, scheduler: DDIMScheduler, facts: dict[str, Any]) -> None:
    """Writes a model below `out`; `facts` (recipe, measurements) go into `training.json` beside it."""
    unet = deepcopy(parts.unet)
    untie_matchers(unet)
    for name, module in (("vae", parts.vae), ("unet", unet), ("text_encoder", parts.text_encoder)):
        deepcopy(module).cpu().half().save_pretrained(out / name, safe_serialization=True)
    parts.tokenizer.save_pretrained(out / "tokenizer")
    scheduler.save_pretrained(out / "scheduler")
    write_json(out / "model_index.json", LAYOUT)
    write_json(out / "training.json", facts)
