"""Guided diffusion's own layout of weights (ADM), as diffusers' UNet2DModel has them.

Both count levels from fine to coarse and back. The layout numbers what follows another, whatever it is: on each level
the residual blocks, an attention behind each on coarse levels, and the block that goes to the next. An attention keeps
queries, keys and values of each head side by side in one matrix.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from diffusers import UNet2DModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps

from undertow.backbones.weights.networks import StoredWeights

_RESIDUAL = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
_ENDS = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
    "label_emb": "class_embedding", "input_blocks.0.0": "conv_in", "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip


@dataclass(frozen=True)
class GuidedShape:
    """What the names of weights do not say of a network.

    Attributes:
        channels: At full resolution.
        factors: What these are multiplied by on each level, from fine to coarse.
        blocks: Residual blocks of a level on the way down; one more on the way up.
        attended: Levels whose blocks have an attention each, counted from 0.
        head_dim: Dimensions per head.
        groups: In which channels are normalised.
        time: Numbers that a timestep is first written as, where these are not the `channels`.
        classes: Classes of pictures that it was trained to make; 0 for none.
    """

    channels: int = 256
    factors: tuple[int, ...] = (1, 1, 2, 2, 4, 4)
    blocks: int = 2
    attended: tuple[int, ...] = (3, 4, 5)
    head_dim: int = 64
    groups: int = 32
    time: int | None = None
    classes: int = 0

    @property
    def arguments(self) -> dict[str, Any]:
        """What UNet2DModel is built with."""
        levels = range(len(self.factors))
        down = tuple("AttnDownBlock2D" if each in self.attended else "ResnetDownsampleBlock2D" for each in levels)
        return {
            "in_channels": 3,
            # The noise, and its variance.
            "out_channels": 6,
            "block_out_channels": tuple(self.channels * factor for factor in self.factors),
            "layers_per_block": self.blocks,
            "down_block_types": down,
            "up_block_types": tuple(each.replace("Down", "Up").replace("downs", "ups") for each in reversed(down)),
            "downsample_type": "resnet",
            "upsample_type": "resnet",
            "resnet_time_scale_shift": "scale_shift",
            "attention_head_dim": self.head_dim,
            "norm_num_groups": self.groups,
            "attn_norm_num_groups": self.groups,
            "norm_eps": 1e-5,
            "time_embedding_dim": None if self.time is None else 4 * self.time,
            "num_class_embeds": self.classes or None,
        }


# The published models, by the side of their pictures.
GUIDED = {
    256: GuidedShape(),
    512: GuidedShape(channels=128, factors=(1, 2, 2, 4, 4, 8, 8), attended=(4, 5, 6), time=256, classes=1000),
}


def guided_size(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Returns which of `GUIDED` weights of such shapes are: they differ in their channels at full resolution."""
    return 512 if shapes["input_blocks.0.0.weight"][0] == GUIDED[512].channels else 256


def guided_shape(shapes: Mapping[str, tuple[int, ...]]) -> GuidedShape:
    """Returns the shape of a network whose weights have such shapes, with classes or without."""
    return replace(GUIDED[guided_size(shapes)], classes=shapes.get("label_emb.weight", (0,))[0])


def guided_network(arguments: Mapping[str, Any]) -> UNet2DModel:
    """Returns the network that `GuidedShape.arguments` describe.

    UNet2DModel writes a timestep as as many numbers as it has channels at full resolution. The model of 512 pixels has
    fewer of these, so that what reads them is replaced.
    """
    module = UNet2DModel(**arguments)
    if (width := arguments["time_embedding_dim"]) is not None:
        module.time_proj = Timesteps(width // 4, flip_sin_to_cos=True, downscale_freq_shift=0)
        module.time_embedding = TimestepEmbedding(width // 4, width)
    return module


def guided_weights(
    path: Path, names: Collection[str], shapes: Mapping[str, tuple[int, ...]], shape: GuidedShape
) -> Any:
    """Returns the weights of a file by UNet2DModel's `names`; what the file lacks is missing."""
    stored: dict[str, str] = {}
    parts: dict[str, tuple[int, int, int]] = {}
    for own, theirs in _modules(shape):
        for kind in ("weight", "bias"):
            for place, projection in enumerate(("to_q", "to_k", "to_v")):
                if own.endswith(".qkv"):
                    name = f"{own.removesuffix('qkv')}{projection}.{kind}"
                    stored[name] = f"{theirs}.{kind}"
                    heads = shapes.get(stored[name], (0,))[0] // (3 * shape.head_dim)
                    parts[name] = (place, 3, heads)
                else:
                    stored[f"{own}.{kind}"] = f"{theirs}.{kind}"
    known = {name: old for name, old in stored.items() if name in names and old in shapes}
    return StoredWeights(dict.fromkeys(known, path), known, parts)


def _modules(shape: GuidedShape) -> Iterator[tuple[str, str]]:
    """Yields what diffusers and the layout call each module that has weights; of an attention, "qkv" is three."""
    yield from ((own, theirs) for theirs, own in _ENDS.items())
    levels, number = len(shape.factors), 1
    for level in range(levels):
        for block in range(shape.blocks):
            yield from _block(f"down_blocks.{level}", block, f"input_blocks.{number}", level in shape.attended)
            number += 1
        if level < levels - 1:
            yield from _residual(f"down_blocks.{level}.downsamplers.0", f"input_blocks.{number}.0")
            number += 1
    yield from _residual("mid_block.resnets.0", "middle_block.0")
    yield from _attention("mid_block.attentions.0", "middle_block.1")
    yield from _residual("mid_block.resnets.1", "middle_block.2")
    for place in range(levels * (shape.blocks + 1)):
        up, block = divmod(place, shape.blocks + 1)
        attended = levels - 1 - up in shape.attended
        yield from _block(f"up_blocks.{up}", block, f"output_blocks.{place}", attended)
        if block == shape.blocks and up < levels - 1:
            yield from _residual(f"up_blocks.{up}.upsamplers.0", f"output_blocks.{place}.{1 + attended}")


def _block(own: str, block: int, theirs: str, attended: bool) -> Iterator[tuple[str, str]]:
    yield from _residual(f"{own}.resnets.{block}", f"{theirs}.0")
    if attended:
        yield from _attention(f"{own}.attentions.{block}", f"{theirs}.1")


def _residual(own: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{own}.{new}", f"{theirs}.{old}") for old, new in _RESIDUAL.items())


def _attention(own: str, theirs: str) -> Iterator[tuple[str, str]]:
    yield from ((f"{own}.{new}", f"{theirs}.{old}") for new, old in _ATTENTION.items())


_ATTENTION = {"group_norm": "norm", "qkv": "qkv", "to_out.0": "proj_out"}
