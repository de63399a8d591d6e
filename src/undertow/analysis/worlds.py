"""Clips of held-out worlds with exact tracks, for finding the layer of a model that carries motion."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from undertow.analysis.analyze import MotionClip
from undertow.analysis.clips import MOST_FRAMES, point_grid
from undertow.base import SettingsError
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, make_family_scene, point_tracks, scene_captions

# Seeds between those by which training is validated and those of benchmarks.
FIRST_SEED = FIRST_VALIDATION_SEED + 50_000
# What clips are about, in turn: first what every model should follow, then what is hard.
SORTS = ("plain", "camera", "deformation", "occlusion", "look-alikes", "light", "fast", "camouflage", "mixed")
MOST_CLIPS = 1000


def motion_clips(
    count: int, *, frames: int, every: int = 3, points: int = 20, size: tuple[int, int] = (192, 288)
) -> Iterator[MotionClip]:
    """Yields `count` clips of validation worlds and where a grid of points goes in each, exactly.

    Args:
        count: number of clips; clip i is the same whatever the count.
        frames: of a clip.
        every: time between frames, in the world's frames.
        points: per side of the grid on the first frame.
        size: (height, width) in pixels.

    Raises:
        SettingsError: if a number is out of range.
    """
    for name, value, least, most in (
        ("--worlds", count, 1, MOST_CLIPS), ("--frames", frames, 2, MOST_FRAMES), ("--every", every, 1, 100),
    ):  # fmt: skip
        if not least <= value <= most:
            raise SettingsError(f"{name} is {value}; give {least} to {most}")
    times = [float(every * frame) for frame in range(frames)]
    grid = point_grid(points, *size)
    for number in range(count):
        family = FAMILIES[SORTS[number % len(SORTS)]]
        staging = replace(family.settings.staging, frames=int(times[-1]) + 1)
        settings = replace(family.settings, height=size[0], width=size[1], staging=staging)
        scene = family.build(FIRST_SEED + number, settings)
        images = np.stack([scene.picture(time).image for time in times])
        yield MotionClip(f"{family.name} {number}", images, *point_tracks(scene, grid, times))


def world_prompts(count: int) -> list[str]:
    """Returns captions of so many validation worlds, which is what the embedded models were trained to draw.

    Raises:
        SettingsError: if the number is out of range.
    """
    if not 1 <= count <= MOST_CLIPS:
        raise SettingsError(f"--count is {count}; give 1 to {MOST_CLIPS}")
    found = []
    for number in range(count):
        scene = make_family_scene(SORTS[number % len(SORTS)], FIRST_SEED + number, 144, 144)
        found.append(scene_captions(scene, 1)[0])
    return found
