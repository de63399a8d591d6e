"""`undertow bench` as a user meets it: what there is, whether it is whole, measured, scored, packed and reported."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow import cli
from undertow.benchmarks.core.datasets import DATASETS, get_dataset
from undertow.benchmarks.core.task import get_task
from undertow.masks import write_label_map


@pytest.fixture
def run(monkeypatch, capsys):
    """Runs the command line in this process and returns exit code, output and error text."""
    monkeypatch.setenv("COLUMNS", "100")

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["undertow", "bench", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def labels(step: int) -> np.ndarray:
    ids = np.zeros((32, 48), np.uint16)
    ids[8:20, 4 + step : 20 + step], ids[22:30, 30:40] = 1, 2
    return ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two sequences in folders of their own."""
    for name in ("cat", "dog"):
        for step in range(5):
            frame = tmp_path / f"data/davis-{name}/frames/{step:05d}.png"
            frame.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.repeat(labels(step)[..., None] * 90, 3, 2).astype(np.uint8)).save(frame)
            write_label_map(tmp_path / f"data/davis-{name}/masks/{step:05d}.png", labels(step))
    return tmp_path / "data"


def test_every_dataset_says_what_it_is_and_how_it_must_lie(run):
    code, out, _ = run("datasets")
    assert code == 0 and all(f"| {name} |" in out for name in DATASETS)
    for name in DATASETS:
        dataset = get_dataset(name)
        assert dataset.name == name
        code, out, _ = run("datasets", name)
        assert code == 0 and dataset.title.split(" (")[0][:20] in out and dataset.tree.splitlines()[0] in out
        assert dataset.source and dataset.splits and set(dataset.rules) <= set(get_task(dataset.task).rules)


def test_whole_data_passes_the_check(run, data):
    code, out, err = run("check", "davis-folders", "--root", data)
    assert (code, out, err) == (0, f"'{data}' can be scored\n", "")


def test_the_check_lists_everything_and_fails(run, data):
    (data / "davis-cat/masks/00002.png").write_bytes(b"broken")
    (data / "davis-dog/masks/00003.png").write_bytes(b"broken too")
    code, out, err = run("check", "davis", "--root", data)
    assert code == 2 and out.count("error: ") == 2 and "00002.png" in out and "00003.png" in out
    assert "00002.png" in err and "1 more" in err and len(err.splitlines()) == 1
    code, out, _ = run("check", "davis", "--root", data, "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert code == 2 and [each["severity"] for each in found if each["event"] == "finding"] == ["error", "error"]


def test_odd_things_are_listed_and_pass(run, data):
    extra = labels(4)
    extra[0, 0] = 3
    write_label_map(data / "davis-cat/masks/00004.png", extra)
    code, out, _ = run("check", "davis", "--root", data)
    assert code == 0 and "odd: " in out and "00004.png" in out and "1 odd thing is listed" in out


def test_kept_predictions_score_as_the_run_did(run, data, tmp_path):
    code, out, _ = run("run", "davis", "--root", data, "--models", "", "--out", tmp_path / "out", "--keep")
    assert code == 0 and "| copy" in out
    kept = tmp_path / "out/results/copy"
    assert len(list(kept.rglob("*.png"))) == 10
    code, again, _ = run("score", "davis", "--root", data, "--results", kept, "--out", tmp_path / "score")
    assert code == 0
    row = next(line for line in out.splitlines() if line.startswith("| copy"))
    assert [cell for cell in row.split("|")][2:9] == [
        cell for cell in next(line for line in again.splitlines() if line.startswith("| copy")).split("|")
    ][2:9]
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["dataset"] == "davis-folders" and manifest["rules"] == "davis-2017"
    assert (tmp_path / "score/report.html").is_file()


def test_other_rules_are_said_and_give_other_figures(run, data, tmp_path):
    run("run", "davis", "--root", data, "--models", "", "--out", tmp_path / "out", "--keep")
    _, out, _ = run(
        "score", "davis", "--root", data, "--results", tmp_path / "out/results/copy",
        "--out", tmp_path / "s", "--rules", "youtube-vos",
    )  # fmt: skip
    assert "rules 'youtube-vos'" in out


def test_shards_make_a_whole(run, data, tmp_path):
    for part in ("1/2", "2/2"):
        code, out, _ = run("run", "davis", "--root", data, "--models", "", "--out", tmp_path / "out", "--shard", part)
        assert code == 0 and out == ""
    code, out, _ = run("report", "--out", tmp_path / "out")
    assert code == 0 and "| cat" in out and "| dog" in out
    assert run("run", "davis", "--root", data, "--models", "", "--out", tmp_path / "out", "--shard", "3/2")[0] == 2


def test_classes_are_carried_as_masks_are(run, data, tmp_path):
    code, out, err = run("run", "davis-folders-parse", "--root", data, "--models", "", "--out", tmp_path / "out")
    assert code == 0 and "mIoU" in out, err


def test_a_method_of_another_task_is_refused(run, data, tmp_path):
    arguments = ("--root", data, "--models", "", "--baselines", "still", "--out", tmp_path / "out")
    code, _, err = run("run", "davis", *arguments)
    assert code == 2 and "'still' does 'points'" in err


def test_a_zip_for_the_server(run, tmp_path):
    root = tmp_path / "valid"
    for step in range(3):
        frame = root / f"JPEGImages/one/{step:05d}.jpg"
        frame.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(frame)
    write_label_map(root / "Annotations/one/00000.png", labels(0))
    objects = {str(n): {"category": "cat", "frames": [f"{s:05d}" for s in range(3)]} for n in (1, 2)}
    (root / "meta.json").write_text(json.dumps({"videos": {"one": {"objects": objects}}}))
    for step in range(3):
        write_label_map(tmp_path / f"mine/one/{step:05d}.png", labels(step))
    arguments = ("--root", tmp_path, "--results", tmp_path / "mine", "--out", tmp_path / "mine.zip")
    code, out, err = run("submit", "youtube-vos-2018", *arguments)
    assert code == 0 and "mine.zip" in out, err
    with zipfile.ZipFile(tmp_path / "mine.zip") as archive:
        assert "Annotations/one/00002.png" in archive.namelist()
    (tmp_path / "mine/one/00001.png").unlink()
    code, _, err = run("submit", "youtube-vos-2018", *arguments)
    assert code == 2 and "00001.png" in err
    code, _, err = run("submit", "camvid", *arguments)
    assert code == 2 and "no server takes results of 'camvid'" in err
