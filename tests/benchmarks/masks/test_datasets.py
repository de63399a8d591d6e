import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError, UndertowError
from undertow.benchmarks.core.datasets import check_dataset, open_dataset
from undertow.benchmarks.core.runner import score_folder
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.masks import object_ids, write_label_map

Layout = Callable[[str], tuple[str, Path, str | None]]


def open_masks(name: str, root: Path, split: str | None = None) -> MaskSample:
    sample = open_dataset(name, root, split)[0]
    assert isinstance(sample, MaskSample)
    return sample


def problems(name: str, root: Path, split: str | None = None) -> list[str]:
    found = [f"{each.where}: {each.problem}" for each in check_dataset(name, root, split)]
    return [each for each in found if "the published one has" not in each]


def test_youtube_vos_says_where_objects_start_and_count(layout: Layout) -> None:
    _, root, _ = layout("youtube-vos-2018")
    train, valid = (open_masks("youtube-vos-2018", root, split) for split in ("train", "valid"))
    for sample in (train, valid):
        assert (sample.name, sample.ids, sample.starts) == ("0a1b", (1, 2), {1: 0, 2: 2})
        assert sample.asked == {1: (1, 2, 3, 4, 5), 2: (3, 4)}
        assert sample.groups == {1: "seen", 2: "unseen"}
        assert {index: object_ids(labels) for index, labels in sample.cues().items()} == {0: [1], 2: [2]}
    assert (train.private, valid.private) == (False, True)
    # The split's own folder will do, too.
    assert open_masks("youtube-vos-2019", root / "valid").dataset == "youtube-vos-2019"


def test_private_truth_is_not_scored_but_can_be_predicted(layout: Layout) -> None:
    _, root, _ = layout("youtube-vos-2018")
    sample, task = open_masks("youtube-vos-2018", root), get_task("masks")
    for refused in (task.asked, task.evaluator):
        with pytest.raises(SettingsError, match=r"kept by the server of youtube-vos-2018.*undertow bench submit"):
            refused(sample, "youtube-vos")
    with pytest.raises(SettingsError, match="kept by the server"):
        score_folder(root, [sample])
    given: dict[int, list[int]] = {}

    def predictor(images, cues):
        given.update({place: object_ids(labels) for place, labels in cues.items()})
        return (np.zeros(image.shape[:2], np.uint16) for image in images)

    with sample.open() as video:
        predictions = list(task.predict(sample, predictor, (frame.image for frame in video), range(6)))
    assert [index for index, _ in predictions] == list(range(6)) and given == {0: [1], 2: [2]}


def test_youtube_vos_scores_each_object_on_its_own_frames(layout: Layout, tmp_path: Path) -> None:
    _, root, _ = layout("youtube-vos-2018")
    sample, task = open_masks("youtube-vos-2018", root, "train"), get_task("masks")
    for index in task.asked(sample, "youtube-vos"):
        labels = sample.load_mask(index)
        # Object 2 is missed everywhere, and object 1 on the one frame on which only it counts after object 2 began.
        labels[labels == 2] = 0
        if index == 5:
            labels[:] = 0
        task.write(tmp_path / "results", sample, index, labels)
    (outcome,) = score_folder(tmp_path / "results", [sample])
    assert outcome.frames == ("00005", "00010", "00015", "00020", "00025")
    np.testing.assert_equal(outcome.series["1"]["J"], [1, 1, 1, 1, 0])
    np.testing.assert_equal(outcome.series["2"]["J"], [np.nan, np.nan, 0, 0, np.nan])
    assert outcome.facts["groups"] == {"1": "seen", "2": "unseen"}
    figures = task.summarise([outcome])
    assert {name: figures[name] for name in ("G", "J_seen", "F_seen", "J_unseen", "F_unseen")} == {
        "G": 0.4, "J_seen": 0.8, "F_seen": 0.8, "J_unseen": 0, "F_unseen": 0,
    }  # fmt: skip
    assert (figures["J&F"], task.headline(outcome)) == (0.4, 0.4)


