"""How each model is pushed unless told otherwise: VidSeg's and EmerDiff's numbers, and what was measured for `tiny`."""

from dataclasses import replace
from typing import Any

from undertow.backbones import Card
from undertow.backbones.cards.known import clip_steps
from undertow.base import SettingsError
from undertow.parsing.settings import ParseSettings
from undertow.parsing.sharpeners.modulation import Modulation

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
# `tiny`, as measured (docs/parsing-modulation.md): one small push from one side is enough for fast; exact, where the
# answer goes through more steps and the decoder, takes more.
TINY_FAST = Modulation(steps=(281,), strength=2.0, one_sided=True, blended=0)
TINY_EXACT = Modulation(steps=(119, 79, 39), strength=10.0, blended=2)
# Its walk is shorter too: fifteen steps for every cluster of every frame are too many on a CPU. Pushed at EmerDiff's
# block and carried on, all of its picture changes (mIoU 5 on CamVid); so exact pushes where VidSeg does.
TINY_EMERDIFF = replace(EMERDIFF, steps=(281, 161, 41))


def modulation_for(card: Card, settings: ParseSettings) -> Modulation:
    """Returns how a run pushes: the method's and model's numbers but for those in the settings.

    Raises:
        SettingsError: if the numbers contradict each other, or the method does not push models of this kind.
    """
    usual = settings.modulation or _usual(card, settings)
    own: dict[str, Any] = {
        "steps": settings.push_steps,
        "strength": settings.push_strength,
        "one_sided": settings.push_one_sided,
        "guidance": settings.guidance,
        "blended": settings.blended,
        "blur": settings.blur,
        "outside": settings.outside,
    }
    return replace(usual, **{name: value for name, value in own.items() if value is not None})


def _usual(card: Card, settings: ParseSettings) -> Modulation:
    """Returns how a method pushes a model unless settings say otherwise."""
    if settings.method == "emerdiff":
        if "emerdiff" not in card.sites:
            raise SettingsError(f"'{card.name}' names no cross-attention for EmerDiff; use method vidseg")
        if card.latent_stride != TINY_STRIDE:
            return replace(EMERDIFF, sites=card.sites["emerdiff"], seed=settings.seed)
        pushed = card.sites["modulate" if settings.quality == "exact" else "emerdiff"]
        return replace(TINY_EMERDIFF, sites=pushed, seed=settings.seed)
    if card.family == "unet-video":
        return replace(VIDSEG_CLIPS, seed=settings.seed)
    if card.latent_stride == TINY_STRIDE:
        return replace(TINY_FAST if settings.quality == "fast" else TINY_EXACT, seed=settings.seed)
    return replace(VIDSEG, seed=settings.seed)
