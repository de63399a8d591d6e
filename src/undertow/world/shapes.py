"""Shapes: closed contours in polar form, soft at the edge, with a name a caption can use."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

KINDS = ("disc", "square", "triangle", "star", "blob", "flower", "bar", "ring")


@dataclass(frozen=True)
class Shape:
    """A contour of radius about 1 around the origin of object coordinates.

    `cosines` and `sines` are Fourier coefficients of the radius; `corners` > 0 makes it a regular polygon first;
    `squeeze` narrows it along v; `hole` is the radius of a hole, 0 for none.
    """

    kind: str
    cosines: Float[np.ndarray, "order"]
    sines: Float[np.ndarray, "order"]
    corners: int
    squeeze: float
    hole: float

    def distance(self, u: Float[np.ndarray, "..."], v: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns about the distance to the contour in object units, positive inside."""
        v = v / self.squeeze
        radius = np.hypot(u, v)
        angle = np.arctan2(v, u)
        reach = np.ones_like(radius)
        if self.corners:
            sector = 2 * np.pi / self.corners
            within = np.mod(angle, sector) - sector / 2
            reach = np.cos(sector / 2) * 1.1 / np.cos(within)
        for order, (a, b) in enumerate(zip(self.cosines, self.sines, strict=True), start=1):
            if a or b:
                reach = reach + a * np.cos(order * angle) + b * np.sin(order * angle)
        inside = reach - radius
        if self.hole:
            inside = np.minimum(inside, radius - self.hole)
        return np.asarray(inside * min(1.0, self.squeeze), dtype=np.float32)


def random_shape(random: Generator, kind: str | None = None) -> Shape:
    """Returns a shape of the given or a random kind."""
    kind = kind or str(random.choice(KINDS, p=(0.1, 0.1, 0.1, 0.08, 0.4, 0.07, 0.1, 0.05)))
    order = 7
    cosines, sines = np.zeros(order, np.float32), np.zeros(order, np.float32)
    corners, squeeze, hole = 0, float(random.uniform(0.75, 1.0)), 0.0
    if kind == "square":
        corners = 4
    elif kind == "triangle":
        corners = 3
    elif kind == "star":
        cosines[4] = random.uniform(0.25, 0.4)
    elif kind == "flower":
        cosines[int(random.integers(3, 7))] = random.uniform(0.12, 0.25)
    elif kind == "bar":
        corners, squeeze = 4, float(random.uniform(0.25, 0.45))
    elif kind == "ring":
        hole = float(random.uniform(0.35, 0.6))
    elif kind == "blob":
        # Amplitudes fall with the order, as outlines of real things do.
        scale = random.uniform(0.15, 0.45) / np.arange(1, order + 1) ** 1.2
        cosines = (random.normal(0, 1, order) * scale).astype(np.float32)
        sines = (random.normal(0, 1, order) * scale).astype(np.float32)
        squeeze = float(random.uniform(0.45, 1.0))
    if kind != "blob":
        cosines[:3] += random.normal(0, 0.02, 3).astype(np.float32)
    return Shape(kind, cosines, sines, corners, squeeze, hole)
