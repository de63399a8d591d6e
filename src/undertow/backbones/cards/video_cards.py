"""The cards of video diffusion transformers.

Blocks, timesteps and the size of 480x720 follow the published tracking procedure of DiffTrack (arXiv 2506.17220): block
17 of both CogVideoX models and block 16 of HunyuanVideo, on clean latents, the network being told the last timestep of
its sampler. Block 14 of Wan 14B is the default of DiTracker (arXiv 2512.20606). What is not from there says so.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from undertow.backbones.adapters.dit_kinds import Kind, block_paths
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.cards.registry import register_card
from undertow.backbones.sampling.schedule import NoiseSchedule

# 480x720 in tokens of 16 pixels.
GRID = (30, 45)


def _card(
    name: str,
    hub_ids: tuple[str, ...],
    licence: str,
    prediction: Literal["v_prediction", "flow"],
    site: Site,
    timestep: int,
    notes: str,
) -> Card:
    """Returns a card that reads one site on clean latents."""
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


def _cogvideox(block: int, heads: int) -> Site:
    return Site(f"transformer_blocks.{block}.attn1", "joint", heads, 64, 16)


@register_card
def cogvideox_2b() -> Card:
    """Returns the card of CogVideoX 2B, text to video."""
    return _card(
        "cogvideox-2b",
        # The organisation THUDM was renamed zai-org; caches may hold either.
        ("zai-org/CogVideoX-2b", "THUDM/CogVideoX-2b"),
        "Apache-2.0",
        "v_prediction",
        _cogvideox(17, heads=30),
        19,
        "13 frames of 480x720; tracking reads 18 of 30 blocks, 2.0 GB in bfloat16",
    )


@register_card
def cogvideox_2b_i2v() -> Card:
    """Returns the card of the community's image-to-video model made from CogVideoX 2B."""
    return replace(
        cogvideox_2b(),
        name="cogvideox-2b-i2v",
        hub_ids=("NimVideo/cogvideox-2b-img2vid",),
        licence="unknown",
        notes="a community's fine-tuning, the first frame being the condition; there is no official one",
    )


@register_card
def cogvideox_5b() -> Card:
    """Returns the card of CogVideoX 5B, text to video."""
    return _card(
        "cogvideox-5b",
        ("zai-org/CogVideoX-5b", "THUDM/CogVideoX-5b"),
        "CogVideoX LICENSE",
        "v_prediction",
        _cogvideox(17, heads=48),
        19,
        "13 frames of 480x720; tracking reads 18 of 42 blocks, 4.8 GB in bfloat16",
    )


@register_card
def cogvideox_5b_i2v() -> Card:
    """Returns the card of CogVideoX 5B, image to video, whose positions were learned for 480x720 only."""
    return replace(
        cogvideox_5b(),
        name="cogvideox-5b-i2v",
        hub_ids=("zai-org/CogVideoX-5b-I2V", "THUDM/CogVideoX-5b-I2V"),
        notes="480x720 and no other size, the first frame being the condition; tracking reads 18 of 42 blocks, 4.8 GB",
    )


@register_card
def hunyuan_video() -> Card:
    """Returns the card of HunyuanVideo, text to video."""
    return _card(
        "hunyuan-video",
        ("hunyuanvideo-community/HunyuanVideo",),
        "Tencent Hunyuan Community",
        "flow",
        Site("transformer_blocks.16.attn", "joint", 24, 128, 16),
        # The last of 30 steps with a shift of 7: 7/30 / (1 + 6/30) = 0.194.
        194,
        "tracking reads 17 of 60 blocks, 12.3 GB in bfloat16; the licence excludes some countries",
    )


@register_card
def wan_1_3b() -> Card:
    """Returns the card of Wan 2.1 1.3B, text to video."""
    return _card(
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


@register_card
def wan_14b() -> Card:
    """Returns the card of Wan 2.1 14B, text to video."""
    return _card(
        "wan2.1-14b",
        ("Wan-AI/Wan2.1-T2V-14B-Diffusers",),
        "Apache-2.0",
        "flow",
        Site("blocks.14.attn1", "self", 40, 128, 16),
        60,
        "tracking reads 15 of 40 blocks, 11.0 GB in bfloat16",
    )


@register_card
def tiny_video() -> Card:
    """Returns the card of the embedded video transformer, which `undertow train embedded tiny-video` makes.

    Block and timestep are the best on validation worlds (docs/training-video.md).
    """
    site = Site("transformer_blocks.3.attn1", "joint", 4, 48, 8)
    card = _card("tiny-video", (), "Apache-2.0", "v_prediction", site, 150, "trained on procedural clips")
    return replace(
        card,
        token_budget=36 * 20,
        window_grid=(20, 36),
        latent_stride=4,
        positions="cells",
        temperatures={"points, attention": 0.25},
        embedded="tiny-video",
    )


def middle_card(name: str, kind: Kind, config: Mapping[str, Any], schedule: NoiseSchedule, latent_stride: int) -> Card:
    """Returns a card for a video transformer of which nothing is known: its middle block, on clean latents.

    Args:
        name: what to call it.
        kind: of its attention.
        config: of its transformer.
        schedule: of the model; the timestep is the last of 50 steps.
        latent_stride: image pixels per side of a latent cell.
    """
    paths = block_paths(kind, config)
    stride = latent_stride * kind.patch(config)
    site = Site(
        paths[len(paths) // 2],
        kind.site_kind,
        int(config["num_attention_heads"]),
        int(config["attention_head_dim"]),
        stride,
    )
    height, width = config.get("sample_height"), config.get("sample_width")
    grid = (height // kind.patch(config), width // kind.patch(config)) if height and width else GRID
    card = _card(
        name, (), "unknown", "v_prediction", site, 19, "no known model has these blocks: the middle one is read"
    )
    return replace(
        card,
        prediction=schedule.prediction,
        token_budget=grid[0] * grid[1],
        window_grid=grid,
        window_radius=max(1, round(grid[1] * 14 / 96)),
        latent_stride=latent_stride,
    )
