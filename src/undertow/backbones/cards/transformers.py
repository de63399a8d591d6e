"""The transformers that are known, of videos and of images, and the embedded ones.

Blocks, timesteps and the size of 480x720 follow the published tracking procedure of DiffTrack (arXiv 2506.17220): block
17 of both CogVideoX models and block 16 of HunyuanVideo, on clean latents, the network being given the last timestep of
its sampler. Block 14 of Wan 14B is the default of DiTracker (arXiv 2512.20606), and blocks 28 to 42 of Mochi are those
in which RefAM (arXiv 2509.22650) sees words take places. What is not from there says so.
"""

from dataclasses import replace

from undertow.backbones.cards.card import Card, Noising, Prediction, Site
from undertow.backbones.cards.card_file import add_card

# 480x720 in tokens of 16 pixels.
GRID = (30, 45)
# 1024x1024 likewise.
IMAGE_GRID = (64, 64)


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
_GUESS = "its block is a guess, to be measured"
COGVIDEOX_1_5_5B = replace(
    COGVIDEOX_5B,
    name="cogvideox-1.5-5b",
    hub_ids=("zai-org/CogVideoX1.5-5B", "THUDM/CogVideoX1.5-5B"),
    notes=f"each frame is given twice; tracking reads 18 of 42 blocks, 4.8 GB in bfloat16; {_GUESS}",
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
LTX_VIDEO = transformer_card(
    "ltx-video",
    ("Lightricks/LTX-Video",),
    "LTX-Video licence, see the repository",
    "flow",
    Site("transformer_blocks.10.attn1", "self", 32, 64, 32),
    60,
    f"tokens of 32 pixels; tracking reads 11 of 28 blocks, 1.6 GB in bfloat16; {_GUESS}",
)
# As many tokens as others have at 480x720, which are larger pictures here.
LTX_VIDEO = replace(LTX_VIDEO, latent_stride=32)
_MOCHI = tuple(Site(f"transformer_blocks.{block}.attn1", "joint", 24, 128, 16) for block in range(28, 43))
MOCHI = transformer_card(
    "mochi-1",
    ("genmo/mochi-1-preview",),
    "Apache-2.0",
    "flow",
    _MOCHI[0],
    60,
    f"tracking reads 29 of 48 blocks, 12.2 GB in bfloat16; {_GUESS}",
)
MOCHI = replace(
    MOCHI,
    sites={**MOCHI.sites, "refer": _MOCHI},
    levels={"refer": Noising(kind="noise", timestep=500, steps_grid=(500,))},
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
# A block's text is read in its joint attention; of 5 dual-stream and 20 single-stream blocks, the middle ones.
_KLEIN = (*(f"transformer_blocks.{block}" for block in (3, 4)), *(f"single_transformer_blocks.{n}" for n in range(10)))
_KLEIN_SITES = tuple(Site(f"{block}.attn", "joint", 24, 128, 16) for block in _KLEIN)
FLUX_2_KLEIN = replace(
    FLUX_SCHNELL,
    name="flux.2-klein-4b",
    hub_ids=("black-forest-labs/FLUX.2-klein-4B",),
    latent_stride=16,
    sites={"track": _KLEIN_SITES[:1], "points": _KLEIN_SITES[:1], "refer": _KLEIN_SITES},
    notes="reads 15 of 25 blocks for words; its blocks and levels are to be measured",
)
_COSMOS = tuple(Site(f"transformer_blocks.{block}.attn2", "cross", 16, 128, 16) for block in range(9, 19))
_COSMOS_TRACK = (Site("transformer_blocks.9.attn1", "self", 16, 128, 16),)
COSMOS_PREDICT_2 = replace(
    FLUX_SCHNELL,
    name="cosmos-predict2-2b",
    hub_ids=("nvidia/Cosmos-Predict2-2B-Text2Image",),
    licence="NVIDIA Open Model License",
    gated=True,
    sites={"track": _COSMOS_TRACK, "points": _COSMOS_TRACK, "refer": _COSMOS},
    notes="reads 19 of 28 blocks for words; its blocks and levels are to be measured",
)
for _card in (
    *(COGVIDEOX_2B, COGVIDEOX_2B_I2V, COGVIDEOX_5B, COGVIDEOX_5B_I2V, COGVIDEOX_1_5_5B, HUNYUAN_VIDEO, MOCHI),
    *(WAN_1_3B, WAN_14B, LTX_VIDEO, TINY_VIDEO, TINY_WORDS, TINY_REFER, FLUX_SCHNELL, FLUX_DEV, FLUX_2_KLEIN),
    *(SD_3_MEDIUM, SD_3_5_MEDIUM, SD_3_5_LARGE, COSMOS_PREDICT_2),
):
    add_card(_card)
