"""Run folders of any task: what is whose, going on after an interruption, refusals, changes put in place."""

import json
import tracemalloc
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.base import SettingsError
from undertow.runs import Folder, Record
from undertow.runs.folder import STAGING
from undertow.runs.record import decimal_seconds

FACTS = {
    "task": "dots",
    "video": "ab12",
    "model": "tiny",
    "settings": {"fps": Fraction(30000, 1001), "recent": 7},
    "cues": ({"mask": Path("first.png")}, {"frame": 0, "sha256": "c0de"}),
    "files": ("dots/*.json", "dots.csv", "overlay.mp4"),
}


@dataclass(frozen=True)
class Result:
    index: int
    time: Fraction
    name: str


def opened(out: Path, *, overwrite: bool = False, amend: bool = False, **changes) -> Folder:
    return Folder.open(out, Record(**FACTS | changes), overwrite=overwrite, amend=amend)


def write(run: Folder, index: int, text: str = "x") -> None:
    path = run.file("dots", f"frame {index}", ".json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    run.note(Result(index, Fraction(index, 24), f"frame {index}"), {"files": [f"dots/{path.name}"], "text": text})


def finish(run: Folder, frames: int = 4) -> None:
    for index in range(run.done, frames):
        write(run, index)
    (run.path / "dots.csv").write_text("".join(f"{line['frame']},{line['text']}\n" for line in run.lines()))
    run.complete(["dots.csv"])


def contents(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_a_complete_run_has_its_files_and_no_others(tmp_path):
    with opened(tmp_path / "out") as run:
        finish(run)
    assert sorted(contents(run.path)) == sorted(
        [*(f"dots/frame {index}.json" for index in range(4)), "dots.csv", "run.json"]
    )
    value = json.loads((run.path / "run.json").read_text())
    assert (value["format"], value["version"], value["task"], value["video"]) == ("undertow run", 2, "dots", "ab12")
    assert value["settings"] == {"fps": "30000/1001", "recent": 7} and value["cues"][0] == {"mask": "first.png"}
    assert value["complete"] == {"dots.csv": 1, "dots/*.json": 4}
    with opened(tmp_path / "out") as run:
        assert run.finished
        with pytest.raises(SettingsError, match="is complete"):
            write(run, 4)


def test_an_interrupted_run_keeps_what_is_done(tmp_path):
    with opened(tmp_path / "out") as run:
        write(run, 0)
    assert (run.path / "dots" / "frame 0.json").exists()
    with opened(tmp_path / "out") as run:
        # Without a state there is nothing to go on from: the frame will be made again.
        assert (run.done, run.state, run.finished) == (0, None, False) and not list((run.path / "dots").iterdir())


def test_a_run_goes_on_from_its_last_state(tmp_path):
    tensors = {"labels": torch.arange(6.0).reshape(2, 3)}
    with opened(tmp_path / "out") as run:
        for index in range(3):
            write(run, index)
        run.save(tensors, digest="seen")
        write(run, 3)
    with opened(tmp_path / "out") as run:
        assert (run.done, run.digest) == (3, "seen") and torch.equal(run.state["labels"], tensors["labels"])
        assert not run.file("dots", "frame 3", ".json").exists()
        finish(run, 5)
    assert (run.path / "dots.csv").read_text() == "0,x\n1,x\n2,x\n3,x\n4,x\n"


@pytest.mark.parametrize("harm", ["state", "file", "journal", "half a line", "a letter"])
def test_a_damaged_run_starts_anew(tmp_path, harm):
    with opened(tmp_path / "out") as run:
        for index in range(2):
            write(run, index)
        run.save({"x": torch.zeros(1)})
    journal = run.path / ".journal.jsonl"
    if harm == "state":
        (run.path / "state.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0garbage!")
    elif harm == "file":
        run.file("dots", "frame 1", ".json").unlink()
    elif harm == "journal":
        journal.unlink()
    elif harm == "half a line":
        journal.write_bytes(journal.read_bytes()[:-5])
    else:
        journal.write_bytes(journal.read_bytes().replace(b'"text": "x"', b'"text": "y"', 1))
    with opened(tmp_path / "out") as run:
        assert (run.done, run.state) == (0, None)
        finish(run)
    assert (run.path / "dots.csv").read_text() == "0,x\n1,x\n2,x\n3,x\n"


def test_files_removed_during_or_after_a_run_are_missed(tmp_path):
    with opened(tmp_path / "out") as run:
        write(run, 0)
        run.file("dots", "frame 0", ".json").unlink()
        with pytest.raises(SettingsError, match=r"frame 0.json' was removed during the run"):
            finish(run)
    with opened(tmp_path / "out") as run:
        finish(run)
    run.file("dots", "frame 2", ".json").unlink()
    with pytest.raises(SettingsError, match=r"has 3 of 4 files dots/\*.json; add --overwrite"):
        opened(tmp_path / "out")


def test_only_leftovers_of_our_own_writing_are_swept_up(tmp_path):
    with opened(tmp_path / "out") as run:
        write(run, 0)
    ours = [run.path / ".dots-ab12_xyz.csv", run.path / "dots" / ".frame 0-abcdefgh.json"]
    theirs = [run.path / ".DS_Store", run.path / ".hidden-abcdefgh.csv", run.path / "dots" / ".keep"]
    for path in (*ours, *theirs):
        path.write_bytes(b"x")
    with opened(tmp_path / "out"):
        pass
    assert [path.exists() for path in (*ours, *theirs)] == [False, False, True, True, True]


def test_a_run_killed_before_its_first_file_can_be_started_again(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".lock").write_text("1")
    (tmp_path / "out" / ".run-x_nue2ha.json").write_text('{"for')
    with opened(tmp_path / "out") as run:
        assert run.done == 0
    assert sorted(path.name for path in run.path.glob(".*")) == [".journal.jsonl"]


def test_one_process_at_a_time_has_a_folder(tmp_path):
    with opened(tmp_path / "out"), pytest.raises(SettingsError, match=r"another run \(process \d+\) is writing to"):
        opened(tmp_path / "out", overwrite=True)
    with opened(tmp_path / "out"):
        pass
    assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"task": "lines"}, "holds a run of dots; add --overwrite to replace it"),
        ({"video": "cd34"}, "video was ab12 and is cd34"),
        ({"model": "sd-2.1"}, "model was tiny and is sd-2.1"),
        ({"settings": {"fps": Fraction(25), "recent": 7}}, "fps was 30000/1001 and is 25"),
        ({"settings": {"recent": 7}}, "fps was 30000/1001 and is null"),
        ({"cues": ({"frame": 0, "sha256": "f00"},)}, "cues.frame 0 was c0de and is f00"),
    ],
)
@pytest.mark.parametrize("finished", [False, True])
def test_another_run_is_refused_with_what_differs(tmp_path, change, words, finished):
    with opened(tmp_path / "out") as run:
        write(run, 0)
        if finished:
            finish(run)
    before = contents(run.path)
    with pytest.raises(SettingsError) as caught:
        opened(tmp_path / "out", **change)
    assert words in str(caught.value) and "--overwrite" in str(caught.value)
    assert contents(run.path) == before


