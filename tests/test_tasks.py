"""What every task has of `runs`: folders, resuming, refusals, events, views, interruption, budgets.

A new task is a settings class, a method and a job. The one of docs/add-a-task.md passes like the others.
"""

import atexit
import io
import json
import os
import shutil
import signal
import tempfile
from importlib import import_module
from pathlib import Path

import pytest
import torch

import undertow
from pages import files_of
from undertow.base import JsonProgress, MemoryBudgetError, SettingsError, SilentProgress
from undertow.base.memory import PeakMeter
from undertow.masks import write_label_map
from undertow.parsing import ParseSettings
from undertow.points import PointSettings
from undertow.referring import ReferSettings
from undertow.runs import execute, read_cue
from undertow.runs.estimate import estimate
from undertow.tasks import TASKS
from undertow.tracking import TrackSettings
from undertow.video import Clip, Video, write_video
from undertow.world import crossing_scene

FRAMES = 6


def added(name, page):
    """Returns a task that a page adds: its files are put where Python finds them as a package of undertow."""
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path, content in files_of(page).items():
        file = folder / Path(path).relative_to("src/undertow")
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
    undertow.__path__.append(str(folder))
    return import_module(f"undertow.{name}.task").TASK


TOY = added("brightness", "add-a-task.md")


def settings_of(name):
    return (TOY if name == TOY.name else TASKS[name]).settings()


