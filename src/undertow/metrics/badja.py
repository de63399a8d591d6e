"""BADJA: how near tracked animal joints come, measured against the size of the animal.

A joint is right by PCK when its distance from the annotation is less than 0.2 times the square root of the mask's area
**on the frame being scored** (not on the query's), as the evaluators of PIPs and DINO-Tracker both have it. Only frames
that are annotated, about every fifth, and joints annotated as visible there count. The joints of a video are pooled,
and videos averaged.

Source: Biggs et al., "Creatures Great and SMAL", ACCV 2018 (the annotations and PCK); Harley et al., "Particle Video
Revisited", ECCV 2022 (as a tracking benchmark); Tumanyan et al., "DINO-Tracker", ECCV 2024 (within 3 pixels).
"""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64, Real

from undertow.metrics.tapvid import evaluated_frames, near_points, scale_points

BadjaFrames = Literal["after", "others", "all"]


@dataclass(frozen=True, eq=False)
class BadjaScores:
    """Scores in [0, 1] of one video (no leading axis) or of each of its joints (leading axis q); NaN of no points.

    Attributes:
        pck: The share of points nearer than 0.2 times the square root of the mask's area.
        within_3px: The share of points nearer than 3 pixels.
        within: The shares nearer than 1, 2, 4, 8 and 16 pixels of TAP-Vid's 256 x 256 raster.
        points: How many points they are shares of.
    """

    pck: Float64[np.ndarray, "*q"]
    within_3px: Float64[np.ndarray, "*q"]
    within: Float64[np.ndarray, "*q 5"]
    points: Int64[np.ndarray, "*q"]

    @property
    def delta_avg(self) -> Float64[np.ndarray, "*q"]:
        """The mean of `within`: TAP-Vid's delta_avg on these joints."""
        return np.asarray(self.within.mean(axis=-1))

    def named(self) -> dict[str, Float64[np.ndarray, "*q"]]:
        """Returns the values by name, for `VideoAverages.of`."""
        return {"pck": self.pck, "within_3px": self.within_3px, "delta_avg": self.delta_avg}


@dataclass(frozen=True, eq=False)
class BadjaCounts:
    """What the scores are ratios of, by joint: scored points, and how many of them are right by each rule."""

    points: Int64[np.ndarray, " q"]
    pck: Int64[np.ndarray, " q"]
    within_3px: Int64[np.ndarray, " q"]
    within: Int64[np.ndarray, "q 5"]

    def video(self) -> BadjaScores:
        """Returns the video's scores, all its joints pooled."""
        return _scores(*(np.asarray(getattr(self, field.name).sum(axis=0)) for field in fields(self)))

    def joints(self) -> BadjaScores:
        """Returns the scores of every joint by itself."""
        return _scores(*(getattr(self, field.name) for field in fields(self)))


def count_badja(
    pred_tracks: Float[np.ndarray, "q t 2"],
    gt_tracks: Float[np.ndarray, "q t 2"],
    visible: Bool[np.ndarray, "q t"],
    mask_areas: Real[np.ndarray, " t"],
    query_frames: Int64[np.ndarray, " q"],
    size: tuple[int, int],
    counted: BadjaFrames = "after",
    fraction: float = 0.2,
) -> BadjaCounts:
    """Counts which joints of one video are found, joint by joint.

    Args:
        pred_tracks: Predicted (x, y) on every frame, in pixels of the raster that the scores are to be of.
        gt_tracks: Annotated (x, y) in the same raster; not read where `visible` is False.
        visible: Where a joint is annotated, and as visible. False on frames that nobody annotated.
        mask_areas: Pixels of the animal's mask on every frame, in the same raster. On a frame without a mask no
            joint is right.
        query_frames: The frame on which each joint was given to the tracker.
        size: (width, height) of the raster, from which `within` is scaled.
        counted: Which frames count. `after`: those after the query's (DINO-Tracker, and PIPs' RAFT and DINO rows);
            `others`: those before it too; `all`: the query's own as well, which is right without any tracking (PIPs'
            own row).
        fraction: Of the square root of the area.

    Raises:
        ValueError: if the shapes do not belong together, a query lies outside the video, an area is negative or
            `counted` is unknown.
    """
    if visible.ndim != 2:
        raise ValueError(f"visibility is (q, t), found {visible.shape}")
    count, length = visible.shape
    shapes = pred_tracks.shape, gt_tracks.shape, mask_areas.shape, query_frames.shape
    if shapes != ((count, length, 2), (count, length, 2), (length,), (count,)):
        raise ValueError(f"tracks, areas and queries do not belong together: {count} joints, {length} frames, {shapes}")
    if count and not (query_frames.min() >= 0 and query_frames.max() < length):
        raise ValueError(f"queries lie on frames {query_frames.min()} to {query_frames.max()} of a video of {length}")
    if length and not mask_areas.min() >= 0:
        raise ValueError(f"mask areas cannot be negative, found {mask_areas.min()}")
    if counted not in ("after", "others", "all"):
        raise ValueError(f"frames counted are after, others or all, found {counted!r}")
    scored = visible.astype(bool)
    if counted != "all":
        scored = scored & evaluated_frames(query_frames, length, "first" if counted == "after" else "strided")
    with np.errstate(invalid="ignore", over="ignore"):
        distance = np.sqrt(np.square(pred_tracks.astype(np.float64) - gt_tracks).sum(axis=-1))
    near = near_points(scale_points(pred_tracks, size), scale_points(gt_tracks, size))
    return BadjaCounts(
        scored.sum(axis=1),
        (scored & (distance < fraction * np.sqrt(mask_areas))).sum(axis=1),
        (scored & (distance < 3)).sum(axis=1),
        (scored[..., None] & near).sum(axis=1),
    )


def badja_metrics(
    pred_tracks: Float[np.ndarray, "q t 2"],
    gt_tracks: Float[np.ndarray, "q t 2"],
    visible: Bool[np.ndarray, "q t"],
    mask_areas: Real[np.ndarray, " t"],
    query_frames: Int64[np.ndarray, " q"],
    size: tuple[int, int],
    counted: BadjaFrames = "after",
) -> BadjaScores:
    """Returns the scores of one video; arguments and errors are those of `count_badja`.

    PIPs scores in a raster of 512 x 320 into which frames, masks and points are stretched, DINO-Tracker in that of
    its video: scale points with `scale_points`, and count the areas of the resized masks.
    """
    return count_badja(pred_tracks, gt_tracks, visible, mask_areas, query_frames, size, counted).video()


def _scores(
    points: Int64[np.ndarray, "*q"],
    pck: Int64[np.ndarray, "*q"],
    within_3px: Int64[np.ndarray, "*q"],
    within: Int64[np.ndarray, "*q 5"],
) -> BadjaScores:
    """Returns the ratios; NaN, without a warning, where there are no points."""
    with np.errstate(invalid="ignore"):
        return BadjaScores(
            np.asarray(pck / points), np.asarray(within_3px / points), within / points[..., None], points
        )