def test_of_a_complete_run_the_cues_may_differ_if_it_is_to_be_amended(tmp_path):
    other = {"cues": ({"frame": 0, "sha256": "f00"},)}
    with opened(tmp_path / "out") as run:
        write(run, 0)
    with pytest.raises(SettingsError, match=r"cues\.frame 0 was"):
        opened(tmp_path / "out", amend=True, **other)
    with opened(tmp_path / "out") as run:
        finish(run)
    with opened(tmp_path / "out", amend=True, **other) as run:
        assert run.finished and run.record.cues[-1]["sha256"] == "c0de"
    with pytest.raises(SettingsError, match="model was"):
        opened(tmp_path / "out", amend=True, model="sd-2.1", **other)


def test_a_run_of_any_task_can_be_replaced_and_nothing_else_is_removed(tmp_path):
    with opened(tmp_path / "out") as run:
        finish(run)
    (run.path / "notes.txt").write_text("mine")
    (run.path / "overlay.mp4").write_bytes(b"old")
    (run.path / "photos").mkdir()
    (run.path / "photos" / "dot.json").write_text("mine")
    with opened(tmp_path / "out", overwrite=True, task="lines", files=("lines.csv",)) as run:
        left = {name for name in contents(run.path) if not name.startswith(".")}
    assert left == {"run.json", "notes.txt", "photos/dot.json"} and not (run.path / "dots").exists()


def test_a_run_that_was_being_replaced_is_not_taken_for_complete(tmp_path, monkeypatch):
    with opened(tmp_path / "out") as run:
        finish(run)

    def killed(self, **_):
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(OSError, match="killed"):
            opened(tmp_path / "out", overwrite=True)
    (run.path / ".lock").unlink(missing_ok=True)
    with opened(tmp_path / "out") as run:
        assert not run.finished and run.done == 0


def test_other_peoples_files_are_never_touched(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").write_bytes(b"x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "run.json").write_text('{"format": "something else"}')
    (tmp_path / "file").write_text("x")
    for overwrite in (False, True):
        for name, words in {"photos": "are not a run", "other": "are not a run", "file": "is a file; name a"}.items():
            with pytest.raises(SettingsError, match=words):
                opened(tmp_path / name, overwrite=overwrite)
    assert (tmp_path / "photos" / "a.png").read_bytes() == b"x"


