"""Masks in other tools' formats, read by those tools' own readers."""

import csv
import importlib.util
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from undertow.base import SettingsError
from undertow.export import ExportSettings, export, open_run

MASKS = [
    "davis",
    "youtube-vos",
    "mots",
    "objects",
    "coco",
    "ytvis",
    "cvat",
    "yolo",
    "labelme",
    "labelstudio",
    "classes",
    "boxes",
]


def same(found, labels):
    """Returns whether masks by object are exactly those of a label map."""
    wanted = {int(n) for n in np.unique(labels) if n}
    return found.keys() == wanted and all(np.array_equal(found[n], labels == n) for n in wanted)


@pytest.mark.parametrize("to", MASKS)
def test_nothing_differs_when_read_back(hard, crowd, tmp_path, to):
    for name, run in (("hard", hard), ("crowd", crowd)):
        done = export(run.path, to, tmp_path / name / "out", check=True)
        assert (done.frames, done.differences) == (len(run.maps), 0)


def test_a_check_sees_a_pixel(hard, tmp_path):
    export(hard.path, "davis", tmp_path / "out")
    path = next((tmp_path / "out").rglob("bild ä2.png"))
    with Image.open(path) as image:
        changed = image.copy()
    changed.putpixel((0, 0), 2)
    changed.save(path)
    assert export(hard.path, "davis", tmp_path / "out", check=True).differences == 1


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_coco(hard, tmp_path):
    export(hard.path, "coco", tmp_path / "out", ExportSettings(labels="1=café,2=dog"))
    coco = COCO(tmp_path / "out" / "annotations" / "instances_default.json")
    for image in coco.loadImgs(coco.getImgIds()):
        rows = coco.loadAnns(coco.getAnnIds(imgIds=image["id"], iscrowd=False))
        labels = hard.maps[image["frame"]]
        assert same({row["track_id"]: coco.annToMask(row).astype(bool) for row in rows}, labels)
        assert all(row["area"] == (labels == row["track_id"]).sum() for row in rows)
        assert image["file_name"] == f"café ☕ clip/bild ä{image['frame']}.jpg"
    assert [each["name"] for each in coco.loadCats(coco.getCatIds())][:2] == ["café", "dog"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_ytvis(hard, tmp_path):
    from pycocotools import mask as coco

    export(hard.path, "ytvis", tmp_path / "out")
    value = json.loads((tmp_path / "out" / "instances.json").read_text())
    assert value["videos"][0]["length"] == 5 and len(value["annotations"]) == 7
    for row in value["annotations"]:
        for labels, rle, box in zip(hard.maps, row["segmentations"], row["bboxes"], strict=True):
            inside = labels == row["track_id"]
            assert (rle is None) == (not inside.any())
            if rle is not None:
                assert np.array_equal(coco.decode(rle).astype(bool), inside) and list(coco.toBbox(rle)) == box


def test_supervision_takes_a_frame(hard):
    supervision = pytest.importorskip("supervision")
    found = open_run(hard.path).to_supervision(3)
    assert isinstance(found, supervision.Detections)
    assert same(dict(zip(found.tracker_id.tolist(), found.mask, strict=True)), hard.maps[3])


def test_pandas_takes_the_scores(hard):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed; it is for checks by hand")
    table = open_run(hard.path).to_pandas()
    assert isinstance(table, pandas.DataFrame) and len(table) == 5 * 7
    assert table[table.object == 3].area.tolist() == [2, 0, 0, 2, 2]


def test_rerun_reads_its_recording(hard, tmp_path):
    pytest.importorskip("rerun", reason="rerun-sdk is not installed; it is for checks by hand")
    from rerun.chunk import RrdReader

    export(hard.path, "rerun", tmp_path / "out", ExportSettings(frame_offset=1001))
    found = {}
    for chunk in RrdReader(tmp_path / "out" / "café ☕ clip.rrd").stream():
        if chunk.entity_path == "/clip/masks":
            rows = chunk.to_record_batch().to_pydict()
            for frame, (values,) in zip(rows["frame"], rows["SegmentationImage:buffer"], strict=True):
                found[frame] = np.array(values, np.uint8).view(np.uint16).reshape(37, 53)
    assert sorted(found) == [1001 + place for place in range(5)]
    assert all(np.array_equal(found[1001 + place], labels) for place, labels in enumerate(hard.maps))


def test_runs_of_refer_are_of_objects_too(hard, tmp_path):
    record = json.loads((hard.path / "run.json").read_text())
    (hard.path / "run.json").write_text(json.dumps(record | {"task": "refer"}))
    (hard.path / "words.json").write_text(json.dumps([{"object": 2, "text": "the red kite"}]))
    assert export(hard.path, "coco", tmp_path / "out", check=True).differences == 0
    assert open_run(hard.path).names[2] == "the red kite"


def test_a_result_of_a_track_converts_too():
    from fractions import Fraction

    from pycocotools import mask as coco

    from exported import hard_maps
    from undertow.tracking import TrackResult

    labels = hard_maps()[0]
    result = TrackResult(0, Fraction(0), "00000", labels, {})
    rows = result.to_coco()
    assert [row["area"] for row in rows] == [coco.area(row["segmentation"]) for row in rows]
    assert {row["track_id"] for row in rows} == {1, 2, 3, 4, 5, 6, 7}
    if importlib.util.find_spec("supervision"):
        assert result.to_supervision().tracker_id.tolist() == [1, 2, 3, 4, 5, 6, 7]


def test_a_zip_for_servers(hard, tmp_path):
    for _ in range(2):
        export(hard.path, "youtube-vos", tmp_path / "out", ExportSettings(zip=True))
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        names = archive.namelist()
    assert names == ["Annotations/café ☕ clip/" + f"bild ä{n}.png" for n in range(5)] + ["meta.json"]


def test_mots_values_are_class_and_object(hard, tmp_path):
    export(hard.path, "mots", tmp_path / "out", ExportSettings(labels="2=dog"))
    folder = tmp_path / "out" / "train" / "instances"
    names = (folder / "labels.txt").read_text().split()
    values = np.asarray(Image.open(folder / "000000.png"))
    assert values.dtype == np.uint16 and set(np.unique(values // 1000)) <= set(range(len(names) + 1))
    assert names[values[27, 4] // 1000 - 1] == "dog" and values[27, 4] % 1000 == 2


def test_options_choose_frames_objects_and_names(hard, tmp_path):
    settings = ExportSettings(
        name="{clip}_{object}_{frame:05d}", objects=(1, 3), start=1, end=4, frame_offset=1001, labels="3=é"
    )
    export(hard.path, "objects", tmp_path / "out", settings)
    found = sorted(path.name for path in (tmp_path / "out").glob("*.png"))
    assert found == sorted(f"café ☕ clip_{n}_{1001 + f:05d}.png" for n in (1, 3) for f in (1, 2, 3))
    with Image.open(tmp_path / "out" / "café ☕ clip_3_01004.png") as image:
        assert np.array_equal(np.asarray(image), hard.maps[3] == 3)
    settings = ExportSettings(objects=(2,))
    export(hard.path, "davis", tmp_path / "two", settings)
    with Image.open(next((tmp_path / "two").rglob("*.png"))) as image:
        assert set(np.unique(np.asarray(image))) == {0, 2}


@pytest.mark.parametrize(
    ("to", "settings", "says"),
    [
        ("objects", {"name": "{object}"}, "add {frame}"),
        ("objects", {"name": "{frame}"}, "add {object}"),
        ("davis", {"name": "{frame.real}"}, "correct it"),
        ("davis", {"name": "{frame:>99999999d}"}, "correct it"),
        ("davis", {"name": "{frame!r}"}, "correct it"),
        ("davis", {"name": "{frame"}, "is no template"),
        ("davis", {"name": "../{frame}"}, "leads out of"),
        ("davis", {"name": "/tmp/{frame}"}, "rename it"),
        ("davis", {"start": 7}, "no frame from 7"),
        ("davis", {"objects": (9,)}, "no object 9; it has 1, 2, 3"),
        ("coco", {"labels": "9=dog"}, "give ID=NAME"),
        ("what", {}, "is not one of davis"),
        ("davis", {"fps": "fast"}, "frame rate 'fast'"),
    ],
)
def test_options_of_no_use_are_refused(hard, tmp_path, to, settings, says):
    with pytest.raises(Exception, match=says) as caught:
        export(hard.path, to, tmp_path / "out", ExportSettings(**settings))
    assert caught.type.__module__ == "undertow.base.errors" and not list(tmp_path.glob("out/**/*.png"))


def test_boxes_say_where_objects_are(hard, tmp_path):
    export(hard.path, "boxes", tmp_path / "out", ExportSettings(labels="2=dog", start=1))
    rows = list(csv.DictReader((tmp_path / "out" / "boxes.csv").read_text().splitlines()))
    dog = [row for row in rows if row["label"] == "dog"]
    assert [row["frame"] for row in dog] == ["1", "2", "3", "4"]
    assert [dog[0][name] for name in ("left", "top", "width", "height", "area")] == ["3", "25", "12", "6", "48"]
    gone = next(row for row in rows if row["frame"] == "1" and row["object"] == "3")
    assert gone["left"] == "" and gone["area"] == "0"


def test_runs_that_cannot_be_exported(hard, tmp_path):
    with pytest.raises(SettingsError, match="holds no run"):
        open_run(tmp_path)
    record = json.loads((hard.path / "run.json").read_text())
    (hard.path / "run.json").write_text(json.dumps(record | {"complete": None}))
    with pytest.raises(SettingsError, match="is not finished"):
        export(hard.path, "davis", tmp_path / "out")
    (hard.path / "run.json").write_text(json.dumps(record | {"task": "points", "complete": {}}))
    with pytest.raises(SettingsError, match="is for runs of track or refer, not of points"):
        export(hard.path, "davis", tmp_path / "out")
