"""Exports that are interrupted, given again, or sent where something is already; and the light imports."""

import json
import resource
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from exported import write_run
from undertow.base import SettingsError, SilentProgress
from undertow.export import FORMATS, ExportSettings, export


class Stop(SilentProgress):
    """Interrupts after some frames."""

    def __init__(self, frames):
        self.left = frames

    def advance(self, units=1, **facts):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def contents(out):
    return {str(each.relative_to(out)): each.read_bytes() for each in out.rglob("*") if each.is_file()}


@pytest.mark.parametrize("to", ["davis", "objects", "coco", "ytvis", "boxes", "youtube-vos"])
def test_an_interrupted_export_goes_on(hard, tmp_path, to):
    export(hard.path, to, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        export(hard.path, to, out, progress=Stop(3))
    assert json.loads((out / "export.json").read_text())["complete"] is False
    assert not any(each.name.startswith(".") for each in out.rglob("*"))
    (out / ".letter").write_text("mine")
    for name in (".00001-ab12_x9z.png", ".bild ä1-ab12_x9z.png"):
        # As a killed process leaves them.
        (out / name).write_text("half")
    pngs = {each: each.stat().st_mtime_ns for each in out.rglob("*.png") if not each.name.startswith(".")}
    export(hard.path, to, out)
    assert contents(out) == contents(tmp_path / "whole") | {".letter": b"mine"}
    assert all(each.stat().st_mtime_ns == time for each, time in pngs.items())


@pytest.mark.parametrize("to", ["davis", "coco", "boxes", "exr", "prores"])
def test_a_full_disk_leaves_nothing_half_written(hard, tmp_path, to):
    if to == "exr":
        pytest.importorskip("OpenEXR")
    settings, out = ExportSettings(edges="hard"), tmp_path / "out"
    export(hard.path, to, tmp_path / "whole", settings)
    soft, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (900, most))
    try:
        with pytest.raises(OSError, match=r"File too large|No space left"):
            export(hard.path, to, out, settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, most))
    assert {each.name for each in out.rglob("*") if each.is_file()} == {"export.json"}
    export(hard.path, to, out, settings)
    assert contents(out).keys() == contents(tmp_path / "whole").keys()
    assert to == "prores" or contents(out) == contents(tmp_path / "whole")


def test_folders_that_hold_something_else_are_refused(hard, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(SettingsError, match="holds files that are not an export"):
        export(hard.path, "davis", tmp_path / "full")
    assert [each.name for each in (tmp_path / "full").iterdir()] == ["letter.txt"]
    with pytest.raises(SettingsError, match="is a file"):
        export(hard.path, "davis", tmp_path / "full" / "letter.txt")
    export(hard.path, "davis", tmp_path / "out")
    for to, settings in (("coco", ExportSettings()), ("davis", ExportSettings(start=1))):
        with pytest.raises(SettingsError, match="holds another export"):
            export(hard.path, to, tmp_path / "out", settings)
    with pytest.raises(SettingsError, match="holds files that are not an export"):
        export(hard.path, "davis", hard.path)


def test_names_in_a_run_do_not_lead_out(hard, tmp_path):
    rows = json.loads((hard.path / "frames.json").read_text())
    rows[0]["name"] = "../../outside"
    (hard.path / "frames.json").write_text(json.dumps(rows))
    with pytest.raises(SettingsError, match="leads out of"):
        export(hard.path, "davis", tmp_path / "out")


def test_memory_does_not_grow_with_frames(tmp_path):
    def peak(frames, to):
        labels = np.zeros((40, 60), np.uint16)
        labels[np.random.default_rng(0).random(labels.shape) < 0.5] = 1
        run = write_run(tmp_path / f"{to} {frames}", [np.roll(labels, n) for n in range(frames)])
        tracemalloc.start()
        export(run, to, tmp_path / f"out {to} {frames}")
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    for to in ("coco", "boxes"):
        peak(2, to)
        # A row is about 2 kB here.
        assert peak(90, to) - peak(10, to) < 60_000


def test_exports_need_no_model(hard, tmp_path):
    code = """
import sys
from pathlib import Path
from undertow import cli
from undertow.export import FORMATS, ExportSettings, check_format, export, open_run
from undertow.base import SettingsError
run, out = open_run(sys.argv[1]), Path(sys.argv[2])
for to in FORMATS:
    try:
        export(run, to, out / to, ExportSettings(edges="hard", objects=(1, 2)))
        print(to)
    except SettingsError as error:
        assert "not of track" in str(error) or "pip install" in str(error), error
sys.exit(", ".join(name for name in ("torch", "diffusers", "transformers") if name in sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, hard.path, tmp_path / "out"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 or not done.stderr.strip(), done.stderr
    points = ("tapvid", "csv", "nuke", "after-effects")
    assert set(FORMATS) - set(done.stdout.split()) <= {*points, "exr", "rerun"}
    assert len(done.stdout.split()) >= len(FORMATS) - len(points) - 2


def test_a_run_may_end_with_exports(tmp_path, monkeypatch, capsys):
    from undertow import cli
    from undertow.masks import write_label_map
    from undertow.video import write_video
    from undertow.world import crossing_scene

    drawn = crossing_scene(height=32, width=48, frames=24)
    pictures = [drawn.picture(2.0 * index) for index in range(3)]
    write_video(tmp_path / "clip.mp4", [picture.image for picture in pictures], fps=24)
    write_label_map(tmp_path / "first.png", pictures[0].labels)
    monkeypatch.chdir(tmp_path)
    command = ["undertow", "track", "clip.mp4", "--mask", "first.png", "--out", "run", "--set", "tokens=60"]
    for formats, code in (("tapvid", 2), ("what", 2), ("coco,png", None)):
        monkeypatch.setattr("sys.argv", [*command, "--views", "none", "--export", formats])
        if code is None:
            cli.main()
        else:
            with pytest.raises(SystemExit):
                cli.main()
            assert not (tmp_path / "run").exists()
    said = capsys.readouterr().err
    assert "format 'tapvid' is for runs of points, not of track" in said and "'what' is not one of" in said
    assert "3 frames are in run.coco" in said
    rows = json.loads((tmp_path / "run.coco" / "annotations" / "instances_default.json").read_text())["annotations"]
    assert rows and len(list((tmp_path / "run.png").rglob("*.png"))) == 3 * len(np.unique(pictures[0].labels)[1:])
