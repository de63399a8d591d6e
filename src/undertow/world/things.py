"""Things: a shape covered with materials, placed by a pose that may change with time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy.random import Generator

from undertow.world.materials import TILE, Material
from undertow.world.shapes import Shape


@dataclass(frozen=True)
class Pose:
    """Where a thing is at one time, and how much of it can be seen.

    Centre (x, y) in pixels, radius in pixels, angle in radians, phase of its sway, and opacity, 1 being opaque.
    """

    x: float
    y: float
    radius: float
    angle: float
    phase: float = 0.0
    opacity: float = 1.0


@dataclass(frozen=True)
class Wave:
    """A swing that is 0 at time 0: `size` * (sin(rate * time + phase) - sin(phase)).

    `size` is in (x, y) pixels, log-radius and radians, `rate` in radians per frame. With a phase of a quarter turn the
    thing goes away by twice `size` and comes back.
    """

    size: tuple[float, float, float, float]
    rate: float
    phase: float = 0.0

    def at(self, time: float) -> tuple[float, ...]:
        """Returns the displacement at `time`, in frames."""
        swing = float(np.sin(self.rate * time + self.phase) - np.sin(self.phase))
        return tuple(each * swing for each in self.size)


@dataclass(frozen=True)
class Path:
    """How a pose changes: from `start` by `velocity` per unit of time, plus a sway of sines, plus any `waves`.

    `velocity` is (x, y) pixels, log-radius, radians and sway phase per frame; `sway` is the amplitude of a sine in
    (x, y) pixels, log-radius and radians, with `rate` radians per frame. During `fading`, from one time to the other,
    a thing becomes transparent until nothing is left.
    """

    start: Pose
    velocity: tuple[float, float, float, float, float] = (0, 0, 0, 0, 0)
    sway: tuple[float, float, float, float] = (0, 0, 0, 0)
    rate: float = 0.2
    waves: tuple[Wave, ...] = ()
    fading: tuple[float, float] | None = None

    def at(self, time: float) -> Pose:
        """Returns the pose at `time`, in frames; it equals `start` at 0."""
        wave = float(np.sin(self.rate * time))
        move = [v * time + a * wave for v, a in zip(self.velocity[:4], self.sway, strict=True)]
        for each in self.waves:
            move = [a + b for a, b in zip(move, each.at(time), strict=True)]
        return Pose(
            self.start.x + move[0],
            self.start.y + move[1],
            self.start.radius * float(np.exp(move[2])),
            self.start.angle + move[3],
            self.start.phase + self.velocity[4] * time,
            self.start.opacity * self._left(time),
        )

    def _left(self, time: float) -> float:
        if self.fading is None:
            return 1.0
        begin, end = self.fading
        return min(1.0, max(0.0, (end - time) / (end - begin)))


@dataclass(frozen=True)
class Thing:
    """An opaque layer of the scene.

    `materials` are blended by the sign of smooth `parts` (one wave vector and offset per boundary), so that an object
    has regions of different looks; `bend` is the amplitude of its deformation in object units; `texels` is the number
    of texture texels per object unit; `light` is (ambient, x, y) shading in object coordinates.
    """

    shape: Shape
    materials: tuple[Material, ...]
    parts: tuple[tuple[float, float, float], ...]
    path: Path
    bend: float
    texels: float
    light: tuple[float, float, float]
    offset: tuple[float, float]

    def draw(
        self, canvas: Float[np.ndarray, "h w 3"], pose: Pose, shadow: tuple[float, float, float] | None = None
    ) -> tuple[tuple[slice, slice], Float[np.ndarray, "y x"]] | None:
        """Paints the thing onto `canvas` in place.

        Args:
            canvas: RGB in [0, 1].
            pose: Where to paint it.
            shadow: (x offset, y offset, darkness) of the shadow it casts first, offsets in pixels.

        Returns:
            The window of the canvas that was touched and the coverage in [0, 1] there, or None if out of view.
        """
        if shadow is not None:
            self._cast(canvas, pose, shadow)
        covered = self.cover(canvas.shape[:2], pose)
        if covered is None:
            return None
        window, coverage, u, v = covered
        rows, columns = np.nonzero(coverage)
        u, v, alpha = u[rows, columns], v[rows, columns], coverage[rows, columns][:, None]
        scale = self.texels
        colour = self.materials[0].sample(u * scale + self.offset[0], v * scale + self.offset[1])
        for material, (a, b, c) in zip(self.materials[1:], self.parts, strict=True):
            edge = np.clip((np.sin(a * u + b * v + c)) * pose.radius * 0.5 + 0.5, 0, 1)[:, None]
            if edge.any():
                other = material.sample(u * scale + self.offset[1], v * scale + self.offset[0])
                colour = colour * (1 - edge) + other * edge
        ambient, lx, ly = self.light
        shaded = colour * np.clip(ambient + lx * u + ly * v, 0.25, 1.7)[:, None]
        patch = canvas[window]
        patch[rows, columns] = patch[rows, columns] * (1 - alpha) + shaded * alpha
        return window, coverage

    def cover(
        self, size: tuple[int, ...], pose: Pose
    ) -> (
        tuple[tuple[slice, slice], Float[np.ndarray, "y x"], Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]] | None
    ):
        """Returns where the thing covers a picture of (height, width) `size`, without painting it.

        Returns:
            A window of the picture, and in it the coverage in [0, 1] and the object coordinates (u, v) of the pixel
            centres; None if the thing covers nothing.
        """
        placed = self._window(size, pose.x, pose.y, pose.radius)
        if placed is None:
            return None
        window, px, py = placed
        u, v = self._object_coordinates(px, py, pose)
        coverage = np.clip(self.shape.distance(u, v) * pose.radius + 0.5, 0, 1) * pose.opacity
        return (window, coverage, u, v) if coverage.any() else None

    def area(self, pose: Pose) -> int:
        """Returns how many pixels the whole thing covers at `pose`, were the picture large enough for all of it."""
        side = 2 * int(2 * pose.radius) + 4
        # Shifting by whole pixels keeps the pixel grid, and with it the count, as in the picture.
        x, y = side // 2 + pose.x % 1, side // 2 + pose.y % 1
        covered = self.cover((side, side), Pose(x, y, pose.radius, pose.angle, pose.phase))
        return 0 if covered is None else int((covered[1] >= 0.5).sum())

    def to_object(self, points: Float[np.ndarray, "... 2"], pose: Pose) -> Float[np.ndarray, "... 2"]:
        """Returns the object coordinates (u, v) of picture places (x, y), for a thing drawn at `pose`."""
        px, py = points[..., 0] - pose.x, points[..., 1] - pose.y
        cos, sin = np.cos(pose.angle) / pose.radius, np.sin(pose.angle) / pose.radius
        v = cos * py - sin * px
        return np.stack([cos * px + sin * py + self.bend * np.sin(2.2 * v + pose.phase), v], axis=-1)

    def to_picture(self, coordinates: Float[np.ndarray, "... 2"], pose: Pose) -> Float[np.ndarray, "... 2"]:
        """Returns the picture places (x, y) of object coordinates (u, v): the inverse of `to_object`.

        The bend shifts u by an amount that depends on v alone, so it can be taken back exactly.
        """
        v = coordinates[..., 1]
        u = coordinates[..., 0] - self.bend * np.sin(2.2 * v + pose.phase)
        cos, sin = np.cos(pose.angle) * pose.radius, np.sin(pose.angle) * pose.radius
        return np.stack([pose.x + cos * u - sin * v, pose.y + sin * u + cos * v], axis=-1)

    def shares(self, count: int = 48) -> Float[np.ndarray, "materials"]:
        """Returns the share of the surface that each material covers, adding up to 1, by `count` x `count` samples."""
        v, u = np.meshgrid(*(np.linspace(-1.6, 1.6, count, dtype=np.float32),) * 2, indexing="ij")
        inside = self.shape.distance(u, v) >= 0
        owner = np.zeros(u.shape, dtype=np.int64)
        for index, (a, b, c) in enumerate(self.parts, start=1):
            owner[np.sin(a * u + b * v + c) >= 0] = index
        counted = np.bincount(owner[inside], minlength=len(self.materials))
        return counted / max(1, counted.sum())

    def _cast(self, canvas: Float[np.ndarray, "h w 3"], pose: Pose, shadow: tuple[float, float, float]) -> None:
        """Darkens the canvas where the thing's soft shadow falls."""
        dx, dy, darkness = shadow
        moved = Pose(pose.x + dx, pose.y + dy, pose.radius, pose.angle, pose.phase)
        placed = self._window(canvas.shape[:2], moved.x, moved.y, moved.radius * 1.15)
        if placed is None:
            return
        window, px, py = placed
        u, v = self._object_coordinates(px, py, moved)
        softness = 0.12
        cover = np.clip(self.shape.distance(u, v) / (2 * softness) + 0.5, 0, 1)
        canvas[window] *= 1 - darkness * pose.opacity * cover[..., None]

    @staticmethod
    def _window(
        size: tuple[int, ...], x: float, y: float, radius: float
    ) -> tuple[tuple[slice, slice], Float[np.ndarray, "1 x"], Float[np.ndarray, "y 1"]] | None:
        """Returns the window of pixels that may be touched and the pixel centres in it, relative to (x, y)."""
        reach = radius * 1.9
        y0, y1 = max(0, int(y - reach)), min(size[0], int(y + reach) + 2)
        x0, x1 = max(0, int(x - reach)), min(size[1], int(x + reach) + 2)
        if y0 >= y1 or x0 >= x1:
            return None
        px = np.arange(x0, x1, dtype=np.float32)[None, :] + np.float32(0.5 - x)
        py = np.arange(y0, y1, dtype=np.float32)[:, None] + np.float32(0.5 - y)
        return (slice(y0, y1), slice(x0, x1)), px, py

    def _object_coordinates(
        self, px: Float[np.ndarray, "1 x"], py: Float[np.ndarray, "y 1"], pose: Pose
    ) -> tuple[Float[np.ndarray, "y x"], Float[np.ndarray, "y x"]]:
        """Returns object coordinates (u, v) of pixel offsets from the centre: unturn, unscale, unbend."""
        cos, sin = np.float32(np.cos(pose.angle) / pose.radius), np.float32(np.sin(pose.angle) / pose.radius)
        u = cos * px + sin * py
        v = cos * py - sin * px
        if self.bend:
            u = u + np.float32(self.bend) * np.sin(np.float32(2.2) * v + np.float32(pose.phase))
        return u, v


def random_thing(
    random: Generator, shape: Shape, materials: tuple[Material, ...], path: Path, bend: float = 0.0
) -> Thing:
    """Returns a thing with random part boundaries, texture placement and light."""
    parts = tuple(
        (float(random.normal(0, 2.2)), float(random.normal(0, 2.2)), float(random.uniform(0, 6.28)))
        for _ in materials[1:]
    )
    # About 0.5 to 2 texels per pixel, so that textures neither blur away nor alias.
    texels = float(np.clip(path.start.radius * random.uniform(0.5, 1.6), 4, 1.5 * TILE))
    light = (float(random.normal(1.0, 0.1)), float(random.normal(0, 0.15)), float(random.normal(-0.08, 0.15)))
    offset = (float(random.uniform(0, TILE)), float(random.uniform(0, TILE)))
    return Thing(shape, materials, parts, path, bend, texels, light, offset)
