"""Writes a trained model in the folder layout every diffusers model has, as float16 safetensors, with its facts."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from undertow.base import write_json
from undertow.training.matchers import untie_matchers

LAYOUT = {
    "_class_name": "StableDiffusionPipeline",
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "scheduler": ["diffusers", "DDIMScheduler"],
}


def export(
    out: Path,
    *,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    scheduler: DDIMScheduler,
    facts: dict[str, Any],
) -> None:
    """Writes the parts below `out`; `facts` (recipe, measurements) go into `training.json` beside them."""
    unet = deepcopy(unet)
    untie_matchers(unet)
    for name, module in (("vae", vae), ("unet", unet), ("text_encoder", text_encoder)):
        deepcopy(module).cpu().half().save_pretrained(out / name, safe_serialization=True)
    tokenizer.save_pretrained(out / "tokenizer")
    scheduler.save_pretrained(out / "scheduler")
    write_json(out / "model_index.json", LAYOUT)
    write_json(out / "training.json", facts)