def test_without_categories_there_is_no_overall_score(layout: Layout, tmp_path: Path) -> None:
    _, root, _ = layout("youtube-vos-2018")
    meta = json.loads((root / "train/meta.json").read_text())
    del meta["videos"]["0a1b"]["objects"]["2"]["category"]
    (root / "train/meta.json").write_text(json.dumps(meta))
    sample, task = open_masks("youtube-vos-2018", root, "train"), get_task("masks")
    for index in task.asked(sample, "youtube-vos"):
        task.write(tmp_path / "results", sample, index, sample.load_mask(index))
    figures = task.summarise(score_folder(tmp_path / "results", [sample]))
    assert np.isnan(figures["G"]) and figures["J&F"] == 1
    assert any("no category for objects of 1 videos" in each for each in problems("youtube-vos-2018", root, "train"))


def test_objects_join_where_they_first_have_a_mask(layout: Layout) -> None:
    _, root, _ = layout("pumavos")
    sample, task = open_masks("pumavos", root), get_task("masks")
    assert (sample.name, sample.ids, sample.starts) == ("caps", (1, 3), {1: 1, 3: 4})
    assert {index: object_ids(labels) for index, labels in sample.cues().items()} == {1: [1], 4: [3]}
    # The last annotated frame does not count, and no object counts where it starts.
    assert task.asked(sample, "late") == [2, 4, 6]
    evaluator = task.evaluator(sample, "late")
    for index in (2, 4, 6):
        evaluator.update(index, np.zeros(sample.size, np.uint16))
    series = evaluator.result().series
    np.testing.assert_equal(series["1"]["J"], [0, 0, 0])
    np.testing.assert_equal(series["3"]["J"], [np.nan, np.nan, 0])


def test_frames_before_the_first_mask_are_background(layout: Layout) -> None:
    _, root, _ = layout("pumavos")
    sample, task = open_masks("pumavos", root), get_task("masks")

    def predictor(images, cues):
        assert sorted(cues) == [0, 3]
        return (cues[0] for _ in images)

    with sample.open() as video:
        predictions = dict(task.predict(sample, predictor, (frame.image for frame in video), range(9)))
    assert sorted(predictions) == list(range(9))
    assert [object_ids(predictions[index]) for index in (0, 1, 8)] == [[], [1], [1]]


def test_an_object_whose_first_frame_is_not_shown_starts_on_the_next_one(layout: Layout) -> None:
    _, root, _ = layout("youtube-vos-2018")
    sample, task = open_masks("youtube-vos-2018", root, "train"), get_task("masks")
    given: dict[int, list[int]] = {}

    def predictor(images, cues):
        given.update({place: object_ids(labels) for place, labels in cues.items()})
        return (np.zeros(image.shape[:2], np.uint16) for image in images)

    shown = [0, 3, 4]
    with sample.open() as video:
        list(task.predict(sample, predictor, (video[index] for index in shown), shown))
    assert given == {0: [1], 1: [2]}
    evaluator = task.evaluator(sample, "youtube-vos", shown)
    for index in (3, 4):
        evaluator.update(index, sample.load_mask(index))
    # Given on frame 3, object 2 counts from frame 4 on.
    np.testing.assert_equal(evaluator.result().series["2"]["J"], [np.nan, 1])


def test_both_layouts_of_long_videos(tmp_path: Path, layout: Layout) -> None:
    _, root, _ = layout("long-videos")
    assert [each.name for each in open_dataset("long-videos", root)] == ["blueboy", "rat"]
    assert [each.name for each in open_dataset("long-videos", root / "long_video")] == ["blueboy", "rat"]
    sample = open_masks("long-videos", root)
    assert get_task("masks").asked(sample, "long-videos") == [4, 8]
    shutil.rmtree(root)
    _, root, _ = layout("long_video_davis")
    assert [each.name for each in open_dataset("long-videos", root)] == ["rat"]


def test_unsupervised_gives_nothing_and_takes_any_ids(layout: Layout, tmp_path: Path) -> None:
    _, root, _ = layout("davis-2017-unsupervised")
    sample, task = open_masks("davis-2017-unsupervised", root), get_task("masks")
    assert task.asked(sample, "davis-unsupervised") == [0, 1, 2, 3, 4]
    with pytest.raises(SettingsError, match="gives no first masks; score a folder of proposals"):
        sample.cues()
    swapped = np.array([0, 7, 4], np.uint16)
    for index in range(5):
        labels = np.where(sample.load_mask(index) == 65535, 0, sample.load_mask(index))
        task.write(tmp_path / "results", sample, index, swapped[labels])
    (outcome,) = score_folder(tmp_path / "results", [sample])
    assert outcome.facts["matches"] == {"1": 7, "2": 4} and outcome.combined == 1
    write_label_map(tmp_path / "results/bear/00002.png", np.full(sample.size, 21, np.uint16))
    with pytest.raises(UndertowError, match=r"00002\.png' has object 21, but at most 20 proposals"):
        score_folder(tmp_path / "results", [sample])


