"""`undertow track --tuning` as a user meets it: interrupted, taken up again, and at the site that a card names."""

import json

import pytest

from undertow import cli
from undertow.base import SilentProgress
from undertow.masks import write_label_map
from undertow.tracking.tuning import TuningSettings, read_facts
from undertow.video import write_video
from undertow.world import crossing_scene


class Impatient(SilentProgress):
    """Presses Ctrl-C at the second step of tuning."""

    def __init__(self):
        self.kind, self.steps = "", 0

    def start(self, name, total=None):
        self.kind = name

    def advance(self, units=1, **facts):
        self.steps += self.kind == "tune"
        if self.steps == 2:
            raise KeyboardInterrupt


@pytest.fixture
def track(tmp_path, monkeypatch):
    """Tracks a small clip with four steps of tuning; returns the exit code."""
    scene = crossing_scene(height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(3)]
    write_video(tmp_path / "clip.mp4", [p.image for p in pictures], fps=24)
    write_label_map(tmp_path / "first.png", pictures[0].labels)
    quick = TuningSettings(steps=4, rate=0.02, learned="tensor")
    monkeypatch.setattr("undertow.tracking.tuning.get_tuning", lambda name: quick)

    def call():
        arguments = ("track", tmp_path / "clip.mp4", "--mask", tmp_path / "first.png", "--out", tmp_path / "out")
        options = ("--tuning", "fast", "--size", "tokens=60", "--threads", "1", "--no-overlay")
        monkeypatch.setattr("sys.argv", ["undertow", *map(str, arguments), *options])
        try:
            cli.main()
        except SystemExit as stop:
            return stop.code or 0
        return 0

    return call


def test_ctrl_c_during_tuning_ends_the_command_and_the_same_again_goes_on(track, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patched:
        patched.setattr("undertow.cli.task_command.shown_progress", lambda json: Impatient().__enter__())
        assert track() == 130
    assert "interrupted" in capsys.readouterr().err and not (tmp_path / "out").exists()
    kernels = sorted((tmp_path / "out.kernels").glob("*.safetensors"))
    facts = [read_facts(path) for path in kernels]
    assert len(kernels) == 2 and all(each["interrupted"] and each["steps"] == 2 for each in facts)
    assert track() == 0
    facts = [read_facts(path) for path in kernels]
    assert all(not each["interrupted"] and each["steps"] == 4 for each in facts)
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["settings"]["tuned"] and run["settings"]["lost"] == "keep"
    assert run["settings"]["sites"][0]["path"].startswith("up_blocks.1.attentions.0")
