"""`undertow train conditioning` as a user meets it."""

from functools import partial

from undertow import cli
from undertow.backbones import load
from undertow.tracking.tuning import read_kernel
from undertow.training import conditioning
from undertow.world import WorldSettings


def run(monkeypatch, capsys, *arguments):
    monkeypatch.setattr("sys.argv", ["undertow", "train", "conditioning", *map(str, arguments)])
    code = 0
    try:
        cli.main()
    except SystemExit as stop:
        code = stop.code or 0
    return code, capsys.readouterr().err


def test_it_writes_a_file_that_track_takes(monkeypatch, capsys, tmp_path):
    small = WorldSettings(height=96, width=160, leaves=30, objects=(1, 2))
    recipe = partial(conditioning.StartRecipe, held_out=1, every=1, tokens=60, world=small)
    monkeypatch.setattr(conditioning, "StartRecipe", recipe)
    out = tmp_path / "start.safetensors"
    code, err = run(monkeypatch, capsys, "--out", out, "--worlds", 1, "--steps", 1, "--threads", 1)
    assert code == 0 and "the conditioning is in" in err
    tiny = load("tiny")
    assert read_kernel(out, tiny).conditioning.tensor.shape == tiny.condition("").tensor.shape


def test_other_names_are_refused(monkeypatch, capsys, tmp_path):
    code, err = run(monkeypatch, capsys, "--out", tmp_path / "start.bin")
    assert code == 2 and "ends in .safetensors" in err
