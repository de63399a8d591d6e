import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.benchmarks.core.datasets import open_dataset, select_samples


def test_folders_layout(folders: Path) -> None:
    (folders / "davis-notes").mkdir()
    one, two = open_dataset("davis", folders)
    assert (one.dataset, one.name, one.ids, two.name, two.ids) == ("davis-folders", "one", (1,), "two", (1, 2))
    assert (one.size, one.frames[:2], len(two.frames)) == ((48, 64), ("00000", "00001"), 7)
    assert one.load_mask(2)[10, 10] == 1 and two.load_mask(0)[30, 45] == 2


def test_standard_tree_of_2017(make_tree: Callable[[str], Path]) -> None:
    root = make_tree("2017")
    sequences = open_dataset("davis", root)
    assert [(each.name, each.dataset, each.ids) for each in sequences] == [
        ("swan", "davis-2017", (1, 2)),
        ("bear", "davis-2017", (1, 2)),
    ]
    assert [each.name for each in open_dataset("davis-2017", root, split="train")] == ["bear"]


def test_2016_counts_all_objects_as_one(make_tree: Callable[[str], Path]) -> None:
    sequence = open_dataset("davis", make_tree("2016"))[0]
    assert (sequence.dataset, sequence.ids, sequence.merged) == ("davis-2016", (1,), True)
    assert set(np.unique(sequence.load_mask(0))) == {0, 1}
    assert (sequence.load_mask(0) == 1).sum() == 2 * 16 * 20


def test_2016_reads_black_and_white_stored_as_colour(make_tree: Callable[[str], Path]) -> None:
    root = make_tree("2016")
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[4:9, 5:9] = 255
    Image.fromarray(mask).save(root / "Annotations/480p/bear/00001.png")
    bear = open_dataset("davis-2016", root)[1]
    assert (bear.load_mask(1) == (mask[..., 0] > 0)).all()


def test_the_first_release_lists_files(make_tree: Callable[[str], Path]) -> None:
    root = make_tree("2016")
    shutil.rmtree(root / "ImageSets/2016")
    (root / "ImageSets/480p").mkdir()
    lines = [f"/JPEGImages/480p/bear/{i:05d}.jpg /Annotations/480p/bear/{i:05d}.png" for i in range(5)]
    (root / "ImageSets/480p/val.txt").write_text("\n".join(lines) + "\n")
    assert [each.name for each in open_dataset("davis", root)] == ["bear"]


def test_sparse_annotations(folders: Path) -> None:
    for step in (1, 2, 4):
        (folders / f"davis-two/masks/{step:05d}.png").unlink()
    assert sorted(open_dataset("davis", folders)[1].masks) == ["00000", "00003", "00005", "00006"]


def test_fingerprint_follows_the_content(folders: Path) -> None:
    before = open_dataset("davis", folders)[0].fingerprint()
    assert open_dataset("davis", folders)[0].fingerprint() == before
    mask = folders / "davis-one/masks/00003.png"
    shutil.copy(folders / "davis-one/masks/00002.png", mask)
    after = open_dataset("davis", folders)[0].fingerprint()
    assert after != before
    shutil.copy(folders / "davis-one/frames/00002.jpg", folders / "davis-one/frames/00003.jpg")
    assert open_dataset("davis", folders)[0].fingerprint() not in (before, after)


def break_masks(root: Path) -> None:
    shutil.rmtree(root / "davis-one/masks")


def break_first(root: Path) -> None:
    (root / "davis-one/masks/00000.png").unlink()


def break_names(root: Path) -> None:
    (root / "davis-one/masks/00005.png").rename(root / "davis-one/masks/last.png")


def break_count(root: Path) -> None:
    for step in range(2, 6):
        (root / f"davis-one/masks/{step:05d}.png").unlink()


def break_objects(root: Path) -> None:
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / "davis-one/masks/00000.png")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_masks, r"'one' has no annotations: '.*davis-one/masks' is missing"),
        (break_first, r"no annotation of its first frame: '.*00000\.png'"),
        (break_names, r"annotation '.*last\.png' but no frame of that name"),
        (break_count, r"'one' has 2 annotated frames .* give 3 or more"),
        (break_objects, r"no object in its first annotation '.*00000\.png'"),
    ],
)
def test_broken_sequences(folders: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(folders)
    with pytest.raises(SettingsError, match=message):
        open_dataset("davis", folders)


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("Annotations", r"not a DAVIS tree: '.*Annotations/480p' is missing"),
        ("ImageSets/2017/val.txt", r"no list of sequences: '.*ImageSets/2017/val\.txt' is missing"),
        ("JPEGImages/480p/bear", r"'bear' has no frames: '.*JPEGImages/480p/bear' is missing"),
        ("Annotations/480p/swan", r"'swan' has no annotations: '.*Annotations/480p/swan' is missing"),
    ],
)
def test_broken_trees(make_tree: Callable[[str], Path], missing: str, message: str) -> None:
    root = make_tree("2017")
    path = root / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    with pytest.raises(SettingsError, match=message):
        open_dataset("davis", root)


def test_empty_list(make_tree: Callable[[str], Path]) -> None:
    root = make_tree("2017")
    (root / "ImageSets/2017/val.txt").write_text("\n")
    with pytest.raises(SettingsError, match="is empty"):
        open_dataset("davis", root)


def test_wrong_places(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is not a DAVIS dataset: it has neither JPEGImages nor"):
        open_dataset("davis", tmp_path)
    with pytest.raises(SettingsError, match="has no folder davis-<sequence>"):
        open_dataset("davis-folders", tmp_path)
    with pytest.raises(SettingsError, match="does not exist"):
        open_dataset("davis", tmp_path / "nowhere")
    with pytest.raises(SettingsError, match="'youtube' is not one of davis, "):
        open_dataset("youtube", tmp_path)


def test_selected_sequences(folders: Path) -> None:
    sequences = open_dataset("davis", folders)
    assert select_samples(sequences, []) == sequences
    assert select_samples(sequences, ["two", "one"]) == sequences
    assert [each.name for each in select_samples(sequences, ["two"])] == ["two"]
    with pytest.raises(SettingsError, match="'three' is not one of one, two"):
        select_samples(sequences, ["two", "three"])


@pytest.mark.shared_data
def test_real_sequences_open(shared_data: Path) -> None:
    sequences = open_dataset("davis", shared_data)
    assert all(sequence.ids and len(sequence.masks) == len(sequence.frames) >= 40 for sequence in sequences)
