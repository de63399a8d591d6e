"""The adapter of video diffusion transformers: CogVideoX, HunyuanVideo, Wan 2.1 and `tiny-video`."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones.adapters.dit_kinds import Heads, block_paths, kind_of
from undertow.backbones.adapters.video_autoencoder import FrameAutoencoder
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.observation import Conditioning, Observation
from undertow.backbones.reading.capture import attention_at
from undertow.backbones.reading.dit_capture import capture_heads
from undertow.backbones.reading.noising import add_noise, ddim_inversion
from undertow.backbones.reading.sizes import fit_size
from undertow.backbones.sampling.schedule import NoiseSchedule
from undertow.base import SettingsError


class VideoDiT:
    """A frozen video diffusion transformer, seen as a source of queries and keys.

    Every frame is encoded alone, as a latent of its own. The latents of one call are a clip and see each other, so
    what is observed depends on all of them and on their order. Latents, noise levels and predictions are float32; only
    the networks themselves run in `dtype`. There is never a guidance pass. Calls from several threads take turns at
    the transformer.
    """

    def __init__(
        self,
        card: Card,
        transformer: Any,
        autoencoder: FrameAutoencoder,
        schedule: NoiseSchedule,
        read_text: Callable[[str], Conditioning],
        *,
        device: torch.device,
        dtype: torch.dtype,
        rotary: bool = True,
        blocks: int | None = None,
    ) -> None:
        """Takes over the networks: moves them, freezes them, and checks that the sites of `card` exist.

        Args:
            card: names the sites and defaults.
            transformer: the denoiser, one of diffusers' classes that `kind_of` knows, in its number type.
            autoencoder: of frames, in its number type.
            schedule: noise schedule the denoiser was trained with.
            read_text: returns the states of a text, on any device. Called once per new text.
            device: where to run.
            dtype: number type of the latents that go in.
            rotary: whether queries and keys are shown after the rotary embedding, as the attention compares them;
                without, position says nothing (for ablation; networks with sine positions at the input have them
                either way).
            blocks: number of blocks the whole network has, if `transformer` holds only the first of them.

        Raises:
            SettingsError: if the network is of no kind known here, or the card's sites are not in it.
        """
        kind = kind_of(type(transformer).__name__)
        if kind is None:
            raise SettingsError(f"{type(transformer).__name__} is no video transformer that undertow reads")
        if problem := kind.problem(transformer.config):
            raise SettingsError(f"'{card.name}' {problem}, which undertow does not do; choose another model")
        self.card, self.device, self.dtype, self.schedule, self.rotary = card, device, dtype, schedule, rotary
        self.kind = kind
        self.transformer = _frozen(transformer, device)
        self.autoencoder = autoencoder
        self.vae = _frozen(autoencoder.network, device)
        self._read_text = read_text
        self._texts: dict[str, Conditioning] = {}
        self._turn = threading.RLock()
        self._paths = block_paths(kind, transformer.config)
        self._blocks = len(self._paths) if blocks is None else blocks
        self._channels = autoencoder.channels
        if transformer.config.in_channels not in (self._channels, 2 * self._channels):
            raise SettingsError(
                f"the transformer of '{card.name}' reads {transformer.config.in_channels} channels and its latents "
                f"have {self._channels}; give a text-to-video or image-to-video model"
            )
        for site in (site for sites in card.sites.values() for site in sites):
            if site.path in self._paths or not self.partial:
                attention_at(self.transformer, site)

    @property
    def partial(self) -> bool:
        """Whether only the first blocks were loaded, so that there are observations but no predictions."""
        return len(self._paths) < self._blocks

    @property
    def image_to_video(self) -> bool:
        """Whether the network also reads the clean latent of the first frame."""
        return bool(self.transformer.config.in_channels == 2 * self._channels)

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others.

        They are of the first thousand numbers of every tensor, without the decoder, which observing never uses. A
        model of which only the first blocks are loaded has other digits than the whole one.
        """
        rotated = self.transformer.config.get("use_rotary_positional_embeddings")
        digest = hashlib.sha256(f"{self.rotary} {self.card.positions} {rotated}".encode())
        for network in (self.transformer, self.vae):
            for name, tensor in network.state_dict().items():
                if not name.startswith("decoder."):
                    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                    digest.update(tensor.flatten()[:1000].double().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def sites(self) -> tuple[Site, ...]:
        """Returns every attention of the loaded blocks, in running order."""
        return tuple(self._site(path) for path in self._paths)

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return self.autoencoder.stride

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels: the side of a token."""
        return self.stride * self.kind.patch(self.transformer.config)

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (height, width) the model reads, if its positions were learned for one size; else `None`."""
        config = self.transformer.config
        if not config.get("use_learned_positional_embeddings"):
            return None
        return config.sample_height * self.stride, config.sample_width * self.stride

    def input_size(
        self,
        height: int,
        width: int,
        *,
        tokens: int | None = None,
        size: tuple[int, int] | None = None,
        fit: Literal["aspect", "squash"] = "aspect",
    ) -> tuple[int, int]:
        """Returns the (height, width) in pixels at which frames of `height` by `width` are shown to the model.

        Args:
            height: of the frames.
            width: of the frames.
            tokens: wished number of tokens per frame; `None` for the card's budget.
            size: a (height, width) to use as it is.
            fit: `aspect` keeps the aspect ratio, `squash` makes a square of the same area.

        Raises:
            SettingsError: if the model cannot read `size`.
        """
        if size is not None:
            self._check_size(*size)
            return size
        return self.fixed_size or fit_size(
            height,
            width,
            tokens=self.card.token_budget if tokens is None else tokens,
            stride=self.multiple,
            multiple=self.multiple,
            fit=fit,
        )

    @torch.no_grad()
    def encode(
        self, images: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "f c lh lw"]:
        """Returns the clean latents of RGB `images`, each encoded alone: the scaled posterior mode, float32.

        Args:
            images: frames of one size.
            size: (height, width) to resize them to first, bicubic with antialiasing; `None` if they fit already.

        Raises:
            SettingsError: if the array is not uint8 RGB, or the model cannot read the size.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
            raise SettingsError(f"images are {images.dtype} {images.shape}; give uint8 (frames, height, width, 3)")
        self._check_size(*(size or images.shape[1:3]))
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).movedim(-1, 1).float()
        if size is not None and size != tuple(pixels.shape[2:]):
            pixels = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        return self.autoencoder.encode(pixels / 127.5 - 1)

    @torch.no_grad()
    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "f h w 3"]:
        """Returns the RGB images of clean `latents` that stand for one frame each, as `encode` makes them."""
        return _images(self.autoencoder.decode(latents.to(self.device)))

    @torch.no_grad()
    def decode_clip(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "t h w 3"]:
        """Returns the RGB frames of a generated clip: 4f - 3 of them (of `tiny-video` f), for an odd f."""
        return _images(self.autoencoder.decode_clip(latents.to(self.device)))

    @torch.no_grad()
    def embed(self, text: str) -> Conditioning:
        """Returns what the model reads of `text`, float32; results are remembered.

        Raises:
            SettingsError: if the text is longer than the model reads.
            WeightsUnavailable: if the text encoder is needed and not there.
        """
        if text not in self._texts:
            read = self._read_text(text)
            self._texts[text] = replace(
                read,
                tensor=read.tensor.to(self.device),
                pooled=None if read.pooled is None else read.pooled.to(self.device),
                provenance="null" if text == self.card.null_text else "text",
            )
        return self._texts[text]

    def noise(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, frame_indices: Sequence[int]
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents` with the Gaussian noise of their frames at `noising.timestep`."""
        return add_noise(latents.to(self.device), self.schedule, noising, frame_indices)

    def invert(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents`, as one clip, carried to `noising.timestep` by the reverse of deterministic sampling."""
        clean = latents.to(self.device)
        conditioning = conditioning or self.embed(self.card.null_text)
        if self.image_to_video and conditioning.first_frame is None:
            conditioning = replace(conditioning, first_frame=clean[0])
        return ddim_inversion(clean, lambda x, t: self.denoise(x, t, conditioning), self.schedule, noising)

    def prepare(
        self,
        latents: Float[Tensor, "f c h w"],
        noising: Noising,
        frame_indices: Sequence[int],
        conditioning: Conditioning | None = None,
    ) -> Float[Tensor, "f c h w"]:
        """Returns clean `latents` as they should be observed at `noising.timestep`, by whichever way it names."""
        if noising.kind == "invert":
            return self.invert(latents, noising, conditioning)
        if noising.kind == "noise":
            return self.noise(latents, noising, frame_indices)
        return latents.to(self.device)

    @torch.no_grad()
    def observe(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        sites: Sequence[Site],
        conditioning: Conditioning | None = None,
        *,
        features: bool = False,
    ) -> Observation:
        """Returns the queries and keys of `sites` in one forward over the clip that ends at the last of them.

        Args:
            latents: of the clip, in order, at the noise level of `timestep`; at most `card.chunk` of them.
            timestep: what the network is told.
            sites: where to look.
            conditioning: of the clip; `None` for the null text.
            features: whether to keep what the attentions return too, see `Observation`.

        Raises:
            SettingsError: if `sites` is empty or names no attention of this model, or the clip is too long.
        """
        if not sites:
            raise SettingsError("no sites are given; observe one or more")
        frames, height, width = len(latents), latents.shape[2], latents.shape[3]
        patch = self.kind.patch(self.transformer.config)
        grid = (height // patch, width // patch)
        for site in sites:
            self._check_loaded(site)
        with self._turn:
            heads, outputs = capture_heads(
                self.transformer,
                self.kind,
                sites,
                lambda: self._predict(latents, timestep, conditioning),
                visual=frames * grid[0] * grid[1],
                rotary=self.rotary,
                features=features,
            )

        def per_frame(tokens: Float[Tensor, "a tokens d"]) -> Float[Tensor, "f a s d"]:
            return tokens.unflatten(1, (frames, -1)).transpose(0, 1)

        def of_text(which: Callable[[Heads], Tensor | None]) -> dict[str, Float[Tensor, "a n d"]]:
            return {path: states for path, seen in heads.items() if (states := which(seen)) is not None}

        return Observation(
            queries={path: per_frame(seen.queries) for path, seen in heads.items()},
            keys={path: per_frame(seen.keys) for path, seen in heads.items()},
            features={path: output.unflatten(0, (frames, -1)) for path, output in outputs.items()},
            grid=grid,
            stride=self.multiple,
            text_queries=of_text(lambda seen: seen.text_queries),
            text_keys=of_text(lambda seen: seen.text_keys),
        )

    @torch.no_grad()
    def denoise(
        self, latents: Float[Tensor, "f c h w"], timestep: int, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction for a clip (velocity or flow, see `card.prediction`), float32, in one forward.

        Raises:
            SettingsError: if only the first blocks are loaded, or the clip is too long.
        """
        if self.partial:
            raise SettingsError(
                f"only {len(self._paths)} of the {self._blocks} blocks of '{self.card.name}' are loaded, which is "
                "enough to observe but not to denoise; load it without sites"
            )
        with self._turn:
            return self._predict(latents, timestep, conditioning)

    def to_x0_eps(
        self, prediction: Float[Tensor, "f c h w"], latents: Float[Tensor, "f c h w"], timestep: int
    ) -> tuple[Float[Tensor, "f c h w"], Float[Tensor, "f c h w"]]:
        """Returns the (clean latents, noise) that `prediction` for `latents` at `timestep` stands for."""
        return self.schedule.split(prediction, latents, self.schedule.level(timestep))

    def _predict(
        self, latents: Float[Tensor, "f c h w"], timestep: int, conditioning: Conditioning | None
    ) -> Float[Tensor, "f c h w"]:
        if not 1 <= len(latents) <= self.card.chunk:
            raise SettingsError(
                f"{len(latents)} frames are given, and '{self.card.name}' sees 1 to {self.card.chunk} together; "
                "split the clip"
            )
        self._check_size(latents.shape[2] * self.stride, latents.shape[3] * self.stride)
        conditioning = conditioning or self.embed(self.card.null_text)
        clip = latents.to(self.device)
        if self.image_to_video:
            clip = torch.cat([clip, self._image_condition(clip, conditioning.first_frame)], dim=1)
        own = replace(
            conditioning,
            tensor=conditioning.tensor.to(self.device, self.dtype),
            pooled=None if conditioning.pooled is None else conditioning.pooled.to(self.device, self.dtype),
        )
        positions = self.card.positions
        return self.kind.forward(self.transformer, clip.to(self.dtype), timestep, own, positions).float()

    def _image_condition(
        self, clip: Float[Tensor, "f c h w"], first: Float[Tensor, "c h w"] | None
    ) -> Float[Tensor, "f c h w"]:
        """Returns the clean latent of the first frame, followed by zeros, as image-to-video models were trained."""
        condition = torch.zeros_like(clip)
        condition[0] = clip[0] if first is None else first.to(self.device)
        if self.vae.config.get("invert_scale_latents"):
            # These were trained with the scaling factor divided by where all others multiply.
            condition /= self.vae.config.scaling_factor**2
        return condition

    def _site(self, path: str) -> Site:
        attention = self.transformer.get_submodule(path)
        head_dim = attention.to_q.out_features // attention.heads
        return Site(path, self.kind.site_kind, attention.heads, head_dim, self.multiple)

    def _check_loaded(self, site: Site) -> None:
        if self.partial and site.path not in self._paths:
            raise SettingsError(
                f"site {site.path} is not among the {len(self._paths)} of {self._blocks} blocks of "
                f"'{self.card.name}' that are loaded; load it with this site"
            )

    def _check_size(self, height: int, width: int) -> None:
        fixed = self.fixed_size
        if fixed is not None and (height, width) != fixed:
            raise SettingsError(
                f"size {width}x{height} cannot be read by '{self.card.name}', whose positions were learned for "
                f"{fixed[1]}x{fixed[0]} only; leave the size to it"
            )
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            near = fit_size(height, width, tokens=max(1, height * width), stride=1, multiple=self.multiple)
            raise SettingsError(
                f"size {width}x{height} is not divisible by {self.multiple} as '{self.card.name}' needs; "
                f"the nearest is {near[1]}x{near[0]}"
            )


def _frozen(network: Any, device: torch.device) -> Any:
    # torch's own `to`: that of diffusers warns of modules to be kept in float32 even when there are none.
    return torch.nn.Module.to(network, device=device).eval().requires_grad_(False)


def _images(pixels: Float[Tensor, "f 3 h w"]) -> UInt8[np.ndarray, "f h w 3"]:
    images: np.ndarray = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
    return images
