"""Which frames a video model sees together: chunks that cover a video, each with the anchor frame first.

DiffTrack (arXiv 2506.17220) lets every chunk span the whole video at a coarse rate, with the query's frame first: full
attention over time then carries each point over large motions in one step. Its reference code moves such a chunk on
by one frame at a time until every frame was seen, and averages the costs of frames seen repeatedly. Here the
default is as few chunks as cover the video, interleaved in the same way; `overlap` is the published procedure.
"""

from collections.abc import Sequence
from typing import Literal

Cover = Literal["minimal", "overlap", "consecutive"]


def cover(frames: Sequence[int], anchor: int, size: int, plan: Cover = "minimal") -> list[tuple[int, ...]]:
    """Returns chunks of at most `size` frames, each with `anchor` first, that together hold every frame.

    Args:
        frames: frame numbers, in order, the anchor among them.
        anchor: the frame that every chunk begins with.
        size: most frames in a chunk, 2 or more.
        plan: "minimal" for ⌈(T - 1) / (size - 1)⌉ chunks of every n-th frame, "overlap" for DiffTrack's, whose frames
            are ⌊T / (size - 1)⌋ apart and which begin one frame later each, "consecutive" for neighbours.
    """
    others = [frame for frame in frames if frame != anchor]
    room = size - 1
    if not others:
        return [(anchor,)]
    if plan == "overlap":
        interval = max(1, len(frames) // room)
        chunks, seen = [], 0
        for start in range(len(others)):
            part = others[start::interval][:room]
            chunks.append((anchor, *part))
            seen = len({frame for chunk in chunks for frame in chunk[1:]}) if start >= interval - 1 else 0
            if seen == len(others):
                break
        return chunks
    count = -(-len(others) // room)
    if plan == "consecutive":
        return [(anchor, *others[start : start + room]) for start in range(0, len(others), room)]
    return [(anchor, *others[start::count]) for start in range(count)]
