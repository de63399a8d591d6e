"""Frozen diffusion models behind one class: what is known of each, loading it, and observing its attention."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow.backbones.adapters.base import Backbone
    from undertow.backbones.adapters.dit import VideoDiT
    from undertow.backbones.adapters.unet import ImageUNet
    from undertow.backbones.adapters.unet_video import VideoUNet
    from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
    from undertow.backbones.cards.card_file import get_card, list_cards, register_card
    from undertow.backbones.loading import load, matcher_start
    from undertow.backbones.observation import Conditioning, Observation
    from undertow.backbones.published import random_backbone
    from undertow.backbones.reading.sizes import fit_size
    from undertow.backbones.sampling.schedule import FlowSchedule, Schedule
    from undertow.backbones.weights.locating import Located, locate, pins, resolve, weights_state

# Names are looked up when first used, so that the cards are known without torch and the libraries of networks.
_NAMES = {
    "adapters.base": ("Backbone",),
    "adapters.dit": ("VideoDiT",),
    "adapters.unet": ("ImageUNet",),
    "adapters.unet_video": ("VideoUNet",),
    "cards.card": ("Card", "Noising", "Site", "inversion_steps"),
    "cards.card_file": ("get_card", "list_cards", "register_card"),
    "loading": ("load", "matcher_start"),
    "observation": ("Conditioning", "Observation"),
    "published": ("random_backbone",),
    "reading.sizes": ("fit_size",),
    "sampling.schedule": ("FlowSchedule", "Schedule"),
    "weights.locating": ("Located", "locate", "pins", "resolve", "weights_state"),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = [
    "Backbone",
    "Card",
    "Conditioning",
    "FlowSchedule",
    "ImageUNet",
    "Located",
    "Noising",
    "Observation",
    "Schedule",
    "Site",
    "VideoDiT",
    "VideoUNet",
    "fit_size",
    "get_card",
    "inversion_steps",
    "list_cards",
    "load",
    "locate",
    "matcher_start",
    "pins",
    "random_backbone",
    "register_card",
    "resolve",
    "weights_state",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'undertow.backbones' has no attribute '{name}'")
    return getattr(import_module(f"undertow.backbones.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
