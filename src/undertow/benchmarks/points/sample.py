"""Points that are to be followed: what is asked of a video, and the truth; methods answer with `Tracks`."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float64

from undertow.base import MaskError
from undertow.benchmarks.core.sample import Sample
from undertow.masks import object_ids, read_label_map
from undertow.metrics.tapvid import Queries, flip_queries, sample_queries_first, sample_queries_strided
from undertow.points.tracks import Tracks, read_tracks, write_tracks

__all__ = ["PointSample", "Tracks", "mask_problem", "read_tracks", "write_tracks"]


@dataclass(frozen=True, kw_only=True, eq=False)
class PointSample(Sample):
    """A video with points that are to be followed from where they are given.

    Attributes:
        tracks: True (x, y) of every point on every frame, in pixels of the video; not read where hidden.
        occluded: Where a point is hidden, or nobody has said where it is.
        masks: Label maps of the object the points lie on by frame name, for rules that measure by its size.
    """

    task: ClassVar[str] = "points"
    tracks: Float64[np.ndarray, "n t 2"]
    occluded: Bool[np.ndarray, "n t"]
    masks: Mapping[str, Path] = field(default_factory=dict)

    def queries(self, rules: str, shown: Sequence[int] | None = None) -> Queries:
        """Returns the points asked for by some rules, with their truth on the frames shown.

        `strided` asks for every visible point on every fifth shown frame, all other rules for every point once, on the
        first shown frame that has it. (`queries-at-0` scores only those of frame 0.)
        """
        frames = list(range(len(self.frames)) if shown is None else shown)
        tracks, occluded = self.tracks[:, frames], self.occluded[:, frames]
        return (sample_queries_strided if rules == "strided" else sample_queries_first)(tracks, occluded)

    def given(self, rules: str, shown: Sequence[int] | None = None) -> Float64[np.ndarray, "q 3"]:
        """Returns what a method is given: (t, x, y), the frame counted among those shown, x and y in pixels."""
        return flip_queries(self.queries(rules, shown).points)

    def areas(self, shown: Sequence[int]) -> Float64[np.ndarray, " t"]:
        """Returns how many pixels the object has on each frame shown; 0 where there is no mask.

        Raises:
            MaskError: if a mask cannot be read or is not of the video's size.
        """
        areas = np.zeros(len(shown))
        for place, index in enumerate(shown):
            if (path := self.masks.get(self.frames[index])) is not None:
                areas[place] = np.count_nonzero(read_label_map(path, size=self.size, mask_colors=True))
        return areas

    def truth_files(self) -> Iterable[Path]:
        """Returns the masks in the order of their frames."""
        return [path for _, path in sorted(self.masks.items())]

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames and of the truth."""
        digest = hashlib.sha256(super().fingerprint().encode())
        digest.update(np.where(self.occluded[..., None], 0.0, self.tracks).tobytes() + self.occluded.tobytes())
        return digest.hexdigest()


def mask_problem(path: Path, size: tuple[int, int]) -> str | None:
    """Returns what is wrong with an object's mask, `None` if nothing is."""
    try:
        labels = read_label_map(path, size=size, mask_colors=True)
    except MaskError as error:
        return str(error)
    return None if object_ids(labels) else "the mask is empty, so that no point of its frame can be right"


def back_again(visible: Bool[np.ndarray, "q t"], starts: np.ndarray | None = None) -> Bool[np.ndarray, "q t"]:
    """Returns on which frames a point is seen after it was hidden on an earlier one, after its query.

    Args:
        visible: Where each point is seen.
        starts: The frame on which each is asked for; the first frame if not given.
    """
    times = np.arange(visible.shape[1])
    after = times > (0 if starts is None else np.asarray(starts)[:, None])
    hidden = np.logical_or.accumulate(~visible & after, axis=1)
    return visible & after & hidden
