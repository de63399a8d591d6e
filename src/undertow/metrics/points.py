"""Point queries: where they are sampled, how they are written, and what their scores are averaged over.

Coordinates are x to the right, y down, in pixels of a raster whose left edge is x = 0 and whose right edge is its
width, so that the centre of the top-left pixel lies at (0.5, 0.5). TAP-Vid's raster is 256 x 256 whatever the video.
Queries alone are written (t, y, x) by TAP-Vid, where everything else of it is (x, y); `flip_queries` turns them into
(t, x, y) and back.

Source: Doersch et al., "TAP-Vid: A Benchmark for Tracking Any Point in a Video", NeurIPS 2022.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Real

QueryMode = Literal["first", "strided", "queries-at-0"]

RASTER = 256


@dataclass(frozen=True, eq=False)
class Queries:
    """Points to track, with their truth.

    Attributes:
        points: (t, y, x) of every query, TAP-Vid's order.
        tracks: (x, y) of the queried point on every frame.
        occluded: where it is hidden.
        source: which of the given tracks each query was taken from.
    """

    points: Float64[np.ndarray, "q 3"]
    tracks: Float[np.ndarray, "q t 2"]
    occluded: Bool[np.ndarray, "q t"]
    source: Int64[np.ndarray, " q"]


def flip_queries(points: Float[np.ndarray, "*q 3"]) -> Float[np.ndarray, "*q 3"]:
    """Returns (t, y, x), as TAP-Vid writes queries, of (t, x, y), as this library does; and the reverse."""
    return points[..., [0, 2, 1]]


def scale_points(
    points: Real[np.ndarray, "*q 2"], size: tuple[float, float], to: tuple[float, float] = (RASTER, RASTER)
) -> Float[np.ndarray, "*q 2"]:
    """Returns points (x, y) of an image of `size` (width, height) as pixels of a raster of size `to`.

    The image's right edge becomes the raster's: positions in [0, 1], as TAP-Vid stores them, have size (1, 1).

    Raises:
        ValueError: if a size is not positive.
    """
    if min(*size, *to) <= 0:
        raise ValueError(f"sizes must be positive, found {size} and {to}")
    return points * np.array([to[0] / size[0], to[1] / size[1]], np.result_type(points, np.float32))


def sample_queries_first(tracks: Float[np.ndarray, "q t 2"], occluded: Bool[np.ndarray, "q t"]) -> Queries:
    """Returns one query per track, on the first frame that shows it; tracks never shown have none.

    Raises:
        ValueError: if the shapes do not belong together.
    """
    visible = _visible(tracks, occluded)
    source = np.flatnonzero(visible.any(axis=1))
    return _queries(tracks, visible, source, visible.argmax(axis=1)[source] if source.size else source)


def sample_queries_strided(
    tracks: Float[np.ndarray, "q t 2"], occluded: Bool[np.ndarray, "q t"], stride: int = 5
) -> Queries:
    """Returns a query on every `stride`-th frame from frame 0 on, for every track visible there, in order of frames.

    Raises:
        ValueError: if the shapes do not belong together or the stride is less than 1.
    """
    if stride < 1:
        raise ValueError(f"the stride is one frame or more, found {stride}")
    visible = _visible(tracks, occluded)
    frames, source = np.nonzero(visible[:, ::stride].T)
    return _queries(tracks, visible, source, frames * stride)


def evaluated_frames(starts: Int64[np.ndarray, " q"], length: int, mode: QueryMode) -> Bool[np.ndarray, "q t"]:
    """Tells which frames of a video count for queries on frames `starts`: all others, or all later ones."""
    frames = np.arange(length)
    return frames != starts[:, None] if mode == "strided" else frames > starts[:, None]


@dataclass(frozen=True)
class VideoAverages:
    """What a leaderboard prints of a dataset of videos.

    Attributes:
        values: the mean of every value over the videos, by name.
        videos: how many videos they are the mean of.
        left_out: videos in which nothing could be scored, told by a value that is NaN.
    """

    values: dict[str, float]
    videos: int
    left_out: int

    @classmethod
    def of(cls, videos: Iterable[Mapping[str, Float64[np.ndarray, ""]]]) -> "VideoAverages":
        """Returns the plain mean over videos, each counting once however many points it has.

        Args:
            videos: the `named()` values of every video. One with a NaN among them counts in no mean: a ratio of
                nothing says that no evaluated point was visible, and what is left of its values says little.
        """
        found = list(videos)
        scored = [video for video in found if not np.isnan(list(video.values())).any()]
        values = {name: float(np.mean([video[name] for video in scored])) for name in (scored[0] if scored else ())}
        return cls(values, len(scored), len(found) - len(scored))


def _visible(tracks: Float[np.ndarray, "q t 2"], occluded: Bool[np.ndarray, "q t"]) -> Bool[np.ndarray, "q t"]:
    """Returns where points are visible, after a look at the shapes."""
    if occluded.ndim != 2 or tracks.shape != (*occluded.shape, 2):
        raise ValueError(f"tracks (q, t, 2) and flags (q, t) do not belong together: {tracks.shape}, {occluded.shape}")
    return ~occluded.astype(bool)


def _queries(
    tracks: Float[np.ndarray, "q t 2"],
    visible: Bool[np.ndarray, "q t"],
    source: Int64[np.ndarray, " n"],
    frames: Int64[np.ndarray, " n"],
) -> Queries:
    """Returns the queries of tracks `source` on `frames`."""
    positions = tracks[source, frames]
    points = np.column_stack([frames, positions[:, 1], positions[:, 0]]).astype(np.float64)
    return Queries(points, tracks[source], ~visible[source], np.asarray(source, np.int64))
