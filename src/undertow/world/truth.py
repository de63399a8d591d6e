"""Truth beyond the picture: dense point tracks, classes, what can be seen, and facts about every layer of a scene.

All of it is read from the geometry that draws the pictures, run backwards; nothing is estimated.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, UInt16

from undertow.world import shapes
from undertow.world.camera import from_canvas, to_canvas
from undertow.world.captions import TEXTURES
from undertow.world.materials import name_of
from undertow.world.scene import Picture, Scene
from undertow.world.things import Thing

# A semantic class is what a thing is by shape; its number is the place in this list, and 0 is a class like any other.
CLASSES = ("ground", *shapes.KINDS)


def point_tracks(
    scene: Scene, points: Float[np.ndarray, "q 2"], times: Sequence[float], start: float = 0.0
) -> tuple[Float[np.ndarray, "q t 2"], Bool[np.ndarray, "q t"]]:
    """Returns where points of one picture are at other times, and whether they can be seen there.

    A point sticks to the surface that the pixel around it shows at `start`: an object, an occluder or the background.

    Args:
        scene: The scene.
        points: Places (x, y) in pixels of the picture at `start`; the centre of the top-left pixel is (0.5, 0.5).
        times: Times to follow the points to, in frames, in any order.
        start: Time of the picture that `points` lie in.

    Returns:
        Places (x, y) in pixels, float32, which may lie outside the picture; and whether each is visible: inside the
        picture, in a pixel that shows the same surface, and not beyond the painted background.

    Raises:
        ValueError: if a point is not inside the picture.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    height, width = scene.size
    if not ((points >= 0) & (points < (width, height))).all():
        raise ValueError(f"points must lie inside the picture of {width} x {height} pixels")
    column, row = points.astype(np.int64).T
    surface = scene.surfaces(start)[row, column].astype(np.int64)
    fixed = _fixed_places(scene, points, surface, start)
    on_canvas = (surface > 0) | _painted(scene, fixed)
    tracks = np.empty((len(points), len(times), 2), dtype=np.float32)
    visible = np.empty((len(points), len(times)), dtype=np.bool_)
    for index, time in enumerate(times):
        places = _picture_places(scene, fixed, surface, time)
        tracks[:, index] = places
        visible[:, index] = on_canvas & _shows(scene.surfaces(time), places, surface)
    return tracks, visible


def semantic_map(scene: Scene, picture: Picture) -> UInt16[np.ndarray, "h w"]:
    """Returns the class of each pixel of a picture of the scene, as an index into `CLASSES`.

    Every pixel has a class. An occluder, which is nobody's object, has the class of its shape like any thing.
    """
    numbers = [0, *(CLASSES.index(layer.shape.kind) for layer in scene.layers)]
    return np.asarray(numbers, dtype=np.uint16)[picture.surfaces]


def visibility(
    scene: Scene, times: Sequence[float]
) -> tuple[Int[np.ndarray, "n t"], Float[np.ndarray, "n t"], Int[np.ndarray, "n t"]]:
    """Returns how much of each object is seen, object `i` having label `i + 1`.

    Args:
        scene: The scene.
        times: Times in frames.

    Returns:
        Visible pixels of each object at each time; the share of its full outline that they are, the full outline
        counting what is hidden and what is outside of the picture; and the pixels of the outline inside the picture,
        hidden ones included.
    """
    count = len(scene.things)
    seen, inside = (np.zeros((count, len(times)), dtype=np.int64) for _ in range(2))
    share = np.zeros((count, len(times)))
    for index, time in enumerate(times):
        seen[:, index] = np.bincount(scene.labels(time).ravel(), minlength=count + 1)[1:]
        for number, (thing, pose) in enumerate(zip(scene.things, scene.placed(time), strict=False)):
            covered = thing.cover(scene.size, pose)
            inside[number, index] = 0 if covered is None else (covered[1] >= 0.5).sum()
            share[number, index] = seen[number, index] / max(1, thing.area(pose))
    return seen, np.minimum(share, 1.0), inside


def _fixed_places(
    scene: Scene, points: Float[np.ndarray, "q 2"], surface: Int[np.ndarray, "q"], time: float
) -> Float[np.ndarray, "q 2"]:
    """Returns each point in the coordinates of its own surface, which never change: object or canvas coordinates."""
    pose = scene.camera.at(time)
    fixed = to_canvas(points, pose.x, pose.y, pose.radius, pose.angle, scene.size)
    for number, (layer, own) in enumerate(zip(scene.layers, scene.placed(time), strict=True), start=1):
        mine = surface == number
        fixed[mine] = layer.to_object(points[mine], own)
    return fixed


def _picture_places(
    scene: Scene, fixed: Float[np.ndarray, "q 2"], surface: Int[np.ndarray, "q"], time: float
) -> Float[np.ndarray, "q 2"]:
    """Returns the picture places (x, y) at `time` of places fixed on their surfaces."""
    pose = scene.camera.at(time)
    places = from_canvas(fixed, pose.x, pose.y, pose.radius, pose.angle, scene.size)
    for number, (layer, own) in enumerate(zip(scene.layers, scene.placed(time), strict=True), start=1):
        mine = surface == number
        places[mine] = layer.to_picture(fixed[mine], own)
    return places