# Each takes the root of a tree, breaks something, and is followed by what `check` has to say.
def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def paint(path: Path, value: int, where: tuple[slice, slice] = (slice(20, 23), slice(0, 3))) -> None:
    with Image.open(path) as image:
        image.load()
        pixels = np.asarray(image).copy()
        pixels[where] = value
        painted = Image.fromarray(pixels)
        painted.putpalette(image.getpalette() or [])
    painted.save(path)


def as_rgb(path: Path) -> None:
    with Image.open(path) as image:
        converted = image.convert("RGB")
    converted.save(path)


def smaller(path: Path) -> None:
    with Image.open(path) as image:
        resized = image.resize((16, 12), Image.Resampling.NEAREST)
    resized.save(path)


def rename_id(root: Path, old: int, new: int) -> None:
    for path in sorted((root / "masks").glob("*.png")):
        with Image.open(path) as image:
            pixels = np.asarray(image).astype(np.uint16)
        pixels[pixels == old] = new
        write_label_map(path, pixels)


BROKEN = {
    "truncated PNG": (lambda k: truncate(k / "masks/00002.png"), r"00002\.png.*cannot be read"),
    "not a picture": (lambda k: (k / "masks/00002.png").write_text("mask"), r"00002\.png.*is not an image"),
    "RGB": (lambda k: as_rgb(k / "masks/00002.png"), r"00002\.png.*is RGB-coded"),
    "void": (lambda k: paint(k / "masks/00002.png", 255), r"00002\.png: some pixels are void \(255\)"),
    "extra id": (lambda k: paint(k / "masks/00002.png", 9), r"00002\.png: object 9 is not in the first annotation"),
    "wrong size": (lambda k: smaller(k / "masks/00002.png"), r"00002\.png.*is 16x12 but the video is 32x24"),
    "missing annotation": (
        lambda k: (k / "masks/00002.png").unlink(),
        r"frames '00002' have no annotation, while most",
    ),
    "missing last one": (lambda k: (k / "masks/00004.png").unlink(), r"frames '00004' have no annotation, while most"),
    "annotation without frame": (lambda k: (k / "frames/00002.jpg").unlink(), r"00002\.png' but no frame of that name"),
    "no annotations": (lambda k: [p.unlink() for p in (k / "masks").glob("*")], r"(masks' holds no PNG|first frame)"),
    "no frames": (lambda k: [p.unlink() for p in (k / "frames").glob("*")], r"frames' holds no files"),
    "no mask folder": (lambda k: shutil.rmtree(k / "masks"), r"'kite' has no annotations: '.*masks' is missing"),
    "gap in ids": (lambda k: rename_id(k, 1, 3), r"object 1 is in no annotation, though there are higher ids"),
    "empty first mask": (
        lambda k: write_label_map(k / "masks/00000.png", np.zeros((24, 32), np.uint16)),
        r"no object in its first annotation '.*00000\.png'",
    ),
    "truncated JPEG": (lambda k: truncate(k / "frames/00003.jpg"), r"00003\.jpg' cannot be read as a frame"),
    "frame of another size": (lambda k: smaller(k / "frames/00003.jpg"), r"00003\.jpg' is 16x12 but the first"),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_check_names_file_and_problem(layout: Layout, kind: str) -> None:
    _, root, _ = layout("davis-folders-parse")
    assert problems("davis-folders", root) == []
    damage, message = BROKEN[kind]
    damage(root / "davis-kite")
    found = problems("davis-folders", root)
    assert re.search(message, "; ".join(found)), found


def lose_mask(root: Path) -> None:
    (root / "train/Annotations/0a1b/00015.png").unlink()


def break_json(root: Path) -> None:
    (root / "train/meta.json").write_text('{"videos": ')


def no_json(root: Path) -> None:
    (root / "train/meta.json").unlink()


def list_json(root: Path) -> None:
    (root / "train/meta.json").write_text("[]")


def no_objects(root: Path) -> None:
    (root / "train/meta.json").write_text('{"videos": {"0a1b": {"objects": {}}}}')


def odd_objects(root: Path) -> None:
    (root / "train/meta.json").write_text('{"videos": {"0a1b": {"objects": {"first": {"frames": ["00000"]}}}}}')


def no_first(root: Path) -> None:
    (root / "train/Annotations/0a1b/00010.png").unlink()


def lost_frame(root: Path) -> None:
    for path in ("JPEGImages/0a1b/00020.jpg", "Annotations/0a1b/00020.png"):
        (root / "train" / path).unlink()


def extra_video(root: Path) -> None:
    shutil.copytree(root / "train/JPEGImages/0a1b", root / "train/JPEGImages/zzz")


def late_mask(root: Path) -> None:
    shutil.copy(root / "train/Annotations/0a1b/00000.png", root / "train/Annotations/0a1b/00010.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_json, r"meta\.json' is not JSON"),
        (no_json, r"meta\.json' cannot be read \(No such file"),
        (list_json, r"meta\.json' names no videos"),
        (no_objects, r"names no objects of '0a1b'"),
        (odd_objects, r"has object 'first'; give a whole number"),
        (no_first, r"object 2 of '0a1b' has no first mask: '.*00010\.png'"),
        (lost_frame, r"lists frame '00020' of '0a1b', which is not in"),
        (extra_video, r"zzz: is not named in meta\.json"),
        (late_mask, r"00010\.png: object 2 is not here, where it should be given"),
    ],
)
def test_broken_youtube_vos(layout: Layout, damage: Callable[[Path], None], message: str) -> None:
    _, root, _ = layout("youtube-vos-2018")
    assert problems("youtube-vos-2018", root, "train") == []
    damage(root)
    found = problems("youtube-vos-2018", root, "train")
    assert re.search(message, "; ".join(found)), found


