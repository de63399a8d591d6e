"""Video transformers with joint attention: how CogVideoX, HunyuanVideo and Mochi attend, one class each.

CogVideoX has joint attention with shared weights, its text tokens first in one sequence with the video's. HunyuanVideo
has weights for each modality in its dual-stream blocks, and one set in its single-stream blocks. Mochi has only
dual-stream blocks, and the stream of its text is narrower.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar

import torch
from diffusers.models.embeddings import apply_rotary_emb, get_3d_rotary_pos_embed
from jaxtyping import Float
from torch import Tensor
from torch.fx.experimental import _config

from undertow.backbones.adapters.dit_kinds import Heads, Kind, Padding, Rotary, normed_heads, rotated
from undertow.backbones.observation import Conditioning, Latents
from undertow.backbones.reading.edits import answering


class JointKind(Kind):
    """CogVideoX: query and key norms per head, rotary embedding of the visual tokens or sine positions at the input."""

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return int(config["max_text_seq_length"])

    def any_text_length(self, config: Mapping[str, Any]) -> bool:
        """Returns whether positions are turned into queries and keys, and not added to a sequence of one length."""
        return bool(config["use_rotary_positional_embeddings"]) and not config["use_learned_positional_embeddings"]

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why image-to-video models of CogVideoX 1.5 are not supported, or `None`."""
        if config.get("ofs_embed_dim") is not None:
            return "is told how far its first frame is from the others (CogVideoX 1.5 image to video)"
        return None

    def repeats(self, config: Mapping[str, Any]) -> int:
        """Returns how many times the network is given each latent frame.

        A token of CogVideoX 1.5 is made of two latent frames. Each is given twice, so that it has tokens of its own.
        """
        return int(config.get("patch_size_t") or 1)

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions of one stock forward over several clips.

        Of a frame that is given several times, the prediction is the mean of all.
        """
        config = transformer.config
        clips, frames, _, height, width = latents.shape
        rotary = None
        if config.use_rotary_positional_embeddings:
            patch = config.patch_size
            base = (config.sample_height // patch, config.sample_width // patch)
            grid = (height // patch, width // patch)
            if config.patch_size_t is not None:
                # CogVideoX 1.5 counts cells, whatever the size.
                base = grid
            rotary = rotary_tables(frames, grid, grid if positions == "cells" else base, config.attention_head_dim)
            rotary = (rotary[0].to(latents.device), rotary[1].to(latents.device))
        times = self.repeats(config)
        with _learned_positions(transformer, frames):
            output: Tensor = transformer(
                hidden_states=latents.repeat_interleave(times, 1),
                encoder_hidden_states=states,
                timestep=torch.full((clips,), timestep, device=latents.device),
                image_rotary_emb=rotary,
                return_dict=False,
            )[0]
        return output.unflatten(1, (frames, times)).mean(2)

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
            states = normed_heads(project(sequence), norm, attention.heads)
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
    encoders: tuple[str, ...] = ("text_encoder", "text_encoder_2")
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


class MochiKind(DualKind):
    """Mochi: a rotary embedding of its own for every head, of the video alone; time runs from noise to clean latents.

    The states hold the tokens of the text only; padding is masked out of everything that the pipeline computes.
    """

    attention = "attn1"
    encoders = ("text_encoder",)
    padding: Padding = "none"
    stacks: ClassVar = {"transformer_blocks": "num_layers"}

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns `None`: all variants are supported."""
        return None

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward over the clip: the flow, which the network returns reversed."""
        states = conditioning.tensor[None]
        with _plain_tables(transformer):
            output: Tensor = transformer(
                hidden_states=latents.movedim(0, 1)[None],
                encoder_hidden_states=states,
                timestep=torch.tensor([1000.0 - timestep], device=latents.device),
                encoder_attention_mask=torch.ones(states.shape[:2], dtype=torch.bool, device=latents.device),
                return_dict=False,
            )[0]
        return -output[0].movedim(1, 0)

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
        """Returns queries and keys of the sequence [video, text]."""

        def of_video(project: Any, norm: Any) -> Tensor:
            states = norm(project(hidden_states).unflatten(2, (attention.heads, -1)))
            if image_rotary_emb is not None:
                # One table per head, each angle once.
                states = rotated(states, *(table.repeat_interleave(2, -1) for table in image_rotary_emb))
            return states[0].transpose(0, 1)

        return Heads(
            of_video(attention.to_q, attention.norm_q),
            of_video(attention.to_k, attention.norm_k),
            normed_heads(attention.add_q_proj(encoder_hidden_states), attention.norm_added_q, attention.heads)[0],
            normed_heads(attention.add_k_proj(encoder_hidden_states), attention.norm_added_k, attention.heads)[0],
        )

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.time_embed.caption_proj


@contextmanager
def _plain_tables(transformer: Any) -> Iterator[None]:
    """Lets Mochi compute its rotary tables without autocast, which is in float32 anyway and warns on a CPU.

    On the "meta" device, the tokens of its text that are not masked cannot be counted, and are taken to be all.
    """

    def tables(frequencies: Float[Tensor, "3 a d"], frames: int, height: int, width: int, **_: Any) -> Rotary:
        places = transformer.rope._get_positions(frames, height, width, frequencies.device, torch.float32)
        angles = torch.einsum("nd,dhf->nhf", places, frequencies.float())
        return angles.cos(), angles.sin()

    with (
        answering({transformer.rope: tables}),
        _config.patch(  # type: ignore[attr-defined]
            meta_nonzero_assume_all_nonzero=True
        ),
    ):
        yield