def test_a_run_that_says_other_peoples_files_are_its_own_is_refused(tmp_path):
    with opened(tmp_path / "out") as run:
        finish(run)
    value = json.loads((run.path / "run.json").read_text())
    (tmp_path / "mine.json").write_text("mine")
    for files in (["../*.json"], ["*.txt"], ["../mine.json"], "*", None):
        (run.path / "run.json").write_text(json.dumps(value | {"files": files}))
        for overwrite in (False, True):
            with pytest.raises(SettingsError, match=r"run.json' (is damaged|does not say which files)"):
                opened(tmp_path / "out", overwrite=overwrite)
    assert (tmp_path / "mine.json").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cues": None}, r"run.json' is damaged \('cues' is null\)"),
        ({"cues": [{"frame": [], "sha256": "c0de"}]}, "'frame' of a cue is"),
        ({"cues": ["first.png"]}, "a cue is first.png"),
        ({"settings": []}, "'settings' is"),
        ({"complete": {"../*": 3}}, "'complete' is"),
        ({"version": 3}, "a run by another version of undertow .* is 3, not 2"),
        ({"version": 1, "format": "undertow points run"}, "a run by another version"),
    ],
)
def test_a_record_that_cannot_be_used_is_one_sentence_and_can_be_replaced(tmp_path, change, words):
    with opened(tmp_path / "out") as run:
        finish(run)
    value = json.loads((run.path / "run.json").read_text())
    (run.path / "run.json").write_text(json.dumps(value | change))
    with pytest.raises(SettingsError, match=words):
        opened(tmp_path / "out")
    with opened(tmp_path / "out", overwrite=True) as run:
        assert run.done == 0


def test_a_change_is_put_in_place_whole(tmp_path):
    with opened(tmp_path / "out") as run:
        finish(run)
        (run.path / "overlay.mp4").write_bytes(b"as it was")
    with opened(tmp_path / "out") as run:
        with run.stage() as staged:
            write(staged, 2, "new")
            (staged.path / "dots.csv").write_text("new table\n")
            staged.log({"changed": 2})
            run.put_in_place(staged, ("overlay.mp4",))
        assert run.record.cues[-1] == {"changed": 2}
    found = contents(run.path)
    assert found["dots/frame 2.json"] == b"new" and found["dots/frame 1.json"] == b"x"
    assert found["dots.csv"] == b"new table\n" and "overlay.mp4" not in found
    assert json.loads(found["run.json"])["complete"] == {"dots.csv": 1, "dots/*.json": 4}
    assert not (run.path / STAGING).exists()


def test_a_change_that_is_not_whole_is_forgotten(tmp_path):
    with opened(tmp_path / "out") as run:
        finish(run)
        before = contents(run.path)
        write(run.stage(), 2, "new")
    with opened(tmp_path / "out") as run:
        pass
    assert {name: data for name, data in before.items() if name != ".lock"} == contents(run.path)


def test_complete_runs_are_opened_again(tmp_path):
    with pytest.raises(SettingsError, match="no run of dots"):
        Folder.reopen(tmp_path / "out", "dots")
    opened(tmp_path / "out").close()
    with pytest.raises(SettingsError, match="not finished"):
        Folder.reopen(tmp_path / "out", "dots")
    with opened(tmp_path / "out") as run:
        finish(run)
    with pytest.raises(SettingsError, match="no run of lines"):
        Folder.reopen(tmp_path / "out", "lines")
    with Folder.reopen(tmp_path / "out", "dots") as run:
        assert run.record == replace(Record(**FACTS), complete={"dots.csv": 1, "dots/*.json": 4})


def test_names_that_lead_out_of_the_folder_are_refused(tmp_path):
    with opened(tmp_path / "out") as run:
        for name in ("../outside", "/etc/passwd", "a/../../b", "a\nb"):
            with pytest.raises(SettingsError, match="rename it"):
                run.file("dots", name, ".json")
        (tmp_path / "elsewhere").mkdir()
        (run.path / "dots").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(SettingsError, match="is a link"):
            run.file("dots", "frame 0", ".json")


@pytest.mark.parametrize("name", [".lock", ".journal.jsonl", STAGING])
@pytest.mark.parametrize("finished", [False, True])
def test_links_in_a_run_of_strangers_lead_nowhere(tmp_path, name, finished):
    with opened(tmp_path / "out") as run:
        if finished:
            finish(run)
        else:
            write(run, 0)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "ready.json").write_text('{"outdated": []}')
    (elsewhere / "run.json").write_bytes((run.path / "run.json").read_bytes())
    before = contents(elsewhere)
    (run.path / name).unlink(missing_ok=True)
    (run.path / name).symlink_to(elsewhere if name == STAGING else elsewhere / "ready.json")
    if finished and name == ".journal.jsonl":
        opened(tmp_path / "out").close()
    else:
        with pytest.raises(SettingsError, match="is a link"):
            opened(tmp_path / "out")
    assert contents(elsewhere) == before


def test_memory_does_not_grow_with_the_video(tmp_path):
    def peak(frames: int) -> int:
        tracemalloc.start()
        with opened(tmp_path / str(frames)) as run:
            for index in range(frames):
                write(run, index, "x" * 3000)
            run.complete()
        size = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return size

    peak(2)
    # A line is about 3 kB here, so keeping them would show as 400 kB.
    assert peak(150) - peak(10) < 100_000


@settings(deadline=None)
@given(st.fractions(min_value=-10, max_value=10**6))
def test_decimal_seconds_are_exact_to_half_a_nanosecond(time):
    text = decimal_seconds(time)
    assert abs(Fraction(text) - time) <= Fraction(1, 2 * 10**9)
    assert len(text.partition(".")[2]) == 9
