"""From a folder to a running video transformer, of which only what will run is read.

A network is built without memory and filled from its safetensors files tensor by tensor, so the blocks after the last
wanted one are neither built nor read, and the decoder of the autoencoder only when something is decoded.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import torch

from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.dit_kinds import Kind, block_paths, first_blocks, kind_of
from undertow.backbones.adapters.dit_text import keeping_null_text, null_text_file, text_reader
from undertow.backbones.adapters.video_autoencoder import FrameAutoencoder
from undertow.backbones.cards.card import Card, Site
from undertow.backbones.cards.registry import list_cards
from undertow.backbones.cards.video_cards import middle_card
from undertow.backbones.sampling.schedule import NoiseSchedule, read_schedule
from undertow.backbones.weights.networks import StoredWeights, fill_network, quiet
from undertow.base import SettingsError

AUTOENCODERS = ("AutoencoderKL", "AutoencoderKLCogVideoX", "AutoencoderKLHunyuanVideo", "AutoencoderKLWan")
# Wan's autoencoder is run in float32 by its authors.
FLOAT32_AUTOENCODERS = ("AutoencoderKLWan",)


def load_video_dit(
    folder: Path,
    configs: Mapping[str, Mapping[str, Any]],
    card: Card | None,
    device: torch.device,
    dtype: torch.dtype,
    *,
    sites: str | Sequence[Site] | None = None,
    cache: Path | str | None = None,
) -> VideoDiT:
    """Returns the video transformer in `folder`.

    Args:
        folder: in the diffusers layout.
        configs: the configurations in it of `transformer`, `vae` and `scheduler`.
        card: of the model, or `None` if nothing is known of it.
        device: where to run.
        dtype: number type of the weights.
        sites: where it will be observed, or a purpose of `Card.sites`: blocks after the last of them are not read.
            `None` for the whole model.
        cache: folder where the states of the empty text are kept; `None` for the user's.

    Raises:
        WeightsUnavailable: if weights are incomplete or damaged.
        SettingsError: if the model is of a kind that undertow does not read, or is not that of `card`.
    """
    config, name = configs["transformer"], card.name if card else folder.resolve().name
    kind = kind_of(str(config.get("_class_name")))
    if kind is None:
        raise SettingsError(
            f"{folder} holds a {config.get('_class_name')}; undertow reads CogVideoX, HunyuanVideo and Wan 2.1"
        )
    if problem := kind.problem(config):
        raise SettingsError(f"'{name}' {problem}, which undertow does not do; choose another model")
    schedule = read_schedule(configs["scheduler"])
    vae = _autoencoder(folder, configs["vae"], dtype)
    if card is None:
        card = nearest_video_card(name, kind, config, schedule, vae.stride)
    elif (card.prediction, card.latent_stride) != (schedule.prediction, vae.stride):
        raise SettingsError(
            f"{folder} has {schedule.prediction} and latents of stride {vae.stride}, where '{card.name}' has "
            f"{card.prediction} and {card.latent_stride}; it is another model"
        )
    last = _last_block(kind, config, card, sites)
    transformer = _empty(str(config["_class_name"]), first_blocks(kind, config, last))
    weights = StoredWeights(folder, "transformer")
    fill_network(transformer, weights, str(folder / "transformer"), dtype)
    kind.restore_tables(transformer)
    read_text = text_reader(folder, name, kind.text_length(config))
    if not card.embedded:
        kept = null_text_file(kind.text_reader(transformer), card.null_text, cache)
        read_text = keeping_null_text(read_text, card.null_text, kept)
    blocks = len(block_paths(kind, config))
    return VideoDiT(card, transformer, vae, schedule, read_text, device=device, dtype=dtype, blocks=blocks)


def nearest_video_card(
    name: str, kind: Kind, config: Mapping[str, Any], schedule: NoiseSchedule, latent_stride: int
) -> Card:
    """Returns a card called `name` for a model that has none.

    It is a copy of the first registered card of the same prediction type and latent stride whose sites are all in the
    network with the same heads. For other networks it reads the middle block.
    """
    paths, shape = block_paths(kind, config), (config["num_attention_heads"], config["attention_head_dim"])
    for card in list_cards():
        if card.family == "dit" and (card.prediction, card.latent_stride) == (schedule.prediction, latent_stride):
            sites = [site for sites in card.sites.values() for site in sites]
            if all(site.path in paths and (site.heads, site.head_dim) == shape for site in sites):
                own = replace(card, name=name, hub_ids=(), sha256={}, embedded="", calibrated=(), licence="unknown")
                return replace(own, notes=f"read like {card.name}")
    return middle_card(name, kind, config, schedule, latent_stride)


def _last_block(kind: Kind, config: Mapping[str, Any], card: Card, sites: str | Sequence[Site] | None) -> int | None:
    """Returns the index of the last block that observing `sites` runs; `None` if all are wanted."""
    if sites is None:
        return None
    if isinstance(sites, str):
        if sites not in card.sites:
            raise SettingsError(f"'{card.name}' has no sites for '{sites}'; it has some for {', '.join(card.sites)}")
        sites = card.sites[sites]
    paths = block_paths(kind, config)
    for site in sites:
        if site.path not in paths:
            raise SettingsError(f"'{card.name}' has no attention called '{site.path}'; check the site")
    return max((paths.index(site.path) for site in sites), default=None)


def _autoencoder(folder: Path, config: Mapping[str, Any], dtype: torch.dtype) -> FrameAutoencoder:
    """Returns the autoencoder, whose decoder is read when it is first used."""
    name = str(config.get("_class_name"))
    if name not in AUTOENCODERS:
        raise SettingsError(f"{folder} holds a {name} where undertow reads one of {', '.join(AUTOENCODERS)}")
    own = torch.float32 if name in FLOAT32_AUTOENCODERS else dtype
    network, where = _empty(name, config), str(folder / "vae")
    weights = StoredWeights(folder, "vae")
    network.decoder = None
    fill_network(network, weights, where, own)

    def load_decoder(device: torch.device) -> torch.nn.Module:
        decoder = fill_network(_empty(name, config).decoder, weights.below("decoder."), f"{where} (decoder)", own)
        module: torch.nn.Module = decoder.to(device).eval().requires_grad_(False)
        return module

    return FrameAutoencoder(network, load_decoder)


def _empty(class_name: str, config: Mapping[str, Any]) -> Any:
    """Returns a network of a class of diffusers whose weights have shapes but no memory yet."""
    with quiet(), torch.device("meta"):
        return getattr(diffusers, class_name).from_config(dict(config))
