"""Datasets of points in their real layouts: they open, are checked, and their own truth scores best."""

import io
import json
import os
import pickle
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.benchmarks.core.datasets import check_dataset, get_dataset, open_dataset
from undertow.benchmarks.core.runner import score_folder
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.points import worlds as world_points
from undertow.benchmarks.points.sample import PointSample, Tracks, write_tracks
from undertow.masks import read_label_map
from undertow.world import WorldClip

HEIGHT, WIDTH, LENGTH, POINTS = 24, 32, 7, 5


def entry(seed: int, encoded: bool = False) -> dict[str, Any]:
    """One video with points that drift to the right, two of them hidden for a while, one until frame 2."""
    random = np.random.default_rng(seed)
    video = random.integers(0, 255, (LENGTH, HEIGHT, WIDTH, 3), np.uint8)
    points = np.repeat(random.uniform(0.1, 0.6, (POINTS, 1, 2)), LENGTH, axis=1).astype(np.float32)
    points[..., 0] += 0.05 * np.arange(LENGTH, dtype=np.float32)
    occluded = np.zeros((POINTS, LENGTH), bool)
    occluded[0, :2] = occluded[1, 3:5] = True
    return {"video": [jpeg(frame) for frame in video] if encoded else video, "points": points, "occluded": occluded}


def jpeg(frame: np.ndarray) -> bytes:
    data = io.BytesIO()
    Image.fromarray(frame).save(data, format="JPEG")
    return data.getvalue()


def write_pickle(path: Path, value: Any, protocol: int = 4) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value, protocol))


def davis(root: Path) -> None:
    write_pickle(root / "tapvid_davis/tapvid_davis.pkl", {"goat": entry(0), "car-turn": entry(1)})


def rgb_stacking(root: Path) -> None:
    write_pickle(root / "tapvid_rgb_stacking.pkl", [entry(0), entry(1)], 3)


def kinetics(root: Path) -> None:
    for shard in range(2):
        rows = [entry(2 * shard, True), entry(2 * shard + 1, True)]
        write_pickle(root / f"tapvid_kinetics/{shard:04d}_of_0010.pkl", rows, 5)


def robotap(root: Path) -> None:
    for shard in range(2):
        write_pickle(root / f"robotap/robotap_split{shard}.pkl", {f"sort_{shard}": entry(shard)}, 2)


def write_frames(folder: Path, masks: Path, suffix: str = ".jpg") -> None:
    for path in (folder, masks):
        path.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(entry(3)["video"]):
        Image.fromarray(frame).save(folder / f"{index:05d}{suffix}")
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[4:20, 4:24] = 255
        Image.fromarray(mask).save(masks / f"{index:05d}.png")


def badja(root: Path) -> None:
    frames, masks = (f"DAVIS/{kind}/Full-Resolution/bear" for kind in ("JPEGImages", "Annotations"))
    write_frames(root / frames, root / masks)
    rows = [
        {
            "image_path": f"{frames}/{index:05d}.jpg",
            "segmentation_path": f"{masks}/{index:05d}.png",
            "joints": [[10, 5 + index], [0, 0], [12, 6 + index]],
            "visibility": [True, False, index > 0],
        }
        for index in (0, 3, 6)
    ]
    (root / "joint_annotations").mkdir()
    for name in ("bear", "rs_dog"):
        (root / f"joint_annotations/{name}.json").write_text(json.dumps(rows))


def badja_folders(root: Path) -> None:
    write_frames(root / "davis-cow/frames", root / "davis-cow/masks")
    places = {str(index): [5.0 + index, 10.0] for index in (0, 3, 6)}
    facts = {"annotated_frames": [0, 3, 6], "tracks": [{"joint": 1, "visible": places}]}
    (root / "davis-cow/points.json").write_text(json.dumps(facts))


