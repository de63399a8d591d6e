"""Datasets of expressions in their real layouts: they open, are checked, and their own truth scores best."""

import json
import os
import pickle
import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.base import UndertowError
from undertow.benchmarks.core.datasets import check_dataset, get_dataset, open_dataset
from undertow.benchmarks.core.runner import score_folder
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.parse.vspw import STUFF
from undertow.benchmarks.refer.sample import ReferSample
from undertow.masks import encode_rle

HEIGHT, WIDTH = 24, 32
FRAMES = ("00000", "00005", "00010")


def square(step: int, top: int = 4) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top : top + 8, 4 + step : 14 + step] = True
    return mask


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def frames(folder: Path, names: tuple[str, ...] = FRAMES, suffix: str = ".jpg") -> None:
    random = np.random.default_rng(len(folder.name))
    for name in names:
        save(folder / f"{name}{suffix}", random.integers(0, 255, (HEIGHT, WIDTH, 3)))


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def meta(videos: dict[str, list[str]], **facts: list[Any]) -> dict[str, Any]:
    """A `meta_expressions.json` with the expressions of each video; `facts` are given to each in turn."""
    return {
        "videos": {
            video: {
                "expressions": {
                    str(i): {"exp": text, **{key: values[i] for key, values in facts.items()}}
                    for i, text in enumerate(texts)
                },
                "frames": list(FRAMES),
            }
            for video, texts in videos.items()
        }
    }


def refcoco(root: Path, name: str = "refcoco", author: str = "unc", protocol: int = 0) -> None:
    sentences = [
        [{"sent_id": 10, "raw": "Left MAN", "sent": "left man", "tokens": ["left", "man"]},
         {"sent_id": 9, "raw": "the man", "sent": "the man", "tokens": ["the", "man"]}],
        [{"sent_id": 11, "raw": "the crowd", "sent": "the crowd", "tokens": ["the", "crowd"]}],
        [{"sent_id": 12, "raw": "for training", "sent": "for training", "tokens": []}],
    ]  # fmt: skip
    refs = [
        {"ref_id": i, "ann_id": [7, 8, 8][i], "image_id": 5, "split": ["val", "val", "train"][i], "category_id": 1,
         "file_name": "COCO_train2014_000000000005_7.jpg", "sent_ids": [each["sent_id"] for each in own],
         "sentences": own}
        for i, own in enumerate(sentences)
    ]  # fmt: skip
    (root / name).mkdir(parents=True, exist_ok=True)
    (root / name / f"refs({author}).p").write_bytes(pickle.dumps(refs, protocol))
    polygons = [[4, 4, 20, 4.5, 20, 16, 4, 16], [22, 2, 30, 2, 26, 9]]
    edges = np.flatnonzero(np.diff(square(3).ravel(order="F"))) + 1
    crowd = np.diff(edges, prepend=0, append=HEIGHT * WIDTH).tolist()
    write_json(
        root / name / "instances.json",
        {
            "images": [{"id": 5, "file_name": "COCO_train2014_000000000005.jpg", "height": HEIGHT, "width": WIDTH}],
            "annotations": [
                {"id": 7, "image_id": 5, "segmentation": polygons},
                {"id": 8, "image_id": 5, "iscrowd": 1, "segmentation": {"size": [HEIGHT, WIDTH], "counts": crowd}},
            ],
        },
    )
    frames(root / "images/mscoco/images/train2014", ("COCO_train2014_000000000005",))


def ref_davis(root: Path) -> None:
    texts = [f"object {1 + i // 4} by {i % 4}" for i in range(8)]
    write_json(root / "meta_expressions/valid/meta_expressions.json", meta({"goat": texts, "bear": texts[:4]}))
    for video, objects in (("goat", 2), ("bear", 1)):
        frames(root / "valid/JPEGImages" / video)
        for step, frame in enumerate(FRAMES):
            labels = np.zeros((HEIGHT, WIDTH))
            for number in range(1, objects + 1):
                labels[square(step, 2 + 10 * (number - 1))] = number
            labels[-2:] = 255
            save(root / "valid/Annotations" / video / f"{frame}.png", labels)


def ref_youtube_vos(root: Path) -> None:
    videos = {"0a": ["the dog", "a dog that runs"], "0b": ["a bird"]}
    write_json(root / "meta_expressions/valid/meta_expressions.json", meta(videos | {"zz": ["x"]}, obj_id=["1", "2"]))
    write_json(root / "meta_expressions/test/meta_expressions.json", meta({"zz": ["x"]}))
    for video in videos:
        frames(root / "valid/JPEGImages" / video)
        for step, frame in enumerate(FRAMES):
            save(root / f"valid/Annotations/{video}/{frame}.png", square(step) + 2 * square(step, 14))


