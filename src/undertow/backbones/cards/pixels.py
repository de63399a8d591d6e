"""Guided diffusion (ADM), models of pixels, the smaller one as DIFT (arXiv 2306.03881) tracks with it.

DIFT's README reads what leaves the second block of the decoder's third level, at timestep 51, as the mean over four
draws of the noise.
"""

from dataclasses import replace

from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
from undertow.backbones.cards.card_file import add_card

ADM_256 = Card(
    name="adm-256",
    hub_ids=(),
    licence="MIT",
    prediction="epsilon",
    token_budget=60 * 104,
    latent_stride=1,
    sites={
        "track": (Site("up_blocks.2.attentions.1", "self", 8, 64, 8),),
        "features": (Site("up_blocks.2.attentions.1", "block", 1, 512, 8),),
    },
    noising=Noising(kind="noise", timestep=51, steps_grid=inversion_steps(51), ensemble=4),
    preset="adm",
    topk=10,
    recent=28,
    published=("adm",),
    window_radius=15,
    window_grid=(60, 104),
    notes="256x256_diffusion_uncond of github.com/openai/guided-diffusion, as one safetensors file; see docs/models.md",
)
# The same place in the decoder, where one level more makes tokens of 16 pixels; not measured by anyone we know of.
ADM_512 = replace(
    ADM_256,
    name="adm-512",
    sites={
        "track": (Site("up_blocks.2.attentions.1", "self", 8, 64, 16),),
        "features": (Site("up_blocks.2.attentions.1", "block", 1, 512, 16),),
    },
    token_budget=30 * 52,
    published=(),
    window_radius=8,
    window_grid=(30, 52),
    notes="512x512_diffusion of github.com/openai/guided-diffusion, given the mean of its classes; see docs/models.md",
)
add_card(ADM_256)
add_card(ADM_512)
