"""`photo-pairs`: two views of each held-out photograph, and where random points of the first are in the second.

Pictures are real, the truth is exact, and no model has learnt from these photographs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from jaxtyping import Bool, Float64, UInt8

from undertow.world.photographs import Photograph, read_photograph
from undertow.world.suites import FIRST_VALIDATION_SEED
from undertow.world.view_pairs import PairSettings, make_pair

# Raised whenever pairs or points change.
VERSION = 1
POINTS = 96
# Shorter side at which photographs are read, in pixels.
READ_AT = 384
VIEWS = PairSettings(size=256, window=(0.6, 0.95))


@dataclass(frozen=True)
class PhotoPair:
    """A video of two frames with points.

    Attributes:
        name: Of the photograph's file, without its ending.
        frames: The two views, RGB.
        tracks: Where each point is in either view, (x, y) in pixels; not to be read where it is hidden.
        visible: Where it is seen; in the first view always.
    """

    name: str
    frames: UInt8[np.ndarray, "2 h w 3"]
    tracks: Float64[np.ndarray, "q 2 2"]
    visible: Bool[np.ndarray, "q 2"]


def photo_pairs(photographs: Sequence[Photograph], settings: PairSettings = VIEWS) -> Iterator[PhotoPair]:
    """Yields one pair for each held-out photograph among these, in their order; the same on every machine.

    Pieces in front are cut from the two held-out photographs that come next.

    Raises:
        SettingsError: if a file is not a picture.
    """
    kept = [photograph for photograph in photographs if photograph.held_out]
    read = [read_photograph(each.path, READ_AT) for each in kept[:3]]
    for number, photograph in enumerate(kept):
        name = photograph.path.stem
        seed = int(sha256(name.encode()).hexdigest()[:8], 16)
        random = np.random.default_rng((FIRST_VALIDATION_SEED, VERSION, seed))
        views = make_pair(random, read[0], read[1:], settings)
        points = random.uniform(0, settings.size, (POINTS, 2))
        there, seen = views.correspond(points)
        tracks, visible = np.stack([points, there], axis=1), np.stack([np.ones_like(seen), seen], axis=1)
        yield PhotoPair(name, views.images, tracks, visible)
        read = [*read[1:], read_photograph(kept[(number + 3) % len(kept)].path, READ_AT)]
