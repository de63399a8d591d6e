import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.datasets import check_dataset, open_dataset
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.core.worlds import render_clip
from undertow.benchmarks.parse import posed as world_classes
from undertow.benchmarks.parse.posed import draw_classes
from undertow.benchmarks.parse.sample import SemanticSample
from undertow.benchmarks.parse.vspw import CLASSES
from undertow.masks import VOID
from undertow.world import CLASSES as CLASSES_OF_THE_WORLD
from undertow.world import WorldClip, semantic_map

Layout = Callable[[str], tuple[str, Path, str | None]]


def open_classes(name: str, root: Path, split: str | None = None) -> SemanticSample:
    sample = open_dataset(name, root, split)[0]
    assert isinstance(sample, SemanticSample)
    return sample


def problems(name: str, root: Path, split: str | None = None) -> list[str]:
    found = [f"{each.where}: {each.problem}" for each in check_dataset(name, root, split)]
    return [each for each in found if "the published one has" not in each]


def test_camvid_sorts_frames_into_videos(layout: Layout) -> None:
    _, root, _ = layout("camvid")
    assert [(each.name, len(each.frames)) for each in open_dataset("camvid", root)] == [("0016E5", 20)]
    test = open_dataset("camvid", root, "test")
    assert [(each.name, each.frames) for each in test] == [
        ("0001TP", ("0001TP_006690", "0001TP_006720")),
        ("Seq05VD", ("Seq05VD_f00000", "Seq05VD_f00030")),
    ]
    sample = open_classes("camvid", root)
    with sample.open() as video:
        assert len(video) == 20
    assert (sample.load_labels(0)[:2] == VOID).all() and sample.load_labels(0)[4, 6] == 3
    assert (sample.averaged, len(sample.classes)) == ("all", 11)


def test_camvid_with_its_own_classes(layout: Layout) -> None:
    _, root, _ = layout("camvid-32")
    sample = open_classes("camvid-32", root)
    # Every second frame from 07959 on, of 24 from 07957 on.
    assert (sample.frames[0], sample.frames[-1], len(sample.frames)) == ("0016E5_07959", "0016E5_07979", 11)
    assert len(sample.classes) == 31 and "Void" not in sample.classes
    assert [each.name for each in open_dataset("camvid-32", root, "all")] == ["0001TP", "0016E5"]
    labels = sample.load_labels(0)
    assert sample.classes[labels[0, 0]] == "Animal" and sample.classes[labels[0, 30]] == "ParkingBlock"
    # Results may be colours, as the truth is, or the numbers of the 32 classes, where Wall is 31.
    get_task("parse").write(root / "results", sample, 0, np.where(labels == 15, 30, labels).astype(np.uint16))
    with Image.open(root / f"results/0016E5/{sample.frames[0]}.png") as image:
        values = np.asarray(image)
    assert (values[0, 0], values[0, 30]) == (0, 31)
    assert sample.classes[get_task("parse").read(root / "results", sample, 0, "all-frames")[0, 30]] == "Wall"


def test_vspw_remaps_as_the_official_script(layout: Layout) -> None:
    _, root, _ = layout("vspw")
    sample = open_classes("vspw", root)
    assert (len(CLASSES), CLASSES[0], CLASSES[123]) == (124, "wall", "train")
    labels = sample.load_labels(0)
    # 0 ("others") and 255 are both void, yet not the same to the official measure of consistency.
    assert (labels[0, 0], labels[2, 0], labels[4, 0], labels[4, 30]) == (VOID, VOID - 1, 0, 15)
    assert (sample.cues()[0][:4] == 0).all() and sample.cues()[0][4, 30] == 16


