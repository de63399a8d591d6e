"""Frozen diffusion models behind one protocol: what is known of each, loading it, and observing its attention."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from undertow.backbones.adapters.dit import VideoDiT
    from undertow.backbones.adapters.unet import ImageUNet
    from undertow.backbones.adapters.unet_video import VideoUNet
    from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
    from undertow.backbones.cards.card_file import get_card, list_cards, register_card
    from undertow.backbones.loading import load, matcher_start
    from undertow.backbones.protocol import Backbone, Conditioning, Observation
    from undertow.backbones.published import random_backbone
    from undertow.backbones.reading.sizes import fit_size
    from undertow.backbones.sampling.schedule import FlowSchedule, Schedule
    from undertow.backbones.weights.locating import Located, locate, pins, resolve, weights_state

# Names are looked up when first used, so that the cards are known without torch and the libraries of networks.
_HOMES = {
    "Backbone": "protocol",
    "Card": "cards.card",
    "Conditioning": "protocol",
    "FlowSchedule": "sampling.schedule",
    "ImageUNet": "adapters.unet",
    "Located": "weights.locating",
    "Noising": "cards.card",
    "Observation": "protocol",
    "Schedule": "sampling.schedule",
    "Site": "cards.card",
    "VideoDiT": "adapters.dit",
    "VideoUNet": "adapters.unet_video",
    "fit_size": "reading.sizes",
    "get_card": "cards.card_file",
    "inversion_steps": "cards.card",
    "list_cards": "cards.card_file",
    "load": "loading",
    "locate": "weights.locating",
    "matcher_start": "loading",
    "pins": "weights.locating",
    "random_backbone": "published",
    "register_card": "cards.card_file",
    "resolve": "weights.locating",
    "weights_state": "weights.locating",
}

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
