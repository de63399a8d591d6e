"""Frozen diffusion models behind one protocol: what is known of each, loading it, and observing its attention."""

# The cards register themselves when their module is imported, and are listed in this order.
from undertow.backbones.cards import image_cards as _cards  # noqa: F401, I001
from undertow.backbones.cards import video_cards as _dit_cards  # noqa: F401
from undertow.backbones.adapters import svd as _svd  # noqa: F401

from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.svd import random_clip_unet
from undertow.backbones.adapters.unet import ImageUNet
from undertow.backbones.adapters.unet_video import VideoUNet
from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
from undertow.backbones.cards.registry import get_card, list_cards, register_card
from undertow.backbones.dit_published import random_video_backbone
from undertow.backbones.initialisation import matcher_start
from undertow.backbones.loading import load
from undertow.backbones.observation import Backbone, Conditioning, Observation
from undertow.backbones.published import random_backbone
from undertow.backbones.reading.sizes import fit_size
from undertow.backbones.sampling.schedule import FlowSchedule, Schedule
from undertow.backbones.weights.locating import Located, locate, pins, resolve, weights_state

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
    "random_clip_unet",
    "random_video_backbone",
    "register_card",
    "resolve",
    "weights_state",
]
