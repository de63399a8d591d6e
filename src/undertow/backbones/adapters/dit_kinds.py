"""What the adapter of video transformers needs to know of one attention kind, and which kind a network has.

Three kinds of video transformer are in use: text and video in one sequence with shared weights (`JointKind`), in one
sequence with weights of their own (`DualKind`), and video alone, the text read elsewhere (`SelfKind`). A kind says
where the attentions are, how a stock forward is called, and what its queries and keys are when they are compared.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.observation import Conditioning
from undertow.base import SettingsError

Rotary = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]


@dataclass(frozen=True)
class Heads:
    """Queries and keys of one attention over a clip, as they enter the dot product, before its 1/√d.

    Attributes:
        queries: of the visual tokens of all frames, frame after frame.
        keys: likewise.
        text_queries: of the text tokens in the same sequence; `None` if there are none.
        text_keys: likewise.
    """

    queries: Float[Tensor, "a tokens d"]
    keys: Float[Tensor, "a tokens d"]
    text_queries: Float[Tensor, "a n d"] | None = None
    text_keys: Float[Tensor, "a n d"] | None = None


class Kind(Protocol):
    """One kind of video transformer; stateless."""

    @property
    def site_kind(self) -> Literal["self", "joint"]:
        """Returns the kind of its sites, see `Site`."""

    @property
    def attention(self) -> str:
        """Returns the name of the attention inside a block."""

    def stacks(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns the lists of blocks in running order, each with the configuration's name for its length."""

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns what about a configuration is not supported, as a clause about the model, or `None`."""

    def forward(
        self,
        transformer: Any,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning,
        positions: str,
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction of one stock forward over the clip.

        Args:
            transformer: the network.
            latents: of the clip, in the number type of the network; with the channels of an image condition, if it
                has them.
            timestep: what the network is told.
            conditioning: of the clip, in the same number type.
            positions: see `Card.positions`.
        """

    def heads(self, attention: Any, /, *args: Any, **kwargs: Any) -> Heads:
        """Returns queries and keys for a call of `attention` with these arguments.

        They are normed and rotated as its stock processor does it; without rotary tables they are not rotated.
        """

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what `attention` returns for the `visual` tokens, before its output projection."""

    def restore_tables(self, transformer: Any) -> None:
        """Gives a network that was built without memory the tables that are no weights."""

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the module that reads text states, which tells text encoders apart."""


def kind_of(class_name: str) -> Kind | None:
    """Returns the kind of a transformer class of diffusers, or `None` for classes that are not supported."""
    from undertow.backbones.adapters.dit_dual import DualKind
    from undertow.backbones.adapters.dit_joint import JointKind
    from undertow.backbones.adapters.dit_self import SelfKind

    kinds: dict[str, Kind] = {
        "CogVideoXTransformer3DModel": JointKind(),
        "HunyuanVideoTransformer3DModel": DualKind(),
        "WanTransformer3DModel": SelfKind(),
    }
    return kinds.get(class_name)


def block_paths(kind: Kind, config: Mapping[str, Any]) -> list[str]:
    """Returns the module paths of all attentions in running order, such as `transformer_blocks.17.attn1`."""
    return [
        f"{stack}.{index}.{kind.attention}"
        for stack, length in kind.stacks(config).items()
        for index in range(int(config[length]))
    ]


def first_blocks(kind: Kind, config: Mapping[str, Any], last: int | None) -> dict[str, Any]:
    """Returns a configuration with the blocks up to number `last` in running order only; all for `None`.

    Raises:
        SettingsError: if there are not so many.
    """
    total = len(block_paths(kind, config))
    if last is not None and not 0 <= last < total:
        raise SettingsError(f"block {last} is outside 0 to {total - 1}")
    left = total if last is None else last + 1
    shorter = dict(config)
    for length in kind.stacks(config).values():
        shorter[length] = min(left, int(config[length]))
        left -= shorter[length]
    return shorter


def split_heads(projected: Float[Tensor, "1 tokens c"], heads: int) -> Float[Tensor, "1 a tokens d"]:
    """Returns a projection per head."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)
