"""Where the tokens of earlier frames have gone: they are followed from frame to frame along optical flow.

Flow knows small motions to a part of a token but drifts, and the network's matches do neither. So the kernel prefers
matches near the place that flow has taken a token to, as far as the way back agrees; a given mask is matched anywhere.
"""

from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from undertow.observing.flow import SIDE, Grey, dense_flow, fetched, grey_picture

# Pixels of the pictures along the side of a token: flow need only be right to a small part of one.
FINENESS = 4
# The way back may miss by this much, in tokens, and by this share of the way, and flow is still believed.
MISS, SHARE = 0.25, 0.05


Flow = Float32[np.ndarray, "h w 2"]


class TokenMotion(NamedTuple):
    """How the tokens of a frame move to another.

    Attributes:
        moved: To the right and down, in tokens.
        believed: From 0 to 1, how far that is to be believed.
    """

    moved: Float[Tensor, "s 2"]
    believed: Float[Tensor, "s"]


def picture_of(image: UInt8[np.ndarray, "h w 3"], grid: tuple[int, int]) -> Grey:
    """Returns a frame as flow sees it: in grey, a few pixels to a token."""
    fineness = max(FINENESS, -(-SIDE // min(grid)))
    return grey_picture(image, (grid[0] * fineness, grid[1] * fineness))


def places_on(grid: tuple[int, int]) -> Float[Tensor, "3 s"]:
    """Returns the places of a frame's tokens on itself: row, column, and 1 for how far that is to be believed."""
    rows, columns = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    return torch.stack([rows, columns, torch.ones_like(rows)]).flatten(1).float()


class Motion:
    """The motion from one frame to the next.

    Args:
        before: The one, as `picture_of` makes it.
        after: The other.
        grid: Rows and columns of tokens.
    """

    def __init__(self, before: Grey, after: Grey, grid: tuple[int, int]) -> None:
        self._fineness = before.shape[0] // grid[0]
        ahead, back = dense_flow(before, after), dense_flow(after, before)
        believed = [self._agree(*each).astype(np.float32) for each in ((ahead, back), (back, ahead))]
        # Averaged over about a token.
        side = self._fineness | 1
        self._ahead, self._back = (cv2.blur(each, (side, side)) for each in (ahead, back))
        self._believed, self._back_believed = (cv2.blur(each, (side, side)) for each in believed)
        self._grid = grid

    def __call__(self, places: Float[Tensor, "3 s"]) -> Float[Tensor, "3 s"]:
        """Returns where places of the one frame are in the other, and how far that is to be believed by now."""
        row, column, trust = (each[:, None].numpy() for each in places)
        x, y = ((each + 0.5) * self._fineness - 0.5 for each in (column, row))
        ahead = fetched(self._ahead, x, y)[:, 0] / self._fineness
        believed = trust[:, 0] * fetched(self._believed, x, y)[:, 0]
        return torch.from_numpy(np.stack([row[:, 0] + ahead[:, 1], column[:, 0] + ahead[:, 0], believed]))

    def of_tokens(self) -> tuple[TokenMotion, TokenMotion]:
        """Returns how the tokens of the one frame move to the other, and how those of the other move back."""
        return self._averaged(self._ahead, self._believed), self._averaged(self._back, self._back_believed)

    def fetched_back(self, maps: Float[Tensor, "n s"]) -> Float[Tensor, "n s"]:
        """Returns maps over the tokens of the one frame as maps over those of the other.

        Each of these takes the value of the place where it was, bilinearly, and of the border if it was outside.
        """
        rows, columns = np.indices(self._grid, np.float32)
        x, y = ((each + 0.5) * self._fineness - 0.5 for each in (columns, rows))
        back = fetched(self._back, x, y) / self._fineness
        over = np.ascontiguousarray(maps.view(-1, *self._grid).permute(1, 2, 0).numpy())
        found = fetched(over, columns + back[..., 0], rows + back[..., 1])
        return torch.from_numpy(found.reshape(*self._grid, -1)).permute(2, 0, 1).flatten(1).contiguous()

    def _agree(self, flow: Flow, back: Flow) -> Bool[np.ndarray, "h w"]:
        """Returns where flow stays in the picture and the way back leads to where it began."""
        height, width = flow.shape[:2]
        rows, columns = np.indices((height, width), np.float32)
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        missed = np.linalg.norm(flow + fetched(back, x, y), axis=-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        return np.asarray(inside & (missed < MISS * self._fineness + SHARE * np.linalg.norm(flow, axis=-1)))

    def _averaged(self, flow: Flow, believed: Float32[np.ndarray, "h w"]) -> TokenMotion:
        """Returns the mean motion of each token, in tokens, and how far it is to be believed."""
        moved, trusted = (
            torch.from_numpy(cv2.resize(each, self._grid[::-1], interpolation=cv2.INTER_AREA))
            for each in (flow, believed)
        )
        return TokenMotion(moved.flatten(0, 1) / self._fineness, trusted.flatten())
