import csv
import json
import tracemalloc
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from undertow.base import SettingsError
from undertow.masks import VOID, LabelMap, read_written_map
from undertow.runs import RunFolder
from undertow.runs.folder import decimal_seconds


@dataclass(frozen=True)
class Sure:
    area: int
    margin: float
    mass: float
    presence: float = 1.0
    lost: bool = False


@dataclass(frozen=True)
class Result:
    index: int
    time: Fraction
    name: str
    labels: LabelMap
    scores: Mapping[int, Sure]


def create(out: Path, overwrite: bool = False) -> RunFolder:
    return opened(out, overwrite=overwrite)


def opened(out: Path, **changes) -> RunFolder:
    facts = {
        "video": "ab12",
        "model": "tiny",
        "settings": {"fps": Fraction(30000, 1001), "recent": 7},
        "cues": [{"kind": "mask", "path": Path("first.png"), "frame": 0}],
    }
    return RunFolder.open(out, **(facts | changes))


def result(index: int, size: tuple[int, int] = (20, 30)) -> Result:
    labels = np.random.default_rng(index).choice(np.array([0, 1, 2, VOID], np.uint16), size)
    scores = {n: Sure(int((labels == n).sum()), 0.25 * n, 0.5) for n in (1, 2)} | {3: Sure(0, 0.0, float("nan"))}
    return Result(index, Fraction(index * 1001, 30000), f"frame_{index:03d}", labels, scores)


def test_a_finished_run_has_the_promised_files(tmp_path):
    results = [result(index) for index in range(4)]
    with create(tmp_path / "out") as run:
        for each in results:
            run.write_result(each)
        run.finish()
        run.complete()
    found = sorted(str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file())
    masks = [f"masks/frame_00{index}.png" for index in range(4)]
    assert found == sorted([*masks, "masks.json", "run.json", "scores.csv"])
    record = json.loads((run.path / "run.json").read_text())
    assert record["video"] == "ab12"
    assert record["model"] == "tiny"
    assert record["settings"] == {"fps": "30000/1001", "recent": 7}
    assert record["cues"] == [{"kind": "mask", "path": "first.png", "frame": 0}]


@pytest.mark.parametrize("top", [254, 255, 1000])
def test_masks_are_written_exactly_as_given(tmp_path, top):
    labels = np.random.default_rng(0).choice(np.array([0, 1, top, VOID], np.uint16), (33, 21))
    with create(tmp_path / "out") as run:
        run.write_result(Result(0, Fraction(0), "a b.c", labels, {}))
    assert run.mask_path("a b.c") == run.path / "masks" / "a b.c.png"
    assert np.array_equal(read_written_map(run.mask_path("a b.c")), labels)


# pycocotools 2.0.11 has not caught up with numpy 2's copy keyword.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_pycocotools_reads_masks_json(tmp_path):
    results = [result(index) for index in range(3)]
    with create(tmp_path / "out") as run:
        for each in results:
            run.write_result(each)
        run.finish()
    rows = json.loads((run.path / "masks.json").read_text())
    assert [(row["frame"], row["object"]) for row in rows] == [(f, n) for f in range(3) for n in (1, 2)]
    for row in rows:
        assert set(row) == {"frame", "time", "object", "rle"}
        given = results[row["frame"]]
        assert np.array_equal(coco.decode(row["rle"]), given.labels == row["object"])
        assert int(coco.area(row["rle"])) == given.scores[row["object"]].area
        assert Fraction(row["time"]) == given.time


