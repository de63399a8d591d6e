"""What the adapters of all families share: weights read as needed, sizes, frames to latents, noise, and refusals."""

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones.adapters.autoencoder import Autoencoder
from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.protocol import Conditioning
from undertow.backbones.reading.capture import attention_at
from undertow.backbones.reading.edits import Edit, edited
from undertow.backbones.reading.prefix import ConditionedObserver
from undertow.backbones.reading.sizes import fit_size, resize
from undertow.backbones.reading.suffix import Trace
from undertow.backbones.sampling.schedule import NoiseSchedule, add_noise, ddim_inversion
from undertow.backbones.weights.networks import Network
from undertow.base import SettingsError

# Numbers of each tensor that a fingerprint is made of.
HEAD = 1000


class Adapter(ABC):
    """A frozen latent diffusion model, seen as a source of queries and keys.

    Latents, noise levels and predictions are float32; only the networks themselves run in `dtype`. Calls from several
    threads take turns at the denoiser.
    """

    # Beginnings of the names of weights that no fingerprint looks at.
    _unprinted: tuple[str, ...] = ()

    def __init__(self, card: Card, network: Network, autoencoder: Autoencoder, schedule: NoiseSchedule) -> None:
        """Takes over the networks, and checks that the sites of `card` exist.

        Args:
            card: Names the sites and defaults.
            network: The denoiser.
            autoencoder: Of its latents.
            schedule: Noise schedule the denoiser was trained with.

        Raises:
            SettingsError: if the card's sites are not in the denoiser.
        """
        self.card, self.schedule = card, schedule
        self.device, self.dtype = network.device, network.dtype
        self.autoencoder, self._network = autoencoder, network
        self._texts: dict[str, Conditioning] = {}
        self._turn = threading.RLock()
        # How far the denoiser has been read, as `_place` counts.
        self._loaded: tuple[float, ...] = (-2,)
        for site in (site for sites in card.sites.values() for site in sites):
            attention_at(network.module, site)

    @abstractmethod
    def _place(self, name: str) -> tuple[float, ...]:
        """Returns when a weight or module of the denoiser is first used, in an order that compares."""

    @abstractmethod
    def _predict(
        self, latents: Float[Tensor, "f c h w"], timestep: int, conditioning: Conditioning
    ) -> Float[Tensor, "f c h w"]:
        """Returns the prediction of one forward, float32."""

    @abstractmethod
    def condition(
        self,
        text: str | None = None,
        *,
        images: UInt8[np.ndarray, "f h w 3"] | None = None,
        size: tuple[int, int] | None = None,
    ) -> Conditioning:
        """Returns the conditioning of frames that go together."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels."""

    @property
    @abstractmethod
    def denoiser_width(self) -> int:
        """Channels of the denoiser's widest activation per latent cell."""

    @property
    def denoiser(self) -> Any:
        """The network that holds the attentions by their site paths, with all of its weights."""
        self.read()
        return self._network.module

    @property
    def channels(self) -> int:
        """Channels of a latent."""
        return self.autoencoder.channels

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return self.autoencoder.stride

    @property
    def image_to_video(self) -> bool:
        """Whether the model continues a given first frame."""
        return False

    @property
    def encoder_width(self) -> int:
        """Channels of the autoencoder at full resolution, the widest activation of an observation per pixel."""
        return self.autoencoder.width

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (height, width) the model reads, or `None` if it reads many."""
        return None

    def parts(self, sites: Sequence[Site] | None = None) -> Mapping[str, int]:
        """Returns the bytes of the weights that are loaded now, by network.

        Args:
            sites: Count of the denoiser what observing these takes instead.
        """
        last = None if sites is None else self._reach(sites)
        denoiser = self._network.nbytes(None if last is None else lambda name: self._place(name) <= last)
        return {"denoiser": denoiser, "autoencoder": self.autoencoder.network.nbytes()}

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others, however much of it is loaded.

        They are of the first thousand numbers of every tensor: quick for gigabytes, and enough to notice other
        training, another precision or another model. Of tensors that are not loaded only these numbers are read.
        """
        digest = hashlib.sha256(self._identity().encode())
        for network in (self._network, self.autoencoder.network):
            for name, shape, dtype, head in network.heads(HEAD):
                if name.startswith(self._unprinted):
                    continue
                digest.update(f"{name} {shape} {dtype}".encode())
                digest.update(head.double().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    def _identity(self) -> str:
        """Returns what else than weights makes another model of this one."""
        return ""

    def read(self, sites: Sequence[Site] | None = None) -> None:
        """Reads the weights that observing `sites` needs, or all of the denoiser's, unless they were read before.

        Raises:
            SettingsError: if a site is no attention of this model.
            WeightsUnavailable: if they are missing, damaged or not finite.
        """
        wanted = (inf,) if sites is None else self._reach(sites)
        with self._turn:
            if wanted > self._loaded:
                self._network.read(lambda name: self._place(name) <= wanted)
                self._loaded = wanted

    def _reach(self, sites: Sequence[Site]) -> tuple[float, ...]:
        """Returns the place of the last of `sites`."""
        for site in sites:
            attention_at(self._network.module, site)
        return max((self._place(site.path) for site in sites), default=(-1,))

    def _read_for(self, sites: Sequence[Site]) -> Any:
        """Returns the denoiser with the weights that observing `sites` needs."""
        self.read(sites)
        return self._network.module

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
            height: Of the frames.
            width: Of the frames.
            tokens: Wished number of tokens at the tracking site; `None` for the card's budget.
            size: A (height, width) to use as it is.
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
            stride=self.card.sites["track"][0].stride,
            multiple=self.multiple,
            fit=fit,
        )

    @torch.no_grad()
    def encode(
        self, images: UInt8[np.ndarray, "f h w 3"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "f c lh lw"]:
        """Returns the clean latents of RGB `images`, one of each: the scaled posterior mode, float32.

        Args:
            images: Frames of one size.
            size: (height, width) to resize them to first, see `resize`; `None` if they fit already.

        Raises:
            SettingsError: if the array is not uint8 RGB, or the model cannot read the size.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
            raise SettingsError(f"images are {images.dtype} {images.shape}; give uint8 (frames, height, width, 3)")
        self._check_size(*(size or images.shape[1:3]))
        shown = np.ascontiguousarray(images if size is None else resize(images, size))
        pixels = torch.from_numpy(shown).to(self.device).movedim(-1, 1).float()
        return self.autoencoder.encode(pixels / 127.5 - 1)

    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "f h w 3"]:
        """Returns the RGB images of clean `latents` that stand for one frame each, as `encode` makes them."""
        return _images(self.decode_float(latents))

    @torch.no_grad()
    def decode_float(self, latents: Float[Tensor, "f c lh lw"]) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB images of clean `latents` before they are rounded: black is -1 and white 1, not clipped."""
        return self.autoencoder.decode(latents.to(self.device))

    @torch.no_grad()
    def decode_clip(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "t h w 3"]:
        """Returns the RGB frames of a generated clip; published video models have 4f - 3 of them, for an odd f."""
        return _images(self.autoencoder.decode_clip(latents.to(self.device)))

    def pieces(self, text: str) -> list[str]:
        """Returns what the tokenizer makes of `text`; piece i is state i + 1 of `condition(text)`.

        Raises:
            SettingsError: if the model's tokens cannot be told apart.
        """
        raise SettingsError(
            f"the words of a text cannot be found again in '{self.card.name}'; give a --box or a --point"
        )

    def noise(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, frame_indices: Sequence[int]
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents` with the Gaussian noise of their frames at `noising.timestep`."""
        return add_noise(latents.to(self.device), self.schedule, noising, frame_indices)

    def invert(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents` carried to `noising.timestep` by the reverse of deterministic sampling.

        There is no guidance: one conditional pass per step, with the null text unless `conditioning` is given.
        """
        return ddim_inversion(
            latents.to(self.device), lambda x, t: self.denoise(x, t, conditioning), self.schedule, noising
        )

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
    def denoise(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        edits: Sequence[Edit] = (),
    ) -> Float[Tensor, "f c h w"]:
        """Returns the denoiser's prediction (noise, velocity or flow, see `card.prediction`), float32.

        Args:
            latents: At the noise level of `timestep`; of a video model those of one clip.
            timestep: What the network is told.
            conditioning: The same for every frame; `None` for the null text.
            edits: In force during the forward.

        Raises:
            SettingsError: if an edit does not fit the model, or a clip is too long for it.
        """
        conditioning = conditioning or self.condition()
        with self._turn, edited(self.denoiser, self._fitting(edits)):
            return self._predict(latents, timestep, conditioning)

    def _fitting(self, edits: Sequence[Edit]) -> Sequence[Edit]:
        """Returns edits as the modules of this family take them."""
        return edits

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
        """Returns queries and keys of one frame as a differentiable function of many conditionings.

        Raises:
            SettingsError: if the model's frames see each other.
        """
        raise SettingsError(
            f"frames of '{self.card.name}' see each other, so that none can be tuned alone; use an image model"
        )

    def trace(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
    ) -> Trace:
        """Returns one forward remembered, to be run again from a block of the decoder.

        Raises:
            SettingsError: if the denoiser is no UNet.
        """
        raise SettingsError(
            f"'{self.card.name}' is no UNet, and only the decoder of a UNet can be pushed; use quality turbo"
        )

    def to_x0_eps(
        self, prediction: Float[Tensor, "f c h w"], latents: Float[Tensor, "f c h w"], timestep: int
    ) -> tuple[Float[Tensor, "f c h w"], Float[Tensor, "f c h w"]]:
        """Returns the (clean latents, noise) that `prediction` for `latents` at `timestep` stands for."""
        return self.schedule.split(prediction, latents, self.schedule.level(timestep))

    def _check_size(self, height: int, width: int) -> None:
        if self.fixed_size is not None and (height, width) != self.fixed_size:
            raise SettingsError(
                f"size {width}x{height} cannot be read by '{self.card.name}', whose positions were learned for "
                f"{self.fixed_size[1]}x{self.fixed_size[0]} only; leave the size to it"
            )
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            near = fit_size(height, width, tokens=max(1, height * width), stride=1, multiple=self.multiple)
            raise SettingsError(
                f"size {width}x{height} is not divisible by {self.multiple} as '{self.card.name}' needs; "
                f"the nearest is {near[1]}x{near[0]}"
            )


def _images(pixels: Float[Tensor, "f 3 h w"]) -> UInt8[np.ndarray, "f h w 3"]:
    images: np.ndarray = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
    return images