def mevis(root: Path) -> None:
    facts = meta({"v1": ["the two", "the first", "none"]}, anno_id=[[0, 1], [0], []], obj_id=[[0, 1], [0], []])
    for split in ("valid_u", "valid"):
        write_json(root / split / "meta_expressions.json", facts)
        frames(root / split / "JPEGImages/v1")
    public = meta({"v1": ["the two", "the first", "none"]})
    write_json(root / "valid/meta_expressions.json", public)
    tracks = {
        "0": [encode_rle(square(step)) for step in range(3)],
        "1": [None, encode_rle(square(1, 14)), encode_rle(square(2, 14))],
    }
    write_json(root / "valid_u/mask_dict.json", tracks)


def burst(root: Path) -> None:
    def video(name: str, classes: dict[str, int], loose: list[int]) -> dict[str, Any]:
        frames(root / "frames/val/HACS" / name, ("frame0001", "frame0002", "frame0003"))
        rows = [
            {track: {"rle": encode_rle(square(step, 2 + 3 * i))["counts"], "is_gt": True}
             for i, track in enumerate(classes) if step or i}
            for step in (0, 2)
        ]  # fmt: skip
        return {
            "dataset": "HACS", "seq_name": name, "height": HEIGHT, "width": WIDTH,
            "annotated_image_paths": ["frame0001.jpg", "frame0003.jpg"], "segmentations": rows,
            "track_category_ids": classes, "not_exhaustive_category_ids": loose, "neg_category_ids": [],
        }  # fmt: skip

    sequences = [video("a", {"1": 3, "2": 3, "3": 8}, []), video("b", {"1": 8}, [8])]
    categories = [{"id": 3, "name": "dog"}, {"id": 8, "name": "aerosol_can"}]
    write_json(root / "annotations/val/all_classes.json", {"categories": categories, "sequences": sequences})


def ref_vps(root: Path) -> None:
    write_json(root / "meta_expressions.json", meta({"smoke": ["the smoke", "what rises"]}))
    frames(root / "JPEGImages/smoke")
    for step, frame in enumerate(FRAMES[::2]):
        labels = square(step).astype(np.uint8)
        labels[:2] = 255
        save(root / f"Annotations/smoke/{frame}.png", labels)


def vspw_stuff(root: Path) -> None:
    write_json(root / "label_num_dic_final.json", {f"class_{value}": value for value in range(1, 125)})
    (root / "val.txt").write_text("v1\n")
    frames(root / "data/v1/origin")
    for step, frame in enumerate(FRAMES):
        # Values 1 and 2 are stuff (classes 0 and 1), value 3 is not, 0 and 255 are nothing.
        labels = np.full((HEIGHT, WIDTH), 1)
        labels[square(step)], labels[square(step, 14)], labels[:2] = 2, 3, [[0], [255]]
        save(root / f"data/v1/mask/{frame}.png", labels)


def davis_expressions(root: Path) -> None:
    frames(root / "davis-dog/frames")
    for step, frame in enumerate(FRAMES):
        save(root / f"davis-dog/masks/{frame}.png", 2 * square(step) + square(step, 14))
    write_json(root / "davis-dog/expressions.json", {"object": 2, "expressions": ["the dog", "the brown one"]})


LAYOUTS: dict[str, tuple[Callable[[Path], None], list[str], str]] = {
    "refcoco": (refcoco, ["9", "10", "11"], "left man"),
    "refcoco+": (lambda root: refcoco(root, "refcoco+", protocol=2), ["9", "10", "11"], "left man"),
    "refcocog": (lambda root: refcoco(root, "refcocog", "umd", 4), ["9", "10", "11"], "left man"),
    "ref-davis17": (
        ref_davis, [f"anno_{k}/{video}" for k in range(4) for video in ("bear", "goat")], "object 2 by 3",
    ),
    "ref-youtube-vos": (ref_youtube_vos, ["0a/0", "0a/1", "0b/0"], "a dog that runs"),
    "mevis": (mevis, ["v1/0", "v1/1", "v1/2"], "the first"),
    "burst": (burst, ["HACS/a/3", "HACS/a/8", "HACS/b/8"], "the aerosol_can"),
    "ref-vps": (ref_vps, ["smoke/0", "smoke/1"], "what rises"),
    "vspw-stuff": (vspw_stuff, ["v1/class_1", "v1/class_2"], "the class_2"),
    "davis-expressions": (davis_expressions, ["dog/0", "dog/1"], "the brown one"),
}  # fmt: skip