def test_scores_have_a_row_for_every_object_seen_or_not(tmp_path):
    results = [result(index) for index in (0, 5)]
    with create(tmp_path / "out") as run:
        for each in results:
            run.write_result(each)
        run.finish()
    with (run.path / "scores.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    assert list(rows[0]) == ["frame", "time", "object", "area", "margin", "mass", "presence", "lost"]
    assert [(row["frame"], row["object"]) for row in rows] == [(f, n) for f in ("0", "5") for n in ("1", "2", "3")]
    assert rows[3]["time"] == "0.166833333"
    assert int(rows[4]["area"]) == results[1].scores[2].area
    assert (rows[4]["margin"], rows[4]["mass"], rows[5]["mass"]) == ("0.500000", "0.500000", "nan")


def test_an_empty_run_has_empty_tables(tmp_path):
    with create(tmp_path / "out") as run:
        run.finish()
    assert json.loads((run.path / "masks.json").read_text()) == []
    assert (run.path / "scores.csv").read_text() == "frame,time,object,area,margin,mass,presence,lost\n"


def test_an_interrupted_run_keeps_what_is_done_and_has_no_tables(tmp_path):
    def interrupted() -> None:
        with create(tmp_path / "out") as run:
            run.write_result(result(0))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert np.array_equal(read_written_map(tmp_path / "out" / "masks" / "frame_000.png"), result(0).labels)
    assert not (tmp_path / "out" / "masks.json").exists()
    with create(tmp_path / "out") as run:
        # Without a state there is nothing to go on from: the frame will be made again.
        assert (run.frames, run.state, run.finished) == (0, None, False)


def test_a_run_goes_on_from_its_last_state(tmp_path):
    tensors = {"labels": torch.arange(6.0).reshape(2, 3)}
    with create(tmp_path / "out") as run:
        for index in range(3):
            run.write_result(result(index))
        run.write_state(tensors, digest="seen")
        run.write_result(result(3))
    with create(tmp_path / "out") as run:
        assert (run.frames, run.digest) == (3, "seen") and torch.equal(run.state["labels"], tensors["labels"])
        for index in range(3, 5):
            run.write_result(result(index))
        run.finish()
        run.complete()
    rows = (run.path / "scores.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows[1::3]] == ["0", "1", "2", "3", "4"]
    with create(tmp_path / "out") as run:
        assert run.finished


@pytest.mark.parametrize("harm", ["state", "mask", "journal", "half a line"])
def test_a_damaged_run_starts_anew(tmp_path, harm):
    with create(tmp_path / "out") as run:
        for index in range(2):
            run.write_result(result(index))
        run.write_state({"x": torch.zeros(1)})
    journal = run.path / ".journal.jsonl"
    if harm == "state":
        (run.path / "state.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    elif harm == "mask":
        run.mask_path("frame_001").unlink()
    elif harm == "journal":
        journal.unlink()
    else:
        journal.write_bytes(journal.read_bytes()[:-5])
    with create(tmp_path / "out") as run:
        assert (run.frames, run.state) == (0, None)
        run.write_result(result(0))
        run.finish()
    assert len((run.path / "scores.csv").read_text().splitlines()) == 1 + 3


def test_only_leftovers_of_our_own_writing_are_swept_up(tmp_path):
    with create(tmp_path / "out") as run:
        pass
    ours = [run.path / ".scores-ab12_xyz.csv", run.path / "masks" / ".frame_000-abcdefgh.png"]
    theirs = [run.path / ".DS_Store", run.path / ".hidden-abcdefgh.png", run.path / "masks" / ".keep"]
    for path in (*ours, *theirs):
        path.write_bytes(b"x")
    with create(tmp_path / "out"):
        pass
    assert [path.exists() for path in (*ours, *theirs)] == [False, False, True, True, True]


def test_a_run_killed_before_its_first_file_can_be_started_again(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("1")
    (tmp_path / "out" / ".run-x_nue2ha.json").write_text('{"for')
    with create(tmp_path / "out") as run:
        assert run.frames == 0
    assert sorted(path.name for path in run.path.glob(".*")) == [".journal.jsonl"]


def test_one_process_at_a_time_has_a_folder(tmp_path):
    with create(tmp_path / "out"), pytest.raises(SettingsError, match=r"another run \(process \d+\) is writing to"):
        create(tmp_path / "out", overwrite=True)
    with create(tmp_path / "out"):
        pass
    assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"video": "cd34"}, "video was ab12 and is cd34"),
        ({"model": "sd-2.1"}, "model was tiny and is sd-2.1"),
        ({"settings": {"fps": Fraction(25), "recent": 7}}, "settings.fps was 30000/1001 and is 25"),
        ({"settings": {"recent": 7}}, "settings.fps was 30000/1001 and is null"),
        ({"cues": [{"frame": 0, "sha256": "f00"}]}, "cues.frame 0 was null and is f00"),
    ],
)
def test_another_run_is_refused_with_what_differs(tmp_path, change, words):
    with create(tmp_path / "out") as run:
        run.write_result(result(0))
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path / "out", **change)
    assert words in str(caught.value) and "--overwrite" in str(caught.value)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_cues_are_appended(tmp_path):
    with create(tmp_path / "out") as run:
        run.append_cue({"kind": "mask", "path": Path("later.png"), "frame": 9})
    cues = json.loads((run.path / "run.json").read_text())["cues"]
    assert [cue["path"] for cue in cues] == ["first.png", "later.png"]


def test_overwriting_removes_what_a_run_wrote_and_nothing_else(tmp_path):
    with create(tmp_path / "out") as run:
        run.write_result(result(0))
        run.finish()
        run.complete()
    (run.path / "notes.txt").write_text("mine")
    (run.path / "overlay.mp4").write_bytes(b"old")
    with create(tmp_path / "out", overwrite=True) as run:
        left = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if not path.name.startswith(".")}
    assert left == {"run.json", "masks", "notes.txt"}


def test_other_peoples_files_are_never_touched(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"format": "something else"}')
    (tmp_path / "file").write_text("x")
    for overwrite in (False, True):
        with pytest.raises(SettingsError, match=r"photos' holds files that are not a run"):
            create(tmp_path / "photos", overwrite)
        with pytest.raises(SettingsError, match=r"other' holds files that are not a run"):
            create(tmp_path / "other", overwrite)
        with pytest.raises(SettingsError, match=r"file' is a file; name a folder"):
            create(tmp_path / "file", overwrite)
    assert (tmp_path / "photos" / "a.png").read_bytes() == b"x"


def test_an_empty_folder_may_be_used(tmp_path):
    (tmp_path / "out").mkdir()
    with create(tmp_path / "out") as run:
        assert (run.path / "run.json").exists()


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(frames: int) -> int:
        tracemalloc.start()
        with create(tmp_path / str(frames)) as run:
            for index in range(frames):
                run.write_result(result(index, (48, 64)))
            run.finish()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    # A frame's row is about 3 kB here, so keeping them would show as 400 kB.
    assert peak(150) - peak(10) < 100_000


@settings(deadline=None)
@given(st.fractions(min_value=-10, max_value=10**6))
def test_decimal_seconds_are_exact_to_half_a_nanosecond(time):
    text = decimal_seconds(time)
    assert abs(Fraction(text) - time) <= Fraction(1, 2 * 10**9)
    assert len(text.partition(".")[2]) == 9
