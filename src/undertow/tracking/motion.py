"""Where the tokens of earlier frames have gone: they are followed from frame to frame along optical flow.

Flow knows small motions to a part of a token but drifts, and the network's matches do neither. So the kernel prefers
matches near the place that flow has taken a token to, as far as the way back agrees; a given mask is matched anywhere.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from undertow.observing.flow import SIDE, Grey, dense_flow, fetched, grey_picture

# Pixels of the pictures along the side of a token: flow need only be right to a small part of one.
FINENESS = 4
# The way back may miss by this much, in tokens, and by this share of the way, and flow is still believed.
MISS, SHARE = 0.25, 0.05


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
        height, width = before.shape
        rows, columns = np.indices((height, width), np.float32)
        x, y = columns + ahead[..., 0], rows + ahead[..., 1]
        missed = np.linalg.norm(ahead + fetched(back, x, y), axis=-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        believed = inside & (missed < MISS * self._fineness + SHARE * np.linalg.norm(ahead, axis=-1))
        # Averaged over about a token.
        side = self._fineness | 1
        self._ahead, self._back = (cv2.blur(each, (side, side)) for each in (ahead, back))
        self._believed = cv2.blur(believed.astype(np.float32), (side, side))
        self._grid = grid

    def __call__(self, places: Float[Tensor, "3 s"]) -> Float[Tensor, "3 s"]:
        """Returns where places of the one frame are in the other, and how far that is to be believed by now."""
        row, column, trust = (each[:, None].numpy() for each in places)
        x, y = ((each + 0.5) * self._fineness - 0.5 for each in (column, row))
        ahead = fetched(self._ahead, x, y)[:, 0] / self._fineness
        believed = trust[:, 0] * fetched(self._believed, x, y)[:, 0]
        return torch.from_numpy(np.stack([row[:, 0] + ahead[:, 1], column[:, 0] + ahead[:, 0], believed]))

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
