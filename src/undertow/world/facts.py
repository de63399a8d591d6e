"""Facts about the objects of a scene, measured on its truth: looks, places, overlaps, motion, coming and going."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from undertow.world.captions import TEXTURES
from undertow.world.colours import name_of
from undertow.world.scene import Scene
from undertow.world.things import Thing


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
        frames: Length of the clip that motion is told of.
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
