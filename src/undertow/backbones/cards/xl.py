"""Stable Diffusion XL, read where DRIFT reads 2.1: the last block of the decoder that has attention. Not measured."""

from dataclasses import replace

from undertow.backbones.cards.card import Site
from undertow.backbones.cards.card_file import add_card
from undertow.backbones.cards.known import SD_2_1

_BLOCKS = tuple(Site(f"up_blocks.1.attentions.{n}.transformer_blocks.0.attn1", "self", 10, 64, 16) for n in range(3))
SDXL = replace(
    SD_2_1,
    name="sdxl",
    hub_ids=("stabilityai/stable-diffusion-xl-base-1.0",),
    licence="CreativeML Open RAIL++-M",
    prediction="epsilon",
    token_budget=64 * 64,
    sites={"track": _BLOCKS[:1], "parse": _BLOCKS, "correspond": _BLOCKS[1:2]},
    published=(),
    window_radius=9,
    window_grid=(64, 64),
    notes="1024 pixels; attention has strides of 16 and 32 only; places and level are to be measured",
)
add_card(SDXL)
