"""From a name or a folder to a running backbone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.dit_loading import load_video_dit
from undertow.backbones.adapters.svd import load_svd
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.cards.card import Card, Site
from undertow.backbones.cards.registry import get_card, list_cards
from undertow.backbones.initialisation import matcher_start
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.reading.capture import attention_at
from undertow.backbones.sampling.schedule import Schedule
from undertow.backbones.weights.layout import is_video_transformer, is_video_unet
from undertow.backbones.weights.locating import locate
from undertow.backbones.weights.networks import read_network
from undertow.backbones.weights.single_file import published_names, read_networks, text_loader
from undertow.base import SettingsError, WeightsUnavailable, resolve_device, resolve_dtype

UNTRAINED_SEED = 0


def load(
    model: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    sites: str | Sequence[Site] | None = None,
) -> ImageUNet | VideoDiT:
    """Returns a running backbone.

    Args:
        model: the name of a card (`tiny`, `sd-2.1`, ...), a local folder in the diffusers layout, a safetensors file
            of a whole Stable Diffusion 1 or 2 model, or NAME=PATH for a folder or file that holds the model called
            NAME. A folder without a name is given the card whose sites and prediction type its network has, and a
            generic one if there is none.
        sites: where it will be observed: some sites, or a purpose of `Card.sites` such as "points". Of a video
            transformer, blocks after the last of them are then not read; image models are always read whole.
        device: where to run; `None` or "auto" for the best there is.
        dtype: number type of the weights; `None` or "auto" for bfloat16 where the device has it, else float32.

    Raises:
        WeightsUnavailable: if the weights are absent, incomplete, damaged, or not those that the card pins.
        SettingsError: if the name is unknown, if a file may be one of several models, or if the model is of a
            kind that undertow does not read.
    """
    where = device if isinstance(device, torch.device) else resolve_device(device)
    kind = dtype if isinstance(dtype, torch.dtype) else resolve_dtype(dtype, where)
    located = locate(model)
    if located.path.is_file():
        return _load_file(located.path, located.card, where, kind)
    if is_video_transformer(located.path):
        parts = {"transformer": "config", "vae": "config", "scheduler": "scheduler_config"}
        configs = {part: _read_json(located.path / part / f"{name}.json") for part, name in parts.items()}
        return load_video_dit(located.path, configs, located.card, where, kind, sites=sites)
    if is_video_unet(located.path):
        return load_svd(located.path, located.card, where, kind)
    return _load_folder(located.path, located.card, where, kind)


def _load_file(path: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> ImageUNet:
    """Returns the model in one file; without a card, the one that its shapes tell."""
    fitting = published_names(path)
    if card is None:
        if len(fitting) != 1:
            raise SettingsError(_which(path, fitting))
        card = _like(get_card(fitting[0]), path.stem)
        name = fitting[0]
    else:
        name = card.name
        if name not in fitting:
            raise SettingsError(_which(path, fitting, f"not '{name}'"))
    architecture = ARCHITECTURES[name]
    unet, vae = read_networks(path, architecture, dtype)
    schedule = Schedule.from_config(architecture.scheduler)
    return ImageUNet(card, unet, vae, schedule, text_loader(path, name, architecture), device=device, dtype=dtype)


def _which(path: Path, fitting: list[str], wrong: str = "one model only") -> str:
    """Returns the sentence that says which models a file may hold, where `wrong` is what it does not."""
    if not fitting:
        return f"{path} holds a model of a shape that is not known here; give it as a folder in the diffusers layout"
    choice = " or ".join(f"--model {name}={path}" for name in fitting)
    return f"the weights of {path} fit {' and '.join(fitting)}, {wrong}; say which it is with {choice}"


def _load_folder(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> ImageUNet:
    _check_family(folder)
    schedule = Schedule.from_config(_read_json(folder / "scheduler" / "scheduler_config.json"))
    vae = read_network(AutoencoderKL, folder, "vae", dtype)
    if card is not None and card.untrained:
        unet = untrained_denoiser(_read_json(folder / "unet" / "config.json"))
    else:
        unet = read_network(UNet2DConditionModel, folder, "unet", dtype)
    latent_stride = 2 ** (len(vae.config.block_out_channels) - 1)
    if card is None:
        card = nearest_card(folder.resolve().name, unet, schedule, latent_stride)
    elif (card.prediction, card.latent_stride) != (schedule.prediction, latent_stride):
        raise SettingsError(
            f"{folder} has {schedule.prediction} and latents of stride {latent_stride}, where '{card.name}' has "
            f"{card.prediction} and {card.latent_stride}; it is another model"
        )

    def load_text() -> tuple[CLIPTokenizer, CLIPTextModel]:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        return tokenizer, read_network(CLIPTextModel, folder, "text_encoder", torch.float32)

    return ImageUNet(card, unet, vae, schedule, load_text, device=device, dtype=dtype)


def untrained_denoiser(config: Mapping[str, Any]) -> UNet2DConditionModel:
    """Returns the denoiser that `config` describes as it is before training, under a fixed seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        unet = UNet2DConditionModel.from_config(config)
    matcher_start(unet, UNTRAINED_SEED)
    return unet


