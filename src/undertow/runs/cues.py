"""Cues as a user types them: `FILE@F` for masks, F being a frame number or seconds with the suffix s."""

import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from undertow.base import CueError
from undertow.masks import LabelMap, colour_table, read_label_map, read_object_masks
from undertow.video import Video

_AT = re.compile(r"^(?P<file>.+)@(?P<frame>\d+|\d+(\.\d+)?s)$")


def split_cue(cue: str, video: Video) -> tuple[str, int]:
    """Returns what stands before the `@` of a cue, and the frame number it names (0 without one).

    Raises:
        CueError: if the video has no such frame.
    """
    match = _AT.match(cue)
    if match is None or Path(cue).exists():
        return cue, 0
    at = match["frame"]
    index = video.index_of_time(Fraction(at[:-1])) if at.endswith("s") else int(at)
    if video.frame_count is not None and index >= video.frame_count:
        raise CueError(f"cue '{cue}' names frame {index} but the video has frames 0 to {video.frame_count - 1}")
    return match["file"], index


def read_masks(
    cues: Sequence[str], video: Video, *, mask_colors: bool = False
) -> tuple[dict[int, LabelMap], dict[tuple[int, int, int], int]]:
    """Returns the label map of each frame that mask cues name, and the colour table of RGB-coded ones (else empty).

    Several files for one frame are one binary mask per object.

    Raises:
        CueError: if there is no cue, or a frame does not exist.
        MaskError: if a file is not a label map of the video's size.
    """
    if not cues:
        raise CueError("no mask was given; add --mask FILE with the objects painted on the first frame")
    files: dict[int, list[Path]] = {}
    for cue in cues:
        name, index = split_cue(cue, video)
        files.setdefault(index, []).append(Path(name))
    table = colour_table(*[file for group in files.values() for file in group]) if mask_colors else {}
    size = (video.height, video.width)
    maps = {}
    for index, group in files.items():
        if len(group) == 1:
            maps[index] = read_label_map(group[0], size=size, mask_colors=table or False)
        else:
            maps[index] = read_object_masks(group, size=size)
    return maps, table
