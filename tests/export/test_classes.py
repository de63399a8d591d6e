"""Class maps of `parse`, in which 0 is a class, as ids with a legend and as mattes."""

import importlib.util
import json
import sys

import numpy as np
import pytest
from PIL import Image

from exported import write_parse
from undertow.base import SettingsError
from undertow.export import ExportSettings, export, open_run
from undertow.masks import VOID, decode_rle


def maps(top=2):
    labels = np.zeros((30, 40), np.uint16)
    labels[5:20, 5:15] = 1
    labels[10:25, 20:35] = top
    labels[28:] = VOID
    return [labels, np.roll(labels, 2, axis=1)]


@pytest.mark.parametrize("top", [2, 300])
def test_ids_with_a_legend(tmp_path, top):
    run = write_parse(tmp_path / "run", maps(top), {0: "road", 1: "car", top: "Bäume"})
    assert dict(open_run(run).names) == {0: "road", 1: "car", top: "Bäume"}
    assert export(run, "classes", tmp_path / "out", check=True).differences == 0
    legend = json.loads((tmp_path / "out" / "legend.json").read_text())
    assert [(row["id"], row["name"]) for row in legend["classes"]] == [(0, "road"), (1, "car"), (top, "Bäume")]
    values = np.asarray(Image.open(tmp_path / "out" / "ids" / "00001.png"))
    assert values.dtype == (np.uint8 if top == 2 else np.uint16) and (values[28:] == legend["void"]).all()


@pytest.mark.parametrize("edges", ["soft", "hard"])
def test_mattes_of_classes(tmp_path, video, edges):
    colours = np.random.default_rng(0).integers(0, 255, (3, 3)).astype(np.uint8)
    folder, fingerprint = video([colours[np.where(labels == VOID, 0, labels)] for labels in maps()])
    run = write_parse(tmp_path / "run", maps(), {0: "road", 1: "car"}, video=fingerprint)
    done = export(run, "png", tmp_path / "out", ExportSettings(edges=edges, video=folder), check=True)
    assert done.levels == 0
    car, road = (np.asarray(Image.open(tmp_path / "out" / n / f"street_{n}_00000.png")) for n in ("car", "road"))
    assert car[12, 9] == 255 and road[12, 9] == 0 and car[2, 37] == 0 and road[2, 37] == 255
    if edges == "hard":
        assert np.array_equal(road == 255, maps()[0] == 0)
    export(run, "png", tmp_path / "all", ExportSettings(edges="hard", name="all {frame}", objects=(0, 1)))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "all" / "all 0.png")) == 255, maps()[0] <= 1)


def test_classes_in_python(tmp_path):
    run = open_run(write_parse(tmp_path / "run", maps(), {0: "road", 1: "car"}))
    rows = run.to_coco(1)
    assert [row["category_id"] for row in rows] == [0, 1, 2] and "track_id" not in rows[0]
    assert all(np.array_equal(decode_rle(row["segmentation"]), run.masks(1) == row["category_id"]) for row in rows)
    if importlib.util.find_spec("supervision"):
        found = run.to_supervision(1)
        assert found.class_id.tolist() == [0, 1, 2] and found.tracker_id is None
    pandas = pytest.importorskip("pandas", reason="pandas is not installed; it is for checks by hand")
    table = run.to_pandas()
    assert isinstance(table, pandas.DataFrame) and table[table.name == "car"].area.tolist() == [150, 150]
    assert list(table.columns) == ["frame", "time", "class", "name", "area", "confidence"]


def test_classes_are_no_objects(tmp_path):
    run = write_parse(tmp_path / "run", maps(), {})
    with pytest.raises(SettingsError, match="is for runs of track or refer, not of parse"):
        export(run, "coco", tmp_path / "out")


def test_a_package_that_is_missing_is_named(tmp_path, monkeypatch):
    run = open_run(write_parse(tmp_path / "run", [np.ones((4, 6), np.uint16)], {1: "car"}))
    for name, give in (("pandas", run.to_pandas), ("supervision", lambda: run.to_supervision(0))):
        monkeypatch.setitem(sys.modules, name, None)
        with pytest.raises(SettingsError, match=f"needs the package {name}; pip install {name}"):
            give()
