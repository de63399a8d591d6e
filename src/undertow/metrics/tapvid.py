"""TAP-Vid: where point queries are sampled and how they are written, how near tracked points come, means over videos.

Coordinates are x to the right, y down, in pixels of a raster whose left edge is x = 0 and whose right edge is its
width, so that the centre of the top-left pixel lies at (0.5, 0.5). TAP-Vid's raster is 256 x 256 whatever the video.
Queries alone are written (t, y, x) by TAP-Vid, where everything else of it is (x, y); `flip_queries` turns them into
(t, x, y) and back.

Source: Doersch et al., "TAP-Vid: A Benchmark for Tracking Any Point in a Video", NeurIPS 2022.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
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
        occluded: Where it is hidden.
        source: Which of the given tracks each query was taken from.
    """

    points: Float64[np.ndarray, "q 3"]
    tracks: Float[np.ndarray, "q t 2"]
    occluded: Bool[np.ndarray, "q t"]
    source: Int64[np.ndarray, " q"]


def flip_queries(points: Float[np.ndarray, "*q 3"]) -> Float[np.ndarray, "*q 3"]:
    """Returns (t, y, x), as TAP-Vid writes queries, of (t, x, y), as this library does; and the reverse.

    >>> flip_queries(np.array([[0.0, 10.5, 20.5]])).tolist()
    [[0.0, 20.5, 10.5]]
    """
    return points[..., [0, 2, 1]]


def scale_points(
    points: Real[np.ndarray, "*q 2"], size: tuple[float, float], to: tuple[float, float] = (RASTER, RASTER)
) -> Float[np.ndarray, "*q 2"]:
    """Returns points (x, y) of an image of `size` (width, height) as pixels of a raster of size `to`.

    The image's right edge becomes the raster's: positions in [0, 1], as TAP-Vid stores them, have size (1, 1).

        >>> scale_points(np.array([[0.5, 0.25]]), (1, 1)).tolist()
        [[128.0, 64.0]]

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
        values: The mean of every value over the videos, by name.
        videos: How many videos they are the mean of.
        left_out: Videos in which nothing could be scored: a value is NaN.
    """

    values: dict[str, float]
    videos: int
    left_out: int

    @classmethod
    def of(cls, videos: Iterable[Mapping[str, Float64[np.ndarray, ""]]]) -> "VideoAverages":
        """Returns the plain mean over videos, each counting once however many points it has.

        Args:
            videos: The `named()` values of every video. One with a NaN among them counts in no mean: a ratio of
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


THRESHOLDS = (1, 2, 4, 8, 16)

# Point-frames compared at a time, whatever the number of tracks: well under 100 MB of temporary arrays.
_CHUNK = 1 << 20


@dataclass(frozen=True, eq=False)
class TapVidScores:
    """Scores in [0, 1] of one video (no leading axis) or of each of its tracks (leading axis q).

    A ratio of nothing to nothing is NaN: all of `within` (and so `delta_avg`) where no evaluated point is visible.

    Attributes:
        occlusion_accuracy: OA, how often the predicted flag is the true one.
        within: For every threshold, the share of visible points predicted nearer than it, whether or not they were
            also predicted visible.
        jaccard: For every threshold, true positives over (truly visible points plus false positives).
    """

    occlusion_accuracy: Float64[np.ndarray, "*q"]
    within: Float64[np.ndarray, "*q 5"]
    jaccard: Float64[np.ndarray, "*q 5"]

    @property
    def delta_avg(self) -> Float64[np.ndarray, "*q"]:
        """The mean of `within` over the thresholds of 1, 2, 4, 8 and 16 pixels."""
        return np.asarray(self.within.mean(axis=-1))

    @property
    def average_jaccard(self) -> Float64[np.ndarray, "*q"]:
        """AJ, the mean of `jaccard` over the same thresholds."""
        return np.asarray(self.jaccard.mean(axis=-1))

    def named(self) -> dict[str, Float64[np.ndarray, "*q"]]:
        """Returns every value by the name that the official evaluator has for it."""
        values = {"occlusion_accuracy": self.occlusion_accuracy}
        for i, threshold in enumerate(THRESHOLDS):
            values[f"pts_within_{threshold}"] = self.within[..., i]
            values[f"jaccard_{threshold}"] = self.jaccard[..., i]
        return values | {"average_pts_within_thresh": self.delta_avg, "average_jaccard": self.average_jaccard}


@dataclass(frozen=True, eq=False)
class TapVidCounts:
    """What a video's scores are ratios of, by track.

    Attributes:
        evaluated: Evaluated frames.
        visible: Those on which the point is truly visible.
        agreed: Those on which the predicted flag is the true one.
        within: Visible ones nearer than each threshold.
        true_positives: Of these, the ones predicted visible.
        false_positives: Those predicted visible while the point is hidden or too far.
    """

    evaluated: Int64[np.ndarray, " q"]
    visible: Int64[np.ndarray, " q"]
    agreed: Int64[np.ndarray, " q"]
    within: Int64[np.ndarray, "q 5"]
    true_positives: Int64[np.ndarray, "q 5"]
    false_positives: Int64[np.ndarray, "q 5"]

    def video(self) -> TapVidScores:
        """Returns the video's scores, all its points pooled."""
        return _scores(*(np.asarray(getattr(self, field.name).sum(axis=0)) for field in fields(self)))

    def tracks(self) -> TapVidScores:
        """Returns the scores of every track by itself."""
        return _scores(*(getattr(self, field.name) for field in fields(self)))


