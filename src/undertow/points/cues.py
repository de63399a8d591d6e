"""From what people type to the points of a run: given one by one, as a grid, on the objects of a mask, or in a file."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float64, Real

from undertow.backbones import Backbone
from undertow.base import CueError, MemoryBudgetError
from undertow.base import memory as machine
from undertow.points.queries import check_points, grid_points, mask_points, read_points
from undertow.points.settings import PointSettings
from undertow.runs.budget import shown_memory
from undertow.runs.cues import Cue
from undertow.runs.task import Given
from undertow.tracking.cues import read_masks
from undertow.video import Clip, Video

Points = Float64[np.ndarray, "q 3"]
# Tracks, visibility, confidence, and as much again while tables are made of them.
BYTES_PER_PLACE = 40


def gather(cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: PointSettings) -> Given[Points]:
    """Returns the points that cues name, each once, in the order given.

    Args:
        cues: Points, grids, masks and files of points, their frames counted in the whole video.
        clip: The video.
        model: Not asked.
        settings: Whether masks are RGB-coded.

    Raises:
        CueError: if there are none, one is of no use, or the video cannot be read again.
        MemoryBudgetError: if the tracks would not fit in memory.
    """
    _check_video(clip)
    found = list(_points(cues, clip, mask_colors=settings.mask_colors))
    if not found:
        raise CueError("no point was given; add --point x,y or --grid N or --mask FILE or --queries FILE")
    numbers, size = clip.numbers or (), (clip.height, clip.width)
    asked = np.concatenate([check_points(each, size, numbers[-1] + 1, clip.start) for each in found])
    for frame in np.unique(asked[:, 0]).astype(int):
        if frame not in numbers:
            raise CueError(f"a point is on frame {frame}, which is not looked at; change it, --start or --every")
    asked[:, 0] = np.searchsorted(numbers, asked[:, 0])
    return given_points(clip, asked[np.sort(np.unique(asked, axis=0, return_index=True)[1])], [cue.log for cue in cues])


def given_points(
    video: Video | Clip, points: Real[np.ndarray, "q k"], typed: Sequence[Mapping[str, Any]] = ()
) -> Given[Points]:
    """Returns points as cues of a run.

    Args:
        video: The video.
        points: (t, x, y), the frame counted among those of the video or clip; or (x, y) on its first frame.
        typed: What the user typed, for the log in run.json.

    Raises:
        CueError: if there are none, one is no number or outside the video, or the video cannot be read again.
        MemoryBudgetError: if the tracks would not fit in memory.
    """
    _check_video(video)
    numbers = video.numbers or ()
    checked = check_points(points, (video.height, video.width), len(numbers))
    check_room_for(len(checked), len(numbers))
    digest = hashlib.sha256(np.ascontiguousarray(checked).tobytes()).hexdigest()
    frames = tuple(int(numbers[int(place)]) for place in np.unique(checked[:, 0]))
    return Given(checked, (*typed, {"points": len(checked), "sha256": digest}), frames)


def check_room_for(points: int, frames: int) -> None:
    """Raises MemoryBudgetError if the tracks of so many points on so many frames would not fit in memory."""
    needed, there = points * frames * BYTES_PER_PLACE, machine.available_memory()
    if needed > there:
        raise MemoryBudgetError(
            f"{points} points on {frames} frames would need about {shown_memory(needed)} for their tracks, and there "
            f"is {shown_memory(there)}; give fewer points, or a part of the video with --start and --end"
        )


def _points(cues: Sequence[Cue], clip: Clip, *, mask_colors: bool) -> Iterator[Real[np.ndarray, "q k"]]:
    """Yields the points of each cue, their frames counted in the whole video."""
    for cue in cues:
        if cue.kind == "point":
            x, y, inside = cue.value
            if not inside or cue.object_id is not None:
                raise CueError(f"--point is '{cue.typed}', and points that are followed have no object; give x,y[@F]")
            yield np.array([[cue.frame, x, y]])
        elif cue.kind == "grid":
            # A number typed with a digit too many is refused before there are so many points.
            check_room_for(cue.value**2, clip.frame_count or 1)
            yield grid_points(cue.value, (clip.height, clip.width), cue.frame)
        elif cue.kind == "mask":
            yield mask_points(read_masks([cue], clip, mask_colors=mask_colors)[cue.frame], frame=cue.frame)
        else:
            yield read_points(cue.value)


def _check_video(video: Video | Clip) -> None:
    if not video.again:
        raise CueError(f"points need a video that can be read again, and {video.label} comes once; record it to a file")