LAYOUTS: dict[str, tuple[Callable[[Path], None], list[str]]] = {
    "tapvid-davis": (davis, ["goat", "car-turn"]),
    "tapvid-rgb-stacking": (rgb_stacking, ["00000", "00001"]),
    "tapvid-kinetics": (kinetics, [f"{shard}_of_0010/{i}" for shard in ("0000", "0001") for i in ("00000", "00001")]),
    "robotap": (robotap, ["robotap_split0/sort_0", "robotap_split1/sort_1"]),
    "badja": (badja, ["bear"]),
    "badja-folders": (badja_folders, ["cow"]),
}


def write_truth(sample: PointSample, rules: str, out: Path, move: float = 0.0, flip: bool = False) -> None:
    queries = sample.queries(rules)
    tracks = np.nan_to_num(queries.tracks).astype(np.float32) + np.float32(move)
    write_tracks(out / f"{sample.name}.npz", Tracks(tracks, queries.occluded if flip else ~queries.occluded))


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_open_and_their_truth_scores_best(name: str, tmp_path: Path) -> None:
    write, names = LAYOUTS[name]
    root = tmp_path / "data"
    root.mkdir()
    write(root)
    samples = open_dataset(name, root)
    assert [sample.name for sample in samples] == names
    assert not [found for found in check_dataset(name, root) if found.severity == "error"]
    task = get_task("points")
    for rules in get_dataset(name).rules:
        out = tmp_path / rules
        for sample in samples:
            write_truth(sample, rules, out)
        outcomes = score_folder(out, samples, rules=rules)
        figures = task.summarise(outcomes)
        assert set(figures.values()) == {1.0} and set(figures) <= set(task.measures)
        assert [task.headline(outcome) for outcome in outcomes] == [1.0] * len(samples)
        for sample in samples:
            write_truth(sample, rules, out, move=3.0, flip=True)
        worse = task.summarise(score_folder(out, samples, rules=rules))
        assert all(worse[measure] < 1 for measure in worse if measure != "PCK")


def test_pixels_and_frames_of_a_pickle(tmp_path: Path) -> None:
    davis(tmp_path)
    sample = open_dataset("tapvid-davis", tmp_path)[0]
    assert isinstance(sample, PointSample)
    assert (sample.size, sample.frames[-1], sample.tracks.shape) == ((HEIGHT, WIDTH), "00006", (POINTS, LENGTH, 2))
    truth = entry(0)
    np.testing.assert_array_equal(sample.tracks, truth["points"] * np.array([WIDTH, HEIGHT]))
    with sample.open() as video:
        np.testing.assert_array_equal(video[4], truth["video"][4])
    given = sample.given("first")
    assert given[0].tolist() == [2.0, *sample.tracks[0, 2].tolist()] and given[1, 0] == 0
    assert len(sample.given("strided")) == 4 + 5
    # Only every third frame is shown: frames are counted among those.
    assert sample.given("first", range(0, LENGTH, 3))[0, 0] == 1


def test_frames_as_encoded_pictures(tmp_path: Path) -> None:
    kinetics(tmp_path)
    first, second, *_ = open_dataset("tapvid-kinetics", tmp_path)
    with first.open() as video:
        assert video.name_of(3) == "00003" and len(video) == LENGTH
        assert np.abs(video[3].astype(int) - np.asarray(Image.open(io.BytesIO(entry(0, True)["video"][3])))).max() == 0
    assert first.fingerprint() != second.fingerprint() == open_dataset("tapvid-kinetics", tmp_path)[1].fingerprint()


def test_fingerprint_follows_the_truth(tmp_path: Path) -> None:
    davis(tmp_path)
    sample = open_dataset("tapvid-davis", tmp_path)[0]
    moved = replace(sample, tracks=sample.tracks + np.where(sample.occluded, 9, 0)[..., None])
    assert moved.fingerprint() == sample.fingerprint()
    assert replace(sample, tracks=sample.tracks + 1).fingerprint() != sample.fingerprint()