def write_truth(samples: Any, out: Path, keep: Callable[[np.ndarray], np.ndarray] = lambda masks: masks) -> None:
    for sample in samples:
        for index in range(len(sample.frames)):
            known = index in sample.annotated
            masks = sample.load(index)[0] if known else np.zeros((len(sample.texts), *sample.size), bool)
            get_task("refer").write(out, sample, index, keep(masks[: len(sample.texts)]))


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_open_and_their_truth_scores_best(name: str, tmp_path: Path) -> None:
    write, names, text = LAYOUTS[name]
    root = tmp_path / "data"
    write(root)
    samples = open_dataset(name, root)
    assert [sample.name for sample in samples] == names
    assert all(isinstance(sample, ReferSample) and not sample.private for sample in samples)
    assert text in [each for sample in samples for each in sample.texts]
    assert not [found for found in check_dataset(name, root) if found.severity == "error"]
    assert len({sample.fingerprint() for sample in samples}) == len(samples)
    task = get_task("refer")
    out = tmp_path / "results"
    write_truth(samples, out)
    for rules in get_dataset(name).rules:
        outcomes = score_folder(out, samples, rules=rules)
        figures = task.summarise(outcomes)
        assert set(figures) <= set(task.measures)
        assert {value for measure, value in figures.items() if measure != "change of J"} == {1.0}
        assert figures.get("change of J", 0) == 0 and task.headline(outcomes[0]) == 1
    shutil.rmtree(out)
    write_truth(samples, out, lambda masks: np.roll(masks, 3, axis=2))
    for rules in get_dataset(name).rules:
        worse = task.summarise(score_folder(out, samples, rules=rules))
        assert 0.2 < next(iter(worse.values())) < 0.95


def test_polygons_are_filled_as_coco_does(tmp_path: Path) -> None:
    from pycocotools import mask as coco

    refcoco(tmp_path)
    sample = open_dataset("refcoco", tmp_path)[0]
    polygons = json.loads((tmp_path / "refcoco/instances.json").read_text())["annotations"][0]["segmentation"]
    with warnings.catch_warnings(action="ignore"):
        # The tool's own decoder is behind numpy 2.
        expected = coco.decode(coco.frPyObjects(polygons, HEIGHT, WIDTH)).sum(axis=2) > 0
    np.testing.assert_array_equal(sample.load(0)[0][0], expected)
    crowd = open_dataset("refcoco", tmp_path)[2]
    np.testing.assert_array_equal(crowd.load(0)[0][0], square(3))
    assert [each.name for each in open_dataset("refcoco", tmp_path, "train")] == ["12"]


def test_the_google_split_is_another_file(tmp_path: Path) -> None:
    refcoco(tmp_path, "refcocog", "google")
    assert [each.name for each in open_dataset("refcocog", tmp_path, "google-val")] == ["9", "10", "11"]
    with pytest.raises(UndertowError, match=r"no refcocog as split by umd: .*refs\(umd\).p' is missing"):
        open_dataset("refcocog", tmp_path)


def test_annotators_of_ref_davis(tmp_path: Path) -> None:
    ref_davis(tmp_path)
    samples = {sample.name: sample for sample in open_dataset("ref-davis17", tmp_path)}
    assert samples["anno_2/goat"].texts == ("object 1 by 2", "object 2 by 2")
    masks, void = samples["anno_2/goat"].load(1)
    assert masks.shape == (2, HEIGHT, WIDTH) and void is not None and void.sum() == 2 * WIDTH
    np.testing.assert_array_equal(masks[1], square(1, 12))


def test_truth_that_a_server_keeps(tmp_path: Path) -> None:
    mevis(tmp_path)
    samples = open_dataset("mevis", tmp_path, "valid")
    assert [sample.private for sample in samples] == [True] * 3
    assert not [found for found in check_dataset("mevis", tmp_path, "valid") if found.severity == "error"]
    out = tmp_path / "out"
    write_truth(samples, out)
    with pytest.raises(UndertowError, match="truth of 'v1/0' is kept by the dataset's server; write a submission"):
        score_folder(out, samples)
    ref_youtube_vos(tmp_path)
    shutil.rmtree(tmp_path / "valid/Annotations")
    assert all(sample.private for sample in open_dataset("ref-youtube-vos", tmp_path))


