"""Run folders after damage: a run goes on to a whole one, begins again, or is refused in one sentence."""

import json
import shutil
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from undertow.base import UndertowError
from undertow.runs import Folder, Record
from undertow.tracking import ObjectScore, TrackResult
from undertow.tracking.job import write_frame, write_tables
from undertow.tracking.task import TASK

FRAMES = 3
RECORD = Record("track", "0" * 64, "tiny", {"seed": 0}, ({"frame": 0, "sha256": "1" * 64},), TASK.files)
FILES = ("run.json", ".journal.jsonl", "state.safetensors", "masks/00001.png", "scores.csv", "masks.json")


def result(index: int) -> TrackResult:
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, index : index + 3] = 1
    scores = {1: ObjectScore(9, 0.5, 1.0), 2: ObjectScore(0, 0.0, 1.0)}
    return TrackResult(index, Fraction(index, 24), f"{index:05d}", labels, scores)


def opened(path: Path) -> Folder:
    return Folder.open(path, RECORD)


def write(run: Folder, index: int) -> Mapping[str, Any]:
    """Writes what the task would write of a frame; no model is asked."""
    return write_frame(run, result(index))


def finish(path: Path) -> None:
    """Continues a run to its end."""
    with opened(path) as run:
        if run.finished:
            return
        for index in range(run.done, FRAMES):
            run.note(result(index), write(run, index))
        write_tables(run, run.lines())
        run.complete()


@pytest.fixture(scope="module")
def unfinished(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "unfinished"
    with opened(path) as run:
        for index in range(FRAMES - 1):
            run.note(result(index), write(run, index))
        run.save({"labels": torch.zeros(2, 3), "known": torch.ones(2)})
    return path


@pytest.fixture(scope="module")
def whole(unfinished) -> dict[str, bytes]:
    """The tables of the run when nothing happens to it."""
    path = unfinished.with_name("whole")
    shutil.copytree(unfinished, path)
    finish(path)
    return {name: (path / name).read_bytes() for name in ("masks.json", "scores.csv")}


@settings(deadline=None, max_examples=15, derandomize=True)
@given(
    changes=st.lists(st.tuples(st.integers(0, 2000), st.binary(min_size=1, max_size=3)), max_size=3),
    cut=st.none() | st.integers(0, 300),
)
@pytest.mark.parametrize("name", FILES[:4])
def test_damaged_files(unfinished, whole, tmp_path_factory, name, changes, cut):
    data = bytearray((unfinished / name).read_bytes()[:cut])
    for place, value in changes:
        start = place % (len(data) + 1)
        data[start : start + len(value)] = value
    path = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(unfinished, path)
    (path / name).write_bytes(data)
    try:
        finish(path)
    except UndertowError as error:
        assert name == "run.json" and str(path) in str(error)
        return
    rows = json.loads((path / "masks.json").read_text())
    assert [row["frame"] for row in rows if row["frame"] in range(FRAMES)] == [row["frame"] for row in rows]
    assert {table: (path / table).read_bytes() for table in whole} == whole


@settings(deadline=None, max_examples=25, derandomize=True)
@given(name=st.sampled_from(FILES), content=st.binary(max_size=50) | st.text(max_size=50).map(str.encode))
@example(name="run.json", content=b"[" * 100_000)
@example(name="run.json", content=b'{"format": "undertow run", "cues": 5}')
@example(name="run.json", content=b'{"format": "undertow run", "cues": [{"sha256": 1}], "settings": []}')
@example(name=".journal.jsonl", content=b'{"frame": 0}\n{"frame": 1}\n')
@example(name=".journal.jsonl", content=b"null\nnull\n")
@example(name=".journal.jsonl", content=b"[" * 100_000 + b"\n\n")
@example(name=".journal.jsonl", content=b'{"frame": 0, "time": "1/0", "rles": {}, "scores": {}}\n' * 2)
@example(name="state.safetensors", content=b"\xff" * 8 + b"{}")
def test_other_content(unfinished, whole, tmp_path_factory, name, content):
    path = tmp_path_factory.mktemp("other") / "run"
    shutil.copytree(unfinished, path)
    (path / name).write_bytes(content)
    try:
        finish(path)
    except UndertowError as error:
        assert name == "run.json" and str(path) in str(error)
        return
    # Whatever lay there, the run that comes of it is the one that would have been.
    assert {table: (path / table).read_bytes() for table in whole} == whole


@pytest.mark.parametrize("count", ["-1", "0", "99", "two", "9" * 5000])
def test_a_state_that_counts_wrong(unfinished, whole, tmp_path, count):
    from safetensors.torch import load_file, save_file

    path = tmp_path / "run"
    shutil.copytree(unfinished, path)
    state = load_file(path / "state.safetensors")
    save_file(state, path / "state.safetensors", {"frames": count, "digest": ""})
    finish(path)
    assert {table: (path / table).read_bytes() for table in whole} == whole
