"""Frozen diffusion models behind one class: what is known of each, loading it, and observing its attention."""

from typing import TYPE_CHECKING

from undertow.base.on_demand import on_demand

if TYPE_CHECKING:
    from undertow.backbones.adapters.base import Backbone
    from undertow.backbones.adapters.dit import VideoDiT
    from undertow.backbones.adapters.unet import ImageUNet
    from undertow.backbones.adapters.unet_clip import ClipUNet
    from undertow.backbones.adapters.unet_video import VideoUNet
    from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
    from undertow.backbones.cards.card_file import get_card, list_cards, register_card
    from undertow.backbones.loading import load, matcher_start
    from undertow.backbones.observation import Conditioning, Observation
    from undertow.backbones.published import random_backbone
    from undertow.backbones.reading.sizes import fit_size
    from undertow.backbones.sampling.schedule import FlowSchedule, Schedule
    from undertow.backbones.weights.locating import Located, locate, pins, resolve, weights_state

__getattr__, __dir__ = on_demand(__name__)

__all__ = [
    "Backbone",
    "Card",
    "ClipUNet",
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
