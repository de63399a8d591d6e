"""Files for annotators, judged by their own readers and by what their formats demand."""

import importlib.util
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from exported import hard_maps, write_run
from undertow.base import MaskError
from undertow.export import ExportSettings, export, open_run
from undertow.export.labelstudio import pack, unpack


def test_cvat_tracks_are_as_cvat_demands(hard, tmp_path):
    export(hard.path, "cvat", tmp_path / "out", ExportSettings(labels='1=<café> & "co"'))
    root = ElementTree.parse(tmp_path / "out" / "annotations.xml").getroot()
    assert root.findtext("version") == "1.1" and root.findtext("meta/task/mode") == "interpolation"
    assert root.findtext("meta/task/size") == "5" and root.findtext("meta/task/original_size/width") == "53"
    labels = {each.text for each in root.findall("meta/task/labels/label/name")}
    tracks = root.findall("track")
    assert '<café> & "co"' in labels and [each.get("id") for each in tracks] == [str(n) for n in range(len(tracks))]
    for track in tracks:
        assert track.get("label") in labels and set(track.attrib) == {"id", "label", "group_id", "source"}
        shapes = track.findall("polygon")
        assert len(shapes) == len(list(track))
        frames = [int(each.get("frame")) for each in shapes]
        assert frames == sorted(set(frames)) and all(each.get("keyframe") == "1" for each in shapes)
        for shape, after in zip(shapes, [*shapes[1:], None], strict=True):
            points = [tuple(map(float, each.split(","))) for each in shape.get("points").split(";")]
            assert len(points) >= 3 and all(0 <= x <= 53 and 0 <= y <= 37 for x, y in points)
            at, number = int(shape.get("frame")), int(track.get("group_id"))
            if shape.get("outside") == "0":
                assert (hard_maps()[at] == number).any()
                # Nothing is left for CVAT to interpolate or to keep for ever.
                assert at == 4 or int(after.get("frame")) == at + 1
    gone = next(each for each in tracks if each.get("group_id") == "5").findall("polygon")
    assert [(each.get("frame"), each.get("outside")) for each in gone] == [
        ("0", "0"), ("1", "0"), ("2", "0"), ("3", "1"), ("4", "0")
    ]  # fmt: skip


def test_cvat_is_told_where_tracks_end_that_go_on_in_the_clip(filmed, tmp_path):
    run, video = filmed

    def ends(out, **options):
        export(run, "cvat", tmp_path / out, ExportSettings(**options), check=True)
        root = ElementTree.parse(tmp_path / out / "annotations.xml").getroot()
        last = {tuple(track.findall("polygon")[-1].attrib[name] for name in ("frame", "outside"))
                for track in root.findall("track") if track.get("group_id") in ("1", "4")}  # fmt: skip
        return root.findtext("meta/task/size"), last

    # A part of the run, the run, and a run of a part of its clip.
    assert ends("part", end=3) == ("4", {("3", "1")}) and ends("all") == ("5", {("4", "0")})
    assert ends("seen", video=video) == ("5", {("4", "0")})
    short = write_run(tmp_path / "short", hard_maps()[:2], video=open_run(run).record.video)
    export(short, "cvat", tmp_path / "two", ExportSettings(video=video), check=True)
    shapes = ElementTree.parse(tmp_path / "two" / "annotations.xml").getroot().findall("track[@group_id='1']/polygon")
    assert (shapes[-1].get("frame"), shapes[-1].get("outside")) == ("2", "1")


@pytest.mark.parametrize("to", ["cvat", "mots", "coco"])
def test_datumaro_reads_it(hard, tmp_path, to):
    datumaro = pytest.importorskip("datumaro", reason="datumaro is not installed; it is for checks by hand")
    from readers import datumaro_masks

    assert datumaro is not None
    export(hard.path, to, tmp_path / "out")
    (tmp_path / "out" / "images").mkdir()  # without which Datumaro does not look for COCO
    for found, labels in zip(datumaro_masks(tmp_path / "out", to, (37, 53)), hard_maps(), strict=True):
        assert found.keys() == {int(n) for n in np.unique(labels) if n}
        assert all(np.array_equal(mask, labels == number) for number, mask in found.items())


