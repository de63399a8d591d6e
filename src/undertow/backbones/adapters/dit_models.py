"""The kinds of video transformers: how CogVideoX, HunyuanVideo and Wan attend, one class each.

CogVideoX has joint attention with shared weights, its text tokens first in one sequence with the video's. HunyuanVideo
has weights for each modality in its dual-stream blocks, and one set in its single-stream blocks. Wan attends over all
frames, and reads the text in a cross-attention of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb, get_3d_rotary_pos_embed
from diffusers.models.transformers.transformer_wan import WanRotaryPosEmbed
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Kind, Rotary, normed_heads, split_heads
from undertow.backbones.observation import Conditioning, Latents


class JointKind(Kind):
    """CogVideoX: query and key norms per head, rotary embedding of the visual tokens or sine positions at the input."""

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return int(config["max_text_seq_length"])

    def any_text_length(self, config: Mapping[str, Any]) -> bool:
        """Returns whether positions are turned into queries and keys, and not added to a sequence of one length."""
        return bool(config["use_rotary_positional_embeddings"]) and not config["use_learned_positional_embeddings"]

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why CogVideoX 1.5 is not supported, or `None`."""
        if config.get("patch_size_t") is not None:
            return (
                "puts several latent frames into one token (CogVideoX 1.5), so that frames have no tokens of their own"
            )
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
        config = transformer.config
        clips, frames, _, height, width = latents.shape
        rotary = None
        if config.use_rotary_positional_embeddings:
            patch = config.patch_size
            base = (config.sample_height // patch, config.sample_width // patch)
            grid = (height // patch, width // patch)
            rotary = rotary_tables(frames, grid, grid if positions == "cells" else base, config.attention_head_dim)
            rotary = (rotary[0].to(latents.device), rotary[1].to(latents.device))
        with _learned_positions(transformer, frames):
            output: Tensor = transformer(
                hidden_states=latents,
                encoder_hidden_states=states,
                timestep=torch.full((clips,), timestep, device=latents.device),
                image_rotary_emb=rotary,
                return_dict=False,
            )[0]
        return output

    def heads(
        self,
        attention: Any,
        visual: int,
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

    The grid is fitted into the middle of `base`, its aspect ratio kept, so that a larger frame has closer tokens. For a
    grid of the size of `base`, token (i, j) of frame t is at (t, i, j). Both are (height, width) in tokens, `base`
    being the grid that the model was trained on.
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


# The guidance that the distilled model is given: the pipeline's default, times 1000 as it does. It is an input of one
# forward, not a second one.
GUIDANCE = 6.0 * 1000


class DualKind(Kind):
    """HunyuanVideo: text after video; in dual-stream blocks with projections and norms of its own."""

    attention = "attn"
    encoders = ("text_encoder", "text_encoder_2")
    stacks: ClassVar = {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return 256

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why an image-to-video variant is not supported, or `None`."""
        if config.get("image_condition_type") is not None:
            return "needs an image read by a language model (HunyuanVideo image to video)"
        if int(config["patch_size_t"]) != 1:
            return "puts several latent frames into one token, so that frames have no tokens of their own"
        return None

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward over the clip.

        The states hold the tokens of the text only: what pads them is masked out of everything that the pipeline
        computes, so leaving it away gives the same.
        """
        states = conditioning.tensor[None]
        with _unmasked(transformer):
            output: Tensor = transformer(
                hidden_states=latents.movedim(0, 1)[None],
                timestep=torch.tensor([float(timestep)], device=latents.device),
                encoder_hidden_states=states,
                encoder_attention_mask=states.new_ones(states.shape[:2]),
                pooled_projections=None if conditioning.pooled is None else conditioning.pooled[None],
                guidance=latents.new_tensor([GUIDANCE]) if transformer.config.guidance_embeds else None,
                return_dict=False,
            )[0]
        return output[0].movedim(1, 0)

    def heads(
        self,
        attention: Any,
        visual: int,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"],
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Heads:
        """Returns queries and keys of the sequence [video, text]; single-stream blocks share the projections."""

        def of_video(project: Any, norm: Any) -> Tensor:
            states = normed_heads(project(hidden_states), norm, attention.heads)
            if image_rotary_emb is not None:
                states = apply_rotary_emb(states, image_rotary_emb)
            return states[0]

        shared = attention.add_q_proj is None
        names = ("to_q", "to_k", "norm_q", "norm_k")
        own = ("add_q_proj", "add_k_proj", "norm_added_q", "norm_added_k")
        to_q, to_k, norm_q, norm_k = (getattr(attention, name) for name in (names if shared else own))
        return Heads(
            of_video(attention.to_q, attention.norm_q),
            of_video(attention.to_k, attention.norm_k),
            normed_heads(to_q(encoder_hidden_states), norm_q, attention.heads)[0],
            normed_heads(to_k(encoder_hidden_states), norm_k, attention.heads)[0],
        )

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection of the video, or leaves an attention that has none."""
        if getattr(attention, "to_out", None) is None:
            return attention.register_forward_hook(lambda _, __, output: keep(output[0]))
        return super().watch(attention, keep, visual)

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.context_embedder.proj_in


@contextmanager
def _unmasked(transformer: Any) -> Iterator[None]:
    """Spares the attentions a mask that hides nothing, for which fused attention would take a slower way."""

    def drop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"attention_mask": None}

    with ExitStack() as stack:
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            stack.callback(block.attn.register_forward_pre_hook(drop, with_kwargs=True).remove)
        yield


class SelfKind(Kind):
    """Wan 2.1: norms over all heads at once, rotary embedding of the visual tokens; text in a cross-attention."""

    site_kind = "self"
    cross = "attn2"
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
    ) -> Heads:
        """Returns queries of the visual tokens and keys of these or of the text, normed before the heads are split."""

        def normed(project: Any, norm: Any, tokens: Float[Tensor, "1 m c"]) -> Tensor:
            states: Tensor = norm(project(tokens)).unflatten(2, (attention.heads, -1))
            return (states if rotary_emb is None else _rotated(states, *rotary_emb))[0].transpose(0, 1)

        read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        queries = normed(attention.to_q, attention.norm_q, hidden_states)
        return Heads(queries, normed(attention.to_k, attention.norm_k, read))

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
