"""Clips to analyse: frames and points of real clips, and clips that the model itself is asked to generate."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from numpy.lib import format as npy

from undertow.analysis.analyze import MotionClip
from undertow.analysis.flow import flow_tracks
from undertow.backbones import Backbone
from undertow.backbones.sampling.guidance import SamplingSettings, sample, sampling_timesteps
from undertow.base import CueError, Progress, SettingsError
from undertow.points.tracks import Tracks, read_tracks
from undertow.video import Video, write_video
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, make_family_scene, point_tracks, scene_captions

PROMPT_SETS = ("objects", "scenes")
# Points that are followed per side of the first frame: DiffTrack's for clips about an object, and about a scene.
GRIDS = {"objects": 20, "scenes": 10}
MOST_FRAMES = 200


def point_grid(side: int, height: int, width: int) -> Float32[np.ndarray, "q 2"]:
    """Returns side² places (x, y) in pixels, evenly spaced with a margin of a 64th of the width, as DiffTrack asks for.

    Raises:
        SettingsError: if there are none or absurdly many.
    """
    if not 1 <= side <= 200:
        raise SettingsError(f"--points is {side}; give 1 to 200 per side")
    margin = width / 64
    x, y = np.linspace(margin, width - margin, side), np.linspace(margin, height - margin, side)
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


def filmed_clip(path: Path | str, tracks: Path, frames: int, every: int | None = None) -> MotionClip:
    """Returns a real clip with points: `frames` of its frames, and the points visible on the first of them.

    Args:
        path: Video file or folder of frames.
        tracks: An .npz file with `tracks` (q, t, 2) in pixels and `visibility` (q, t) for all frames of the clip.
        frames: How many frames to take, at most.
        every: Take every n-th frame; `None` to spread them over the whole clip.

    Raises:
        VideoError: if the clip cannot be read.
        SettingsError: if the tracks cannot be read or are not those of the clip, or no point is visible at first.
    """
    if not 2 <= frames <= MOST_FRAMES:
        raise SettingsError(f"--frames is {frames}; give 2 to {MOST_FRAMES}")
    if every is not None and every < 1:
        raise SettingsError(f"--every is {every}; give 1 or more")
    with Video(path) as video:
        length = sum(1 for _ in video) if video.frame_count is None else video.frame_count
        if length < 2:
            raise SettingsError(f"'{path}' has {length} frame; motion needs two or more, give a longer clip")
        step = max(1, (length - 1) // (frames - 1)) if every is None else every
        numbers = range(0, length, step)[:frames]
        images = np.stack([video.frame(number).image for number in numbers])
    found = _given_tracks(tracks, length)
    return MotionClip(Path(path).name, images, found.tracks[:, list(numbers)], found.visibility[:, list(numbers)])


def generated_clips(
    backbone: Backbone,
    prompts: Sequence[str],
    *,
    frames: int,
    size: tuple[int, int],
    sampling: SamplingSettings,
    timesteps: Sequence[int] = (),
    points: int = 20,
    tracks: Path | None = None,
    save: Path | None = None,
    progress: Progress | None = None,
) -> Iterator[MotionClip]:
    """Yields clips that the model generates, with its own noisy latents at some timesteps.

    The queries and keys of a timestep depend on these latents and the prompt alone, so that asking the network again
    shows what it compared while it generated, a few layers at a time. Clip i has the seed `sampling.seed` + i.

    Args:
        backbone: A video model.
        prompts: One per clip.
        frames: Latent frames of a clip.
        size: (height, width) in pixels.
        sampling: How clips are sampled.
        timesteps: To look at, the nearest of the sampler's being taken; by default six of them, evenly spaced.
        points: Per side of the grid on the first frame.
        tracks: Folder of `000.npz`, `001.npz`, ... with tracks of the clips by another tracker; `None` for pseudo
            truth by optical flow. The clips of the same prompts and seed are the same again.
        save: Folder to write the clips into, as `000.mp4`, for another tracker.
        progress: Notified of sampling.

    Raises:
        SettingsError: if the model makes single pictures, or tracks do not fit.
    """
    if backbone.card.chunk == 1:
        raise SettingsError(
            f"'{backbone.card.name}' makes single pictures without motion; give --worlds, or a clip with --tracks"
        )
    moments = sampling_timesteps(backbone, sampling)
    if timesteps:
        keep = {min(moments, key=lambda moment: abs(moment - wished)) for wished in timesteps}
    else:
        keep = {moments[round(place)] for place in np.linspace(0, len(moments) - 1, min(6, len(moments)))}
    for number, prompt in enumerate(prompts):
        own = SamplingSettings(**{**vars(sampling), "seed": sampling.seed + number})
        made = sample(backbone, prompt, frames=frames, size=size, settings=own, keep=keep, progress=progress)
        images = backbone.decode_clip(made.latents)
        if save is not None:
            write_video(save / f"{number:03d}.mp4", list(images), fps=8)
        if tracks is None:
            places, visible = flow_tracks(images, point_grid(points, images.shape[1], images.shape[2]))
        else:
            given = _given_tracks(tracks / f"{number:03d}.npz", len(images))
            places, visible = given.tracks, given.visibility
        yield MotionClip(f"clip {number}", images, places, visible, made.noisy, prompt)


def read_prompts(source: str, count: int | None = None) -> list[str]:
    """Returns prompts: "objects" or "scenes" of this package, or the lines of a text file that are not empty.

    Args:
        source: Name of a set, or path of a file.
        count: How many to take from the start; `None` for all.

    Raises:
        CueError: if the file cannot be read or holds no prompt.
    """
    if source in PROMPT_SETS:
        text = (files("undertow.points") / "prompts" / f"{source}.txt").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or "it is no text"
            raise CueError(
                f"prompts '{source}' cannot be read ({reason}); give a text file with one prompt per line, "
                f"or one of {', '.join(PROMPT_SETS)}, world"
            ) from error
    prompts = [line.strip() for line in text.splitlines() if line.strip()][:count]
    if not prompts:
        raise CueError(f"'{source}' holds no prompt; give one on every line")
    return prompts


def _given_tracks(path: Path, length: int) -> Tracks:
    """Returns the tracks in a file, however many there are.

    Raises:
        SettingsError: if there are none, or they are not those of a clip of `length` frames.
    """
    count = _point_count(path)
    if count == 0:
        raise SettingsError(f"'{path}' has no tracks; give one or more")
    try:
        return read_tracks(path, count or 0, length)
    except SettingsError as error:
        raise SettingsError(f"{error}; give tracks of this clip") from error


def _point_count(path: Path) -> int | None:
    """Returns how many points an .npz file of tracks has; `None` if it does not say, which reading then explains."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open("tracks.npy") as member:
            version = npy.read_magic(member)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            return int(read(member)[0][0])
    except (OSError, ValueError, KeyError, IndexError, zipfile.BadZipFile):
        return None


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
        count: Number of clips; clip i is the same whatever the count.
        frames: Of a clip.
        every: Time between frames, in the world's frames.
        points: Per side of the grid on the first frame.
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
