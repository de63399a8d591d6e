"""Damaged files of annotations: whatever is in them, it is read, or refused in a sentence."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exported import SIZE, hard_maps, write_run
from undertow.base import UndertowError
from undertow.export import ExportSettings, export
from undertow.export.cues import take
from undertow.video import Clip, Video

FILES = {
    "coco": "annotations/instances_default.json",
    "cvat": "annotations.xml",
    "labelme": "00001.json",
    "labelstudio": "tasks.json",
    "yolo": "labels/00001.txt",
}


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("damaged")
    run = write_run(folder / "run", hard_maps()[:2])
    for to in FILES:
        export(run, to, folder / to, ExportSettings(name="{frame:05d}", objects=(1, 2, 5)))
    return folder


@settings(deadline=None, max_examples=60)
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1), st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from(
            [b"-1", b"1e999", b"99999999999999999999", b"null", b"[]", b"{}", b'""', b"NaN", b"&x;", b"<a>"]))),
        min_size=1, max_size=4,
    ),
    cut=st.none() | st.floats(0, 1),
)  # fmt: skip
@pytest.mark.parametrize("to", FILES)
def test_damaged_annotations(exports, to, changes, cut):
    whole = (exports / to / FILES[to]).read_bytes()
    data = bytearray(whole if cut is None else whole[: int(cut * len(whole))])
    for place, value in changes:
        start = int(place * len(data))
        data[start : start + len(value)] = value
    path = exports / f"changed-{to}" / FILES[to].rsplit("/")[-1]
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    with Video(np.zeros((2, *SIZE, 3), np.uint8)) as video:
        for what in ("masks", "boxes", "points"):
            try:
                getattr(take(path, Clip(video)), what)()
            except UndertowError as error:
                assert str(path) in str(error) or "mask" in str(error) or "run lengths" in str(error)
