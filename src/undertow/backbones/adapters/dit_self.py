"""Self-attention over all frames: Wan, which reads the text in a cross-attention of its own."""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Rotary
from undertow.backbones.protocol import Conditioning


class SelfKind:
    """Wan 2.1: norms over all heads at once, rotary embedding, no text among the keys."""

    site_kind: Literal["self", "joint"] = "self"
    attention = "attn1"

    def stacks(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns the one list of blocks and its length."""
        return {"blocks": "num_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return 512

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return int(config["patch_size"][1])

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why an image-to-video variant is not supported, or `None`."""
        if config.get("image_dim") is not None or config.get("added_kv_proj_dim") is not None:
            return "needs an image read by a CLIP encoder (Wan image to video)"
        if int(config["patch_size"][0]) != 1:
            return "puts several latent frames into one token, so that frames have no tokens of their own"
        return None

    def forward(
        self,
        transformer: Any,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning,
        positions: str,
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction of one stock forward over the clip."""
        output: Tensor = transformer(
            hidden_states=latents.movedim(0, 1)[None],
            timestep=torch.tensor([timestep], device=latents.device),
            encoder_hidden_states=conditioning.tensor[None],
            return_dict=False,
        )[0]
        return output[0].movedim(1, 0)

    def heads(
        self,
        attention: Any,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: None = None,
        attention_mask: None = None,
        rotary_emb: Rotary | None = None,
    ) -> Heads:
        """Returns queries and keys of the visual tokens, normed before they are split into heads."""

        def visual(project: Any, norm: Any) -> Tensor:
            states: Tensor = norm(project(hidden_states)).unflatten(2, (attention.heads, -1))
            return (states if rotary_emb is None else _rotated(states, *rotary_emb))[0].transpose(0, 1)

        return Heads(visual(attention.to_q, attention.norm_q), visual(attention.to_k, attention.norm_k))

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection."""
        return attention.to_out[0].register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))

    def restore_tables(self, transformer: Any) -> None:
        """Computes the rotary tables again, which are no weights."""
        rope = transformer.rope
        transformer.rope = WanRotaryPosEmbed(rope.attention_head_dim, rope.patch_size, rope.max_seq_len)

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the embedding of the text states."""
        return transformer.condition_embedder.text_embedder


def _rotated(
    states: Float[Tensor, "1 tokens a d"], cosines: Float[Tensor, "1 tokens 1 d"], sines: Float[Tensor, "1 tokens 1 d"]
) -> Float[Tensor, "1 tokens a d"]:
    """Turns each pair of neighbouring dimensions by its angle; the tables hold every angle twice."""
    even, odd = states[..., 0::2], states[..., 1::2]
    cosine, sine = cosines[..., 0::2], sines[..., 0::2]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], dim=-1).flatten(-2).type_as(states)