def test_cityscapes_gives_away_nothing(layout: Layout) -> None:
    _, root, _ = layout("cityscapes")
    sample, task = open_classes("cityscapes", root), get_task("parse")
    assert (sample.name, len(sample.frames), sample.annotated, sample.anchors) == ("ulm_000003_000029", 30, (19,), ())
    labels = sample.load_labels(19)
    assert sample.classes[labels[0, 0]] == "road" and sample.classes[labels[0, 26]] == "car"
    assert (labels[-4:] >= VOID - 14).all()
    assert task.asked(sample, "all-frames") == [19]
    with pytest.raises(SettingsError, match="truth that may be given to a method; score a folder of results"):
        next(task.predict(sample, lambda images, cues: iter(()), iter(()), range(30)))
    with pytest.raises(SettingsError, match="rules 'anchor-majority' need a frame"):
        task.asked(sample, "anchor-majority")


def test_masks_as_classes(layout: Layout) -> None:
    _, root, _ = layout("davis-folders-parse")
    sample = open_classes("davis-folders-parse", root)
    assert (sample.task, sample.classes) == ("parse", ("background", "object 1", "object 2"))
    assert set(np.unique(sample.load_labels(0))) == {0, 1, 2} and not sample.pooled
    shutil.rmtree(root)
    _, root, _ = layout("davis-2016-parse")
    sample = open_classes("davis-2016-parse", root)
    # The third one is stored as colour.
    assert [set(np.unique(sample.load_labels(index))) for index in (0, 2)] == [{0, 1}, {0, 1}]


def test_classes_of_a_world_are_those_of_its_pictures(tmp_path: Path) -> None:
    clip = WorldClip("plain-00", "plain", 5, frames=2, height=36, width=64)
    render_clip(clip, tmp_path)
    draw_classes(clip, tmp_path)
    scene = clip.scene()
    for time in range(2):
        with Image.open(tmp_path / f"classes/{time:05d}.png") as image:
            np.testing.assert_array_equal(np.asarray(image), semantic_map(scene, scene.picture(float(time))))
    kept = (tmp_path / "classes/00000.png").stat().st_mtime_ns
    (tmp_path / "classes/00001.png").unlink()
    draw_classes(clip, tmp_path)
    assert (tmp_path / "classes/00000.png").stat().st_mtime_ns == kept
    assert (tmp_path / "classes/00001.png").is_file()


def test_a_world_of_classes_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = WorldClip("plain-00", "plain", 5, frames=3, height=36, width=64)
    monkeypatch.setattr("undertow.benchmarks.core.worlds.SUITES", {"world-easy": (clip,)})
    sample = open_classes("world-easy-classes", tmp_path)
    assert (sample.annotated, sample.size) == ((0, 1, 2), (36, 64))
    assert problems("world-easy-classes", tmp_path) == []


def test_in_late_worlds_a_class_enters_that_the_first_frame_does_not_have() -> None:
    for clip in world_classes.LATE[:2]:
        scene = clip.scene()
        numbers = np.array([0, *(CLASSES_OF_THE_WORLD.index(layer.shape.kind) for layer in scene.layers)])
        first, later = (np.bincount(numbers[scene.surfaces(time)].ravel(), minlength=20) for time in (0.0, 18.0))
        assert ((first == 0) & (later > 500)).any()


def lower_half(path: Path, value: int) -> None:
    with Image.open(path) as image:
        pixels = np.asarray(image).copy()
    pixels[12:] = value
    Image.fromarray(pixels).save(path)