def test_joints_are_rows_and_columns(tmp_path: Path) -> None:
    badja(tmp_path)
    (sample,) = open_dataset("badja", tmp_path)
    assert isinstance(sample, PointSample)
    assert sample.tracks[0, 3].tolist() == [8.5, 10.5]
    assert sample.occluded.tolist()[0] == [False, True, True, False, True, True, False]
    assert sample.occluded[1].all() and sample.given("badja")[:, 0].tolist() == [0, 3]
    assert sample.areas([0, 1, 3]).tolist() == [320, 0, 320]
    assert [each.name for each in open_dataset("badja", tmp_path, "all")] == ["bear", "rs_dog"]
    odd = [found.problem for found in check_dataset("badja", tmp_path, "all")]
    assert odd == ["point 1 of 'bear' is never visible and is not asked for",
                   "point 1 of 'rs_dog' is never visible and is not asked for"]  # fmt: skip


def changed(root: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    broken = entry(1)
    change(broken)
    write_pickle(root / "tapvid_davis/tapvid_davis.pkl", {"goat": entry(0), "broken": broken})


def change(name: str, value: Any) -> Callable[[Path], None]:
    return lambda root: changed(root, lambda each: each.__setitem__(name, value))


def nan_points(root: Path) -> None:
    changed(root, lambda each: each["points"].__setitem__((2, 3), np.nan))


def far_points(root: Path) -> None:
    changed(root, lambda each: each["points"].__setitem__((2, 3), 4.0))


class Trap:
    def __reduce__(self) -> Any:
        return os.system, ("touch trapped",)


def cut_pickle(root: Path) -> None:
    path = root / "tapvid_davis/tapvid_davis.pkl"
    path.write_bytes(path.read_bytes()[:3000])


BROKEN: dict[str, tuple[Callable[[Path], None], str, str]] = {
    "malicious": (change("video", Trap()), "it asks for 'posix.system'", "error"),
    "cut off": (cut_pickle, "bytes where .* are left", "error"),
    "no array": (change("points", [1, 2]), "has a list as 'points' where an array should be", "error"),
    "objects": (change("points", np.array([None])), "array of Python objects", "error"),
    "wrong axes": (change("points", np.zeros((5, 7, 3), np.float32)), r"points of shape \(5, 7, 3\)", "error"),
    "integers": (change("points", np.zeros((5, 7, 2), np.int32)), "they should be .* floats", "error"),
    "frames": (change("video", entry(0)["video"][:4]), "has 4 frames and flags on 7", "error"),
    "no frames": (change("video", []), "has no frames", "error"),
    "no pictures": (change("video", [b"no"] * 7), "cannot be decoded", "error"),
    "text": (change("video", "frames"), "a str where frames should be", "error"),
    "late picture": (
        change("video", [*entry(0, True)["video"][:6], b"no picture"]), "frame 6 of .* cannot be decoded", "error",
    ),
    "nan": (nan_points, "point 2 of 'broken' is visible but not a number on frame '00003'", "error"),
    "far": (far_points, "point 2 of 'broken' is visible far outside of the frame", "odd"),
    "hidden": (change("occluded", np.ones((5, 7), bool)), "has no point that can be scored", "odd"),
    "missing key": (lambda root: changed(root, lambda each: each.pop("occluded")), "is no dictionary", "error"),
    "empty": (lambda root: write_pickle(root / "tapvid_davis/tapvid_davis.pkl", {}), "holds no videos", "error"),
    "a name that climbs": (
        lambda root: write_pickle(root / "tapvid_davis/tapvid_davis.pkl", {"../x": entry(0)}), "leads out of",
        "error",
    ),
    "no file": (lambda root: (root / "tapvid_davis/tapvid_davis.pkl").unlink(), "has no tapvid_davis.pkl", "error"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_pickles_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    davis(tmp_path)
    damage, message, severity = BROKEN[name]
    damage(tmp_path)
    found = list(check_dataset("tapvid-davis", tmp_path))
    assert not (tmp_path / "trapped").exists()
    assert re.search(message, " | ".join(each.problem for each in found if each.severity == severity))


def rows_of(root: Path) -> Any:
    return json.loads((root / "joint_annotations/bear.json").read_text())


def edit(root: Path, **facts: Any) -> None:
    rows = rows_of(root)
    rows[1].update(facts)
    (root / "joint_annotations/bear.json").write_text(json.dumps(rows))


MASK = "DAVIS/Annotations/Full-Resolution/bear/00003.png"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda root: (root / "joint_annotations/bear.json").write_text("[{"), "bear.json' is not JSON"),
        (lambda root: (root / "joint_annotations/bear.json").write_text("[]"), "is no list of annotated frames"),
        (lambda root: edit(root, joints=[[1, 2]]), "of one length"),
        (lambda root: edit(root, image_path="/etc/passwd"), "names '/etc/passwd', which leads out"),
        (lambda root: edit(root, segmentation_path="../x.png"), "which leads out"),
        (lambda root: edit(root, image_path=MASK.replace("00003", "00009")), "annotates frame '00009'"),
        (lambda root: (root / MASK).unlink(), "no mask of frame '00003'"),
        (lambda root: (root / MASK).write_bytes(b"\x89PNG"), "00003.png"),
        (lambda root: Image.new("L", (5, 5), 255).save(root / MASK), "is 5x5 but the video is 32x24"),
        (lambda root: Image.new("L", (WIDTH, HEIGHT)).save(root / MASK), "the mask is empty"),
        (lambda root: (root / "joint_annotations/bear.json").unlink(), "has 0 samples where the published one has 7"),
    ],
)  # fmt: skip
def test_broken_joints_are_named(damage: Callable[[Path], Any], message: str, tmp_path: Path) -> None:
    badja(tmp_path)
    damage(tmp_path)
    problems = " | ".join(found.problem for found in check_dataset("badja", tmp_path))
    assert re.search(message, problems)


