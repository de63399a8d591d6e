"""Point tracking: points are followed from the frame they are given on, over the whole video."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.files import Finding, folder_remedy, frame_findings
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.task import BenchmarkTask, Images, Measurement
from undertow.benchmarks.points.sample import PointSample, Tracks, back_again, mask_problem, read_tracks, write_tracks
from undertow.metrics.badja import BadjaCounts, count_badja
from undertow.metrics.tapvid import (
    THRESHOLDS,
    QueryMode,
    TapVidCounts,
    VideoAverages,
    count_tapvid,
    evaluated_frames,
    near_points,
    scale_points,
)


class PointEvaluator:
    """Scores one sample, whose tracks come all at once."""

    def __init__(self, sample: PointSample, rules: str, shown: Sequence[int]) -> None:
        self._sample, self._rules, self._shown = sample, rules, list(shown)
        self._queries = sample.queries(rules, self._shown)
        self._prediction: Tracks | None = None

    def update(self, index: int, prediction: Tracks) -> Mapping[str, float]:
        """Takes the tracks of all points.

        Raises:
            SettingsError: if they are not of the sample's queries and frames.
        """
        count, length = self._queries.occluded.shape
        self._prediction = prediction.check(count, length, f"the prediction for '{self._sample.name}'")
        counts = self._counts().video()
        return {name: float(value) for name, value in counts.named().items() if name in ("average_jaccard", "pck")}

    def result(self) -> Measurement:
        """Returns the counts of which all scores are ratios, and the share of points near the truth by frame."""
        counts = self._counts()
        return Measurement(
            tuple(self._sample.frames[index] for index in self._shown),
            {"all": {"delta_avg": self._over_time()}},
            {field.name: getattr(counts, field.name).sum(axis=0) for field in fields(counts)} | self._returns(),
            {"queries": len(self._queries.source), "points": len(self._sample.tracks)},
        )

    def _returns(self) -> dict[str, np.ndarray]:
        """Returns how many points are back after having been hidden, and how many of them are near by threshold.

        Joints of BADJA are hidden wherever nobody annotated them, so that nothing is known of their returns.
        """
        if self._rules == "badja":
            return {}
        pred, queries, size = self._answer(), self._queries, self._sample.size[::-1]
        starts = queries.points[:, 0].astype(np.int64)
        back = back_again(~queries.occluded, starts)
        if self._rules == "queries-at-0":
            back &= (starts == 0)[:, None]
        near = near_points(scale_points(pred.tracks, size), scale_points(queries.tracks, size))
        return {"back": np.asarray(back.sum()), "back_within": near[back].sum(axis=0)}

    def _counts(self) -> TapVidCounts | BadjaCounts:
        pred, queries = self._answer(), self._queries
        width, height = self._sample.size[::-1]
        if self._rules == "badja":
            starts = queries.points[:, 0].astype(np.int64)
            areas = self._sample.areas(self._shown)
            return count_badja(pred.tracks, queries.tracks, ~queries.occluded, areas, starts, (width, height))
        return count_tapvid(
            queries.points,
            queries.occluded,
            scale_points(queries.tracks, (width, height)),
            ~pred.visibility,
            scale_points(pred.tracks, (width, height)),
            self._rules,  # type: ignore[arg-type]
        )

    def _over_time(self) -> np.ndarray:
        """Returns the mean over the thresholds of the share of visible points within each, by frame; NaN if none."""
        pred, queries, size = self._answer(), self._queries, self._sample.size[::-1]
        near = near_points(scale_points(pred.tracks, size), scale_points(queries.tracks, size)).mean(-1)
        starts = queries.points[:, 0].astype(np.int64)
        mode: QueryMode = "strided" if self._rules == "strided" else "first"
        counted = evaluated_frames(starts, len(self._shown), mode) & ~queries.occluded
        if self._rules == "queries-at-0":
            counted &= (starts == 0)[:, None]
        with np.errstate(invalid="ignore"):
            return np.asarray((near * counted).sum(0) / counted.sum(0))

    def _answer(self) -> Tracks:
        if self._prediction is None:
            raise SettingsError(f"there are no tracks for '{self._sample.name}'; a method must return some")
        return self._prediction


class PointTask(BenchmarkTask[PointSample, Tracks]):
    """The task "points": results are `<sample>.npz` with the sample's queries in their order.

    `tracks` (q, t, 2) are x, y in pixels of the video as it is in the dataset; they are scaled to the 256 x 256 raster
    of the rules here. `visibility` (q, t) says where a point is seen. A method is a function of the images and of
    queries (q, 3), each (frame among the images, x, y); it returns `Tracks`, or the tuple of their arrays.
    """

    name: ClassVar[str] = "points"
    rules: ClassVar[tuple[str, ...]] = ("first", "strided", "queries-at-0", "badja")
    measures: ClassVar[tuple[str, ...]] = (
        *("delta_avg", "AJ", "OA"),
        *(f"<{threshold}" for threshold in THRESHOLDS),
        *("PCK", "<3 px"),
        "back",
    )
    whole: ClassVar[bool] = True
    layout: ClassVar[str] = "<sample>.npz"

    def asked(self, sample: PointSample, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns 0: there is one prediction for the whole video; nothing if no shown frame has a point to score."""
        count = len(sample.frames) if shown is None else len(shown)
        starts = sample.queries(rules, shown).points[:, 0]
        if rules == "queries-at-0":
            starts = starts[starts == 0]
        return [0] if count > 1 and (starts < count - 1).any() else []

    def evaluator(self, sample: PointSample, rules: str, shown: Sequence[int] | None = None) -> PointEvaluator:
        """Returns what scores the tracks of a sample on the frames shown."""
        return PointEvaluator(sample, rules, range(len(sample.frames)) if shown is None else shown)

    def check_results(self, folder: Path, sample: PointSample) -> None:
        """Raises `SettingsError` if a sample's tracks are missing."""
        path = sample.result(folder, suffix=".npz")
        if not path.is_file():
            raise SettingsError(
                f"tracks for '{sample.name}' are missing: '{path}' is no file; "
                + folder_remedy(folder, f"{sample.name}.npz", self.layout)
            )

    def kept(self, folder: Path, sample: PointSample, shown: Sequence[int]) -> bool:
        """Returns whether a folder of results has a sample's tracks."""
        return sample.result(folder, suffix=".npz").is_file()

    def read(self, folder: Path, sample: PointSample, index: int, rules: str) -> Tracks:
        """Returns the tracks of a sample, of the queries that the rules ask for."""
        path = sample.result(folder, suffix=".npz")
        return read_tracks(path, len(sample.queries(rules).source), len(sample.frames))

    def write(self, folder: Path, sample: PointSample, index: int, prediction: Tracks) -> None:
        """Writes the tracks of a sample."""
        write_tracks(sample.result(folder, suffix=".npz", links=False), prediction)

    def predict(
        self,
        sample: PointSample,
        predictor: Callable[..., Any],
        images: Images,
        shown: Sequence[int],
        rules: str = "first",
    ) -> Iterator[tuple[int, Tracks]]:
        """Yields the tracks of a predictor that takes images and queries (frame among them, x, y)."""
        queries = sample.given(rules, shown)
        answer = predictor(images, queries)
        tracks = answer if isinstance(answer, Tracks) else Tracks(*answer)
        yield 0, tracks.check(len(queries), len(shown), f"the prediction for '{sample.name}'")

    def check(self, sample: PointSample) -> Iterator[Finding]:
        """Yields frames and masks that cannot be read, and tracks that cannot be the truth."""
        yield from frame_findings(sample)
        where, visible = sample.video, ~sample.occluded
        size = np.array(sample.size[::-1], np.float64)
        broken = visible & ~np.isfinite(sample.tracks).all(-1)
        for point in np.flatnonzero(broken.any(1)):
            frame = sample.frames[int(broken[point].argmax())]
            yield Finding(where, f"point {point} of '{sample.name}' is visible but not a number on frame '{frame}'")
        with np.errstate(invalid="ignore"):
            away = visible & ((sample.tracks < -size / 2) | (sample.tracks > 1.5 * size)).any(-1)
        for point in np.flatnonzero(away.any(1)):
            frame = sample.frames[int(away[point].argmax())]
            yield Finding(
                where, f"point {point} of '{sample.name}' is visible far outside of the frame on '{frame}'", "odd"
            )
        for point in np.flatnonzero(~visible.any(1)):
            yield Finding(where, f"point {point} of '{sample.name}' is never visible and is not asked for", "odd")
        if not self.asked(sample, "first"):
            yield Finding(
                where, f"'{sample.name}' has no point that can be scored after its first visible frame", "odd"
            )
        for path in sample.truth_files():
            if (problem := mask_problem(path, sample.size)) is not None:
                yield Finding(path, problem)

    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns the plain means over videos; a video in which nothing visible was scored counts in none."""
        badja = outcomes[0].rules == "badja"
        kind: type[TapVidCounts] | type[BadjaCounts] = BadjaCounts if badja else TapVidCounts
        videos = []
        for outcome in outcomes:
            parts = {field.name: np.asarray(outcome.totals[field.name])[None] for field in fields(kind)}
            videos.append(kind(**parts).video())
        values = VideoAverages.of(video.named() for video in videos).values
        names = (
            {"PCK": "pck", "<3 px": "within_3px", "delta_avg": "delta_avg"}
            if badja
            else {"delta_avg": "average_pts_within_thresh", "AJ": "average_jaccard", "OA": "occlusion_accuracy"}
            | {f"<{threshold}": f"pts_within_{threshold}" for threshold in THRESHOLDS}
        )
        found = {name: values.get(own, float("nan")) for name, own in names.items()}
        # delta_avg of the points that were hidden and are seen again, over the videos that have such.
        returns = [each.totals for each in outcomes if float(each.totals.get("back", 0)) > 0]
        if not badja and returns:
            found["back"] = float(np.mean([np.mean(each["back_within"]) / float(each["back"]) for each in returns]))
        return found


TASK = PointTask()
