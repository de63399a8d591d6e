"""The adapter of image diffusion transformers, and how FLUX.1, FLUX.2 and Stable Diffusion 3 and 3.5 attend.

All have joint attention over text and picture with weights for each, and are trained by flow matching. FLUX has its
text first, and blocks with one set of weights behind the others; Stable Diffusion 3 has its text last. None masks
padding, so that texts are read without any.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as functional
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.dit import VideoDiT
from undertow.backbones.adapters.dit_kinds import Heads, Kind, Padding, Rotary, normed_heads
from undertow.backbones.adapters.dit_models import DualKind
from undertow.backbones.cards.card import Site
from undertow.backbones.observation import Conditioning, Latents, Observation
from undertow.base import SettingsError

# The guidance that FLUX.1 dev and FLUX.2 dev are given: their pipelines' defaults. It is an input of one forward, not a
# second one.
GUIDANCE, GUIDANCE_2 = 3.5, 4.0


class ImageDiT(VideoDiT):
    """A frozen image diffusion transformer: each frame is a forward of its own, and sees no other.

    The states of the text differ from frame to frame, so that text queries and keys are shown of one frame only.
    """

    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        show = super()._show
        frames = [show(denoiser, frame, timestep, sites, states, features) for frame in latents.split(1)]
        if len(frames) == 1:
            return frames[0]

        def joined(which: Callable[[Observation], Mapping[str, Tensor]]) -> dict[str, Tensor]:
            return {path: torch.cat([which(frame)[path] for frame in frames]) for path in which(frames[0])}

        return Observation(
            joined(lambda seen: seen.queries),
            joined(lambda seen: seen.keys),
            joined(lambda seen: seen.features),
            frames[0].grid,
            frames[0].stride,
        )

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        predict = super()._predict
        return torch.cat([predict(frame, timestep, conditioning) for frame in latents.split(1)])

    def _check_size(self, height: int, width: int, multiple: int) -> None:
        super()._check_size(height, width, multiple)
        # Positions that are added at the input are those of a table.
        side = self._config.get("pos_embed_max_size")
        if side is not None and max(height, width) > side * self.multiple:
            most = side * self.multiple
            raise SettingsError(
                f"size {width}x{height} is too large for '{self.card.name}'; give {most}x{most} or less"
            )


class FluxKind(Kind):
    """FLUX.1: 2 x 2 latents packed into a token, rotary embedding by row and column, text first and at the origin."""

    attention = "attn"
    images = True
    encoders: tuple[str, ...] = ("text_encoder", "text_encoder_2")
    padding: Padding = "none"
    stacks: ClassVar = {"transformer_blocks": "num_layers", "single_transformer_blocks": "num_single_layers"}

    def text_length(self, config: Mapping[str, Any]) -> int:
        """Returns how many text tokens the pipeline gives the network at most."""
        return 512

    def channels(self, config: Mapping[str, Any]) -> int:
        """Returns the channels of a latent, of which four lie side by side in a token."""
        return int(config["in_channels"]) // 4

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return 2

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why variants that also read a picture are not supported, or `None`."""
        if config.get("out_channels") not in (None, config["in_channels"]):
            return "is also given a picture to fill or to follow (FLUX.1 Fill, Canny, Depth)"
        if int(config["patch_size"]) != 1 or int(config["in_channels"]) % 4:
            return "packs its latents in another way than FLUX.1"
        return None

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward of one frame."""
        states = conditioning.tensor[None]
        rows, columns = latents.shape[2] // 2, latents.shape[3] // 2
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
        output: Tensor = transformer(
            # (channel, row in the token, column in it) side by side.
            hidden_states=functional.pixel_unshuffle(latents, 2).flatten(2).mT,
            encoder_hidden_states=states,
            pooled_projections=None if conditioning.pooled is None else conditioning.pooled[None],
            # The network multiplies both by 1000.
            timestep=torch.tensor([timestep / 1000], device=latents.device),
            guidance=torch.tensor([GUIDANCE], device=latents.device) if transformer.config.guidance_embeds else None,
            img_ids=functional.pad(places, (1, 0)).to(latents.device),
            txt_ids=torch.zeros(states.shape[1], 3, device=latents.device),
            return_dict=False,
        )[0]
        return functional.pixel_shuffle(output.mT.unflatten(2, (rows, columns)), 2)

    def heads(
        self,
        attention: Any,
        visual: int,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"] | None = None,
        image_rotary_emb: Rotary | None = None,
        **_: Any,
    ) -> Heads:
        """Returns queries and keys of the sequence [text, picture], which single-stream blocks are given as one."""

        def sequence(which: str) -> Float[Tensor, "a all d"]:
            to_own, norm = getattr(attention, f"to_{which}"), getattr(attention, f"norm_{which}")
            states = normed_heads(to_own(hidden_states), norm, attention.heads)
            if encoder_hidden_states is not None:
                to_text, norm = getattr(attention, f"add_{which}_proj"), getattr(attention, f"norm_added_{which}")
                states = torch.cat([normed_heads(to_text(encoder_hidden_states), norm, attention.heads), states], dim=2)
            rotated: Tensor = states if image_rotary_emb is None else apply_rotary_emb(states, image_rotary_emb)
            return rotated[0]

        queries, keys = sequence("q"), sequence("k")
        return Heads(queries[:, -visual:], keys[:, -visual:], queries[:, :-visual], keys[:, :-visual])

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection, or leaves an attention that has none, without text."""
        if attention.pre_only:
            return attention.register_forward_hook(lambda _, __, output: keep(output[:, -visual:]))
        return super().watch(attention, keep, visual)

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.context_embedder