@pytest.mark.parametrize("shape", [(1, 1), (37, 53), (300, 500)])
def test_label_studio_run_lengths(shape):
    masks = [np.zeros(shape, bool), np.ones(shape, bool), np.random.default_rng(0).random(shape) < 0.3]
    for mask in masks:
        assert np.array_equal(unpack(pack(mask), shape), mask)
    for bad in ([], [1, 2, 3], pack(masks[1])[:-1], "what", [300], pack(np.ones((2, 3), bool))):
        with pytest.raises(MaskError):
            unpack(bad, shape)


def test_label_studio_s_own_decoder_reads_it(hard, tmp_path):
    spec = importlib.util.find_spec("label_studio_converter")
    if spec is None:
        pytest.skip("label_studio_converter is not installed; it is for checks by hand")
    from label_studio_converter.brush import decode_rle

    export(hard.path, "labelstudio", tmp_path / "out")
    tasks = json.loads((tmp_path / "out" / "tasks.json").read_text())
    for task, labels in zip(tasks, hard_maps(), strict=True):
        for result in task["annotations"][0]["result"]:
            found = decode_rle(result["value"]["rle"]).reshape(37, 53, 4)[..., 3] > 0
            assert np.array_equal(found, labels == int(result["meta"]["text"][0]))


def test_yolo_lines_are_classes_and_shares(hard, tmp_path):
    done = export(hard.path, "yolo", tmp_path / "out", ExportSettings(labels="1=dog,2=dog"), check=True)
    assert done.differences == 0 and "no ids" in done.note
    lines = (tmp_path / "out" / "labels" / "bild ä0.txt").read_text().splitlines()
    values = [[float(each) for each in line.split()] for line in lines]
    assert all(len(row) % 2 == 1 and len(row) >= 7 and max(row[1:]) <= 1 for row in values)
    assert {int(row[0]) for row in values} == {0, 1, 2, 3, 4, 5}
    assert '0: "dog"' in (tmp_path / "out" / "data.yaml").read_text()


def test_supervision_reads_yolo(hard, tmp_path):
    supervision = pytest.importorskip("supervision", reason="supervision is not installed; it is for checks by hand")
    out = tmp_path / "out"
    export(hard.path, "yolo", out, ExportSettings(objects=(1, 4, 6)))
    (out / "images").mkdir()
    for name in hard.names:
        Image.fromarray(np.zeros((37, 53, 3), np.uint8)).save(out / "images" / f"{name}.png")
    found = supervision.DetectionDataset.from_yolo(
        str(out / "images"), str(out / "labels"), str(out / "data.yaml"), force_masks=True
    )
    assert found.classes == ["object_1", "object_4", "object_6"] and len(found) == 5
    for path, _, detections in found:
        labels = hard.maps[hard.names.index(Path(path).stem)]
        for place, number in enumerate((1, 4, 6)):
            mask = detections.mask[detections.class_id == place].any(0)
            # It fills polygons with the corners' pixels, which lie right of and below the edges that YOLO-seg has.
            inside = labels == number
            assert not (inside & ~mask).any() and (mask & ~grown(inside)).sum() == 0


def grown(mask):
    """Returns a mask with the pixels beside it."""
    padded = np.pad(mask, 1)
    return np.any([padded[y : y + mask.shape[0], x : x + mask.shape[1]] for y in range(3) for x in range(3)], axis=0)


def test_labelme_has_what_labelme_reads(hard, tmp_path):
    export(hard.path, "labelme", tmp_path / "out")
    value = json.loads((tmp_path / "out" / "bild ä0.json").read_text())
    assert {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"} == value.keys()
    assert all(shape["shape_type"] == "polygon" and len(shape["points"]) >= 3 for shape in value["shapes"])
