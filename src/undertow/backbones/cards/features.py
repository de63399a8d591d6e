"""Vision transformers, which learned features and no denoising: DINO, DINOv2, DINOv3 and RADIO.

What leaves the last block after its norm is compared with itself, as evaluations of these models do: DINO's own code,
eval_video_segmentation.py, and the tables of DINOv3 (arXiv 2508.10104, appendix on DAVIS). Attention can be compared
too, at the last block. No number of theirs was measured here; notes name published ones.
"""

from dataclasses import replace

from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.cards.card_file import add_card


def feature_card(
    name: str, repositories: tuple[str, ...], attention: Site, features: Site, notes: str, licence: str = "unknown"
) -> Card:
    """Returns the card of a vision transformer, from its last attention and the place of its features."""
    # Frames are shown at about 480 pixels of height.
    grid = (480 // attention.stride, 854 // attention.stride)
    return Card(
        name=name,
        hub_ids=repositories,
        licence=licence,
        prediction="none",
        family="vit",
        token_budget=grid[0] * grid[1],
        latent_stride=1,
        sites={"track": (attention,), "features": (features,)},
        noising=Noising(kind="clean", timestep=0, steps_grid=(0,)),
        preset="dino",
        topk=5,
        # DINO's window of 12 tokens on its grid of 60 x 104.
        window_radius=max(1, round(12 * grid[1] / 104)),
        window_grid=grid,
        notes=notes,
    )


# Blocks, heads and channels, by the usual names of sizes.
SHAPES = {"s": (12, 6, 384), "b": (12, 12, 768), "l": (24, 16, 1024), "h": (32, 16, 1280), "7b": (40, 32, 4096)}
# Name, type in transformers, repository of facebook's, size, pixels per side of a patch, millions of weights, and J&F
# on DAVIS-2017 val.
MODELS = (
    ("dino-vits16", "vit", "dino-vits16", "s", 16, 22, "61.8"),
    ("dino-vits8", "vit", "dino-vits8", "s", 8, 22, "69.9"),
    ("dino-vitb16", "vit", "dino-vitb16", "b", 16, 86, "62.3"),
    ("dino-vitb8", "vit", "dino-vitb8", "b", 8, 86, "71.4"),
    ("dinov2-s", "dinov2", "dinov2-small", "s", 14, 22, ""),
    ("dinov2-b", "dinov2", "dinov2-base", "b", 14, 87, ""),
    ("dinov2-l", "dinov2", "dinov2-large", "l", 14, 304, ""),
    ("dinov2-reg-b", "dinov2_with_registers", "dinov2-with-registers-base", "b", 14, 87, ""),
    ("dinov2-reg-l", "dinov2_with_registers", "dinov2-with-registers-large", "l", 14, 304, ""),
    ("dinov3-s", "dinov3_vit", "dinov3-vits16-pretrain-lvd1689m", "s", 16, 22, ""),
    ("dinov3-b", "dinov3_vit", "dinov3-vitb16-pretrain-lvd1689m", "b", 16, 86, "77.2"),
    ("dinov3-l", "dinov3_vit", "dinov3-vitl16-pretrain-lvd1689m", "l", 16, 303, "79.9"),
    ("dinov3-7b", "dinov3_vit", "dinov3-vit7b16-pretrain-lvd1689m", "7b", 16, 6716, "83.3 (1440 pixels)"),
)


def _known(name: str, kind: str, repository: str, size: str, patch: int, millions: int, score: str) -> Card:
    """Returns the card of a row of `MODELS`."""
    blocks, heads, width = SHAPES[size]
    attention = Site(f"blocks.{blocks - 1}.attn", "self", heads, width // heads, patch)
    notes = f"{millions} million weights" + f"; J&F {score} on DAVIS-2017 val is published" * bool(score)
    gated = kind == "dinov3_vit"
    licence = "DINOv3 License" if gated else "Apache-2.0"
    card = feature_card(
        name, (f"facebook/{repository}",), attention, Site("norm", "block", 1, width, patch), notes, licence
    )
    # DINOv3's paper compares DINOv2 by its own settings.
    preset = "dino" if kind == "vit" else "dinov3"
    return replace(card, preset=preset, published=(preset,), gated=gated)


for _row in MODELS:
    add_card(_known(*_row))
add_card(
    feature_card(
        "c-radio-v4-h",
        ("nvidia/C-RADIOv4-H",),
        Site("blocks.31.attn", "self", 16, 80, 16),
        # No norm follows it.
        Site("blocks.31", "block", 1, 1280, 16),
        "652 million weights",
        "NVIDIA Open Model License",
    )
)
