"""The adapter of image diffusion models with a convolutional UNet, such as Stable Diffusion 1 and 2."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.adapters.base import Backbone
from undertow.backbones.cards.card import Card, Site
from undertow.backbones.observation import Conditioning, Latents, Observation
from undertow.backbones.reading.capture import capture
from undertow.backbones.reading.prefix import ConditionedObserver
from undertow.backbones.reading.suffix import Trace
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.backbones.weights.networks import Network
from undertow.backbones.weights.tokenizers import tokenized
from undertow.base import SettingsError

# The order in which the parts of a UNet run; others come before.
STAGES = {"down_blocks": 1, "mid_block": 2, "up_blocks": 3, "conv_norm_out": 4, "conv_out": 4}


class ImageUNet(Backbone):
    """A frozen text-to-image latent diffusion model; frames of a batch do not see each other."""

    def __init__(
        self,
        card: Card,
        network: Network,
        autoencoder: Autoencoder,
        schedule: NoiseSchedule,
        load_text: Callable[[], tuple[Any, Any]],
    ) -> None:
        """Takes over the networks as every `Backbone` does.

        `load_text` returns the tokenizer and the text encoder. It is called once per new text and they are not kept,
        because the null text is often the only one and the encoder weighs as much as a third of the denoiser.
        """
        super().__init__(card, network, autoencoder, schedule)
        self._load_text = load_text

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels, for every level of the denoiser to be whole."""
        return int(self.stride * 2 ** sum(map(_downsampling, self._network.module.down_blocks)))

    @property
    def least_multiple(self) -> int:
        """The side of a latent cell in pixels: deeper levels round up, and diffusers trims what comes back."""
        return self.stride

    @property
    def denoiser_width(self) -> int:
        """Channels of the denoiser's widest activation per latent cell; deeper levels have fewer cells."""
        return int(max(self._network.module.config.block_out_channels[:2]))

    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Returns the attentions of `kinds` ("self", "cross", "temporal") in running order, by default "self"."""
        found = unet_sites(self._network.module, self.stride)
        return tuple(site for site in found if site.kind in (kinds or ("self",)))

    def _read_text(self, text: str) -> Conditioning:
        """Returns the last hidden states of the text encoder for `text`, padded to its full length, float32.

        This is Stable Diffusion's convention. The encoder runs in float32 on the CPU whatever the device, so that a
        text means the same everywhere.
        """
        tokenizer, encoder = self._load_text()
        longest = tokenizer.model_max_length
        ids, spans = tokenized(tokenizer, text, padding="max_length", max_length=longest)
        if ids.shape[1] > longest:
            raise SettingsError(f"the text has {ids.shape[1]} tokens and the model reads {longest}; shorten it")
        states = encoder.float().eval()(ids).last_hidden_state[0].to(self.device)
        return Conditioning(states, "null" if text == self.card.null_text else "text", text, spans=spans)

    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        stride, sides = sites[0].stride, [cells * self.stride for cells in latents.shape[2:]]
        if any(side % stride for side in sides):
            raise SettingsError(f"a site of stride {stride} has no whole tokens in {sides[1]}x{sides[0]} pixels")
        seen = capture(denoiser, sites, lambda: self._predict(latents, timestep, states), features=features)
        grid = sides[0] // stride, sides[1] // stride
        return Observation(seen.queries, seen.keys, seen.features, grid, stride)

    def observer(
        self,
        latents: Float[Tensor, "1 c h w"],
        timestep: int,
        sites: Sequence[Site],
        *,
        features: bool = False,
        compiled: bool = False,
        recomputed: bool = False,
    ) -> ConditionedObserver:
        """Returns queries and keys as a function of many conditionings, see `Backbone.observer`."""
        unet = self._read_for(sites)

        def forward(states: Float[Tensor, "o tokens dim"]) -> None:
            batch = latents.to(self.device, self.dtype).expand(len(states), -1, -1, -1)
            told = self._told(latents, len(states), self.condition())
            unet(batch, timestep, states.to(self.device, self.dtype), **told, return_dict=False)

        example = self.condition().tensor[None]
        how = {"features": features, "compiled": compiled, "recomputed": recomputed}
        return ConditionedObserver(unet, sites, forward, example, self._turn, **how)

    @torch.no_grad()
    def trace(
        self,
        latents: Latents,
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
    ) -> Trace:
        """Returns one forward remembered, see `Backbone.trace`."""
        states, latents = conditioning or self.condition(), latents.to(self.device)
        clip = len(latents) if self.card.chunk > 1 else 1

        def forward(copies: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
            return self._predict_copies(copies, clip, timestep, states)

        return Trace(self.denoiser, latents, forward, self._turn, sites=sites, block=block, clip=clip)

    def _predict_copies(self, copies: Latents, clip: int, timestep: int, states: Conditioning) -> Latents:
        """Returns the predictions for several copies of `clip` frames that go together."""
        return self._predict(copies, timestep, states)

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        states = conditioning.tensor.to(self.device, self.dtype).expand(len(latents), -1, -1)
        unet = self._network.module
        told = self._told(latents, len(latents), conditioning)
        output: Tensor = unet(latents.to(self.device, self.dtype), timestep, states, **told, return_dict=False)[0]
        return output.float()

    def _told(self, latents: Latents, frames: int, conditioning: Conditioning) -> dict[str, Any]:
        """Returns what the denoiser is told besides noise level and text."""
        return {}

    def _place(self, name: str) -> tuple[float, ...]:
        """Returns the stage of a module, its block, and its place there: residual blocks and attentions alternate."""
        first, *rest = name.split(".")
        stage = STAGES.get(first, 0)
        if stage in (0, 4):
            return (stage,)
        block, *inner = rest if first != "mid_block" else ["0", *rest]
        if inner and inner[0] in ("resnets", "attentions"):
            return (stage, int(block), int(inner[1]), inner[0] == "attentions")
        return (stage, int(block), float("inf"))


def unet_sites(unet: Any, stride: int) -> list[Site]:
    """Returns every attention of a UNet in running order, `stride` being the pixels per side of a latent cell."""
    found = []
    for index, block in enumerate(unet.down_blocks):
        found += _attentions(block, f"down_blocks.{index}", stride)
        stride *= 2 if _downsampling(block) else 1
    if unet.mid_block is not None:
        found += _attentions(unet.mid_block, "mid_block", stride)
    for index, block in enumerate(unet.up_blocks):
        found += _attentions(block, f"up_blocks.{index}", stride)
        stride //= 2 if block.upsamplers is not None else 1
    return found


def _downsampling(block: Any) -> bool:
    return block.downsamplers is not None


def _attentions(block: Any, prefix: str, stride: int) -> list[Site]:
    sites = []
    for path, module in block.named_modules(prefix=prefix):
        own = path.rpartition(".")[2]
        # Those of models without text stand alone, without a transformer around them.
        alone = path.rpartition(".")[0].endswith(".attentions") and hasattr(module, "to_q")
        if own in ("attn1", "attn2") or alone:
            temporal = ".temporal_transformer_blocks." in path or ".temp_attentions." in path
            kind: Any = "temporal" if temporal else "cross" if own == "attn2" else "self"
            sites.append(Site(path, kind, module.heads, module.to_q.out_features // module.heads, stride))
    return sites