def test_points_of_worlds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from undertow.benchmarks.core import worlds

    clips = (WorldClip("plain-00", "plain", 7, 6, 48, 64),)
    monkeypatch.setattr(worlds, "SUITES", {"world-easy": clips})
    (sample,) = open_dataset("world-easy-points", tmp_path)
    assert isinstance(sample, PointSample)
    assert sample.tracks.shape[1:] == (6, 2) and len(sample.tracks) == 32 and not list(
        check_dataset("world-easy-points", tmp_path)
    )  # fmt: skip
    tracks, visible = world_points.clip_tracks(clips[0])
    np.testing.assert_array_equal(sample.tracks, tracks.astype(np.float64))
    # Every point lies on an object of the frame it was picked on.
    labels = clips[0].scene().labels(0.0)
    columns, rows = np.floor(sample.tracks[:16, 0]).astype(int).T
    assert visible[:16, 0].all() and (labels[rows, columns] > 0).all()
    columns, rows = np.floor(sample.tracks[24:, 0]).astype(int).T
    assert visible[24:, 0].all() and (labels[rows, columns] == 0).all()
    path = tmp_path / "world-easy/plain-00/points.npz"
    before = path.read_bytes()
    path.write_bytes(before[:100])
    open_dataset("world-easy-points", tmp_path)
    assert path.read_bytes() == before


@pytest.mark.shared_data
def test_real_joints(shared_data: Path) -> None:
    samples = open_dataset("badja-folders", shared_data)
    assert [sample.name for sample in samples] == ["camel", "cows", "dog"]
    assert not list(check_dataset("badja-folders", shared_data))
    for sample in samples:
        # The annotators clicked on the animal: nearly every joint lies in its mask.
        hits = []
        for index, frame in enumerate(sample.frames):
            columns, rows = np.floor(sample.tracks[~sample.occluded[:, index], index]).astype(int).T
            hits += list(read_label_map(sample.masks[frame])[rows, columns] > 0) if columns.size else []
        assert np.mean(hits) > 0.8, sample.name
