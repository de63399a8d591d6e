"""`undertow parse` from the outside: a run, its names, its estimate, and an interruption."""

import json
import sys

import numpy as np
import pytest

from undertow import cli
from undertow.masks import write_label_map
from undertow.parsing import Parser
from undertow.video import write_video


@pytest.fixture
def clip(tmp_path):
    """A square that moves over a gradient, and the class map of its first frame."""
    images = []
    for step in range(4):
        rows, columns = np.mgrid[:48, :64]
        image = np.stack([rows * 4, columns * 3, rows + columns], -1).astype(np.uint8)
        image[16:32, 8 + 4 * step : 24 + 4 * step] = (230, 40, 30)
        images.append(image)
    labels = np.zeros((48, 64), np.uint16)
    labels[16:32, 8:24] = 1
    write_label_map(tmp_path / "first.png", labels)
    write_video(tmp_path / "clip.mp4", images, fps=24)
    return tmp_path


@pytest.fixture
def undertow(clip, monkeypatch, capsys):
    """Runs `undertow parse` on the clip; returns exit code, standard output and standard error."""

    def run(*arguments):
        words = ["undertow", "parse", clip / "clip.mp4", "--out", clip / "out", *arguments]
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def test_parse_name_render_and_estimate(clip, undertow):
    quick = ("--anchor", clip / "first.png", "--size", "tokens=192", "--clusters", "6", "--threads", "1")
    code, out, _ = undertow(*quick, "--estimate", "--json")
    estimate = json.loads(out)
    assert code == 0 and not (clip / "out").exists()
    assert (estimate["event"], estimate["frames"], estimate["labels"], estimate["passes"]) == ("estimate", 4, 2, 4)

    code, out, _ = undertow(*quick, "--json", "--views", "overlay,contours", "--keep-soft")
    assert code == 0
    assert [json.loads(line)["event"] for line in out.splitlines()][:1] == ["start"]
    made = {path.name for path in (clip / "out").iterdir()}
    assert made >= {"masks", "soft", "labels.json", "names.json", "run.json", "overlay.mp4", "contours.mp4"}

    (clip / "out" / "names.json").write_text('["ground", "ball"]')
    code, _, _ = undertow("--render", "--views", "sidebyside")
    assert code == 0 and (clip / "out" / "sidebyside.mp4").exists() and not (clip / "out" / "overlay.mp4").exists()
    rows = json.loads((clip / "out" / "labels.json").read_text())["classes"]
    assert [row["name"] for row in rows] == ["ground", "ball"]


def test_ctrl_c_ends_with_130_and_keeps_what_is_done(clip, undertow, monkeypatch):
    whole = Parser.run

    def interrupted(self, video, frames):
        for result in whole(self, video, frames):
            if result.index == 3:
                raise KeyboardInterrupt
            yield result

    monkeypatch.setattr(Parser, "run", interrupted)
    code, _, err = undertow("--anchor", clip / "first.png", "--size", "tokens=192", "--threads", "1")
    assert code == 130 and "interrupted; finished work is kept" in err
    assert len(list((clip / "out" / "masks").iterdir())) == 3 and not (clip / "out" / "labels.json").exists()