def _shows(
    surfaces: UInt16[np.ndarray, "h w"], places: Float[np.ndarray, "q 2"], surface: Int[np.ndarray, "q"]
) -> Bool[np.ndarray, "q"]:
    """Tells for each place whether it is inside the picture and its pixel shows the surface."""
    column, row = np.floor(places).astype(np.int64).T
    height, width = surfaces.shape
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    return inside & (surfaces[row.clip(0, height - 1), column.clip(0, width - 1)] == surface)


def _painted(scene: Scene, fixed: Float[np.ndarray, "q 2"]) -> Bool[np.ndarray, "q"]:
    """Tells for each canvas place whether the canvas is painted there; `view` repeats its border beyond."""
    height, width = scene.background.shape[:2]
    return np.all((fixed >= 0.5) & (fixed <= (width - 0.5, height - 0.5)), axis=1)


@dataclass(frozen=True)
class Looks:
    """How a thing looks: its shape, the texture and colour that clearly prevail, and those of all its larger parts."""

    kind: str
    texture: str | None
    colour: str | None
    textures: frozenset[str]
    colours: frozenset[str]


@dataclass(frozen=True)
class Facts:
    """What is true of one layer over a clip of t frames; times are frames 0 to t - 1.

    Attributes:
        label: Its object number, 0 for an occluder.
        looks: How it looks.
        seen: Visible pixels at each frame.
        inside: Pixels of its outline inside the picture at each frame, hidden ones included.
        centre: Centre (x, y) of its visible pixels at frame 0, or of its pose where it is not visible, in pixels.
        brightness: Mean luminance of its visible pixels at frame 0, from 0 to 1; not a number if it is not visible.
        places: Its pose's (x, y) at each frame, in pixels.
        radius: Its radius at each frame, in pixels.
        angle: Its angle at each frame, in radians.
        over: By index of another layer in the list of facts, how many of its pixels this one hides at frame 0.
    """

    label: int
    looks: Looks
    seen: Int[np.ndarray, "t"]
    inside: Int[np.ndarray, "t"]
    centre: tuple[float, float]
    brightness: float
    places: Float[np.ndarray, "t 2"]
    radius: Float[np.ndarray, "t"]
    angle: Float[np.ndarray, "t"]
    over: dict[int, int]


def looks_of(thing: Thing) -> Looks:
    """Returns how a thing looks; a part counts if it covers more than a tenth of the thing."""
    textures, colours = Counter[str](), Counter[str]()
    for material, share in zip(thing.materials, thing.shares(), strict=True):
        textures[TEXTURES[material.kind]] += share
        colours[name_of(material.colour)] += share
    parts = (frozenset(name for name, share in each.items() if share > 0.1) for each in (textures, colours))
    return Looks(thing.shape.kind, _prevailing(textures), _prevailing(colours), *parts)


def _prevailing(shares: Counter[str]) -> str | None:
    """Returns the name with the largest share, None unless it leads by a tenth of the thing."""
    (name, first), (_, second) = (*shares.most_common(2), ("", 0.0))[:2]
    return name if first - second >= 0.1 else None


def scene_facts(scene: Scene, frames: int = 48) -> list[Facts]:
    """Returns the facts of every layer of a scene that is ever seen, objects first, then occluders.

    Args:
        scene: The scene.
        frames: Length of the clip that motion is described in.
    """
    layers = scene.layers
    seen, inside = (np.zeros((len(layers), frames), dtype=np.int64) for _ in range(2))
    poses = [scene.placed(float(time)) for time in range(frames)]
    for time in range(frames):
        surfaces = scene.surfaces(float(time))
        seen[:, time] = np.bincount(surfaces.ravel(), minlength=len(layers) + 1)[1:]
        for number, (layer, pose) in enumerate(zip(layers, poses[time], strict=True)):
            covered = layer.cover(scene.size, pose)
            inside[number, time] = 0 if covered is None else (covered[1] >= 0.5).sum()
    picture = scene.picture(0.0)
    light = picture.image.mean(axis=2) / 255
    facts: list[Facts] = []
    outlines: list[Bool[np.ndarray, "h w"]] = []
    for number, layer in enumerate(layers):
        if not seen[number].any():
            continue
        outline = _outline(scene, number)
        own = [pose[number] for pose in poses]
        rows, columns = np.nonzero(picture.surfaces == number + 1)
        there = rows.size > 0
        facts.append(
            Facts(
                label=number + 1 if number < len(scene.things) else 0,
                looks=looks_of(layer),
                seen=seen[number],
                inside=inside[number],
                centre=(float(columns.mean() + 0.5), float(rows.mean() + 0.5)) if there else (own[0].x, own[0].y),
                brightness=float(light[rows, columns].mean()) if there else float("nan"),
                places=np.array([(pose.x, pose.y) for pose in own]),
                radius=np.array([pose.radius for pose in own]),
                angle=np.array([pose.angle for pose in own]),
                over={index: int((outline & other).sum()) for index, other in enumerate(outlines)},
            )
        )
        outlines.append(outline)
    return facts


def _outline(scene: Scene, number: int) -> Bool[np.ndarray, "h w"]:
    """Returns where a layer is at time 0, whether hidden or not."""
    outline = np.zeros(scene.size, dtype=np.bool_)
    covered = scene.layers[number].cover(scene.size, scene.placed(0.0)[number])
    if covered is not None:
        outline[covered[0]] = covered[1] >= 0.5
    return outline
