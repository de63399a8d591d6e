"""How a frame is laid out in the square that a segmenter sees, and the way of places and masks there and back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import interpolate, pad

# The ImageNet statistics that every published SAM and SAM 2 was trained with.
_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def normalise(images: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 h w"]:
    """Returns images with values of 0 to 255 as SAM reads them: minus the mean, divided by the deviation."""
    mean, deviation = (torch.tensor(each, device=images.device)[:, None, None] for each in (_MEAN, _DEVIATION))
    return (images / 255 - mean) / deviation


@dataclass(frozen=True)
class Fit:
    """Where a frame lies in a segmenter's square input.

    Attributes:
        size: (height, width) of the frame in pixels.
        inner: (height, width) that it has in the input, at the input's top left.
        side: of the input in pixels; the rest is padding.
        cells: of the mask grid along each side of the input.
    """

    size: tuple[int, int]
    inner: tuple[int, int]
    side: int
    cells: int

    @classmethod
    def padded(cls, size: tuple[int, int], side: int, cells: int) -> "Fit":
        """Returns the layout of SAM: the longer side fills the input, the aspect ratio is kept."""
        scale = side / max(size)
        height, width = (max(1, int(each * scale + 0.5)) for each in size)
        return cls(size, (height, width), side, cells)

    @classmethod
    def squashed(cls, size: tuple[int, int], side: int, cells: int) -> "Fit":
        """Returns the layout of SAM 2: both sides fill the input."""
        return cls(size, (side, side), side, cells)

    @property
    def grid(self) -> tuple[int, int]:
        """(height, width) in mask cells that belong to the frame; a cell that it only grazes is left out."""
        height, width = (max(1, round(each * self.cells / self.side)) for each in self.inner)
        return height, width

    def places(self, xy: Float[Tensor, "*n 2"]) -> Float[Tensor, "*n 2"]:
        """Returns places (x, y) of the frame as places of the input; both count pixel centres from 0.5."""
        factors = [inner / size for inner, size in zip(self.inner, self.size, strict=True)]
        return xy * torch.tensor(factors[::-1], device=xy.device)

    def pixels(self, images: Float[Tensor, "t 3 h w"]) -> Float[Tensor, "t 3 side side"]:
        """Returns images of 0 to 255 resized (bilinear, antialiased), normalised, and padded with zeros."""
        small = interpolate(images, size=self.inner, mode="bilinear", antialias=True, align_corners=False)
        down, across = (self.side - each for each in self.inner)
        return pad(normalise(small), (0, across, 0, down))

    def to_grid(self, soft: Float[Tensor, "n h w"]) -> Float[Tensor, "n grid_h grid_w"]:
        """Returns soft masks of the frame, at any resolution, on the frame's mask cells (bilinear, antialiased)."""
        return _resized(soft, self.grid)

    def to_frame(self, logits: Float[Tensor, "n grid_h grid_w"]) -> Float[Tensor, "n h w"]:
        """Returns mask values of the frame's cells at the size of the frame (bilinear)."""
        return _resized(logits, self.size)

    def whole(self, masks: Float[Tensor, "n grid_h grid_w"], outside: float) -> Float[Tensor, "n cells cells"]:
        """Returns masks of the frame's cells as masks of the whole input, with the value `outside` in the padding."""
        down, across = (self.cells - each for each in self.grid)
        return pad(masks, (0, across, 0, down), value=outside)


def _resized(maps: Float[Tensor, "n a b"], size: Sequence[int]) -> Float[Tensor, "n h w"]:
    if not len(maps):  # which interpolate refuses
        return maps.new_zeros(0, *size)
    return interpolate(maps[None], size=tuple(size), mode="bilinear", antialias=True, align_corners=False)[0]