def test_truth_by_expression(tmp_path: Path) -> None:
    """Ref-YouTube-VOS truth as a submission lies: a folder of black and white masks per expression."""
    ref_youtube_vos(tmp_path)
    shutil.rmtree(tmp_path / "valid/Annotations/0b")
    for step, frame in enumerate(FRAMES):
        save(tmp_path / f"valid/Annotations/0b/0/{frame}.png", 255 * square(step, 10))
    sample = open_dataset("ref-youtube-vos", tmp_path)[2]
    np.testing.assert_array_equal(sample.load(2)[0][0], square(2, 10))


def test_objects_of_mevis_are_united(tmp_path: Path) -> None:
    mevis(tmp_path)
    both, first, none = open_dataset("mevis", tmp_path)
    np.testing.assert_array_equal(both.load(1)[0][0], square(1) | square(1, 14))
    np.testing.assert_array_equal(both.load(0)[0][0], first.load(0)[0][0])
    assert not none.load(2)[0].any() and none.annotated == (0, 1, 2)


def test_classes_of_burst(tmp_path: Path) -> None:
    burst(tmp_path)
    dog, can, loose = open_dataset("burst", tmp_path)
    assert dog.annotated == (0, 2) and (dog.category, dog.exhaustive, loose.exhaustive) == ("dog", True, False)
    np.testing.assert_array_equal(dog.load(2)[0][0], square(2, 2) | square(2, 5))
    assert (can.texts, loose.category) == (("the aerosol_can",), "aerosol_can")


def test_stuff_of_vspw(tmp_path: Path) -> None:
    assert len(STUFF) == len(set(STUFF)) == 66 and max(STUFF) < 124
    vspw_stuff(tmp_path)
    wall, ceiling = open_dataset("vspw-stuff", tmp_path)
    assert wall.load(0)[1] is None and not wall.load(0)[0][0][:2].any()
    np.testing.assert_array_equal(ceiling.load(1)[0][0][2:], square(1)[2:])


class Trap:
    def __reduce__(self) -> Any:
        return os.system, ("touch trapped",)


def put(path: str, text: str | bytes) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        (root / path).write_bytes(text if isinstance(text, bytes) else text.encode())

    return damage


def edit(path: str, change: Callable[[Any], Any]) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        value = json.loads((root / path).read_text())
        change(value)
        (root / path).write_text(json.dumps(value))

    return damage


def drop(path: str) -> Callable[[Path], None]:
    def damage(root: Path) -> None:
        shutil.rmtree(root / path) if (root / path).is_dir() else (root / path).unlink()

    return damage


def picture(path: str, size: tuple[int, int] = (WIDTH, HEIGHT), value: int = 0) -> Callable[[Path], None]:
    return lambda root: Image.new("L", size, value).save(root / path)


