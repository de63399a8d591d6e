"""Outlines as varied as those of real things: bodies with limbs, heaps of blobs, shapes, some rough or with holes."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from undertow.world.shapes import Shape, random_shape


@dataclass(frozen=True)
class Part:
    """A shape at (x, y), enlarged by `size` and turned by `angle`, in the coordinates of the figure."""

    shape: Shape
    x: float = 0.0
    y: float = 0.0
    size: float = 1.0
    angle: float = 0.0

    def distance(self, u: Float[np.ndarray, "..."], v: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns about the distance to the outline, positive inside."""
        cos, sin = np.cos(self.angle) / self.size, np.sin(self.angle) / self.size
        u, v = u - self.x, v - self.y
        return self.shape.distance(cos * u + sin * v, cos * v - sin * u) * self.size


@dataclass(frozen=True)
class Limb:
    """A chain of `points` (x, y), as thick around each as `radii` say, and in between as is in between."""

    points: tuple[tuple[float, float], ...]
    radii: tuple[float, ...]

    def distance(self, u: Float[np.ndarray, "..."], v: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns about the distance to the outline, positive inside."""
        found = np.full(u.shape, -np.inf, np.float32)
        ends = zip(self.points, self.points[1:], self.radii, self.radii[1:], strict=False)
        for (x, y), (to_x, to_y), radius, to_radius in ends:
            across, down = to_x - x, to_y - y
            along = np.clip(((u - x) * across + (v - y) * down) / (across**2 + down**2 + 1e-6), 0, 1)
            gap = np.hypot(u - x - along * across, v - y - along * down)
            found = np.maximum(found, radius + along * (to_radius - radius) - gap)
        return found


@dataclass(frozen=True)
class Figure:
    """An outline of radius about 1 around the origin: the union of its solids without its holes.

    Lengths are in these radii, u to the right and v down. `ripples` are
    (amplitude, wave along u, wave along v, phase) of sines that roughen it.
    """

    solids: tuple[Part | Limb, ...]
    holes: tuple[Part, ...] = ()
    ripples: tuple[tuple[float, float, float, float], ...] = ()

    def distance(self, u: Float[np.ndarray, "..."], v: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Returns about the distance to the outline, positive inside."""
        inside = np.max([solid.distance(u, v) for solid in self.solids], axis=0)
        for amplitude, across, down, phase in self.ripples:
            inside = inside + amplitude * np.sin(across * u + down * v + phase)
        for hole in self.holes:
            inside = np.minimum(inside, -hole.distance(u, v))
        return np.asarray(inside, np.float32)


def random_figure(random: Generator) -> Figure:
    """Returns a figure: about half have limbs, a third are rough, a tenth have a hole."""
    chance = random.random()
    if chance < 0.45:
        solids = _creature(random)
    elif chance < 0.7:
        solids = _heap(random)
    else:
        solids = (Part(random_shape(random), angle=float(random.uniform(0, 6.28))),)
    holes, ripples = [], []
    if random.random() < 0.1:
        x, y = random.normal(0, 0.3, 2)
        holes.append(Part(random_shape(random, "blob"), float(x), float(y), float(random.uniform(0.12, 0.3))))
    if random.random() < 0.35:
        for _ in range(4):
            wave = random.uniform(4, 22)
            angle, phase = random.uniform(0, 6.28, 2)
            size = random.uniform(0.1, 0.35) / wave
            ripples.append((float(size), float(wave * np.cos(angle)), float(wave * np.sin(angle)), float(phase)))
    return Figure(solids, tuple(holes), tuple(ripples))


def _creature(random: Generator) -> tuple[Part | Limb, ...]:
    """Returns a long body, lying or standing, with limbs of two joints, and most often a head and a tail."""
    length, width = float(random.uniform(0.4, 0.7)), float(random.uniform(0.16, 0.34))
    standing = random.random() < 0.4
    lean = float(random.normal(np.pi / 2 if standing else 0, 0.2))
    along, side = np.array([np.cos(lean), np.sin(lean)]), np.array([-np.sin(lean), np.cos(lean)])
    middle = along * random.uniform(-0.1, 0.1) + side * random.normal(0, 0.06)
    chain = [-length * along, middle, length * along]
    thick = width * random.uniform(0.7, 1.2, 3)
    solids: list[Part | Limb] = [_limb(chain, thick)]
    if random.random() < 0.8:
        neck = chain[0] - (along * random.uniform(0.1, 0.35) + side * random.normal(0, 0.15))
        solids.append(_limb([chain[0], neck], [thick[0] * 0.7, random.uniform(0.08, 0.16)]))
        shape, size = random_shape(random, "blob"), float(random.uniform(0.13, 0.24))
        solids.append(Part(shape, float(neck[0]), float(neck[1]), size, lean))
    for _ in range(int(random.integers(1, 6))):
        root = chain[0] + (chain[2] - chain[0]) * random.choice([random.uniform(0, 0.25), random.uniform(0.75, 1)])
        way = (along if standing else side) + random.normal(0, 0.45, 2)
        way *= random.choice([1, 1, 1, -1]) * random.uniform(0.25, 0.5) / np.hypot(*way)
        knee = root + way
        foot = knee + way * random.uniform(0.5, 1.2) + random.normal(0, 0.12, 2)
        girth = random.uniform(0.04, 0.13)
        solids.append(_limb([root, knee, foot], girth * random.uniform(0.6, 1.3, 3)))
    if random.random() < 0.4:
        tail = [chain[2]]
        for _ in range(3):
            tail.append(tail[-1] + along * random.uniform(0.05, 0.25) + side * random.normal(0, 0.15))
        solids.append(_limb(tail, random.uniform(0.02, 0.09) * np.linspace(1.5, 0.5, 4)))
    return tuple(solids)


def _heap(random: Generator) -> tuple[Part, ...]:
    """Returns two to five blobs that overlap, as bushes, vehicles and groups of things do."""
    place, parts = np.zeros(2), []
    for _ in range(int(random.integers(2, 6))):
        size, angle = float(random.uniform(0.25, 0.6)), float(random.uniform(0, 6.28))
        kind = "blob" if random.random() < 0.6 else None
        parts.append(Part(random_shape(random, kind), float(place[0]), float(place[1]), size, angle))
        turn = random.uniform(0, 6.28)
        place = np.clip(place + 0.9 * size * np.array([np.cos(turn), np.sin(turn)]), -0.7, 0.7)
    return tuple(parts)


def _limb(points: list[np.ndarray], radii: list[float] | np.ndarray) -> Limb:
    return Limb(tuple((float(x), float(y)) for x, y in points), tuple(float(radius) for radius in radii))
