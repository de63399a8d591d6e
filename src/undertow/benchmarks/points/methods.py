"""Methods of the task "points": models that follow points from where they are given, and what any tracker must beat.

That is points that stay where they are, and classical trackers: pyramidal Lucas-Kanade, and dense optical flow chained
from frame to frame. Both carry a point from each frame to the next, forward and backward in time from the frame it is
given on, and check every step by going back: a point whose way back misses it by more than `TOLERANCE` pixels counts as
hidden from then on, though it is still carried. Neither looks at the first frame again, so neither can find a point
that was hidden.

Sources: Lucas and Kanade, IJCAI 1981, in Bouguet's pyramids (OpenCV); Kroeger et al., ECCV 2016 (DIS).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from undertow.benchmarks.core.jobs import JobPredictor, MakeJob, job_method
from undertow.benchmarks.core.methods import Baseline
from undertow.benchmarks.core.sample import EvaluationProtocol
from undertow.benchmarks.masks.methods import FLOW_BASELINES, flow_estimator
from undertow.observing.flow import fetched
from undertow.points.settings import PointSettings, get_point_preset
from undertow.points.tracks import Tracks

Images = Iterator[UInt8[np.ndarray, "h w 3"]]
PointPredictor = Callable[[Images, Float64[np.ndarray, "q 3"]], Tracks]
"""From the images of one sample and the queries (frame among them, x, y) to tracks on all of them."""


@dataclass(frozen=True)
class PointModel(JobPredictor):
    """Follows points with a model; see `PointPredictor`."""

    task: ClassVar[str] = "points"
    asked: ClassVar[str] = "points"
    sites: ClassVar[tuple[str, ...]] = ("points",)

    def __call__(self, images: Images, queries: Float64[np.ndarray, "q 3"]) -> Tracks:
        """Returns the tracks of the queries on all images."""
        found = list(self.results(images, queries))
        positions, visible, confidence = (
            np.stack([getattr(each, name) for each in found], axis=1) for name in ("positions", "visible", "confidence")
        )
        return Tracks(positions, visible, confidence, queries)

    @classmethod
    def chosen(cls, preset: str | None, settings: PointSettings | None) -> PointSettings:
        """Returns settings with a preset of point tracking."""
        chosen = settings or PointSettings()
        return chosen if preset is None else replace(chosen, preset=get_point_preset(preset).name)

    @classmethod
    def described(cls, settings: PointSettings, device: str | None) -> tuple[Sequence[str | None], Mapping[str, Any]]:
        """Returns what a preset says, which is part of what is measured, and may change under one name."""
        # A model's own preset is one of these.
        named = [settings.preset] if settings.preset else ["flow", "points"]
        return (), {"presets": [asdict(get_point_preset(each)) for each in named]}


model_method = partial(job_method, PointModel)

TOLERANCE = 2.0
# The patch of Lucas-Kanade, in pixels, and how often the picture is halved.
PATCH, LEVELS = 21, 4

Grey = UInt8[np.ndarray, "h w"]
Places = Float32[np.ndarray, "n 2"]
Mover = Callable[[Grey, Grey, Places], Places]
"""From two pictures and places (x, y) in the first, pixel centres being whole numbers, to places in the second."""


def still_points(images: Iterator[UInt8[np.ndarray, "h w 3"]], queries: Float64[np.ndarray, "q 3"]) -> Tracks:
    """Returns tracks that never move and are always visible.

    Args:
        images: RGB frames, of which only the number counts.
        queries: (t, x, y) of every point: frame among `images`, then pixels.
    """
    length = sum(1 for _ in images)
    places = queries[:, None, 1:].astype(np.float32)
    return Tracks(np.repeat(places, length, axis=1), np.ones((len(queries), length), bool))


def make_still(protocol: EvaluationProtocol) -> PointPredictor:
    """Returns the predictor of points that stay where they were asked for."""
    return still_points


def carry_points(
    images: Iterator[UInt8[np.ndarray, "h w 3"]], queries: Float64[np.ndarray, "q 3"], make_mover: Callable[[], Mover]
) -> Tracks:
    """Returns the tracks of points carried from frame to frame.

    Args:
        images: RGB frames.
        queries: (t, x, y) of every point: frame among `images`, then pixels.
        make_mover: Makes what carries places from one picture to another.

    Raises:
        SettingsError: if OpenCV is not installed.
    """
    move = make_mover()
    import cv2

    greys = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images]
    tracks = np.repeat(queries[:, None, 1:].astype(np.float32), len(greys), axis=1)
    visible = np.ones(tracks.shape[:2], bool)
    starts = queries[:, 0].astype(int)
    for steps in (range(1, len(greys)), range(len(greys) - 2, -1, -1)):
        for time in steps:
            before = time - steps.step
            going = starts < time if steps.step > 0 else starts > time
            if not going.any():
                continue
            places = tracks[going, before] - 0.5
            moved = move(greys[before], greys[time], places)
            returned = move(greys[time], greys[before], moved)
            good = np.linalg.norm(returned - places, axis=1) <= TOLERANCE
            tracks[going, time] = moved + 0.5
            # Once lost, a point stays lost: nothing tells that what is carried on is still the same.
            visible[going, time] = visible[going, before] & good & _inside(moved, greys[time].shape)
    return Tracks(tracks, visible)


def lucas_kanade() -> Mover:
    """Returns what carries places by pyramidal Lucas-Kanade."""
    cv2 = _opencv()
    window = (PATCH, PATCH)

    def move(first: Grey, second: Grey, places: Places) -> Places:
        moved, _, _ = cv2.calcOpticalFlowPyrLK(
            first, second, places[:, None].astype(np.float32), None, winSize=window, maxLevel=LEVELS
        )
        return np.asarray(moved[:, 0])

    return move


def dense_flow() -> Mover:
    """Returns what carries places by dense inverse search."""
    estimate = flow_estimator(FLOW_BASELINES["dis"])

    def move(first: Grey, second: Grey, places: Places) -> Places:
        x, y = (places[None, :, axis].astype(np.float32) for axis in (0, 1))
        return np.asarray(places + fetched(estimate(first, second), x, y)[0])

    return move


def _inside(places: Places, shape: tuple[int, ...]) -> Bool[np.ndarray, " n"]:
    """Returns which places are in the picture."""
    return np.asarray(((places >= -0.5) & (places <= np.array([shape[1], shape[0]]) - 0.5)).all(1))


def _opencv() -> Any:
    flow_estimator(FLOW_BASELINES["dis"])  # says how to install OpenCV where it is missing
    import cv2

    return cv2


def _make(mover: Callable[[], Mover], protocol: EvaluationProtocol) -> PointPredictor:
    return partial(carry_points, make_mover=mover)


_PIXELS = MakeJob(PointModel, "tiny", PointSettings(preset="pixels"), "cpu")
BASELINES = {
    each.name: each
    for each in (
        Baseline("still", "points", make_still),
        Baseline("pixels", "points", _PIXELS, asdict(get_point_preset("pixels"))),
        Baseline("lucas-kanade", "points", partial(_make, lucas_kanade), {"tolerance": TOLERANCE}),
        Baseline("chained-dis", "points", partial(_make, dense_flow), {"tolerance": TOLERANCE}),
    )
}