META = "meta_expressions/valid/meta_expressions.json"
BROKEN: list[tuple[str, Callable[[Path], None], str]] = [
    ("refcoco", put("refcoco/refs(unc).p", pickle.dumps([Trap()])), "it asks for 'posix.system'"),
    ("refcoco", put("refcoco/refs(unc).p", b"(lp0\n"), "ends in the middle"),
    ("refcoco", put("refcoco/refs(unc).p", pickle.dumps([1, 2])), "is no list of objects with sentences"),
    ("refcoco", put("refcoco/instances.json", "{"), "instances.json' is not JSON"),
    ("refcoco", put("refcoco/instances.json", "{}"), "no annotations and images of COCO's format"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["annotations"].pop()), "has no object 8"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["annotations"][0].update(segmentation=[[1, 2]])),
     "a polygon of 2 numbers"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["annotations"][0].update(segmentation="x")),
     "is neither polygons nor run lengths"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["annotations"][1]["segmentation"].update(size=[5, 5])),
     "object 8 in .*: run lengths"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["images"][0].update(file_name="../a.jpg")), "leads out of"),
    ("refcoco", edit("refcoco/instances.json", lambda v: v["images"][0].update(width=31)), "frames are 32x24"),
    ("refcoco", drop("images"), "the image of expression 9 is missing"),
    ("ref-davis17", put(META, "[]"), "has no 'videos'"),
    ("ref-davis17", edit(META, lambda v: v["videos"]["goat"]["expressions"].pop("7")), "no four for every object"),
    ("ref-davis17", drop("valid/Annotations/goat/00005.png"), "no annotation of frame '00005'"),
    ("ref-davis17", picture("valid/Annotations/goat/00000.png", value=1), "expressions of 2 objects, but .* has 1"),
    ("ref-davis17", picture("valid/Annotations/goat/00005.png", (9, 9)), "is 9x9 but the frame 32x24"),
    ("ref-davis17", drop("valid/JPEGImages/bear"), "'bear' has no frames"),
    ("ref-youtube-vos", edit(META, lambda v: v["videos"]["0a"]["frames"].append("00099")), "lists frame '00099'"),
    ("ref-youtube-vos", edit(META, lambda v: v["videos"]["0a"]["expressions"]["0"].pop("obj_id")), "has no obj_id"),
    ("ref-youtube-vos", edit(META, lambda v: v["videos"]["0a"]["expressions"]["0"].update(exp=3)), "has no text of"),
    ("ref-youtube-vos", edit(META, lambda v: v["videos"].update({"../x": v["videos"]["0a"]})), "leads out of"),
    ("ref-youtube-vos", put("valid/Annotations/0a/00005.png", b"\x89PNG\r\n"), "00005.png' cannot be read"),
    ("ref-youtube-vos", put("valid/JPEGImages/0b/00005.jpg", b"no"), "00005.jpg"),
    ("mevis", put("valid_u/mask_dict.json", "{\"0\": [nul"), "mask_dict.json' is not JSON"),
    ("mevis", edit("valid_u/mask_dict.json", lambda v: v["1"].pop()), "has 2 entries of object 1 for 3 frames"),
    ("mevis", edit("valid_u/mask_dict.json", lambda v: v.pop("1")), "has no entries of object 1"),
    ("mevis", edit("valid_u/mask_dict.json", lambda v: v["0"][0].update(size=[HEIGHT, 7])), "'v1/0', frame '00000'"),
    ("mevis", edit("valid_u/mask_dict.json", lambda v: v["0"].__setitem__(0, encode_rle(square(0)[:9]))),
     "the mask is 32x9 but the frame 32x24"),
    ("mevis", edit("valid_u/mask_dict.json", lambda v: v["0"][0].update(counts="abc")), "'v1/0', frame '00000'"),
    ("burst", edit("annotations/val/all_classes.json", lambda v: v["sequences"][0].pop("segmentations")),
     "no segmentations of 'HACS/a'"),
    ("burst", edit("annotations/val/all_classes.json", lambda v: v["sequences"][0].update(width=99)), "says 99x24"),
    ("burst", edit("annotations/val/all_classes.json", lambda v: v["categories"].pop()), "but no such class"),
    ("burst", drop("frames/val/HACS/a/frame0003.jpg"), "annotates frame 'frame0003.jpg' of 'HACS/a'"),
    ("ref-vps", picture("Annotations/smoke/00000.png", value=7), "the mask has the value 7"),
    ("ref-vps", picture("Annotations/smoke/late.png"), "late.png' but no frame of that name"),
    ("vspw-stuff", edit("label_num_dic_final.json", lambda v: v.pop("class_1")), "has no class of value 1"),
    ("vspw-stuff", drop("data/v1/mask"), "has no annotations"),
    ("davis-expressions", put("davis-dog/expressions.json", "{}"), "has no list of expressions"),
    ("davis-expressions", drop("davis-dog/masks"), "has no mask of any of its frames"),
    ("davis-expressions", edit("davis-dog/expressions.json", lambda v: v.update(object=5)),
     "what 'dog/0' refers to is on no annotated frame"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(BROKEN)))
def test_broken_trees_are_named(case: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, damage, message = BROKEN[case]
    LAYOUTS[name][0](tmp_path)
    damage(tmp_path)
    problems = " | ".join(found.problem for found in check_dataset(name, tmp_path))
    assert re.search(message, problems), problems
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("name", LAYOUTS)
def test_empty_folders_are_named(name: str, tmp_path: Path) -> None:
    (found,) = check_dataset(name, tmp_path)
    assert found.severity == "error" and str(tmp_path) in found.problem


@pytest.mark.shared_data
def test_real_expressions(shared_data: Path) -> None:
    samples = open_dataset("davis-expressions", shared_data)
    assert len(samples) == 26 and all(len(sample.truth) == len(sample.frames) for sample in samples)
    assert ("the black swan",) in [sample.texts for sample in samples]
