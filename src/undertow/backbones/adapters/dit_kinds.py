"""What the adapters of transformers need to know of one attention kind, and which kind a network has.

Video transformers have text and video in one sequence, with shared weights or with weights of their own (`dit_models`),
or video alone, the text being read elsewhere (`dit_cross`); those of images are in `dit_image`. A kind says where the
attentions are, how a stock forward is called, and what its queries and keys are when they are compared.
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
Padding = Literal["tokens", "seen", "zeros", "none"]
"""How T5 reads a short text: with tokens of padding, whose states the network reads as well ("tokens") or not ("seen");
or alone, followed by states of zeros ("zeros") or by nothing ("none")."""


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
        padding: What follows the tokens of a text that is shorter than its model reads, see `Padding`.
        stacks: The lists of blocks in running order, each with the configuration's name for its length.
    """

    site_kind: Literal["self", "joint"] = "joint"
    attention = "attn1"
    cross = ""
    images = False
    encoders: tuple[str, ...] = ("text_encoder",)
    padding: Padding = "tokens"
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

    def repeats(self, config: Mapping[str, Any]) -> int:
        """Returns how many times the network is given each latent frame."""
        return 1

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
            "this kind of transformer is not fine-tuned here; give CogVideoX, Wan, LTX-Video or Stable Diffusion 3"
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
    from undertow.backbones.adapters.dit_cross import CosmosKind, LTXKind, SelfKind
    from undertow.backbones.adapters.dit_image import Flux2Kind, FluxKind, StableDiffusion3Kind
    from undertow.backbones.adapters.dit_models import DualKind, JointKind, MochiKind

    kinds: dict[str, Kind] = {
        "CogVideoXTransformer3DModel": JointKind(),
        "HunyuanVideoTransformer3DModel": DualKind(),
        "MochiTransformer3DModel": MochiKind(),
        "WanTransformer3DModel": SelfKind(),
        "LTXVideoTransformer3DModel": LTXKind(),
        "CosmosTransformer3DModel": CosmosKind(),
        "FluxTransformer2DModel": FluxKind(),
        "Flux2Transformer2DModel": Flux2Kind(),
        "SD3Transformer2DModel": StableDiffusion3Kind(),
    }
    if class_name not in kinds:
        known = "CogVideoX, HunyuanVideo, Mochi, Wan 2.1, LTX-Video, Cosmos, FLUX and Stable Diffusion 3"
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


def rotated(
    states: Float[Tensor, "1 tokens a d"], cosines: Float[Tensor, "1 tokens 1 d"], sines: Float[Tensor, "1 tokens 1 d"]
) -> Float[Tensor, "1 tokens a d"]:
    """Returns states with pairs of neighbouring dimensions turned by their angles; tables hold each angle twice."""
    even, odd = states[..., 0::2], states[..., 1::2]
    cosine, sine = cosines[..., 0::2], sines[..., 0::2]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).type_as(states)
