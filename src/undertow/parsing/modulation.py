"""Masked modulation: the tokens of one label are pushed inside of the network, and what moves belongs to the label.

A number c times the label's mask is added to all channels of an attention's output (VidSeg, supplementary of arXiv
2405.16947; EmerDiff, arXiv 2401.11739). Every later part of that transformer sees it through a LayerNorm, which
takes away what all channels of a token share, and hands it on along the residual, up to the linear map at the end.
So the whole change is c m(p) v at the transformer's output, with v the row sums of that map: it is added there, and
nothing before it need ever run again.

How each model is perturbed by default: VidSeg's and EmerDiff's numbers, and what was measured for `tiny`.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, Int
from torch import Tensor

from undertow.backbones import Backbone, Card, Site
from undertow.backbones.cards.known import clip_steps
from undertow.base import SettingsError
from undertow.parsing.settings import Modulation, ParseSettings


def transformer_path(site: Site) -> str:
    """Returns the path of the transformer that holds an attention."""
    return site.path.partition(".transformer_blocks.")[0].partition(".temporal_transformer_blocks.")[0]


def push_direction(transformer: Any, sites: Sequence[Site]) -> Float[Tensor, "c"]:
    """Returns v: what adding 1 to all channels of the attentions' outputs at a token adds to the transformer's there.

    The row sums of the last linear map. A transformer for video mixes α of a spatial branch with 1 - α of a temporal
    one that goes on from it: a push of the spatial attention reaches both, one of the temporal attention only the
    second, so that both together count 2 - α times.

    Args:
        transformer: Of an image or a video UNet of diffusers.
        sites: Its attentions that are pushed.
    """
    rows = transformer.proj_out.weight.float().flatten(1).sum(1)
    share = rows.new_tensor(float(any(site.kind != "temporal" for site in sites)))
    if any(site.kind == "temporal" for site in sites):
        share = share + 1 - torch.sigmoid(transformer.time_mixer.mix_factor.float())
    return cast(Tensor, rows * share)


def decoder_sites(backbone: Backbone, kinds: Sequence[str]) -> tuple[Site, ...]:
    """Returns the attentions of the decoder that are of one of `kinds`."""
    return tuple(site for site in backbone.sites(*kinds) if site.path.startswith("up_blocks.")) if kinds else ()


def one_hot(soft: Float[Tensor, "f m gh gw"]) -> Bool[Tensor, "m f gh gw"]:
    """Returns where each label is the likeliest of its token."""
    return functional.one_hot(soft.argmax(1), soft.shape[1]).movedim(-1, 0).bool()


def present(masks: Bool[Tensor, "m f gh gw"], clip: int = 1) -> Int[Tensor, "p 2"]:
    """Returns the (label, frame) pairs to push, label by label: those with tokens.

    A frame of one label only has nothing to decide. A model that sees clips is shown whole ones: their frames are
    in or out together.

    Args:
        masks: Where each label is, by frame.
        clip: Frames that the model sees together.
    """
    pairs = masks.flatten(2).any(2)
    if clip > 1:
        pairs = pairs.view(len(masks), -1, clip).any(2).repeat_interleave(clip, 1)
    return (pairs & (pairs.sum(0) > 1)).nonzero()


def modulated_sites(card: Card, modulation: Modulation) -> tuple[Site, ...]:
    """Returns the attentions to push: those of the settings, or the card's.

    Raises:
        SettingsError: if neither names any, or they are of several transformers.
    """
    sites = modulation.sites or card.sites.get("modulate", ())
    if not sites:
        raise SettingsError(f"'{card.name}' names no attention to modulate; give sites, or use quality turbo")
    if len({transformer_path(site) for site in sites}) > 1:
        raise SettingsError("attentions of several transformers are to be pushed; give those of one")
    return tuple(sites)


# Image pixels per latent cell of `tiny` and of models trained like it; Stable Diffusion has 8.
TINY_STRIDE = 4
# VidSeg (supplementary, table 1, and its code, where they differ): Stable Diffusion from step 22 of 25, where the
# paper has 20; guidance 5 over zeros.
VIDSEG = Modulation(steps=(119, 79, 39), strength=50.0, guidance=5.0, blended=2)
# EmerDiff: one push at timestep 281 of a walk in steps of 20, no blending, all of the map counts.
EMERDIFF = Modulation(
    steps=tuple(range(281, 0, -20)), strength=10.0, guidance=1.0, blended=0, normalised=False, outside=1.0
)


# Stable Video Diffusion in VidSeg: from step 17 of 25, spatial and temporal attention pushed and injected, guidance
# rising over the clip, blended to the end.
VIDSEG_CLIPS = Modulation(steps=clip_steps(17), strength=50.0, guidance=(1.0, 2.5), blended=None)
# `tiny`, as measured (docs/parsing-modulation.md): a smaller push is enough.
TINY = Modulation(steps=(119, 79, 39), strength=10.0, blended=2)
# Its walk is shorter too: fifteen steps for every cluster of every frame are too many on a CPU. Pushed at EmerDiff's
# block and carried on, all of its picture changes (mIoU 5 on CamVid); so it is perturbed where VidSeg does it.
TINY_EMERDIFF = replace(EMERDIFF, steps=(281, 161, 41))


def modulation_for(card: Card, settings: ParseSettings) -> Modulation:
    """Returns how a run perturbs: the method's and model's numbers but for those in the settings.

    Raises:
        SettingsError: if the numbers contradict each other, or the method does not push models of this kind.
    """
    usual = settings.modulation or _usual(card, settings)
    own: dict[str, Any] = {
        "steps": settings.push_steps,
        "strength": settings.push_strength,
        "guidance": settings.guidance,
        "blended": settings.blended,
        "blur": settings.blur,
        "outside": settings.outside,
    }
    return replace(usual, **{name: value for name, value in own.items() if value is not None})


def _usual(card: Card, settings: ParseSettings) -> Modulation:
    """Returns how a method perturbs a model unless settings say otherwise."""
    if settings.method == "emerdiff":
        if "emerdiff" not in card.sites:
            raise SettingsError(f"'{card.name}' names no cross-attention for EmerDiff; use method vidseg")
        if card.latent_stride != TINY_STRIDE:
            return replace(EMERDIFF, sites=card.sites["emerdiff"], seed=settings.seed)
        return replace(TINY_EMERDIFF, sites=card.sites["modulate"], seed=settings.seed)
    if card.family == "unet-video":
        return replace(VIDSEG_CLIPS, seed=settings.seed)
    if card.latent_stride == TINY_STRIDE:
        return replace(TINY, seed=settings.seed)
    return replace(VIDSEG, seed=settings.seed)
