"""Cues as a user types them: `FILE@F` for masks, F being a frame number or seconds with the suffix s."""

import hashlib
import re
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from undertow.base import CueError, VideoError
from undertow.masks import LabelMap, colour_table, read_label_map, read_object_masks
from undertow.video import Clip, Video

_AT = re.compile(r"^(?P<file>.+)@(?P<frame>\d{1,18}|\d{1,18}(\.\d{1,18})?s)$", re.DOTALL)


def split_cue(cue: str, video: Video | Clip) -> tuple[str, int]:
    """Returns what stands before the `@` of a cue, and the frame number it names (the first one without).

    Raises:
        CueError: if the video has no such frame.
    """
    match = _AT.match(cue)
    if match is None or Path(cue).exists():
        return cue, video.start if isinstance(video, Clip) else 0
    at = match["frame"]
    try:
        index = video.index_of_time(Fraction(at[:-1])) if at.endswith("s") else int(at)
        video.name_of(index)
    except VideoError as error:
        raise CueError(f"cue '{cue}' cannot be used: {error}") from error
    return match["file"], index


def read_masks(
    cues: Sequence[str], video: Video | Clip, *, mask_colors: bool = False
) -> tuple[dict[int, LabelMap], dict[tuple[int, int, int], int]]:
    """Returns the label map of each frame that mask cues name, and the colour table of RGB-coded ones (else empty).

    Several files for one frame are one binary mask per object.

    Raises:
        CueError: if there is no cue, or a frame does not exist.
        MaskError: if a file is not a label map of the video's size.
    """
    if not cues:
        raise CueError(
            "no mask was given; add --mask FILE with objects painted on the first frame, or --box or --point"
        )
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


def described(index: int, labels: LabelMap) -> dict[str, Any]:
    """Returns what run.json keeps of a mask: its frame and the SHA-256 of its ids, by which a run is known again."""
    height, width = labels.shape
    return {"frame": index, "sha256": hashlib.sha256(f"{width}x{height}".encode() + labels.tobytes()).hexdigest()}