def count_tapvid(
    query_points: Float[np.ndarray, "q 3"],
    gt_occluded: Bool[np.ndarray, "q t"],
    gt_tracks: Float[np.ndarray, "q t 2"],
    pred_occluded: Bool[np.ndarray, "q t"],
    pred_tracks: Float[np.ndarray, "q t 2"],
    mode: QueryMode = "first",
) -> TapVidCounts:
    """Counts hits and misses of one video, track by track, in bounded memory; arguments as for `tapvid_metrics`.

    In mode `queries-at-0` the tracks are those queried on frame 0, in the order given.

    Raises:
        ValueError: if the shapes do not belong together, a query lies outside the video or the mode is unknown.
    """
    count, length = gt_occluded.shape if gt_occluded.ndim == 2 else (-1, -1)
    shapes = query_points.shape, gt_tracks.shape, pred_occluded.shape, pred_tracks.shape
    if shapes != ((count, 3), (count, length, 2), (count, length), (count, length, 2)):
        raise ValueError(
            f"queries, tracks and flags do not belong together: flags {gt_occluded.shape}, others {shapes}"
        )
    if mode not in ("first", "strided", "queries-at-0"):
        raise ValueError(f"the query mode is first, strided or queries-at-0, found {mode!r}")
    times = np.round(query_points[:, 0])
    # So written that a time that is NaN is an error too.
    if count and not (times.min() >= 0 and times.max() < length):
        raise ValueError(f"queries lie on frames {times.min():g} to {times.max():g} of a video of {length} frames")
    starts = times.astype(np.int64)
    kept = np.flatnonzero(starts == 0) if mode == "queries-at-0" else np.arange(count)
    blocks = [
        _count(starts[part], gt_occluded[part], gt_tracks[part], pred_occluded[part], pred_tracks[part], mode)
        for part in _chunks(kept, length)
    ]
    return TapVidCounts(*(np.concatenate([block[i] for block in blocks]) for i in range(len(fields(TapVidCounts)))))


