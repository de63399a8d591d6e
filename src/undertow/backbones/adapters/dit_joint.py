"""Joint attention with shared weights: CogVideoX, whose text tokens come first in one sequence with the video's."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal

import torch
from diffusers.models.embeddings import apply_rotary_emb, get_3d_rotary_pos_embed
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Rotary, split_heads
from undertow.backbones.protocol import Conditioning


class JointKind:
    """CogVideoX: query and key norms per head, rotary embedding of the visual tokens or sine positions at the input."""

    site_kind: Literal["self", "joint"] = "joint"
    attention = "attn1"

    def stacks(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns the one list of blocks and its length."""
        return {"transformer_blocks": "num_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return int(config["max_text_seq_length"])

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return int(config["patch_size"])

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why CogVideoX 1.5 is not supported, or `None`."""
        if config.get("patch_size_t") is not None:
            return (
                "puts several latent frames into one token (CogVideoX 1.5), so that frames have no tokens of their own"
            )
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
        config = transformer.config
        frames, _, height, width = latents.shape
        rotary = None
        if config.use_rotary_positional_embeddings:
            patch = config.patch_size
            base = (config.sample_height // patch, config.sample_width // patch)
            grid = (height // patch, width // patch)
            rotary = rotary_tables(frames, grid, grid if positions == "cells" else base, config.attention_head_dim)
            rotary = (rotary[0].to(latents.device), rotary[1].to(latents.device))
        with _learned_positions(transformer, frames):
            output: Tensor = transformer(
                hidden_states=latents[None],
                encoder_hidden_states=conditioning.tensor[None],
                timestep=torch.tensor([timestep], device=latents.device),
                image_rotary_emb=rotary,
                return_dict=False,
            )[0]
        return output[0]

    def heads(
        self,
        attention: Any,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"],
        image_rotary_emb: Rotary | None = None,
        **_: Any,
    ) -> Heads:
        """Returns queries and keys of the sequence [text, video]."""
        count = encoder_hidden_states.shape[1]
        sequence = torch.cat([encoder_hidden_states, hidden_states], dim=1)

        def parts(project: Any, norm: Any) -> tuple[Tensor, Tensor]:
            states = split_heads(project(sequence), attention.heads)
            states = states if norm is None else norm(states)
            text, video = states[0, :, :count], states[:, :, count:]
            if image_rotary_emb is not None:
                video = apply_rotary_emb(video, image_rotary_emb)
            return text, video[0]

        text_queries, queries = parts(attention.to_q, attention.norm_q)
        text_keys, keys = parts(attention.to_k, attention.norm_k)
        return Heads(queries, keys, text_queries, text_keys)

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection, without the text, which comes first."""
        return attention.to_out[0].register_forward_pre_hook(lambda _, inputs: keep(inputs[0][:, -visual:]))

    def restore_tables(self, transformer: Any) -> None:
        """Computes the sine positions again, which are no weights."""
        embed = transformer.patch_embed
        if embed.use_positional_embeddings and not embed.use_learned_positional_embeddings:
            embed.pos_embedding = embed._get_positional_embeddings(
                embed.sample_height, embed.sample_width, embed.sample_frames
            )

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.patch_embed.text_proj


def rotary_tables(
    frames: int, grid: tuple[int, int], base: tuple[int, int], head_dim: int
) -> tuple[Float[Tensor, "tokens d"], Float[Tensor, "tokens d"]]:
    """Returns the cosines and sines by which the visual tokens of a clip are turned, as CogVideoX's pipeline does.

    The grid is fitted into the middle of `base`, its aspect ratio kept, so that a larger frame has closer tokens. For
    a grid of the size of `base`, token (i, j) of frame t is at (t, i, j).

    Args:
        frames: number of latent frames.
        grid: (height, width) in tokens.
        base: (height, width) in tokens of the grid the model was trained on.
        head_dim: dimensions per head.
    """
    (height, width), (tall, wide) = grid, base
    if height / width > tall / wide:
        wide = round(tall / height * width)
    else:
        tall = round(wide / width * height)
    top, left = round((base[0] - tall) / 2), round((base[1] - wide) / 2)
    return get_3d_rotary_pos_embed(head_dim, ((top, left), (top + tall, left + wide)), grid, frames)


@contextmanager
def _learned_positions(transformer: Any, frames: int) -> Iterator[None]:
    """Lets a clip that is shorter than the trained one have the first of the learned positions.

    Stock diffusers takes sine positions then, which the model has never seen.
    """
    embed = transformer.patch_embed
    length = (frames - 1) * embed.temporal_compression_ratio + 1
    if not embed.use_learned_positional_embeddings or length >= embed.sample_frames:
        yield
        return
    table, trained = embed.pos_embedding, embed.sample_frames
    visual = (embed.sample_height // embed.patch_size) * (embed.sample_width // embed.patch_size) * frames
    try:
        embed.pos_embedding, embed.sample_frames = table[:, : embed.max_text_seq_length + visual], length
        yield
    finally:
        embed.pos_embedding, embed.sample_frames = table, trained
