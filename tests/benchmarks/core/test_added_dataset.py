"""docs/add-a-dataset.md: the dataset that it adds is listed, checked and run."""

import json
import shutil
from importlib import import_module
from pathlib import Path

import pytest

from pages import files_of
from undertow import cli
from undertow.benchmarks import masks
from undertow.benchmarks.core import datasets


def test_the_dataset_of_the_page(folders: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    ((path, content),) = files_of("add-a-dataset.md").items()
    (tmp_path / "added").mkdir()
    (tmp_path / "added" / Path(path).name).write_text(content)
    monkeypatch.setattr(masks, "__path__", [*masks.__path__, str(tmp_path / "added")])
    module = import_module("undertow.benchmarks.masks.kites")
    monkeypatch.setitem(datasets.DATASETS, "kites", module.__name__)
    root = tmp_path / "kites"
    for name in ("one", "two"):
        shutil.copytree(folders / f"davis-{name}/frames", root / name / "images")
        shutil.copytree(folders / f"davis-{name}/masks", root / name / "labels")

    def run(*words: object) -> str:
        monkeypatch.setattr("sys.argv", ["undertow", "bench", *map(str, words)])
        cli.main()
        return capsys.readouterr().out

    assert "<video>/images/<frame>.jpg" in run("datasets", "kites")
    assert "can be scored" in run("check", "kites", "--root", root)
    run("run", "kites", "--root", root, "--models", "", "--baselines", "copy", "--out", tmp_path / "out")
    assert json.loads(next((tmp_path / "out").rglob("one.json")).read_text())
    with pytest.raises(SystemExit) as stop:
        run("check", "kites", "--root", folders)
    assert stop.value.code == 2 and "has no folders <video>/images" in capsys.readouterr().err