def nearest_card(name: str, unet: UNet2DConditionModel, schedule: Schedule, latent_stride: int) -> Card:
    """Returns a card called `name` for a model that has none.

    It is a copy of the first registered card of the same prediction type and latent stride whose sites are all in
    `unet` with the same heads. For other networks it reads the first self-attention of the last decoder block that
    has one, after inversion to timestep 41.
    """
    for card in list_cards():
        if (card.prediction, card.latent_stride) == (schedule.prediction, latent_stride) and _fits(card, unet):
            return _like(card, name)
    site = _last_decoder_site(unet, latent_stride)
    side = max(1, int(unet.config.sample_size or 64) * latent_stride // site.stride)
    return Card(
        name=name,
        hub_ids=(),
        licence="unknown",
        prediction=schedule.prediction,
        token_budget=side * side,
        latent_stride=latent_stride,
        sites={"track": (site,)},
        # DRIFT's window of 14 tokens on a grid of 96.
        window_radius=max(1, round(side * 14 / 96)),
        window_grid=(side, side),
        notes="no known model has these sites: the last decoder self-attention is read",
    )


def _like(card: Card, name: str) -> Card:
    """Returns a card called `name` for a model of unknown origin that is read like that of `card`."""
    own = replace(card, name=name, hub_ids=(), sha256={}, embedded="", untrained=False, calibrated=())
    return replace(own, notes=f"read like {card.name}")


def _fits(card: Card, unet: UNet2DConditionModel) -> bool:
    try:
        for site in card.sites["track"]:
            attention_at(unet, site)
    except SettingsError:
        return False
    return True


def _last_decoder_site(unet: UNet2DConditionModel, latent_stride: int) -> Site:
    for index in reversed(range(len(unet.up_blocks))):
        path = f"up_blocks.{index}.attentions.0.transformer_blocks.0.attn1"
        try:
            attention: Any = unet.get_submodule(path)
        except AttributeError:
            continue
        upsamplings_after = sum(block.upsamplers is not None for block in list(unet.up_blocks)[index:])
        stride = latent_stride * 2**upsamplings_after
        return Site(path, "self", attention.heads, attention.to_q.out_features // attention.heads, stride)
    raise SettingsError("the denoiser has no self-attention in its decoder, so there is nothing to match with")


def _check_family(folder: Path) -> None:
    """Raises SettingsError unless the networks are those that `ImageUNet` runs."""
    unet, vae = (_read_json(folder / component / "config.json") for component in ("unet", "vae"))
    for config, wanted in ((unet, "UNet2DConditionModel"), (vae, "AutoencoderKL")):
        if config.get("_class_name") != wanted:
            raise SettingsError(
                f"{folder} holds a {config.get('_class_name')} where undertow reads a {wanted}; "
                "give a Stable Diffusion 1 or 2 model"
            )
    if unet.get("addition_embed_type") or unet.get("class_embed_type") or unet.get("encoder_hid_dim"):
        raise SettingsError(
            f"the denoiser of {folder} needs more than a text (as SDXL does); give a Stable Diffusion 1 or 2 model"
        )
    if unet.get("in_channels") != vae.get("latent_channels"):
        raise SettingsError(
            f"the denoiser of {folder} reads {unet.get('in_channels')} channels and its latents have "
            f"{vae.get('latent_channels')} (an inpainting model?); give a plain text-to-image model"
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsUnavailable(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(content, dict):
        raise WeightsUnavailable(f"{path} holds no JSON object; download the model again")
    return content
