"""The task of points: what is asked for, what is accepted, and what is scored."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks.core.methods import Method, baseline_method
from undertow.benchmarks.core.runner import run_benchmark, score_folder
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.points.methods import still_points
from undertow.benchmarks.points.sample import PointSample, Tracks, read_tracks, write_tracks
from undertow.metrics.tapvid import scale_points, tapvid_metrics

HEIGHT, WIDTH, LENGTH = 48, 96, 12


@pytest.fixture
def sample(tmp_path: Path) -> PointSample:
    """A video of 12 frames with 4 points that drift, one of which enters late."""
    random = np.random.default_rng(0)
    for index in range(LENGTH):
        path = tmp_path / f"frames/{index:05d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)).save(path)
    tracks = np.repeat(random.uniform(8, 40, (4, 1, 2)), LENGTH, axis=1) + np.arange(LENGTH)[:, None] * [1.0, 0.25]
    occluded = random.random((4, LENGTH)) < 0.2
    occluded[:, 0], occluded[3, :5] = False, True
    return PointSample(
        dataset="tapvid-davis", name="a/b", video=tmp_path / "frames", size=(HEIGHT, WIDTH), tracks=tracks,
        frames=tuple(f"{index:05d}" for index in range(LENGTH)), occluded=occluded,
    )  # fmt: skip


def truth(sample: PointSample, rules: str = "first") -> Tracks:
    queries = sample.queries(rules)
    return Tracks(queries.tracks.astype(np.float32), ~queries.occluded)


@pytest.mark.parametrize("rules", ["first", "strided", "queries-at-0"])
def test_scores_are_those_of_the_evaluator(sample: PointSample, rules: Any, tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    exact = truth(sample, rules)
    pred = Tracks(
        exact.tracks + random.normal(0, 2, exact.tracks.shape).astype(np.float32),
        exact.visibility ^ (random.random(exact.visibility.shape) < 0.1),
    )
    task = get_task("points")
    task.write(tmp_path / "out", sample, 0, pred)
    (outcome,) = score_folder(tmp_path / "out", [sample], rules=rules)
    queries = sample.queries(rules)
    expected = tapvid_metrics(
        queries.points,
        queries.occluded,
        scale_points(queries.tracks, (WIDTH, HEIGHT)),
        ~pred.visibility,
        scale_points(pred.tracks, (WIDTH, HEIGHT)),
        rules,
    )
    figures = task.summarise([outcome])
    assert figures["AJ"] == pytest.approx(float(expected.average_jaccard), abs=1e-9)
    assert figures["OA"] == pytest.approx(float(expected.occlusion_accuracy), abs=1e-9)
    assert [figures[f"<{x}"] for x in (1, 2, 4, 8, 16)] == pytest.approx(expected.within.tolist(), abs=1e-9)
    assert 0 < figures["delta_avg"] == task.headline(outcome) < 1
    # Over time: the mean over thresholds of the shares, NaN where nothing counts.
    series = outcome.series["all"]["delta_avg"]
    assert len(series) == LENGTH and np.isnan(series[0]) == (rules != "strided")


def test_videos_count_once_each(sample: PointSample, tmp_path: Path) -> None:
    few = replace(sample, name="few", tracks=sample.tracks[:1], occluded=sample.occluded[:1])
    hidden = replace(sample, name="hidden", occluded=np.ones_like(sample.occluded))
    task = get_task("points")
    task.write(tmp_path, sample, 0, truth(sample))
    moved = truth(few)
    task.write(tmp_path, few, 0, Tracks(moved.tracks + 500, moved.visibility))
    outcomes = score_folder(tmp_path, [sample, few])
    assert task.summarise(outcomes)["delta_avg"] == 0.5
    assert not task.asked(hidden, "first")
    assert any("no point that can be" in each.problem for each in task.check(hidden))


def test_still_points(sample: PointSample, tmp_path: Path) -> None:
    images = iter(np.zeros((5, 8, 8, 3), np.uint8))
    tracks = still_points(images, np.array([[0.0, 3.5, 2.5], [2.0, 7.0, 1.0]]))
    assert tracks.tracks.shape == (2, 5, 2) and tracks.visibility.all()
    assert tracks.tracks[1].tolist() == [[7.0, 1.0]] * 5
    (outcome,) = run_benchmark([sample], [baseline_method("still")], tmp_path / "out", keep=True)
    figures = get_task("points").summarise([outcome])
    assert figures["<16"] > figures["<1"] and figures["OA"] < 1
    kept = read_tracks(tmp_path / "out/results/still/a/b.npz", 4, LENGTH)
    np.testing.assert_array_equal(kept.tracks[3, 0], sample.given("first")[3, 1:].astype(np.float32))
    # What is scored from the folder is what was scored in the run.
    (again,) = score_folder(tmp_path / "out/results/still", [sample])
    assert get_task("points").summarise([again]) == figures


def test_a_method_is_given_frames_and_queries(sample: PointSample, tmp_path: Path) -> None:
    seen: list[Any] = []

    def follow(images: Any, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        pictures = list(images)
        seen.extend([len(pictures), pictures[0].shape, queries.copy()])
        places = np.repeat(queries[:, None, 1:], len(pictures), axis=1)
        return places, np.ones(places.shape[:2], bool)

    method = Method("follow", lambda protocol: follow, {}, "points")
    (outcome,) = run_benchmark([sample], [method], tmp_path, "lab")
    # Every third frame: the late point enters on the third of those.
    assert seen[:2] == [4, (HEIGHT, WIDTH, 3)] and seen[2][3, 0] in (2, 3)
    np.testing.assert_array_equal(seen[2][0, 1:], sample.tracks[0, 0])
    assert outcome.frames == ("00000", "00003", "00006", "00009")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda q: (np.zeros((4, LENGTH - 1, 2)), np.ones((4, LENGTH), bool)), r"'tracks' of shape \(4, 11, 2\)"),
        (lambda q: (np.zeros((4, LENGTH, 2)), np.ones((3, LENGTH), bool)), r"'visibility' of shape \(3, 12\)"),
        (lambda q: (np.full((4, LENGTH, 2), np.nan), np.ones((4, LENGTH), bool)), "no finite 'tracks' for point 0"),
        (lambda q: (np.zeros((4, LENGTH, 2), "S3"), np.ones((4, LENGTH), bool)), "'tracks' of type"),
        (lambda q: (np.zeros((4, LENGTH, 2)), np.ones((4, LENGTH))), "'visibility' of type float64"),
    ],
)
def test_wrong_answers_are_named(
    sample: PointSample, answer: Callable[[Any], Any], message: str, tmp_path: Path
) -> None:
    method = Method("wrong", lambda protocol: lambda images, queries: answer(queries), {}, "points")
    with pytest.raises(SettingsError, match=message):
        run_benchmark([sample], [method], tmp_path)


def store(path: Path, **arrays: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **arrays)


def cut(path: Path, sample: PointSample) -> None:
    write_tracks(path, truth(sample))
    path.write_bytes(path.read_bytes()[:-30])


def garble(path: Path, sample: PointSample) -> None:
    write_tracks(path, truth(sample))
    data = bytearray(path.read_bytes())
    data[120:160] = bytes(40)
    path.write_bytes(bytes(data))


BROKEN: dict[str, tuple[Callable[[Path, PointSample], None], str]] = {
    "missing": (lambda path, sample: None, "tracks for 'a/b' are missing"),
    "text": (lambda path, sample: path.write_text("tracks"), "not a readable .npz"),
    "empty": (lambda path, sample: path.write_bytes(b""), "not a readable .npz"),
    "cut": (cut, "not a readable .npz"),
    "garbled": (garble, "not a readable .npz"),
    "one array": (lambda path, sample: store(path, tracks=truth(sample).tracks), "no array 'visibility'"),
    "frames": (lambda path, sample: store(path, tracks=np.zeros((4, 3, 2)), visibility=np.ones((4, 3), bool)),
               r"shape \(4, 3, 2\); 4 points on 12 frames need \(4, 12, 2\)"),
    "objects": (lambda path, sample: store(path, tracks=np.zeros((4, LENGTH, 2), object), visibility=np.ones(3)),
                "'tracks' of type object"),
    "nan": (lambda path, sample: store(path, tracks=np.full((4, LENGTH, 2), np.inf),
                                       visibility=np.ones((4, LENGTH), bool)), "no finite 'tracks'"),
    "confidence": (lambda path, sample: store(path, tracks=np.zeros((4, LENGTH, 2)),
                                              visibility=np.ones((4, LENGTH), bool), confidence=np.zeros(4)),
                   r"'confidence' of shape \(4,\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_named(name: str, sample: PointSample, tmp_path: Path) -> None:
    damage, message = BROKEN[name]
    path = tmp_path / "out/a/b.npz"
    path.parent.mkdir(parents=True)
    damage(path, sample)
    with pytest.raises(SettingsError, match=message):
        score_folder(tmp_path / "out", [sample])


def test_a_huge_declared_array_is_not_read(sample: PointSample, tmp_path: Path) -> None:
    """The header is judged before numpy makes room for what it declares."""
    import io
    import zipfile

    from numpy.lib import format as npy

    header = io.BytesIO()
    npy.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 12, 2)})
    path = tmp_path / "a/b.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tracks.npy", header.getvalue())
        archive.writestr("visibility.npy", header.getvalue())
    with pytest.raises(SettingsError, match=r"'tracks' of shape \(1099511627776, 12, 2\)"):
        score_folder(tmp_path, [sample])


def test_files_of_tracks_are_the_same_each_time(sample: PointSample, tmp_path: Path) -> None:
    exact = replace_confidence(truth(sample))
    for name in ("one.npz", "two.npz"):
        write_tracks(tmp_path / name, exact)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    found = read_tracks(tmp_path / "one.npz", 4, LENGTH)
    np.testing.assert_array_equal(found.tracks, exact.tracks)
    np.testing.assert_array_equal(found.visibility, exact.visibility)
    assert found.confidence is not None and found.confidence.dtype == np.float32


def replace_confidence(tracks: Tracks) -> Tracks:
    return Tracks(tracks.tracks, tracks.visibility, np.full(tracks.visibility.shape, 0.5, np.float32))


def test_rules_decide_what_a_method_is_given(sample: PointSample) -> None:
    task = get_task("points")
    for rules, count in (("first", 4), ("strided", len(sample.given("strided")))):
        with sample.open() as video:
            images = (frame.image for frame in video)
            ((index, tracks),) = task.predict(sample, still_points, images, range(LENGTH), rules)
        assert (index, tracks.tracks.shape) == (0, (count, LENGTH, 2))
    assert len(sample.given("strided")) > 4
