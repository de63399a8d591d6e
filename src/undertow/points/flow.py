"""Optical flow of a video: where places of a frame are in its neighbours, and in any other frame from a guess.

Dense inverse search between neighbours, and pyramidal Lucas-Kanade from a guess between any two frames. Both are
checked by going back.
"""

import cv2
import numpy as np
import torch
from jaxtyping import Float, Float32, UInt8
from torch import Tensor

from undertow.observing.flow import SIDE, Grey, grey_picture
from undertow.observing.store import TensorStore
from undertow.points.camera import steady_flow
from undertow.points.matching import interpolate

# Most pixels of the pictures that flow is estimated between.
PIXELS = 1 << 19
# The patch of Lucas-Kanade, in pixels, and how often pictures are halved for it: guesses are nearly right.
PATCH, LEVELS = 21, 2

# What a place that no picture fits is uncertain by, in cells.
COARSE = 1.0


class Flow:
    """Carries places between frames of a video; they and distances are in cells of the grid of its tokens.

    Args:
        store: Where each frame is kept in grey, with the flow from the frame before it and the way back.
        size: (height, width) of the video.
        grid: (height, width) in cells; the centre of the first one is (0, 0).
    """

    def __init__(self, store: TensorStore, size: tuple[int, int], grid: tuple[int, int]) -> None:
        self._store, self._grid = store, grid
        scale = min(1.0, (PIXELS / (size[0] * size[1])) ** 0.5)
        self._size = max(SIDE, round(size[0] * scale)), max(SIDE, round(size[1] * scale))
        self._last: Grey | None = None

    def show(self, image: UInt8[np.ndarray, "h w 3"], place: int) -> None:
        """Takes the next frame, which is at that place among those shown."""
        seen = grey_picture(image, self._size)
        last, self._last = (self._last if place > 0 else None), seen
        if self._store.holds(_name(place)):
            return
        kept = {"grey": torch.from_numpy(seen)}
        if last is not None:
            # Half the side: the search ends there, and what lies between is interpolated.
            half = self._size[1] // 2, self._size[0] // 2
            for way, pair in {"ahead": (last, seen), "back": (seen, last)}.items():
                flow = cv2.resize(steady_flow(*pair), half, interpolation=cv2.INTER_AREA)
                kept[way] = torch.from_numpy(flow).half()
        self._store.put(_name(place), kept)

    def carry(
        self, places: Float[Tensor, "n m 2"], before: int, after: int
    ) -> tuple[Float[Tensor, "n m 2"], Float[Tensor, "n m"]]:
        """Returns where places of a frame are in a neighbouring one, and by how much the way back misses them.

        Args:
            places: (x, y).
            before: Their frame.
            after: The next frame, or the one before it.
        """
        kept = self._store.get(_name(max(before, after)))
        there, back = (kept[name] for name in (("ahead", "back") if after > before else ("back", "ahead")))
        moved = places + self._at(there, places)
        return moved, (moved + self._at(back, moved) - places).norm(dim=-1)

    def register(
        self, places: Float[Tensor, "n 2"], guesses: Float[Tensor, "n k 2"], before: int, after: int
    ) -> tuple[Float[Tensor, "n k 2"], Float[Tensor, "n k"]]:
        """Returns where, near guesses, the picture around each place fits, and by how much the way back misses it.

        Where it fits nowhere within a cell, or the way back misses by more, guesses stay as they are, with `COARSE`.

        Args:
            places: (x, y).
            guesses: Where each of them may be, in the other frame.
            before: Their frame.
            after: The other frame.
        """
        here, there = (self._store.get(_name(each))["grey"].numpy() for each in (before, after))
        start, guess = self._pixels(places[:, None].expand_as(guesses)), self._pixels(guesses)
        found = _lucas_kanade(here, there, start, guess)
        # The way back begins as far beside the start as the guess was beside what was found.
        back = _lucas_kanade(there, here, found, start + found - guess)
        moved, missed = (self._cells(each).to(guesses).view_as(guesses) for each in (found - guess, back - start))
        misses = missed.norm(dim=-1)
        fits = (misses < COARSE) & (moved.norm(dim=-1) < COARSE)
        return (guesses + moved).where(fits[..., None], guesses), misses.where(fits, COARSE)

    def _at(self, way: Float[Tensor, "h w 2"], places: Float[Tensor, "n m 2"]) -> Float[Tensor, "n m 2"]:
        """Returns a flow at places."""
        shape, flat = (way.shape[0], way.shape[1]), places.flatten(0, 1)
        scale = flat.new_tensor([shape[1] / self._grid[1], shape[0] / self._grid[0]])
        pixels = interpolate(way.to(places.device).reshape(1, -1, 2), shape, (flat + 0.5) * scale - 0.5)[0]
        return (pixels / self._cell().to(flat)).view_as(places)

    def _pixels(self, places: Float[Tensor, "n k 2"]) -> Float32[np.ndarray, "m 2"]:
        """Returns places as pixels of the pictures, the centre of the first one being (0, 0)."""
        return ((places.flatten(0, 1).cpu().float() + 0.5) * self._cell() - 0.5).numpy()

    def _cells(self, pixels: Float32[np.ndarray, "m 2"]) -> Float[Tensor, "m 2"]:
        """Returns distances in pixels of the pictures as distances in cells."""
        return torch.from_numpy(pixels) / self._cell()

    def _cell(self) -> Float[Tensor, "2"]:
        """Returns the width and height of a cell in pixels of the pictures."""
        return torch.tensor([self._size[1] / self._grid[1], self._size[0] / self._grid[0]])


def _lucas_kanade(
    here: Grey, there: Grey, places: Float32[np.ndarray, "n 2"], guesses: Float32[np.ndarray, "n 2"]
) -> Float32[np.ndarray, "n 2"]:
    """Returns where places of one picture are in another near guesses; NaN where there is nothing to tell it by."""
    found, known, _ = cv2.calcOpticalFlowPyrLK(
        here,
        there,
        np.array(places, np.float32).reshape(-1, 1, 2),
        np.array(guesses, np.float32).reshape(-1, 1, 2),
        winSize=(PATCH, PATCH),
        maxLevel=LEVELS,
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.where(known > 0, found[:, 0], np.float32(np.nan))


def _name(place: int) -> str:
    return f"flow_{place}"