NAMES = [f"{185 + step:08d}" for step in range(20)]
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (
        lambda k: (k / f"mask/{NAMES[3]}.png").write_bytes(b"\x89PNG"),
        r"00000188\.png' cannot be read",
    ),
    "unknown value": (lambda k: lower_half(k / f"mask/{NAMES[3]}.png", 200), r"00000188\.png' holds the value 200"),
    "RGB": (
        lambda k: Image.new("RGB", (32, 24)).save(k / f"mask/{NAMES[3]}.png"),
        r"00000188\.png' is RGB-coded; save it as a grey or palette PNG",
    ),
    "wrong size": (
        lambda k: Image.new("L", (16, 12), 1).save(k / f"mask/{NAMES[3]}.png"),
        r"00000188\.png' is 16x12 but the frame 32x24",
    ),
    "another kind of pixel": (
        lambda k: Image.new("LA", (32, 24)).save(k / f"mask/{NAMES[3]}.png"),
        r"00000188\.png' has pixels of type LA",
    ),
    "all void": (
        lambda k: Image.new("L", (32, 24), 255).save(k / f"mask/{NAMES[0]}.png"),
        r"00000185\.png: no pixel has a class",
    ),
    "missing label": (lambda k: (k / f"mask/{NAMES[3]}.png").unlink(), r"frames '00000188' have no annotation"),
    "missing anchor": (
        lambda k: (k / f"mask/{NAMES[0]}.png").unlink(),
        r"no labels for frame '00000185', which is given",
    ),
    "label without frame": (lambda k: (k / f"origin/{NAMES[3]}.jpg").unlink(), r"00000188\.png' but no frame of that"),
    "no labels": (lambda k: shutil.rmtree(k / "mask"), r"'10_abc' has no labels: '.*mask' is missing"),
    "empty labels": (
        lambda k: [p.unlink() for p in (k / "mask").glob("*")],
        r"has no label file for any of its 20 frames",
    ),
    "no frames": (lambda k: shutil.rmtree(k / "origin"), r"'10_abc' has no frames: '.*origin' is missing"),
    "broken frame": (
        lambda k: (k / f"origin/{NAMES[3]}.jpg").write_bytes(b"\xff\xd8"),
        r"00000188\.jpg' cannot be read",
    ),
    "no list": (lambda k: (k / "../../val.txt").unlink(), r"no list of sequences: '.*val\.txt' is missing"),
    "empty list": (lambda k: (k / "../../val.txt").write_text("\n"), r"val\.txt' is empty"),
}


@pytest.mark.parametrize("kind", list(BROKEN))
def test_check_names_file_and_problem(layout: Layout, kind: str) -> None:
    _, root, _ = layout("vspw")
    assert problems("vspw", root) == []
    damage, message = BROKEN[kind]
    damage(root / "data/10_abc")
    found = problems("vspw", root)
    assert re.search(message, "; ".join(found)), found


def test_a_snippet_that_is_not_whole(layout: Layout) -> None:
    _, root, _ = layout("cityscapes")
    (root / "leftImg8bit_sequence/val/ulm/ulm_000003_000011_leftImg8bit.png").unlink()
    with pytest.raises(SettingsError, match=r"'ulm_000003_000029' has no frame '.*000011_leftImg8bit\.png'"):
        open_dataset("cityscapes", root)


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("camvid", "valid", "no split 'valid'; its splits are val, test, train"),
        ("camvid", "train", "is no CamVid dataset: it has neither train and trainannot"),
        ("camvid-32", "test", "no split 'test'; its splits are val, all"),
        ("camvid-32", "val", r"folder of frames '.*701_StillsRaw_full' is missing"),
        ("vspw", "val", "is no VSPW tree: '.*data' is missing"),
        ("cityscapes", "test", "no split 'test' with labels"),
        ("cityscapes", "val", "is no Cityscapes tree with snippets: '.*leftImg8bit_sequence/val' is missing"),
    ],
)
def test_wrong_places(tmp_path: Path, name: str, split: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        open_dataset(name, tmp_path, split)


@pytest.mark.shared_data
def test_real_camvid(shared_data: Path) -> None:
    sample = open_classes("camvid", shared_data)
    assert (sample.name, len(sample.frames), sample.size) == ("0016E5", 101, (360, 480))
    labels = sample.load_labels(0)
    # Counted with Pillow: 15008 pixels of sky, 49063 of road, 679 of no class.
    assert [(labels == number).sum() for number in (0, 3, VOID)] == [15008, 49063, 679]
    assert [each for each in problems("camvid", shared_data)] == []
    with pytest.raises(
        MaskError, match=r"holds the value 11, which is no class of the dataset; its values are 0 to 10"
    ):
        from dataclasses import replace

        replace(sample, coding=replace(sample.coding, void=())).load_labels(0)
