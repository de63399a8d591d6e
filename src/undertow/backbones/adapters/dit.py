"""The adapter of video diffusion transformers: CogVideoX, HunyuanVideo, Mochi, Wan, LTX-Video and `tiny-video`."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.adapters.base import Backbone
from undertow.backbones.adapters.dit_kinds import Heads, Kind, block_paths, require_kind
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.observation import Conditioning, Images, Latents, Observation
from undertow.backbones.reading.capture import capture_heads
from undertow.backbones.reading.edits import AddMap, Edit, Restrict
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError


class VideoDiT(Backbone):
    """A frozen video diffusion transformer.

    Every frame is encoded alone, as a latent of its own. The latents of one call are a clip and see each other, so
    what is observed depends on all of them and on their order. There is never a guidance pass.
    """

    _unprinted = ("decoder.",)

    def __init__(
        self,
        card: Card,
        network: Network,
        autoencoder: Autoencoder,
        schedule: NoiseSchedule,
        read_text: Callable[[str], Conditioning],
        *,
        rotary: bool = True,
        below: float = inf,
    ) -> None:
        """Takes over the networks, and checks that the sites of `card` exist.

        Args:
            card: See `Backbone`, as the next three; the network is of a class that `require_kind` knows.
            network: The denoiser.
            autoencoder: Of frames.
            schedule: Of the denoiser.
            read_text: Returns the states of a text, on any device. Called once per new text.
            rotary: Whether queries and keys are shown after the rotary embedding, as the attention compares them;
                without, position says nothing (for ablation; networks with sine positions at the input have them
                either way).
            below: The first timestep that the denoiser was not trained at, of a model that has another for those.

        Raises:
            SettingsError: if the network is of no kind known here, or the card's sites are not in it.
        """
        self._config, self.rotary, self._below = network.module.config, rotary, below
        self.kind = require_kind(type(network.module).__name__, f"'{card.name}'", self._config)
        super().__init__(card, network, autoencoder, schedule)
        self._reader = read_text
        read = self.kind.channels(self._config)
        if read not in (self.channels, 2 * self.channels):
            raise SettingsError(
                f"the transformer of '{card.name}' reads {read} channels and its latents have {self.channels}; "
                "give a model that makes pictures or clips from text, or clips from a picture"
            )

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels: the side of a token."""
        return self.stride * self.kind.patch(self._config)

    @property
    def any_text_length(self) -> bool:
        """Whether the network reads any number of text states."""
        return self.kind.any_text_length(self._config)

    @property
    def repeats(self) -> int:
        """How many times the network is given each latent frame."""
        return self.kind.repeats(self._config)

    @property
    def image_to_video(self) -> bool:
        """Whether the network also reads the clean latent of the first frame."""
        return self.kind.channels(self._config) == 2 * self.channels

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (height, width) the model reads, if its positions were learned for one size; else `None`."""
        if not self._config.get("use_learned_positional_embeddings"):
            return None
        return self._config.sample_height * self.stride, self._config.sample_width * self.stride

    @property
    def denoiser_width(self) -> int:
        """Channels of the denoiser's widest activation per latent cell: a token is several cells."""
        inner = self._config.num_attention_heads * self._config.attention_head_dim
        return int(-(-inner // self.kind.patch(self._config) ** 2))

    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Returns the attentions of `kinds` in running order, by default those that compare visual tokens."""
        found = transformer_sites(self.kind, self._network.module, self.stride)
        return tuple(site for site in found if site.kind in (kinds or (self.kind.site_kind,)))

    def _read_text(self, text: str) -> Conditioning:
        read = self._reader(text)
        return replace(
            read,
            tensor=read.tensor.to(self.device),
            pooled=None if read.pooled is None else read.pooled.to(self.device),
            provenance="null" if text == self.card.null_text else "text",
        )

    def _continuing(self, states: Conditioning, images: Images, size: tuple[int, int] | None) -> Conditioning:
        return replace(states, first_frame=self.encode(images[:1], size)[0])

    def invert(self, latents: Latents, noising: Noising, conditioning: Conditioning | None = None) -> Latents:
        """Returns `latents`, as one clip, carried to `noising.timestep` by the reverse of deterministic sampling."""
        conditioning = conditioning or self.condition()
        if self.image_to_video and conditioning.first_frame is None:
            conditioning = replace(conditioning, first_frame=latents[0].to(self.device))
        return super().invert(latents, noising, conditioning)

    def _show(
        self,
        denoiser: Any,
        latents: Latents,
        timestep: int,
        sites: Sequence[Site],
        states: Conditioning,
        features: bool,
    ) -> Observation:
        frames, height, width = len(latents), latents.shape[2], latents.shape[3]
        patch = self.kind.patch(self._config)
        grid = (height // patch, width // patch)
        heads, outputs = capture_heads(
            denoiser,
            self.kind,
            sites,
            lambda: self._predict(latents, timestep, states),
            visual=frames * grid[0] * grid[1],
            rotary=self.rotary,
            features=features,
        )

        def per_frame(tokens: Float[Tensor, "a tokens d"]) -> Float[Tensor, "f a s d"]:
            return tokens.unflatten(1, (frames, -1)).transpose(0, 1)

        def of_text(which: Callable[[Heads], Tensor | None]) -> dict[str, Float[Tensor, "a n d"]]:
            return {path: states for path, seen in heads.items() if (states := which(seen)) is not None}

        # All frames of a clip read one text.
        cross = {site.path for site in sites if site.kind == "cross"}
        return Observation(
            queries={path: per_frame(seen.queries) for path, seen in heads.items()},
            keys={
                path: seen.keys.expand(frames, -1, -1, -1) if path in cross else per_frame(seen.keys)
                for path, seen in heads.items()
            },
            features={path: output.unflatten(0, (frames, -1)) for path, output in outputs.items()},
            grid=grid,
            stride=self.multiple,
            text_queries=of_text(lambda seen: seen.text_queries),
            text_keys=of_text(lambda seen: seen.text_keys),
        )

    def _fitting(self, edits: Sequence[Edit]) -> Sequence[Edit]:
        """Returns edits of the one sequence that a clip is."""
        if any(isinstance(edit, Restrict) for edit in edits):
            raise SettingsError(f"the attention of '{self.card.name}' cannot be restricted; use an image model")
        return [replace(edit, map=edit.map.reshape(1, -1)) if isinstance(edit, AddMap) else edit for edit in edits]

    def _predict(self, latents: Latents, timestep: int, conditioning: Conditioning) -> Latents:
        if not 1 <= len(latents) <= self.card.chunk:
            raise SettingsError(
                f"{len(latents)} frames are given, and '{self.card.name}' sees 1 to {self.card.chunk} together; "
                "split the clip"
            )
        if timestep >= self._below:
            raise SettingsError(
                f"'{self.card.name}' has two denoisers and that of timesteps below {self._below:g} is loaded, so that "
                f"timestep {timestep} cannot be asked; choose a lower one"
            )
        self._check_size(latents.shape[2] * self.stride, latents.shape[3] * self.stride, self.multiple)
        clip = latents.to(self.device)
        if self.image_to_video:
            clip = torch.cat([clip, self._image_condition(clip, conditioning.first_frame)], dim=1)
        own = replace(
            conditioning,
            tensor=conditioning.tensor.to(self.device, self.dtype),
            pooled=None if conditioning.pooled is None else conditioning.pooled.to(self.device, self.dtype),
        )
        transformer, positions = self._network.module, self.card.positions
        return self.kind.forward(transformer, clip.to(self.dtype), timestep, own, positions).float()

    def denoise_clips(
        self, latents: Float[Tensor, "b f c h w"], timestep: int, states: Float[Tensor, "b n d"]
    ) -> Float[Tensor, "b f c h w"]:
        """Returns the predictions for several clips, see `Backbone.denoise_clips`."""
        if self.image_to_video:
            raise SettingsError(f"'{self.card.name}' makes no clips from text alone; give a model that does")
        self._check_size(latents.shape[3] * self.stride, latents.shape[4] * self.stride, self.multiple)
        clips, texts = (each.to(self.device, self.dtype) for each in (latents, states))
        return self.kind.forward_clips(self.denoiser, clips, timestep, texts, self.card.positions).float()

    def _image_condition(self, clip: Latents, first: Float[Tensor, "c h w"] | None) -> Latents:
        """Returns the clean latent of the first frame, followed by zeros, as image-to-video models were trained."""
        condition = torch.zeros_like(clip)
        condition[0] = clip[0] if first is None else first.to(self.device)
        if self.autoencoder.config.get("invert_scale_latents"):
            # These were trained with the scaling factor divided by where all others multiply.
            condition /= self.autoencoder.config.scaling_factor**2
        return condition

    def _place(self, name: str) -> tuple[float, ...]:
        """Returns the number of a weight's block in running order; what is in no block comes before."""
        parts = name.split(".")
        stacks = list(self.kind.stacks)
        return (stacks.index(parts[0]), int(parts[1])) if parts[0] in stacks else (-1,)

    def _identity(self) -> str:
        rotated: Any = self._config.get("use_rotary_positional_embeddings")
        return f"{self.rotary} {self.card.positions} {rotated}"


def transformer_sites(kind: Kind, transformer: Any, stride: int) -> list[Site]:
    """Returns every attention in running order, `stride` being the pixels per side of a latent cell."""
    token = stride * kind.patch(transformer.config)
    sites = []
    for block in block_paths(kind, transformer.config):
        names: dict[str, Any] = {kind.attention: kind.site_kind} | ({kind.cross: "cross"} if kind.cross else {})
        for name, site_kind in names.items():
            attention = transformer.get_submodule(f"{block}.{name}")
            head_dim = attention.inner_dim // attention.heads
            sites.append(Site(f"{block}.{name}", site_kind, attention.heads, head_dim, token))
    return sites
