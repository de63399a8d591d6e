"""The adapter of image diffusion models with a convolutional UNet, such as Stable Diffusion 1 and 2."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from jaxtyping import Float, UInt8
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from undertow.backbones.cards.card import Card, Noising, Site
from undertow.backbones.observation import Conditioning, Observation
from undertow.backbones.reading.capture import attention_at, capture
from undertow.backbones.reading.edits import Edit, edited
from undertow.backbones.reading.noising import add_noise, ddim_inversion
from undertow.backbones.reading.prefix import ConditionedObserver
from undertow.backbones.reading.sizes import fit_size
from undertow.backbones.reading.suffix import Trace
from undertow.backbones.sampling.schedule import Schedule
from undertow.base import SettingsError


class ImageUNet:
    """A frozen text-to-image latent diffusion model, seen as a source of queries and keys.

    Latents, noise levels and predictions are float32; only the networks themselves run in `dtype`. Frames of a batch
    do not see each other. Calls from several threads take turns at the denoiser.
    """

    def __init__(
        self,
        card: Card,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        schedule: Schedule,
        load_text: Callable[[], tuple[CLIPTokenizer, CLIPTextModel]],
        *,
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        """Takes over the networks: moves them, freezes them, and checks that the sites of `card` exist.

        Args:
            card: names the sites and defaults.
            unet: the denoiser.
            vae: the autoencoder.
            schedule: noise schedule the denoiser was trained with.
            load_text: returns the tokenizer and the text encoder. Called once per new text and not kept, because the
                null text is often the only one and the encoder weighs as much as a third of the denoiser.
            device: where to run.
            dtype: number type of the weights.

        Raises:
            SettingsError: if the card's sites are not in the denoiser.
        """
        self.card, self.device, self.dtype, self.schedule = card, device, dtype, schedule
        self.unet = _frozen(unet, device, dtype)
        self.vae = _frozen(vae, device, dtype)
        self._load_text = load_text
        self._texts: dict[str, Conditioning] = {}
        self._turn = threading.RLock()
        for site in (site for sites in card.sites.values() for site in sites):
            attention_at(self.unet, site)

    def fingerprint(self) -> str:
        """Returns 16 hexadecimal digits that tell this model's weights from others.

        They are of the first thousand numbers of every tensor: quick for gigabytes, and enough to notice other
        training, another precision or another model.
        """
        digest = hashlib.sha256()
        for network in (self.unet, self.vae):
            for name, tensor in network.state_dict().items():
                digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
                digest.update(tensor.flatten()[:1000].double().cpu().numpy().tobytes())
        return digest.hexdigest()[:16]

    @property
    def stride(self) -> int:
        """Image pixels per side of a latent cell."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels, for every level of the denoiser to be whole."""
        halvings = sum(getattr(block, "downsamplers", None) is not None for block in self.unet.down_blocks)
        return int(self.stride * 2**halvings)

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
            tokens: wished number of tokens at the tracking site; `None` for the card's budget.
            size: a (height, width) to use as it is.
            fit: `aspect` keeps the aspect ratio, `squash` makes a square of the same area.

        Raises:
            SettingsError: if `size` is not divisible by `multiple`.
        """
        if size is not None:
            self._check_size(*size)
            return size
        return fit_size(
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
        """Returns the clean latents of RGB `images`: the mode of the posterior times the scaling factor, float32.

        Args:
            images: frames of one size; all of them go through the encoder together.
            size: (height, width) to resize them to first, bicubic with antialiasing; `None` if they fit already.

        Raises:
            SettingsError: if the array is not uint8 RGB, or the size is not divisible by `multiple`.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
            raise SettingsError(f"images are {images.dtype} {images.shape}; give uint8 (frames, height, width, 3)")
        pixels = torch.from_numpy(np.ascontiguousarray(images)).to(self.device).movedim(-1, 1).float()
        if size is not None and size != tuple(pixels.shape[2:]):
            pixels = torch.nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 255)
        self._check_size(*pixels.shape[2:])
        posterior = self.vae.encode((pixels / 127.5 - 1).to(self.dtype)).latent_dist
        mode: Tensor = posterior.mode().float()
        return (mode - self._shift) * self.vae.config.scaling_factor

    def decode(self, latents: Float[Tensor, "f c lh lw"]) -> UInt8[np.ndarray, "f h w 3"]:
        """Returns the RGB images of clean `latents`."""
        pixels = self.decode_float(latents)
        images: np.ndarray = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
        return images

    @torch.no_grad()
    def decode_float(self, latents: Float[Tensor, "f c lh lw"]) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB images of clean `latents` before they are rounded: black is -1 and white 1, not clipped."""
        scaled = latents.to(self.device) / self.vae.config.scaling_factor + self._shift
        pixels: Tensor = self.vae.decode(scaled.to(self.dtype), return_dict=False)[0].float()
        return pixels

    @torch.no_grad()
    def embed(self, text: str) -> Conditioning:
        """Returns the last hidden states of the text encoder for `text`, padded to its full length, float32.

        This is Stable Diffusion's convention. The encoder runs in float32 on the CPU whatever the device, so that a
        text means the same everywhere. Results are remembered.

        Raises:
            SettingsError: if the text is longer than the model reads.
        """
        if text not in self._texts:
            tokenizer, encoder = self._load_text()
            longest = tokenizer.model_max_length
            ids = tokenizer(text, padding="max_length", max_length=longest, return_tensors="pt").input_ids
            if ids.shape[1] > longest:
                raise SettingsError(f"the text has {ids.shape[1]} tokens and the model reads {longest}; shorten it")
            states = encoder.float().eval()(ids).last_hidden_state[0].to(self.device)
            self._texts[text] = Conditioning(states, "null" if text == self.card.null_text else "text", text)
        return self._texts[text]

    def pieces(self, text: str) -> list[str]:
        """Returns what the tokenizer makes of `text`; piece i is state i + 1 of `embed`, after the one that begins."""
        tokenizer, _ = self._load_text()
        return [str(piece) for piece in tokenizer.tokenize(text)]

    def noise(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, frame_indices: Sequence[int]
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents` with the Gaussian noise of their frames at `noising.timestep`."""
        return add_noise(latents.to(self.device), self.schedule, noising, frame_indices)

    def invert(
        self, latents: Float[Tensor, "f c h w"], noising: Noising, conditioning: Conditioning | None = None
    ) -> Float[Tensor, "f c h w"]:
        """Returns `latents` carried to `noising.timestep` by DDIM inversion.

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
    def observe(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        sites: Sequence[Site],
        conditioning: Conditioning | None = None,
        *,
        features: bool = False,
        edits: Sequence[Edit] = (),
    ) -> Observation:
        """Returns the queries and keys of `sites` in one forward that ends at the last of them.

        Args:
            latents: at the noise level of `timestep`.
            timestep: what the network is told.
            sites: where to look; all of one stride, since an observation has one grid.
            conditioning: the same for every frame; `None` for the null text.
            features: whether to keep the hidden states that enter the sites' blocks too.
            edits: in force during the forward.

        Raises:
            SettingsError: if `sites` is empty, mixes strides, or names no attention of this model, or if an edit
                does not fit it.
        """
        strides = {site.stride for site in sites}
        if len(strides) != 1:
            raise SettingsError(f"sites have the strides {sorted(strides)}; observe one or more sites of one stride")
        (stride,) = strides
        conditioning = conditioning or self.embed(self.card.null_text)
        with self._turn, edited(self.unet, edits):
            seen = capture(self.unet, sites, lambda: self._predict(latents, timestep, conditioning), features=features)
        height, width = (cells * self.stride // stride for cells in latents.shape[2:])
        return Observation(seen.queries, seen.keys, seen.features, (height, width), stride)

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
        """Returns queries and keys of one frame as a differentiable function of the conditioning.

        Args:
            latents: at the noise level of `timestep`; no gradient goes into them.
            timestep: what the network is told.
            sites: where to look.
            features: whether to show the hidden states that enter the sites' blocks too.
            compiled: whether to compile what every call runs.
            recomputed: whether to trade time for memory, see `ConditionedObserver`.

        Raises:
            SettingsError: if a site is no attention of this model.
        """

        def forward(states: Float[Tensor, "o tokens dim"]) -> None:
            batch = latents.to(self.device, self.dtype).expand(len(states), -1, -1, -1)
            self.unet(batch, timestep, states.to(self.device, self.dtype), return_dict=False)

        example = self.embed(self.card.null_text).tensor[None]
        return ConditionedObserver(
            self.unet,
            sites,
            forward,
            example,
            self._turn,
            features=features,
            compiled=compiled,
            recomputed=recomputed,
        )

    @torch.no_grad()
    def denoise(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        edits: Sequence[Edit] = (),
    ) -> Float[Tensor, "f c h w"]:
        """Returns the denoiser's prediction (noise or velocity, see `card.prediction`), float32.

        Args:
            latents: at the noise level of `timestep`.
            timestep: what the network is told.
            conditioning: the same for every frame; `None` for the null text.
            edits: in force during the forward.

        Raises:
            SettingsError: if an edit does not fit the model.
        """
        conditioning = conditioning or self.embed(self.card.null_text)
        with self._turn, edited(self.unet, edits):
            return self._predict(latents, timestep, conditioning)

    @torch.no_grad()
    def trace(
        self,
        latents: Float[Tensor, "f c h w"],
        timestep: int,
        conditioning: Conditioning | None = None,
        *,
        sites: Sequence[Site] = (),
        block: str | None = None,
    ) -> Trace:
        """Returns one forward remembered, to be run again from a block of the decoder or under its own attention.

        Args:
            latents: at the noise level of `timestep`.
            timestep: what the network is told.
            conditioning: the same for every frame; `None` for the null text.
            sites: attentions whose queries and keys are recorded for injection.
            block: path of a transformer in the decoder; `None` if none is to be run on from.

        Raises:
            SettingsError: if a site or the block is not in this model.
        """
        states = conditioning or self.condition()
        latents = latents.to(self.device)
        return Trace(
            self.unet, latents, lambda x: self._predict(x, timestep, states), self._turn, sites=sites, block=block
        )

    def condition(
        self, images: UInt8[np.ndarray, "f h w 3"] | None = None, size: tuple[int, int] | None = None
    ) -> Conditioning:
        """Returns what frames that go together are conditioned on: the null text, whatever `images` show."""
        return self.embed(self.card.null_text)

    def to_x0_eps(
        self, prediction: Float[Tensor, "f c h w"], latents: Float[Tensor, "f c h w"], timestep: int
    ) -> tuple[Float[Tensor, "f c h w"], Float[Tensor, "f c h w"]]:
        """Returns the (clean latents, noise) that `prediction` for `latents` at `timestep` stands for."""
        return self.schedule.split(prediction, latents, self.schedule.level(timestep))

    def _predict(
        self, latents: Float[Tensor, "f c h w"], timestep: int, conditioning: Conditioning
    ) -> Float[Tensor, "f c h w"]:
        states = conditioning.tensor.to(self.device, self.dtype).expand(len(latents), -1, -1)
        output: Tensor = self.unet(latents.to(self.device, self.dtype), timestep, states, return_dict=False)[0]
        return output.float()

    @property
    def _shift(self) -> float:
        shift: Any = getattr(self.vae.config, "shift_factor", None)
        return float(shift or 0.0)

    def _check_size(self, height: int, width: int) -> None:
        if height < 1 or width < 1 or height % self.multiple or width % self.multiple:
            near = fit_size(height, width, tokens=max(1, height * width), stride=1, multiple=self.multiple)
            raise SettingsError(
                f"size {width}x{height} is not divisible by {self.multiple} as '{self.card.name}' needs; "
                f"the nearest is {near[1]}x{near[0]}"
            )


def _frozen(network: Any, device: torch.device, dtype: torch.dtype) -> Any:
    # torch's own `to`: that of diffusers warns of modules to be kept in float32 even when there are none.
    return torch.nn.Module.to(network, device=device, dtype=dtype).eval().requires_grad_(False)
