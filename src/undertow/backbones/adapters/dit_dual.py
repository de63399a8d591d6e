"""Joint attention with weights for each modality: HunyuanVideo's dual-stream blocks, and its single-stream ones."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, Rotary, split_heads
from undertow.backbones.protocol import Conditioning

# The guidance the distilled model is told of: the pipeline's default, times 1000 as it does. It is an input of one
# forward, not a second one.
GUIDANCE = 6.0 * 1000


class DualKind:
    """HunyuanVideo: text after video; in dual-stream blocks with projections and norms of its own."""

    site_kind: Literal["self", "joint"] = "joint"
    attention = "attn"

    def stacks(self, config: Mapping[str, Any]) -> dict[str, str]:
        """Returns both lists of blocks, the dual-stream ones first, and their lengths."""
        return {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return 256

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return int(config["patch_size"])

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why an image-to-video variant is not supported, or `None`."""
        if config.get("image_condition_type") is not None:
            return "needs an image read by a language model (HunyuanVideo image to video)"
        if int(config["patch_size_t"]) != 1:
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
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"],
        attention_mask: Tensor | None = None,
        image_rotary_emb: Rotary | None = None,
    ) -> Heads:
        """Returns queries and keys of the sequence [video, text]; single-stream blocks share the projections."""

        def visual(project: Any, norm: Any) -> Tensor:
            states = _normed(project(hidden_states), norm, attention.heads)
            if image_rotary_emb is not None:
                states = apply_rotary_emb(states, image_rotary_emb)
            return states[0]

        shared = attention.add_q_proj is None
        names = ("to_q", "to_k", "norm_q", "norm_k")
        own = ("add_q_proj", "add_k_proj", "norm_added_q", "norm_added_k")
        to_q, to_k, norm_q, norm_k = (getattr(attention, name) for name in (names if shared else own))
        return Heads(
            visual(attention.to_q, attention.norm_q),
            visual(attention.to_k, attention.norm_k),
            _normed(to_q(encoder_hidden_states), norm_q, attention.heads)[0],
            _normed(to_k(encoder_hidden_states), norm_k, attention.heads)[0],
        )

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection of the video, or leaves an attention that has none."""
        if getattr(attention, "to_out", None) is None:
            return attention.register_forward_hook(lambda _, __, output: keep(output[0]))
        return attention.to_out[0].register_forward_pre_hook(lambda _, inputs: keep(inputs[0]))

    def restore_tables(self, transformer: Any) -> None:
        """Does nothing: the rotary tables are made in every forward."""

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.context_embedder.proj_in


def _normed(projected: Float[Tensor, "1 tokens c"], norm: Any, heads: int) -> Float[Tensor, "1 a tokens d"]:
    states = split_heads(projected, heads)
    return states if norm is None else norm(states)


@contextmanager
def _unmasked(transformer: Any) -> Iterator[None]:
    """Spares the attentions a mask that hides nothing, for which fused attention would take a slower way."""

    def drop(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, kwargs | {"attention_mask": None}

    with ExitStack() as stack:
        for block in (*transformer.transformer_blocks, *transformer.single_transformer_blocks):
            stack.callback(block.attn.register_forward_pre_hook(drop, with_kwargs=True).remove)
        yield
