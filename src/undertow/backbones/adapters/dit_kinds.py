"""What the adapters of transformers need to know of one attention kind, and which kind a network has.

Three kinds of video transformer are read: text and video in one sequence with shared weights (`JointKind`), in one
sequence with weights of their own (`DualKind`), and video alone, the text read elsewhere (`SelfKind`); those of images
are in `dit_image`. A kind says where the attentions are, how a stock forward is called, and what its queries and keys
are when they are compared.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.observation import Conditioning, Latents
from undertow.base import SettingsError

Rotary = tuple[Float[Tensor, "..."], Float[Tensor, "..."]]


@dataclass(frozen=True)
class Heads:
    """Queries and keys of one attention over a clip, as they enter the dot product, before its 1/√d.

    Attributes:
        queries: Of the visual tokens of all frames, frame after frame.
        keys: Likewise; of the text tokens at a cross-attention.
        text_queries: Of the text tokens in the same sequence; `None` if there are none.
        text_keys: Likewise.
    """

    queries: Float[Tensor, "a tokens d"]
    keys: Float[Tensor, "a tokens d"]
    text_queries: Float[Tensor, "a n d"] | None = None
    text_keys: Float[Tensor, "a n d"] | None = None


class Kind(ABC):
    """One kind of transformer; stateless.

    Attributes:
        site_kind: The kind of its sites, see `Site`.
        attention: Name of the attention inside a block.
        cross: Name of the cross-attention that follows it, whose keys are the text's; empty if there is none.
        images: Whether it is of an image model, whose frames do not see each other.
        encoders: Components that read texts.
        stacks: The lists of blocks in running order, each with the configuration's name for its length.
    """

    site_kind: Literal["self", "joint"] = "joint"
    attention = "attn1"
    cross = ""
    images = False
    encoders: tuple[str, ...] = ("text_encoder",)
    stacks: ClassVar[Mapping[str, str]] = MappingProxyType({"transformer_blocks": "num_layers"})

    @abstractmethod
    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""

    def any_text_length(self, config: Mapping[str, Any]) -> bool:
        """Returns whether the network reads any number of text tokens."""
        return True

    def channels(self, config: Mapping[str, Any]) -> int:
        """Returns the channels of the latents that the network reads."""
        return int(config["in_channels"])

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return int(config["patch_size"])

    @abstractmethod
    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns what about a configuration is not supported, as a clause about the model, or `None`."""

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward over the clip.

        Latents and conditioning are in the number type of the network, latents with the channels of an image condition
        if it has them; for positions see `Card`.
        """
        return self.forward_clips(transformer, latents[None], timestep, conditioning.tensor[None], positions)[0]

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions for several clips of one size, each with a text of its own, see `forward`.

        Raises:
            SettingsError: if the kind has no forward of several clips.
        """
        raise SettingsError(
            "this kind of transformer is not fine-tuned here; give CogVideoX, Wan 2.1 or Stable Diffusion 3"
        )

    @abstractmethod
    def heads(self, attention: Any, visual: int, /, *args: Any, **kwargs: Any) -> Heads:
        """Returns queries and keys for a call of `attention` with these arguments, over `visual` visual tokens.

        They are normed and rotated as its stock processor does it; without rotary tables they are not rotated.
        """

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what `attention` returns for the `visual` tokens, before its output projection."""
        return attention.to_out[0].register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))

    def restore_tables(self, transformer: Any) -> None:  # noqa: B027 - one kind makes its tables in every forward
        """Gives a network that was built without memory the tables that are no weights."""

    @abstractmethod
    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the module that reads text states, which tells text encoders apart."""


def require_kind(class_name: str, whose: str, config: Mapping[str, Any] | None = None) -> Kind:
    """Returns the kind of a transformer class of diffusers; errors speak of the model as `whose`.

    Raises:
        SettingsError: if it is of none that is known here, or needs something that undertow does not do.
    """
    from undertow.backbones.adapters.dit_image import FluxKind, StableDiffusion3Kind
    from undertow.backbones.adapters.dit_models import DualKind, JointKind, SelfKind

    kinds: dict[str, Kind] = {
        "CogVideoXTransformer3DModel": JointKind(),
        "HunyuanVideoTransformer3DModel": DualKind(),
        "WanTransformer3DModel": SelfKind(),
        "FluxTransformer2DModel": FluxKind(),
        "SD3Transformer2DModel": StableDiffusion3Kind(),
    }
    if class_name not in kinds:
        known = "CogVideoX, HunyuanVideo, Wan 2.1, FLUX.1 and Stable Diffusion 3"
        raise SettingsError(f"{whose} holds a {class_name}; undertow reads {known}")
    if config is not None and (problem := kinds[class_name].problem(config)):
        raise SettingsError(f"{whose} {problem}, which undertow does not do; choose another model")
    return kinds[class_name]


def block_paths(kind: Kind, config: Mapping[str, Any]) -> list[str]:
    """Returns the module paths of all blocks in running order, such as `transformer_blocks.17`."""
    return [f"{stack}.{index}" for stack, length in kind.stacks.items() for index in range(int(config[length]))]


def split_heads(projected: Float[Tensor, "1 tokens c"], heads: int) -> Float[Tensor, "1 a tokens d"]:
    """Returns a projection per head."""
    return projected.unflatten(2, (heads, -1)).transpose(1, 2)


def normed_heads(projected: Float[Tensor, "1 tokens c"], norm: Any, heads: int) -> Float[Tensor, "1 a tokens d"]:
    """Returns a projection per head, normed there if there is a `norm`."""
    states = split_heads(projected, heads)
    return states if norm is None else norm(states)
