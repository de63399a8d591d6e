"""Cues as they are typed."""

from pathlib import Path

import numpy as np
import pytest

from undertow.base import CueError
from undertow.runs import Cue, read_cue
from undertow.video import Clip, Video


@pytest.fixture(scope="module")
def video():
    return Video(np.zeros((6, 48, 64, 3), np.uint8), fps=2)


@pytest.mark.parametrize(
    ("kind", "text", "value", "frame", "object_id"),
    [
        ("box", "1,2,30,40", (1, 2, 30, 40), 0, None),
        ("box", "1.5,2,30,.5@3", (1.5, 2, 30, 0.5), 3, None),
        ("box", "1,2,30,40@1.5s#7", (1, 2, 30, 40), 3, 7),
        ("box", "1,2,30,40#7", (1, 2, 30, 40), 0, 7),
        ("point", "5,6", (5, 6, True), 0, None),
        ("point", "5,6,+", (5, 6, True), 0, None),
        ("point", "5,6,-@2#3", (5, 6, False), 2, 3),
        ("text", " red star @2", "red star", 2, None),
        ("text", "blob#1", "blob", 0, 1),
        ("mask", "a#b.png@4", Path("a#b.png"), 4, None),
        ("anchor", "first.png", Path("first.png"), 0, None),
        ("grid", "20@1s", 20, 2, None),
        ("queries", "points@3.csv", Path("points@3.csv"), 0, None),
    ],
)
def test_what_is_typed_is_read(video, kind, text, value, frame, object_id):
    cue = read_cue(kind, text, video)
    assert cue == Cue(kind, value, frame, object_id, text) and cue.log == {kind: text}


def test_the_first_frame_of_a_clip_is_meant(video):
    for kind, text in (("point", "5,6"), ("mask", "first.png"), ("queries", "points.csv")):
        assert read_cue(kind, text, Clip(video, 2)).frame == 2


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *(("box", text) for text in ("", "1,2,3", "1,2,3,4,5", "a,b,c,d", "nan,0,1,1", "1;2;3;4", "1,2,3,4#x")),
        ("box", "1,2,3,4@@1"),
        *(("point", text) for text in ("", "1", "1,2,3", "1,2,*", "inf,0", "1,2#")),
        *(("text", text) for text in ("", "  ", "a#b")),
        *(("grid", text) for text in ("", "many", "-1", "123456")),
        ("sound", "hum"),
    ],
)
def test_what_is_written_otherwise_is_refused(video, kind, text):
    with pytest.raises(CueError):
        read_cue(kind, text, video)


@pytest.mark.parametrize(("kind", "text"), [("box", "1,2,30,40@99"), ("mask", "a.png@99"), ("text", "disc@9s")])
def test_no_such_frame(video, kind, text):
    with pytest.raises(CueError, match="cannot be used"):
        read_cue(kind, text, video)
