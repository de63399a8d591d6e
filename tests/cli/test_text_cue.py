"""`undertow track --text` as a user meets it: the mask it made is there to be looked at."""

import json

import numpy as np
import pytest

from undertow import cli
from undertow.masks import object_ids, read_written_map, write_label_map
from undertow.video import write_video
from undertow.world import crossing_scene


@pytest.fixture
def track(tmp_path, monkeypatch, capsys):
    scene = crossing_scene(height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(2)]
    write_video(tmp_path / "clip.mp4", [p.image for p in pictures], fps=24)
    write_label_map(tmp_path / "first.png", pictures[0].labels)

    def call(*cues):
        arguments = ("track", tmp_path / "clip.mp4", *cues, "--out", tmp_path / "out", "--threads", 1, "--no-overlay")
        monkeypatch.setattr("sys.argv", ["undertow", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        return code, capsys.readouterr().err

    return call


def test_a_word_becomes_the_first_mask(track, tmp_path):
    code, err = track("--text", "disc")
    assert "does not know" not in err
    assert code == 0, err
    assert "disc is object 1 of" in err and "look at its masks first" in err
    first = read_written_map(tmp_path / "out" / "masks" / "00000.png")
    assert object_ids(first) == [1] and f"{np.count_nonzero(first)} pixels" in err
    cues = json.loads((tmp_path / "out" / "run.json").read_text())["cues"]
    assert {"text": "disc"} in [each.get("cue", each) for each in cues]


def test_words_of_no_use_are_refused(track, tmp_path):
    for cues, message in (
        (("--text", "of the"), "name what to look for"),
        (("--text", ""), "give what the object is called"),
        (("--text", "disc@50"), "cannot be used"),
        (("--text", "disc", "--mask", tmp_path / "first.png"), "give one of them"),
        (("--mask", tmp_path / "first.png", "--feed-back"), "goes with refine sam"),
    ):
        code, err = track(*cues)
        assert code == 2 and message in " ".join(err.split()) and "Traceback" not in err
    assert not (tmp_path / "out").exists()
