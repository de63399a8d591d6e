"""Batches: equal to single runs whatever the workers and whoever is killed; skipped, retried, shared out."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

import undertow as ut
from undertow import cli
from undertow.base import SettingsError, SilentProgress
from undertow.masks import write_label_map

FAST = {"assignments": ("tokens=48",), "views": "none"}


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Six clips of four frames of 64x48, each with a square to be tracked."""
    lines = ["clip,mask,out"]
    for number in range(6):
        rng = np.random.default_rng(number)
        folder = tmp_path / f"clips/{number}"
        folder.mkdir(parents=True)
        ground = rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        for time in range(4):
            picture = ground.copy()
            picture[10:26, 8 + 2 * time : 24 + 2 * time] = (220, 30, 30)
            Image.fromarray(picture).save(folder / f"{time:05d}.png")
        mask = np.zeros((48, 64), np.uint16)
        mask[10:26, 8:24] = 1
        write_label_map(tmp_path / f"masks/{number}.png", mask)
        lines.append(f"clips/{number},masks/{number}.png,runs/{number}")
    (tmp_path / "clips.csv").write_text("\n".join(lines))
    return tmp_path / "clips.csv"


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in (out / "runs").rglob("*") if path.is_file()}


class Killer(SilentProgress):
    """Kills a worker as soon as one clip is done."""

    killed = 0

    def advance(self, units=1, **facts):
        if not self.killed and "clip" in facts:
            child = max(psutil.Process().children(), key=lambda each: each.cpu_times().user)
            self.killed = child.pid
            os.kill(child.pid, signal.SIGKILL)


def test_a_worker_is_killed_and_every_run_is_as_it_would_be_alone(manifest, tmp_path, monkeypatch, capsys):
    killer = Killer()
    found = ut.batch(manifest, tmp_path / "out", workers=2, progress=killer, **FAST)
    assert killer.killed and (found.rows, found.made, found.kept, found.failures) == (6, 6, 0, ())
    video, mask = manifest.parent / "clips/3", manifest.parent / "masks/3.png"
    words = ["track", str(video), "--mask", str(mask), "--out", str(tmp_path / "one"), "--size", "tokens=48"]
    monkeypatch.setattr("sys.argv", ["undertow", *words, "--views", "none", "--threads", "1"])
    cli.main()
    alone = {path.relative_to(tmp_path / "one"): path.read_bytes() for path in (tmp_path / "one").rglob("*.*")}
    run = tmp_path / "out/runs/3"
    assert len(alone) >= 8 and {name: (run / name).read_bytes() for name in alone} == alone
    before = contents(tmp_path / "out")
    again = ut.batch(manifest, tmp_path / "out", workers=2, **FAST)
    assert (again.made, again.kept) == (0, 6) and contents(tmp_path / "out") == before


def test_failures_are_listed_and_the_rest_goes_on(manifest, tmp_path, monkeypatch, capsys):
    out, gone = tmp_path / "out", manifest.parent / "masks/1.png"
    kept = gone.read_bytes()
    gone.write_bytes(b"no picture")
    (manifest.parent / "clips.csv").write_text("\n".join(manifest.read_text().splitlines()[:4]) + "\nnone.mp4,,\n")
    words = ["batch", str(manifest), "--out", str(out), "--set", "tokens=48", "--views", "none", "--json"]
    monkeypatch.setattr("sys.argv", ["undertow", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and "error: 2 of 4 clips failed, the first at line 3 ('runs/1'): " in said.err
    events = [json.loads(line) for line in said.out.splitlines()]
    assert events[-1] == {"event": "batch", "rows": 4, "made": 2, "kept": 0, "failed": 2}
    listed = [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
    assert [(each["line"], each["out"], each["code"], each["attempts"]) for each in listed] == [
        (3, "runs/1", 2, 1), (5, "none", 2, 1),
    ]  # fmt: skip
    gone.write_bytes(kept)
    found = ut.batch(manifest, out, **FAST)
    assert (found.made, found.kept, [each["out"] for each in found.failures]) == (1, 2, ["none"])
    retried = ut.batch(manifest, out, retry=True, **FAST)
    assert (retried.made, retried.kept, len(retried.failures), retried.left) == (0, 3, 1, 0)


def test_a_retry_runs_what_failed_and_says_what_else_is_left(manifest, tmp_path, monkeypatch, capsys):
    out, gone = tmp_path / "out", manifest.parent / "masks/1.png"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(lines[:3]))
    with pytest.raises(SettingsError, match=rf"nothing has failed in '{out}'; leave --retry out"):
        ut.batch(manifest, out, retry=True, **FAST)
    assert not out.exists()
    kept = gone.read_bytes()
    gone.write_bytes(b"no picture")
    assert len(ut.batch(manifest, out, **FAST).failures) == 1
    gone.write_bytes(kept)
    # Its mask was corrected and another row added since.
    manifest.write_text("\n".join(lines[:4]))
    words = ["batch", str(manifest), "--out", str(out), "--set", "tokens=48", "--views", "none", "--retry"]
    monkeypatch.setattr("sys.argv", ["undertow", *words])
    cli.main()
    said = capsys.readouterr().err
    assert "left: 1 clip that did not fail before; leave --retry out" in said
    assert "1 clip done, 1 done before; results are in" in said
    with pytest.raises(SettingsError, match="nothing has failed"):
        ut.batch(manifest, out, retry=True, **FAST)
    assert ut.batch(manifest, out, **FAST).made == 1
    done = ut.batch(manifest, out, retry=True, **FAST)
    assert (done.made, done.kept, done.left) == (0, 3, 0)


def test_parts_share_a_folder_and_what_was_removed_is_made_again(manifest, tmp_path):
    out = tmp_path / "out"
    (manifest.parent / "clips.csv").write_text("\n".join(manifest.read_text().splitlines()[:4]))
    parts = [ut.batch(manifest, out, shard=(number, 2), **FAST) for number in (1, 2)]
    assert [(part.rows, part.made) for part in parts] == [(2, 2), (1, 1)]
    (out / "runs/2/run.json").unlink()
    (out / "runs/2/masks.json").unlink()
    whole = ut.batch(manifest, out, **FAST)
    assert (whole.made, whole.kept, len(whole.failures)) == (0, 2, 1), "a folder with others' files is refused"


def test_an_estimate_opens_every_clip_and_tries_one_of_each_kind(manifest, tmp_path, monkeypatch, capsys):
    words = ["batch", str(manifest), "--out", str(tmp_path / "out"), "--set", "tokens=48", "--views", "none"]
    monkeypatch.setattr("sys.argv", ["undertow", *words, "--estimate", "--json"])
    cli.main()
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["clips"], found["frames"], found["kinds"], found["failures"]) == (6, 24, 1, [])
    assert found["seconds"] > 0 and found["disk"] > 0 and not (tmp_path / "out").exists()
