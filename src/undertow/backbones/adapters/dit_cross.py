"""Transformers that attend over pictures alone, and read the text in a cross-attention: Wan, LTX-Video and Cosmos."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Kind, Padding, Rotary, normed_heads, rotated


class SelfKind(Kind):
    """Wan 2.1: norms over all heads at once, rotary embedding of the visual tokens; text in a cross-attention."""

    site_kind = "self"
    cross = "attn2"
    padding: Padding = "zeros"
    stacks: ClassVar = {"blocks": "num_layers"}

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

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions of one stock forward over several clips."""
        output: Tensor = transformer(
            hidden_states=latents.movedim(1, 2),
            timestep=torch.full((len(latents),), timestep, device=latents.device),
            encoder_hidden_states=states,
            return_dict=False,
        )[0]
        return output.movedim(1, 2)

    def heads(
        self,
        attention: Any,
        visual: int,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"] | None = None,
        attention_mask: None = None,
        rotary_emb: Rotary | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Heads:
        """Returns queries of the visual tokens and keys of these or of the text.

        What turns them has one of two names, by class.
        """
        turn = image_rotary_emb if rotary_emb is None else rotary_emb
        read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        queries = self.normed(attention.to_q(hidden_states), attention.norm_q, attention.heads, turn)
        return Heads(queries, self.normed(attention.to_k(read), attention.norm_k, attention.heads, turn))

    def normed(
        self, states: Float[Tensor, "1 m c"], norm: Any, heads: int, turn: Rotary | None
    ) -> Float[Tensor, "a m d"]:
        """Returns projected tokens as heads: normed before these are split, and turned after."""
        split: Tensor = norm(states).unflatten(2, (heads, -1))
        return (split if turn is None else rotated(split, *turn))[0].transpose(0, 1)

    def restore_tables(self, transformer: Any) -> None:
        """Computes the rotary tables again, which are no weights."""
        rope = transformer.rope
        transformer.rope = WanRotaryPosEmbed(rope.attention_head_dim, rope.patch_size, rope.max_seq_len)

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the embedding of the text states."""
        return transformer.condition_embedder.text_embedder


# What a step of LTX-Video's rotary embedding stands for, as in its pipeline: 8 frames of 25 a second, and 32 pixels.
LTX_STEP = (8 / 25, 32, 32)


class LTXKind(SelfKind):
    """LTX-Video: a token is one latent of 32 pixels; norms and rotary embedding over all heads at once."""

    padding: Padding = "seen"
    stacks: ClassVar = {"transformer_blocks": "num_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return 128

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return 1

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why a network with larger tokens is not supported, or `None`."""
        if (int(config["patch_size"]), int(config["patch_size_t"])) != (1, 1):
            return "puts several latents into one token, unlike LTX-Video"
        return None

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions of one stock forward over several clips."""
        clips, frames, _, height, width = latents.shape
        output: Tensor = transformer(
            hidden_states=latents.movedim(2, -1).flatten(1, 3),
            encoder_hidden_states=states,
            timestep=torch.full((clips,), timestep, device=latents.device),
            # The states of padding were left away, so that there is nothing to mask.
            encoder_attention_mask=None,
            num_frames=frames,
            height=height,
            width=width,
            rope_interpolation_scale=LTX_STEP,
            return_dict=False,
        )[0]
        return output.unflatten(1, (frames, height, width)).movedim(-1, 2)

    def normed(
        self, states: Float[Tensor, "1 m c"], norm: Any, heads: int, turn: Rotary | None
    ) -> Float[Tensor, "a m d"]:
        """Returns projected tokens as heads: normed and turned before these are split."""
        whole: Tensor = norm(states)
        return (whole if turn is None else rotated(whole, *turn))[0].unflatten(1, (heads, -1)).transpose(0, 1)

    def restore_tables(self, transformer: Any) -> None:
        """Does nothing: every forward makes its own."""

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.caption_projection


class CosmosKind(SelfKind):
    """Cosmos-Predict2 of images: norms per head, and a rotary embedding of the two halves of a head's dimensions."""

    images = True
    stacks: ClassVar = {"transformer_blocks": "num_layers"}

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why other members of the family are not supported, or `None`."""
        if config.get("extra_pos_embed_type") is not None:
            return "makes clips with learned positions (Cosmos 1)"
        if config.get("in_channels") != config.get("out_channels"):
            return "continues given frames (Cosmos video to world)"
        if config.get("use_crossattn_projection") or config.get("img_context_dim_in"):
            return "reads a text by way of a language model that sees (Cosmos 2.5)"
        return super().problem({"patch_size": config["patch_size"]})

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions of one stock forward, in which every frame is a picture of its own."""
        clips, frames = latents.shape[:2]
        pictures = latents.flatten(0, 1)[:, :, None]
        with _without_padding(transformer) as padded:
            output: Tensor = transformer(
                hidden_states=pictures,
                encoder_hidden_states=states.repeat_interleave(frames, 0),
                timestep=torch.full((clips * frames,), timestep / 1000, device=latents.device, dtype=latents.dtype),
                condition_mask=torch.zeros_like(pictures[:, :1]) if padded else None,
                return_dict=False,
            )[0]
        return output[:, :, 0].unflatten(0, (clips, frames))

    def normed(
        self, states: Float[Tensor, "1 m c"], norm: Any, heads: int, turn: Rotary | None
    ) -> Float[Tensor, "a m d"]:
        """Returns projected tokens as heads: split before they are normed and turned."""
        split: Tensor = normed_heads(states, norm, heads)
        return (split if turn is None else apply_rotary_emb(split, turn, use_real_unbind_dim=-2))[0]

    def restore_tables(self, transformer: Any) -> None:
        """Does nothing: every forward makes its own."""

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of pictures: states of texts are read in the blocks alone."""
        return transformer.patch_embed


@contextmanager
def _without_padding(transformer: Any) -> Iterator[bool]:
    """Yields whether the network reads where a picture was padded, and keeps its class from making that mask.

    The class would need torchvision for it. Nothing is padded here, so that a mask of zeros stands in for it.
    """
    padded = bool(transformer.config.concat_padding_mask)
    transformer.register_to_config(concat_padding_mask=False)
    try:
        yield padded
    finally:
        transformer.register_to_config(concat_padding_mask=padded)