def tapvid_metrics(
    query_points: Float[np.ndarray, "q 3"],
    gt_occluded: Bool[np.ndarray, "q t"],
    gt_tracks: Float[np.ndarray, "q t 2"],
    pred_occluded: Bool[np.ndarray, "q t"],
    pred_tracks: Float[np.ndarray, "q t 2"],
    mode: QueryMode = "first",
) -> TapVidScores:
    """Returns the scores of one video, equal to those of the official evaluator.

    The mean over videos is `VideoAverages.of` of their `named()`. The values of single tracks are
    `count_tapvid(...).tracks()`.

    Args:
        query_points: (t, y, x), of which only t is read.
        gt_occluded: Where a point is truly hidden.
        gt_tracks: True (x, y) in pixels of the 256 x 256 raster; not read where hidden.
        pred_occluded: Where it is predicted to be hidden. All False for a method that does not say.
        pred_tracks: Predicted (x, y) in the same raster. A prediction that is NaN is far from everything.
        mode: Which frames count. `first`: those after the query's. `strided`: all but the query's. `queries-at-0`:
            as `first`, of the queries on frame 0 alone, as DiffTrack is published; not the benchmark's protocol.

    Raises:
        ValueError: if the shapes do not belong together, a query lies outside the video or the mode is unknown.
    """
    return count_tapvid(query_points, gt_occluded, gt_tracks, pred_occluded, pred_tracks, mode).video()


def near_points(pred: Float[np.ndarray, "q t 2"], true: Float[np.ndarray, "q t 2"]) -> Bool[np.ndarray, "q t 5"]:
    """Tells for each of `THRESHOLDS` which points lie strictly nearer than it, in pixels of the given raster.

    The arithmetic is of the type the points come in, as in the official evaluator. NaN is near nothing.
    """
    kind = np.result_type(pred, true, np.float32)
    with np.errstate(invalid="ignore", over="ignore"):
        squared = np.square(np.subtract(pred, true, dtype=kind)).sum(axis=-1)
    return np.stack([squared < threshold**2 for threshold in THRESHOLDS], axis=-1)


def _count(
    starts: Int64[np.ndarray, " q"],
    gt_occluded: Bool[np.ndarray, "q t"],
    gt_tracks: Float[np.ndarray, "q t 2"],
    pred_occluded: Bool[np.ndarray, "q t"],
    pred_tracks: Float[np.ndarray, "q t 2"],
    mode: QueryMode,
) -> tuple[Int64[np.ndarray, "q *k"], ...]:
    """Returns the fields of `TapVidCounts` for some tracks."""
    evaluated = evaluated_frames(starts, gt_occluded.shape[1], mode)
    visible, claimed = ~gt_occluded.astype(bool), ~pred_occluded.astype(bool)
    near = near_points(pred_tracks, gt_tracks)
    shown, claimed = visible & evaluated, claimed & evaluated
    hits = near & shown[..., None]
    correct = hits & claimed[..., None]
    return (
        evaluated.sum(axis=1),
        shown.sum(axis=1),
        ((claimed == shown) & evaluated).sum(axis=1),
        hits.sum(axis=1),
        correct.sum(axis=1),
        # What is claimed visible is either right or a false positive.
        claimed.sum(axis=1)[:, None] - correct.sum(axis=1),
    )


def _scores(
    evaluated: Int64[np.ndarray, "*q"],
    visible: Int64[np.ndarray, "*q"],
    agreed: Int64[np.ndarray, "*q"],
    within: Int64[np.ndarray, "*q 5"],
    true_positives: Int64[np.ndarray, "*q 5"],
    false_positives: Int64[np.ndarray, "*q 5"],
) -> TapVidScores:
    """Returns the ratios; NaN, without a warning, where the denominator is 0."""
    with np.errstate(invalid="ignore"):
        return TapVidScores(
            np.asarray(agreed / evaluated),
            within / visible[..., None],
            true_positives / (visible[..., None] + false_positives),
        )


def _chunks(kept: Int64[np.ndarray, " q"], length: int) -> Iterator[Int64[np.ndarray, " part"]]:
    """Yields `kept` in parts of bounded size, at least one."""
    step = max(1, _CHUNK // max(length, 1))
    for start in range(0, max(len(kept), 1), step):
        yield kept[start : start + step]
