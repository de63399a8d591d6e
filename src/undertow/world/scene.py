"""Scenes: a background of dead leaves, things in front of it, a camera, and the exact truth about every pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float, UInt8, UInt16
from numpy.random import Generator

from undertow.world.camera import Exposure, Sensor, random_sensor, view
from undertow.world.captions import describe
from undertow.world.materials import (
    Material,
    natural_colours,
    photographic_material,
    procedural_material,
    public_domain_photographs,
    random_palette,
)
from undertow.world.shapes import Shape, random_shape
from undertow.world.staging import Staging, stage
from undertow.world.things import Path, Pose, Thing, random_thing


@dataclass(frozen=True)
class WorldSettings:
    """What scenes are made of.

    Args:
        height: Picture height in pixels.
        width: Picture width in pixels.
        leaves: Number of leaves in the background.
        objects: Smallest and largest number of objects.
        photographs: Share of materials cut from public-domain photographs (needs the `train` extra above 0).
        copies: Share of scenes in which one object appears two to six times.
        shared_palette: Share of scenes whose objects take their colours from the background.
        motion: Scale of object and camera motion; 1 is a few pixels per frame at 256 pixels.
        radius: Smallest and largest object radius as a share of the shorter side.
        staging: Events that are added on purpose, such as look-alikes and occluders; none by default.
    """

    height: int = 160
    width: int = 160
    leaves: int = 60
    objects: tuple[int, int] = (1, 4)
    photographs: float = 0.0
    copies: float = 0.4
    shared_palette: float = 0.5
    motion: float = 1.0
    radius: tuple[float, float] = (0.12, 0.34)
    staging: Staging = field(default_factory=Staging)


@dataclass(frozen=True)
class Picture:
    """One rendered frame and, exactly, what each pixel shows.

    Attributes:
        image: The photograph, RGB.
        labels: Number of the object that a pixel shows; 0 for the background and for occluders.
        surfaces: Number of the layer that a pixel shows: 0 for the background, then objects, then occluders.
    """

    image: UInt8[np.ndarray, "h w 3"]
    labels: UInt16[np.ndarray, "h w"]
    surfaces: UInt16[np.ndarray, "h w"]


@dataclass(frozen=True)
class Scene:
    """A scene that can be photographed at any time.

    Object `i` of `things` has label `i + 1`. Later objects are in front of earlier ones, and `occluders` in front of
    all; an occluder is nobody's object, so its label is 0, but it is a surface of its own.
    """

    size: tuple[int, int]
    background: Float[np.ndarray, "H W 3"]
    things: tuple[Thing, ...]
    camera: Path
    sensor: Sensor
    shadow: tuple[float, float, float]
    caption: str
    seed: int
    flicker: float = 0.0
    occluders: tuple[Thing, ...] = ()
    exposure: Exposure | None = None

    @property
    def layers(self) -> tuple[Thing, ...]:
        """Objects and occluders from back to front; layer `i` has surface number `i + 1`."""
        return self.things + self.occluders

    def placed(self, time: float) -> list[Pose]:
        """Returns the pose of each layer in picture pixels at `time`, in frames."""
        pose = self.camera.at(time)
        # Layers are placed in picture coordinates of time 0 and follow the camera's shift.
        dx = (self.camera.start.x - pose.x) * pose.radius
        dy = (self.camera.start.y - pose.y) * pose.radius
        poses = (layer.path.at(time) for layer in self.layers)
        return [replace(own, x=own.x + dx, y=own.y + dy) for own in poses]

    def picture(self, time: float = 0.0) -> Picture:
        """Returns the photograph and its truth at `time`, in frames."""
        pose = self.camera.at(time)
        canvas = view(self.background, pose.x, pose.y, pose.radius, pose.angle, self.size)
        surfaces = np.zeros(self.size, dtype=np.uint16)
        for index, (layer, own) in enumerate(zip(self.layers, self.placed(time), strict=True), start=1):
            scale = own.radius / min(self.size)
            offset = (self.shadow[0] * scale, self.shadow[1] * scale, self.shadow[2])
            touched = layer.draw(canvas, own, offset if self.shadow[2] else None)
            if touched is not None:
                window, coverage = touched
                surfaces[window][coverage >= 0.5] = index
        if self.exposure is not None:
            canvas = canvas * self.exposure.at(time)
        random = np.random.default_rng((self.seed, round(time * 1000), 7))
        flicker = float(np.exp(self.flicker * np.sin(0.13 * time)))
        return Picture(self.sensor.develop(canvas, random, flicker), self._labels(surfaces), surfaces)

    def surfaces(self, time: float = 0.0) -> UInt16[np.ndarray, "h w"]:
        """Returns `Picture.surfaces` at `time` without painting anything, several times faster than `picture`."""
        surfaces = np.zeros(self.size, dtype=np.uint16)
        for index, (layer, own) in enumerate(zip(self.layers, self.placed(time), strict=True), start=1):
            covered = layer.cover(self.size, own)
            if covered is not None:
                surfaces[covered[0]][covered[1] >= 0.5] = index
        return surfaces

    def labels(self, time: float = 0.0) -> UInt16[np.ndarray, "h w"]:
        """Returns `Picture.labels` at `time` without painting anything."""
        return self._labels(self.surfaces(time))

    def alpha(self, time: float = 0.0) -> Float[np.ndarray, "n h w"]:
        """Returns how much of each pixel shows each object at `time`, in [0, 1]; nothing is painted."""
        rest, found = np.ones(self.size), []
        for layer, own in reversed(list(zip(self.layers, self.placed(time), strict=True))):
            cover = np.zeros(self.size)
            if (covered := layer.cover(self.size, own)) is not None:
                cover[covered[0]] = covered[1]
            found.append(cover * rest)
            rest = rest * (1 - cover)
        return np.array(found[::-1][: len(self.things)]).reshape(-1, *self.size)

    def _labels(self, surfaces: UInt16[np.ndarray, "h w"]) -> UInt16[np.ndarray, "h w"]:
        """Returns which object each pixel shows, given which layer it shows."""
        return np.where(surfaces <= len(self.things), surfaces, 0).astype(np.uint16) if self.occluders else surfaces

    def clip(self, frames: int) -> Iterator[Picture]:
        """Yields the pictures at times 0, 1, ... frames - 1."""
        for time in range(frames):
            yield self.picture(float(time))


def make_scene(seed: int, settings: WorldSettings | None = None) -> Scene:
    """Returns the scene of `seed`; the same seed and settings give the same scene on every machine."""
    settings = settings or WorldSettings()
    random = np.random.default_rng(seed)
    short = min(settings.height, settings.width)
    palette = random_palette(random)
    object_palette = palette if random.random() < settings.shared_palette else random_palette(random)

    def material(colours: Float[np.ndarray, "n 3"]) -> Material:
        if settings.photographs and random.random() < settings.photographs:
            return photographic_material(random, colours, public_domain_photographs())
        return procedural_material(random, colours)

    ground = [material(palette) for _ in range(7)]
    background = dead_leaves(random, settings, ground)

    count = int(random.integers(settings.objects[0], settings.objects[1] + 1))
    repeated = random.random() < settings.copies
    if repeated:
        count = max(2, int(random.integers(2, 7)))
    things: list[Thing] = []
    for index in range(count):
        path = _random_path(random, settings, short)
        if repeated and index and random.random() < 0.85:
            # A copy: same shape, materials and texture placement; its own pose, sway and light.
            first = things[0]
            ratio = float(np.exp(random.normal(0, 0.3)))
            path = replace(path, start=replace(path.start, radius=first.path.start.radius * ratio))
            light = (float(random.normal(1, 0.15)), float(random.normal(0, 0.15)), float(random.normal(0, 0.15)))
            things.append(replace(first, path=path, light=light))
        else:
            materials = tuple(material(object_palette) for _ in range(int(random.integers(2, 5))))
            bend = float(random.uniform(0, 0.25)) if random.random() < 0.5 else 0.0
            things.append(random_thing(random, random_shape(random), materials, path, bend))

    darkness = float(random.uniform(0.2, 0.6)) if random.random() < 0.6 else 0.0
    shadow = (float(random.normal(0, 0.25)) * short, float(random.uniform(0.05, 0.35)) * short, darkness)
    height, width = background.shape[:2]
    drift = random.normal(0, 0.8 * settings.motion * short / 256, 2)
    camera = Path(
        Pose(width / 2, height / 2, 1.0, 0.0),
        (float(drift[0]), float(drift[1]), float(random.normal(0, 0.001 * settings.motion)), 0.0, 0.0),
        (0.0, 0.0, 0.0, float(random.normal(0, 0.02 * settings.motion))),
    )
    flicker = float(random.uniform(0, 0.1)) * (random.random() < 0.3)
    size = (settings.height, settings.width)
    caption = describe(random, things, size)
    sensor = random_sensor(random)
    scene = Scene(size, background, tuple(things), camera, sensor, shadow, caption, seed, flicker)
    if settings.staging == Staging():
        return scene
    # Events draw from a generator of their own: whether they happen must not change what else a seed means.
    events = np.random.default_rng((seed, 11))
    staged = stage(events, settings.staging, scene.things, camera, size, ground)
    return replace(
        scene,
        things=staged.things,
        occluders=staged.occluders,
        camera=staged.camera,
        exposure=staged.exposure,
        caption=describe(events, staged.seen, size),
    )


def dead_leaves(
    random: Generator, settings: WorldSettings, materials: Sequence[Material]
) -> Float[np.ndarray, "H W 3"]:
    """Returns a canvas half as large again as the picture, covered by overlapping leaves of power-law sizes.

    The density of radii falls as radius ** -3, which makes the picture scale-invariant (Lee, Mumford and Huang, 2001).
    Large leaves are painted first so that small ones stay visible, as nearer small things do.
    """
    height, width = int(settings.height * 1.5), int(settings.width * 1.5)
    canvas = np.empty((height, width, 3), dtype=np.float32)
    whole = Path(Pose(width / 2, height / 2, 0.8 * max(height, width), float(random.uniform(0, 6.28))))
    square = Shape("square", np.zeros(7, np.float32), np.zeros(7, np.float32), 4, 1.0, 0.0)
    canvas[:] = natural_colours(random, 1)[0]
    ground = random_thing(random, square, (materials[0],), whole)
    ground.draw(canvas, whole.start)
    short = min(height, width)
    low, high = 0.025, 0.3
    radii = (low**-2 + random.random(settings.leaves) * (high**-2 - low**-2)) ** -0.5 * short
    for radius in np.sort(radii)[::-1]:
        x, y, angle = random.uniform(0, (width, height, 6.28))
        pose = Pose(float(x), float(y), float(radius), float(angle))
        # The shape is drawn before the material: the order of draws is part of what a seed means.
        shape, material = random_shape(random), materials[int(random.integers(len(materials)))]
        leaf = random_thing(random, shape, (material,), Path(pose))
        shadow = (0.1 * radius, 0.15 * radius, 0.3) if radius > 0.08 * short and random.random() < 0.5 else None
        leaf.draw(canvas, pose, shadow)
    return canvas


def _random_path(random: Generator, settings: WorldSettings, short: int) -> Path:
    """Returns a random pose with random motion, slow for large things."""
    radius = float(random.uniform(*settings.radius)) * short
    x = float(random.uniform(0.12, 0.88)) * settings.width
    y = float(random.uniform(0.12, 0.88)) * settings.height
    pace = settings.motion * short / 256
    vx, vy = random.normal(0, 1.6 * pace, 2)
    return Path(
        Pose(x, y, radius, float(random.uniform(0, 6.28)), float(random.uniform(0, 6.28))),
        (
            float(vx),
            float(vy),
            float(random.normal(0, 0.006 * settings.motion)),
            float(random.normal(0, 0.02 * settings.motion)),
            float(random.normal(0, 0.08 * settings.motion)),
        ),
        (float(random.normal(0, 6 * pace)), float(random.normal(0, 6 * pace)), 0.0, float(random.normal(0, 0.15))),
        float(random.uniform(0.1, 0.4)),
    )