# Settings and cues of a small run of each task.
SMALL = {
    "track": (TrackSettings(tokens=60, batch=2), [("mask", "first.png")]),
    "points": (PointSettings(tokens=60, batch=2), [("grid", "2"), ("point", "20,20@3")]),
    "parse": (ParseSettings(tokens=60, batch=2), [("anchor", "first.png")]),
    "refer": (ReferSettings(tokens=60, batch=2, pivots=2, reader="tiny-words"), [("text", "red disc")]),
    "brightness": (settings_of("brightness"), []),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where a short clip and its first label map lie."""
    drawn = crossing_scene(height=32, width=48, frames=24)
    pictures = [drawn.picture(2.0 * index) for index in range(FRAMES)]
    path = tmp_path_factory.mktemp("clip")
    write_video(path / "clip.mp4", [picture.image for picture in pictures], fps=24)
    write_label_map(path / "first.png", pictures[0].labels)
    return path


@pytest.fixture(autouse=True)
def one_thread():
    """A forked process cannot use the threads of its parent, and a run goes on with as many as it began with."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(params=dict.fromkeys([*TASKS, TOY.name]))
def task(request):
    return TOY if request.param == "brightness" else TASKS[request.param]


@pytest.fixture
def run(folder, tiny_like, monkeypatch):
    """Runs a task into a folder and returns that."""
    monkeypatch.chdir(folder)

    def call(task, out, views=(), **options):
        settings, typed = SMALL[task.name]
        with Video("clip.mp4") as video:
            clip = Clip(video)
            given = task.gather([read_cue(*each, clip) for each in typed], clip, lambda: tiny_like, settings)
            return execute(task, out, clip, given, tiny_like, settings, views=views, **options).path

    return call


@pytest.fixture(scope="module")
def whole():
    """What runs of the tasks hold that nothing happened to."""
    return {}


@pytest.fixture
def expected(whole, task, run, tmp_path_factory):
    if task.name not in whole:
        whole[task.name] = contents(run(task, tmp_path_factory.mktemp("whole") / "out", task.views))
    return whole[task.name]


def contents(out):
    """Everything a run holds, videos by their frames, and which files they are."""
    found = {}
    for path in sorted(out.rglob("*")):
        if path.suffix == ".mp4":
            with Video(path) as video:
                found[path.name] = [(frame.time, frame.image.tobytes()) for frame in video]
        elif path.is_file():
            found[path.relative_to(out).as_posix()] = path.read_bytes()
    return found


class At(SilentProgress):
    """Does something when a frame is done."""

    def __init__(self, frame, what):
        self.frame, self.what = frame, what

    def advance(self, units=1, **facts):
        if facts.get("frame") == self.frame:
            self.what()


def interrupt():
    raise KeyboardInterrupt


def test_a_run_holds_its_own_files_and_no_others(task, expected):
    patterns = [*task.files, *task.extras, *task.views, "frames.json", "run.json"]
    strays = [name for name in expected if not any(fits(name, pattern) for pattern in patterns)]
    record = json.loads(expected["run.json"])
    assert not strays and (record["task"], record["version"]) == (task.name, 2) and record["complete"] is not None
    assert all(any(fits(name, pattern) for name in expected) for pattern in (*task.views, *tables(task)))
    assert len(expected["overlay.mp4"]) == FRAMES


def fits(name, pattern):
    start, star, end = pattern.partition("*")
    return name.startswith(start) and name.endswith(end) and (name == pattern or bool(star))


def tables(task):
    """The files that every run of a task has, whatever its settings."""
    return [pattern for pattern in task.files if "*" not in pattern]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are killed where they can be forked")
def test_a_run_that_was_killed_becomes_what_it_would_have_been(task, run, expected, tmp_path):
    kill = At(3, lambda: os.kill(os.getpid(), signal.SIGKILL))
    child = os.fork()
    if child == 0:
        try:
            run(task, tmp_path / "out", task.views, progress=kill, state_seconds=0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert (tmp_path / "out" / ".journal.jsonl").exists()
    assert contents(run(task, tmp_path / "out", task.views)) == expected


@pytest.mark.parametrize("stage", ["frame", "draw"])
def test_an_interrupted_run_becomes_what_it_would_have_been(task, run, expected, tmp_path, stage):
    class AtDrawing(SilentProgress):
        def start(self, name, total):
            if name == "draw":
                interrupt()

    with pytest.raises(KeyboardInterrupt):
        run(task, tmp_path / "out", task.views, progress=At(2, interrupt) if stage == "frame" else AtDrawing())
    assert not (tmp_path / "out" / "overlay.mp4").exists()
    assert contents(run(task, tmp_path / "out", task.views)) == expected


def test_a_complete_run_is_left_alone_but_for_views_that_are_missing(task, run, expected, tmp_path):
    out = run(task, tmp_path / "out", task.views)
    stamps = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    run(task, out, task.views)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == stamps
    for view in task.views:
        (out / view).unlink()
        run(task, out, task.views)
    assert contents(out) == expected


def test_another_task_is_refused_by_name_and_replaces_the_run_if_told_to(task, run, expected, tmp_path):
    other = TASKS["track"] if task is TOY else TOY
    out = run(other, tmp_path / "out", other.views)
    (out / "notes.txt").write_text("mine")
    before = contents(out)
    with pytest.raises(SettingsError, match=rf"holds a run of {other.name}; add --overwrite"):
        run(task, out, task.views)
    assert contents(out) == before
    found = contents(run(task, out, task.views, overwrite=True))
    assert found.pop("notes.txt") == b"mine" and found == expected


def test_events_name_the_task_and_every_frame(task, run, tmp_path):
    lines = io.StringIO()
    run(task, tmp_path / "out", progress=JsonProgress(lines))
    events = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert events[0] == {"event": "start", "stage": task.name, "total": FRAMES}
    done = [event["frame"] for event in events if "frame" in event][-FRAMES:]
    assert done == list(range(FRAMES)) and events[-1]["done"] == FRAMES


def test_tables_that_are_gone_are_missed(task, run, tmp_path):
    out = run(task, tmp_path / "out")
    for table in tables(task):
        kept = (out / table).read_bytes()
        (out / table).unlink()
        with pytest.raises(SettingsError, match=f"has 0 of 1 files {table}; add --overwrite"):
            run(task, out)
        (out / table).write_bytes(kept)
    run(task, out)


def test_files_removed_during_a_run_are_missed(task, run, expected, tmp_path):
    names = [name for name in expected if any(fits(name, pattern) for pattern in task.files if "*" in pattern)]
    if not names:
        pytest.skip("this task writes nothing frame by frame")
    with pytest.raises(SettingsError, match="was removed during the run"):
        run(task, tmp_path / "out", progress=At(3, (tmp_path / "out" / names[0]).unlink))
    assert contents(run(task, tmp_path / "out", task.views)) == expected
    (tmp_path / "out" / names[-1]).unlink()
    with pytest.raises(SettingsError, match=rf"has {len(names) - 1} of {len(names)} files"):
        run(task, tmp_path / "out")


def test_what_would_not_fit_is_refused_before_anything_is_written(task, run, tmp_path):
    with pytest.raises(
        MemoryBudgetError, match=rf"{task.name} needs about .* where --max-memory allows 1 MB"
    ) as caught:
        run(task, tmp_path / "out", budget=10**6)
    assert caught.value.exit_code == 4 and not (tmp_path / "out").exists()


def test_an_estimate_foresees_the_peak(task, run, tiny_like, tmp_path):
    settings, typed = SMALL[task.name]
    run(task, tmp_path / "first", task.views)
    with Video("clip.mp4") as video:
        clip = Clip(video)
        given = task.gather([read_cue(*each, clip) for each in typed], clip, lambda: tiny_like, settings)
        found = estimate(task, clip, given, tiny_like, settings, views=task.views)
    assert found.frames == FRAMES and found.seconds > 0 and found.disk > 0
    assert found.memory == max(found.phases.values()) and found.passes >= 0
    with PeakMeter() as meter:
        run(task, tmp_path / "second", task.views)
    # Of a run so small that interpreter and libraries are most of it; docs/estimate.md has larger ones.
    assert 0.8 < found.memory / meter.peak < 1.4