class Flux2Kind(FluxKind):
    """FLUX.2: a token is one latent of 16 pixels, and text tokens follow one another on an axis of their own.

    Its single-stream blocks project queries, keys and values with what feeds their other branch in one matrix.
    """

    encoders = ("text_encoder",)

    def channels(self, config: Mapping[str, Any]) -> int:
        """Returns the channels of the latents that the network reads."""
        return int(config["in_channels"])

    def patch(self, config: Mapping[str, Any]) -> int:
        """Returns the latent cells per side of a token."""
        return 1

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why a network with larger tokens is not supported, or `None`."""
        if int(config["patch_size"]) != 1:
            return "packs its latents in another way than FLUX.2"
        return None

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward of one frame."""
        states, (rows, columns) = conditioning.tensor[None], latents.shape[2:]
        # The axes are time, rows, columns, and the text's order.
        places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns))
        output: Tensor = transformer(
            hidden_states=latents.flatten(2).mT,
            encoder_hidden_states=states,
            timestep=torch.tensor([timestep / 1000], device=latents.device),
            guidance=torch.tensor([GUIDANCE_2], device=latents.device) if transformer.config.guidance_embeds else None,
            img_ids=functional.pad(places, (1, 1)).to(latents.device),
            txt_ids=functional.pad(torch.arange(states.shape[1])[:, None], (3, 0)).to(latents.device),
            return_dict=False,
        )[0]
        return output.mT.unflatten(2, (rows, columns))

    def heads(
        self,
        attention: Any,
        visual: int,
        /,
        hidden_states: Float[Tensor, "1 tokens c"],
        encoder_hidden_states: Float[Tensor, "1 n c"] | None = None,
        image_rotary_emb: Rotary | None = None,
        **_: Any,
    ) -> Heads:
        """Returns queries and keys of the sequence [text, picture], which single-stream blocks are given as one."""
        if encoder_hidden_states is not None:
            return super().heads(
                attention, visual, hidden_states, encoder_hidden_states, image_rotary_emb=image_rotary_emb
            )
        weight = attention.to_qkv_mlp_proj.weight[: 2 * attention.inner_dim]
        projected = functional.linear(hidden_states, weight).chunk(2, dim=-1)
        both = zip(projected, (attention.norm_q, attention.norm_k), strict=True)
        queries, keys = (
            normed[0] if image_rotary_emb is None else apply_rotary_emb(normed, image_rotary_emb)[0]
            for normed in (normed_heads(each, norm, attention.heads) for each, norm in both)
        )
        return Heads(queries[:, -visual:], keys[:, -visual:], queries[:, :-visual], keys[:, :-visual])

    def watch(
        self, attention: Any, keep: Callable[[Float[Tensor, "1 tokens c"]], None], visual: int
    ) -> torch.utils.hooks.RemovableHandle:
        """Calls `keep` with what enters the output projection, without text and, where it is one, the other branch."""
        if isinstance(attention.to_out, torch.nn.ModuleList):
            return Kind.watch(self, attention, keep, visual)
        inner = attention.inner_dim
        return attention.to_out.register_forward_pre_hook(lambda _, inputs: keep(inputs[0][:, -visual:, :inner]))


class StableDiffusion3Kind(DualKind):
    """Stable Diffusion 3 and 3.5: sine positions at the input, text last in the attention."""

    images = True
    padding: Padding = "none"
    stacks: ClassVar = {"transformer_blocks": "num_layers"}

    def problem(self, config: Mapping[str, Any]) -> str | None:
        """Returns why a network without a table of positions is not supported, or `None`."""
        if config.get("pos_embed_max_size") is None:
            return "has no positions of its own"
        return None

    def forward(
        self, transformer: Any, latents: Latents, timestep: int, conditioning: Conditioning, positions: str
    ) -> Latents:
        """Returns the prediction of one stock forward of one frame."""
        states = conditioning.tensor[None]
        # Those of CLIP alone, where there is no T5, are narrower than the network reads.
        states = functional.pad(states, (0, max(0, transformer.config.joint_attention_dim - states.shape[2])))
        output: Tensor = transformer(
            hidden_states=latents,
            encoder_hidden_states=states,
            pooled_projections=None if conditioning.pooled is None else conditioning.pooled[None],
            timestep=torch.tensor([timestep], device=latents.device),
            return_dict=False,
        )[0]
        return output

    def forward_clips(
        self,
        transformer: Any,
        latents: Float[Tensor, "b f c h w"],
        timestep: int,
        states: Float[Tensor, "b n d"],
        positions: str,
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions of one stock forward, in which every frame is a picture of its own.

        The pooled state of a text is left out.
        """
        clips, frames = latents.shape[:2]
        output: Tensor = transformer(
            hidden_states=latents.flatten(0, 1),
            encoder_hidden_states=states.repeat_interleave(frames, 0),
            pooled_projections=states.new_zeros(clips * frames, transformer.config.pooled_projection_dim),
            timestep=torch.full((clips * frames,), timestep, device=latents.device),
            return_dict=False,
        )[0]
        return output.unflatten(0, (clips, frames))

    def text_reader(self, transformer: Any) -> torch.nn.Module:
        """Returns the projection of the text states."""
        return transformer.context_embedder
