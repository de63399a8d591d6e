"""Annotations of other tools as cues: what was exported comes in as it was, and what cannot be used is said."""

import json
import logging

import numpy as np
import pytest
from PIL import Image

from exported import SIZE, hard_maps
from undertow.base import CueError, UndertowError
from undertow.export import ExportSettings, export
from undertow.export.cues import take
from undertow.points import PointSettings
from undertow.points.queries import gather as gather_points
from undertow.runs import read_cue
from undertow.tracking import TrackSettings
from undertow.tracking.cues import gather, read_masks
from undertow.video import Clip, Video


@pytest.fixture
def clip():
    return Clip(Video(np.zeros((5, *SIZE, 3), np.uint8), fps=10))


def coco(shapes, names=("00001.jpg",), **image):
    """Returns a COCO file of shapes: (picture, entries of the annotation)."""
    images = [
        {"id": n, "file_name": name, "height": SIZE[0], "width": SIZE[1], **image} for n, name in enumerate(names)
    ]
    rows = [{"id": n, "image_id": at, "category_id": 1, **row} for n, (at, row) in enumerate(shapes)]
    return json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "dog"}]})


SQUARE = {"segmentation": [[2, 3, 12, 3, 12, 13, 2, 13]]}
OTHER = {"segmentation": [[20, 3, 32, 3, 32, 13, 20, 13]]}


@pytest.mark.parametrize("to", ["coco", "cvat", "labelme", "labelstudio", "yolo", "objects", "davis"])
def test_what_went_out_comes_in(hard, clip, tmp_path, to):
    out, template = tmp_path / "out", {"objects": "{object}/{frame:05d}"}.get(to, "{frame:05d}")
    export(hard.path, to, out, ExportSettings(name=template))
    inner = {"coco": "annotations/instances_default.json", "cvat": "annotations.xml", "labelstudio": "tasks.json",
             "davis": "Annotations"}  # fmt: skip
    found = take(out / inner.get(to, ""), clip).masks()
    assert list(found) == [0, 1, 2, 3, 4]
    for frame, labels in enumerate(hard_maps()):
        assert np.array_equal(found[frame], labels)


def test_only_frames_that_are_looked_at_are_taken(hard, clip, tmp_path, caplog):
    export(hard.path, "cvat", tmp_path / "out")
    part = Clip(clip.video, 1, 4, 2)
    with caplog.at_level(logging.INFO, "undertow"):
        assert list(take(tmp_path / "out" / "annotations.xml", part).masks()) == [1, 3]
    assert (
        "3 of its 5 pictures are not among the frames" in caplog.text
        and "took masks of frames 1, 3; 1 is object_1" in caplog.text
    )


def test_pictures_are_matched_by_name_number_and_time(clip, tmp_path):
    path = tmp_path / "a.json"
    for name, frame in (("00002.jpg", 2), ("shot_0003.png", 3), ("x/y-0.4s.png", 4)):
        path.write_text(coco([(0, SQUARE)], [name]))
        assert list(take(path, clip).masks()) == [frame]
    path.write_text(coco([(0, SQUARE)], ["cat.jpg"]))
    with pytest.raises(CueError, match="is of 'cat', which is not among the frames in use"):
        take(path, clip)
    assert list(read_masks([read_cue("mask", f"{path}@3", clip)], clip)) == [3]
    path.write_text(coco([(0, SQUARE), (1, SQUARE)], ["00001.jpg", "00002.jpg"]))
    with pytest.raises(CueError, match="is of 2 pictures, and @3 is one frame"):
        read_masks([read_cue("mask", f"{path}@3", clip)], clip)


