"""The directions in which hidden states of a finished model are compared: found in pictures, without any label."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from undertow.backbones import load
from undertow.backbones.projection import principal_directions, write_projection
from undertow.observing.observer import Observer
from undertow.tracking import TrackSettings
from undertow.tracking.settings import resolve
from undertow.world.photographs import Photograph, read_photograph

Picture = UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class DirectionSettings:
    """How many directions are kept, and in what they are found.

    Attributes:
        count: Directions; 32 of 128 hold 99.4 % of the squares of what `tiny` sees, and tracking by them is no worse.
        pictures: Pictures that are looked at.
        shorter: Shorter side of a photograph, in pixels.
        tokens: Of a picture.
    """

    count: int = 32
    pictures: int = 60
    shorter: int = 480
    tokens: int = 3600


def write_directions(folder: Path, pictures: Iterable[Picture], settings: DirectionSettings) -> None:
    """Writes the principal directions of what a model sees in some pictures into the model's folder."""
    backbone, states = load(folder, sites="track"), []
    for picture in pictures:
        # As dift compares them, which knows no directions: hidden states as they are.
        resolved = resolve(TrackSettings(preset="dift", tokens=settings.tokens), backbone, *picture.shape[:2])
        (seen,) = Observer(backbone, resolved, "features").see([picture], [0])
        states.append(seen.keys[0])
    write_projection(folder, principal_directions(states, settings.count))


def sample_photographs(photographs: Sequence[Photograph], settings: DirectionSettings, seed: int) -> Iterator[Picture]:
    """Yields photographs that a model may learn from, drawn by a seed."""
    usable = [each for each in photographs if not each.held_out]
    for number in np.random.default_rng(seed).permutation(len(usable))[: settings.pictures]:
        yield read_photograph(usable[number].path, settings.shorter)
