"""Masks, masks.json and scores.csv of a run, written from results."""

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
from pycocotools import mask as coco

from undertow.masks import VOID, read_written_map
from undertow.runs import Folder, Record
from undertow.tracking import ObjectScore, TrackResult
from undertow.tracking.job import write_frame, write_tables
from undertow.tracking.task import TASK


def result(index: int, size: tuple[int, int] = (20, 30)) -> TrackResult:
    labels = np.random.default_rng(index).choice(np.array([0, 1, 2, VOID], np.uint16), size)
    scores = {n: ObjectScore(int((labels == n).sum()), 0.25 * n, 0.5) for n in (1, 2)}
    scores[3] = ObjectScore(0, 0.0, float("nan"))
    return TrackResult(index, Fraction(index * 1001, 30000), f"frame_{index:03d}", labels, scores)


@pytest.fixture
def written(tmp_path):
    """Writes results into a run, with tables; returns its folder."""

    def write(results):
        with Folder.open(tmp_path / "out", Record("track", "v", "m", {}, (), TASK.files)) as run:
            for each in results:
                run.note(each, write_frame(run, each))
            write_tables(run, run.lines())
            run.complete()
        return run.path

    return write


@pytest.mark.parametrize("top", [254, 255, 1000])
def test_masks_are_written_exactly_as_given(written, top):
    labels = np.random.default_rng(0).choice(np.array([0, 1, top, VOID], np.uint16), (33, 21))
    out = written([TrackResult(0, Fraction(0), "a b.c", labels, {})])
    assert np.array_equal(read_written_map(out / "masks" / "a b.c.png"), labels)


# pycocotools 2.0.11 has not caught up with numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_masks_json(written):
    results = [result(index) for index in range(3)]
    rows = json.loads((written(results) / "masks.json").read_text())
    assert [(row["frame"], row["object"]) for row in rows] == [(f, n) for f in range(3) for n in (1, 2)]
    for row in rows:
        assert set(row) == {"frame", "time", "object", "rle"}
        given = results[row["frame"]]
        assert np.array_equal(coco.decode(row["rle"]), given.labels == row["object"])
        assert int(coco.area(row["rle"])) == given.scores[row["object"]].area
        assert Fraction(row["time"]) == given.time


def test_scores_have_a_row_for_every_object_seen_or_not(written):
    results = [result(index) for index in (0, 5)]
    with (written(results) / "scores.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["frame", "time", "object", "area", "margin", "mass", "presence", "lost"]
    assert [(row["frame"], row["object"]) for row in rows] == [(f, n) for f in ("0", "5") for n in ("1", "2", "3")]
    assert rows[3]["time"] == "0.166833333"
    assert int(rows[4]["area"]) == results[1].scores[2].area
    assert (rows[4]["margin"], rows[4]["mass"], rows[5]["mass"]) == ("0.500000", "0.500000", "nan")


def test_an_empty_run_has_empty_tables(written):
    out = written([])
    assert json.loads((out / "masks.json").read_text()) == []
    assert (out / "scores.csv").read_text() == "frame,time,object,area,margin,mass,presence,lost\n"