def test_objects_without_ids(clip, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(coco([(0, SQUARE), (0, OTHER)]))
    labels = take(path, clip).masks()[1]
    assert labels[5, 5] == 1 and labels[5, 25] == 2 and (labels > 0).sum() == 100 + 120
    # On several frames only what is called alike is known to be the same.
    path.write_text(coco([(0, SQUARE), (1, OTHER)], ["00001.jpg", "00002.jpg"]))
    taken = take(path, clip)
    assert taken.names == {1: "dog"} and taken.masks()[2][5, 25] == 1


def test_boxes_are_cues(clip, tmp_path):
    path = tmp_path / "a.json"
    path.write_text(coco([(0, {"bbox": [2, 3, 10, 10], "track_id": 7}), (0, OTHER | {"track_id": 9})]))
    assert take(path, clip).boxes() == {1: {7: (2, 3, 12, 13), 9: (20, 3, 32, 13)}}
    pictures = np.zeros((5, *SIZE, 3), np.uint8)
    pictures[1, 5:11, 4:10] = pictures[1, 5:11, 22:30] = (250, 200, 30)
    video = Clip(Video(pictures))
    cue = read_cue("box", str(path), video)
    found = gather([cue], video, lambda: None, TrackSettings()).value
    assert list(found) == [1] and found[1][7, 7] == 7 and found[1][7, 25] == 9


def test_points_are_queries(clip, tmp_path):
    path = tmp_path / "00002.json"
    shapes = [{"label": "nose", "points": [[4.5, 6]], "shape_type": "point"}]
    path.write_text(json.dumps({"shapes": shapes}))
    cue = read_cue("queries", str(path), clip)
    assert gather_points([cue], clip, lambda: None, PointSettings()).value.tolist() == [[2, 4.5, 6]]


def test_cvat_images_and_masks(clip, tmp_path):
    path = tmp_path / "a.xml"
    path.write_text(
        '<annotations><version>1.1</version><image id="3" name="frame_000003.PNG" width="53" height="37">'
        '<mask label="dog" rle="1,2,1" left="4" top="5" width="2" height="2"/>'
        '<box label="cat" xtl="10" ytl="10" xbr="12" ybr="13"/></image></annotations>'
    )
    labels = take(path, clip).masks()[3]
    assert sorted(zip(*np.nonzero(labels == 1), strict=True)) == [(5, 5), (6, 4)] and (labels == 2).sum() == 6


LAUGHS = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]><annotations>&y;</annotations>'


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.xml", LAUGHS, "defines entities"),
        ("a.xml", "<annotations>", "is no XML"),
        ("a.xml", "<annotations><track id='0' label='a'><polygon frame='x' points='1,2'/></track></annotations>",
         "cannot be read"),
        ("a.xml", "<annotations/>", "has no annotations"),
        ("a.json", "{", "cannot be read"),
        ("a.json", "[]", "neither COCO, LabelMe nor Label Studio"),
        ("a.json", "[" * 100000, "cannot be read"),
        ("a.json", coco([(5, SQUARE)]), "cannot be read"),
        ("a.json", coco([(0, {"segmentation": [[1, 2, float("nan"), 3]]})]), "cannot be read"),
        ("a.json", coco([(0, {"segmentation": {"size": [9, 9], "counts": [81]}})]), "is 9x9 but the video is 53x37"),
        ("a.json", coco([(0, {"segmentation": {"size": [9**9, 9**9], "counts": [1]}})]), "pixels"),
        ("a.json", coco([(0, {"segmentation": [[1, 1, 1, 1, 1, 1]]})]), "covers a pixel"),
        ("a.txt", "0 0.1 0.1 0.2\n", "cannot be read"),
        ("a.json", None, "cannot be read"),
    ],
)  # fmt: skip
def test_files_of_no_use_are_refused(clip, tmp_path, name, text, says):
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    with pytest.raises(UndertowError, match=says):
        take(path, clip, 1).masks()


def test_folders_of_no_use_are_refused(clip, tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(CueError, match="neither annotations nor masks"):
        take(tmp_path / "a", clip)
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(tmp_path / "a" / "00001.png")
    with pytest.raises(UndertowError, match="is 4x3 but the video is 53x37"):
        take(tmp_path / "a", clip)


def test_a_folder_of_mattes_per_object_keeps_soft_edges(clip, tmp_path):
    alpha = np.zeros(SIZE, np.uint8)
    alpha[5:20, 5:20], alpha[20, 5:20] = 255, 90
    for name, rows in (("dog_2", 0), ("cat_5", 12)):
        (tmp_path / "all" / name).mkdir(parents=True)
        Image.fromarray(np.roll(alpha, rows, axis=0)).save(tmp_path / "all" / name / "00003.png")
    cue = read_cue("mask", str(tmp_path / "all"), clip)
    found = read_masks([cue], clip, soft=True)
    assert list(found) == [3] and set(np.unique(found[3])) == {0, 2, 5}
    assert found[3].cover[5][32, 7] == 90 and found[3].cover[2][10, 7] == 255
    with pytest.raises(UndertowError, match="--soft"):
        read_masks([cue], clip)


def test_mattes_of_floats_by_a_threshold(tmp_path):
    from undertow.masks import read_label_map

    alpha = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    Image.fromarray(alpha).save(tmp_path / "a.tif")
    assert np.array_equal(read_label_map(tmp_path / "a.tif", threshold=128), alpha > 0.5)
    exr = pytest.importorskip("OpenEXR")
    header = {"compression": exr.ZIP_COMPRESSION, "type": exr.scanlineimage}
    for channels in ({"A": alpha, "R": 1 - alpha}, {"dog.A": alpha.astype(np.float16)}, {"Y": alpha}):
        with exr.File(header, channels) as file:
            file.write(str(tmp_path / "a.exr"))
        assert np.array_equal(read_label_map(tmp_path / "a.exr", threshold=128), alpha > 0.5)
    with exr.File(header, {"a.A": alpha, "b.A": alpha}) as file:
        file.write(str(tmp_path / "a.exr"))
    with pytest.raises(UndertowError, match="2 layers of alpha"):
        read_label_map(tmp_path / "a.exr", threshold=128)
    (tmp_path / "a.exr").write_bytes(b"v/1\x01 what")
    with pytest.raises(UndertowError, match="cannot be read"):
        read_label_map(tmp_path / "a.exr", threshold=128)
