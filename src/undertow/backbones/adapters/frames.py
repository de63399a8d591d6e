"""Frames as a model reads them: sizes that fit it, frames to latents, and latents to frames."""

from abc import abstractmethod
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.backbones.adapters.stored import StoredModel
from undertow.backbones.observation import Images, Latents
from undertow.backbones.reading.sizes import fit_size, resize
from undertow.base import SettingsError


class FrameModel(StoredModel):
    """A stored model with sizes that it reads, and an autoencoder between frames and its latents."""

    @property
    @abstractmethod
    def multiple(self) -> int:
        """What both sides of an image must be divisible by, in pixels."""

    @property
    def least_multiple(self) -> int:
        """What both sides must be divisible by to be read at all, though not at every level of the denoiser."""
        return self.multiple

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        """The only (height, width) the model reads, or `None` if it reads many."""
        return None

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
            self._check_size(*size, self.multiple)
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
    def encode(self, images: Images, size: tuple[int, int] | None = None) -> Latents:
        """Returns the clean latents of RGB `images`, one of each: the scaled posterior mode, float32.

        Args:
            images: Frames of one size.
            size: (height, width) to resize them to first, see `resize`; `None` if they fit already.

        Raises:
            SettingsError: if the array is not uint8 RGB, or the model cannot read the size.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or images.size == 0:
            raise SettingsError(f"images are {images.dtype} {images.shape}; give uint8 (frames, height, width, 3)")
        height, width = size or images.shape[1:3]
        self._check_size(height, width, self.least_multiple)
        shown = np.ascontiguousarray(images if size is None else resize(images, size))
        pixels = torch.from_numpy(shown).to(self.device).movedim(-1, 1).float()
        return self.autoencoder.encode(pixels / 127.5 - 1)

    def decode(self, latents: Latents) -> Images:
        """Returns the RGB images of clean `latents` that stand for one frame each, as `encode` makes them."""
        return _images(self.decode_float(latents))

    @torch.no_grad()
    def decode_float(self, latents: Latents) -> Float[Tensor, "f 3 h w"]:
        """Returns the RGB images of clean `latents` before they are rounded: black is -1 and white 1, not clipped."""
        return self.autoencoder.decode(latents.to(self.device))

    @torch.no_grad()
    def decode_clip(self, latents: Latents) -> UInt8[np.ndarray, "t h w 3"]:
        """Returns the RGB frames of a generated clip; published video models have 4f - 3 of them, for an odd f."""
        return _images(self.autoencoder.decode_clip(latents.to(self.device)))

    def _check_size(self, height: int, width: int, multiple: int) -> None:
        if self.fixed_size is not None and (height, width) != self.fixed_size:
            raise SettingsError(
                f"size {width}x{height} cannot be read by '{self.card.name}', whose positions were learned for "
                f"{self.fixed_size[1]}x{self.fixed_size[0]} only; leave the size to it"
            )
        if height < 1 or width < 1 or height % multiple or width % multiple:
            near = fit_size(height, width, tokens=max(1, height * width), stride=1, multiple=multiple)
            raise SettingsError(
                f"size {width}x{height} is not divisible by {multiple} as '{self.card.name}' needs; "
                f"the nearest is {near[1]}x{near[0]}"
            )


def _images(pixels: Float[Tensor, "f 3 h w"]) -> Images:
    images: np.ndarray = ((pixels + 1) * 127.5).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
    return images
