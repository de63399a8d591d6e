"""From a name or a folder to a running backbone."""

import json
import os
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from undertow.backbones.capture import attention_at
from undertow.backbones.card import Card, Site
from undertow.backbones.initialisation import matcher_start
from undertow.backbones.registry import get_card, list_cards
from undertow.backbones.schedule import Schedule
from undertow.backbones.unet import ImageUNet
from undertow.backbones.weights import find_problem, resolve, weight_variant
from undertow.base import SettingsError, WeightsUnavailable, resolve_device, resolve_dtype

UNTRAINED_SEED = 0


def load(
    name_or_folder: str | Path,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
) -> ImageUNet:
    """Returns a running backbone.

    Args:
        name_or_folder: the name of a card (`tiny`, `sd-2.1`, ...), or a local folder in the diffusers layout. A folder
            is given the card whose sites and prediction type its network has, and a generic one if there is none.
        device: where to run; `None` or "auto" for the best there is.
        dtype: number type of the weights; `None` or "auto" for bfloat16 where the device has it, else float32.

    Raises:
        WeightsUnavailable: if the weights are absent, incomplete or damaged.
        SettingsError: if the name is unknown, or the model is of a kind that undertow does not read.
    """
    where = device if isinstance(device, torch.device) else resolve_device(device)
    kind = dtype if isinstance(dtype, torch.dtype) else resolve_dtype(dtype, where)
    known = [card.name for card in list_cards()]
    card = get_card(str(name_or_folder)) if str(name_or_folder) in known else None
    if card is not None:
        folder = resolve(card)
    else:
        folder = Path(name_or_folder)
        if not folder.exists() and os.sep not in str(name_or_folder):
            raise SettingsError(
                f"no model is called '{name_or_folder}'; give one of {', '.join(known)}, "
                "or a folder in the diffusers layout"
            )
        if problem := find_problem(folder):
            raise WeightsUnavailable(f"{problem}; give a folder in the diffusers layout with safetensors weights")
    return _load_folder(folder, card, where, kind)


def _load_folder(folder: Path, card: Card | None, device: torch.device, dtype: torch.dtype) -> ImageUNet:
    _check_family(folder)
    schedule = Schedule.from_config(_read_json(folder / "scheduler" / "scheduler_config.json"))
    vae = _component(AutoencoderKL, folder, "vae", dtype)
    if card is not None and card.untrained:
        unet = untrained_denoiser(_read_json(folder / "unet" / "config.json"))
    else:
        unet = _component(UNet2DConditionModel, folder, "unet", dtype)
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
        return tokenizer, _component(CLIPTextModel, folder, "text_encoder", torch.float32)

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
            return replace(
                card, name=name, hub_ids=(), sha256={}, embedded="", untrained=False, notes=f"read like {card.name}"
            )
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
            raise SettingsError(f"{folder} holds a {config.get('_class_name')} where undertow reads a {wanted}")
    if unet.get("addition_embed_type") or unet.get("class_embed_type") or unet.get("encoder_hid_dim"):
        raise SettingsError(
            f"the denoiser of {folder} needs more than a text (as SDXL does); give a Stable Diffusion 1 or 2 model"
        )
    if unet.get("in_channels") != vae.get("latent_channels"):
        raise SettingsError(
            f"the denoiser of {folder} reads {unet.get('in_channels')} channels and its latents have "
            f"{vae.get('latent_channels')} (an inpainting model?); give a plain text-to-image model"
        )


def _component(kind: Any, folder: Path, component: str, dtype: torch.dtype) -> Any:
    """Returns one network of `folder`, whole, finite and in `dtype`."""
    options: dict[str, Any] = {"variant": weight_variant(folder, component) or None, "use_safetensors": True}
    if kind is CLIPTextModel:
        options |= {"dtype": dtype}
    else:
        options |= {"torch_dtype": dtype, "low_cpu_mem_usage": False}
    try:
        with _quiet():
            network, report = kind.from_pretrained(
                folder / component, local_files_only=True, output_loading_info=True, **options
            )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsUnavailable(
            f"the weights in {folder / component} do not load ({_root_message(error)}); download the model again"
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise WeightsUnavailable(
            f"{folder / component} lacks {len(missing)} of its weights, {missing[0]} first; download the model again"
        )
    for name, weight in network.named_parameters():
        # A sum is not finite if any term is not, and is much cheaper than looking at each.
        if not weight.sum(dtype=torch.float32).isfinite():
            raise WeightsUnavailable(
                f"{folder / component} has NaN or infinite numbers in {name}; the file is damaged, download it again"
            )
    return network


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the libraries from drawing bars and tables: what is wrong with weights is said in our own sentence."""
    levels = [(library, library.get_verbosity()) for library in (diffusers_logging, transformers_logging)]
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        for library, _ in levels:
            library.set_verbosity_error()
        yield
    finally:
        for library, level in levels:
            library.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()


def _root_message(error: BaseException) -> str:
    """Returns what the first of a chain of errors says, in one line."""
    while (earlier := error.__cause__ or error.__context__) is not None:
        error = earlier
    return textwrap.shorten(str(error), 160)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsUnavailable(f"{path} is not valid JSON ({error}); download the model again") from error
    if not isinstance(content, dict):
        raise WeightsUnavailable(f"{path} holds no JSON object; download the model again")
    return content