def test_a_frame_that_lost_its_mask_makes_the_truth_private(layout: Layout) -> None:
    _, root, _ = layout("youtube-vos-2018")
    lose_mask(root)
    assert open_masks("youtube-vos-2018", root, "train").private


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("youtube-vos-2018", "val", "no split 'val'; its splits are valid, train, test"),
        ("long-videos", "val", "no split 'val', only 'all'"),
        ("mask-folders", "val", "mask-folders has no split 'val', only 'all'"),
        ("davis-2017-unsupervised", "dev", r"no list of sequences: '.*dev\.txt' is missing"),
    ],
)
def test_wrong_splits(layout: Layout, name: str, split: str, message: str) -> None:
    _, root, _ = layout(name)
    with pytest.raises(SettingsError, match=message):
        open_dataset(name, root, split)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("youtube-vos-2019", "is no YouTube-VOS tree: '.*JPEGImages' is missing"),
        ("long-videos", "has no folders JPEGImages and Annotations"),
        ("clvos", "has no folders JPEGImages and Annotations"),
        ("pumavos", "has neither JPEGImages and Annotations nor folders pumavos-<video>"),
        ("mask-folders", "has neither JPEGImages and Annotations nor folders <video>"),
        ("davis-2017-unsupervised", "is not a DAVIS tree: '.*JPEGImages/480p' is missing"),
    ],
)
def test_wrong_places(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_dataset(name, tmp_path)


def test_counts_of_a_split_that_is_not_whole(layout: Layout) -> None:
    _, root, _ = layout("youtube-vos-2018")
    found = [each.problem for each in check_dataset("youtube-vos-2018", root, "train")]
    assert "split 'train' has 1 samples where the published one has 3471" in found


@pytest.mark.shared_data
def test_real_video_with_an_object_that_joins(shared_data: Path) -> None:
    sample = open_masks("pumavos", shared_data)
    assert (sample.name, sample.ids, sample.starts, sample.annotated) == (
        "caps", (1, 2), {1: 0, 2: 33}, (0, 14, 33, 43, 66),
    )  # fmt: skip
    assert problems("pumavos", shared_data) == []
    assert get_task("masks").asked(sample, "late") == [14, 33, 43]
