"""Sessions on runs that are there: of the command line, of another video, damaged."""

import json
import subprocess
import sys
from threading import Event, Thread

import numpy as np
import pytest

from undertow.base import CueError, SettingsError
from undertow.runs import execute
from undertow.tasks import TASKS
from undertow.tracking import TrackSettings
from undertow.tracking.cues import given_masks
from undertow.video import Video

SETTINGS = TrackSettings(size=(64, 96))


@pytest.fixture
def foreign(clip, tmp_path, tiny_like):
    """A run that no app made."""
    labels = np.zeros((64, 96), np.uint16)
    labels[24:48, 20:44] = 3
    with Video(clip) as video:
        execute(TASKS["track"], tmp_path / "out", video, given_masks(video, {0: labels}), tiny_like, SETTINGS)
    return tmp_path / "out"


@pytest.fixture
def opened(tiny_like):
    pytest.importorskip("fastapi", reason="needs the extra app")
    from undertow.app import Workspace

    made = []

    def make(video, out):
        made.append(Workspace(lambda task: tiny_like, {"track": SETTINGS}))
        return made[-1].open(video, out).sessions["track"]

    yield make
    for workspace in made:
        workspace.close()


def test_a_run_is_looked_at_without_its_video(foreign, opened):
    session = opened(None, foreign)
    assert session.state()["complete"] and [each["id"] for each in session.state()["objects"]] == [3]
    assert session.project.count == 6
    assert session.labels(0)[30, 30] == 3 and session.project.frames.bmp(0)[:2] == b"BM"
    with pytest.raises(Exception, match="--video"):
        session.edit("brush", 0, 3, [2, 5, 5])
    assert sorted(path.name for path in foreign.parent.iterdir() if path.is_dir() and "clip" not in path.name) == [
        "out"
    ]


def test_a_run_of_the_command_line_is_corrected_and_never_replaced(foreign, clip, opened):
    session = opened(clip, foreign)
    state = session.state()
    assert state["given"] == {0: [3]} and not state["stale"]
    session.edit("brush", 4, 3, [3, 80, 40])
    session.run()
    session.wait()
    assert session.state()["complete"] and session.labels(4)[40, 80] == 3, session.state()["message"]
    assert session.state()["undo"] == 4
    # An object that the run does not have may have a name; a run that was changed is exported beside what it was.
    session.edit("name", 0, 9, text="later")
    for _ in range(2):
        session.export("davis")
        session.wait()
        assert "6 frames are in" in session.message, session.message
    assert (foreign.parent / "out.davis").is_dir() and (foreign.parent / "out.davis-2").is_dir()
    session.move(-1)
    for _ in range(2):
        session.move(-1)
    # The run as it was made elsewhere is back, and stays.
    assert session.state()["complete"] and session.labels(4)[40, 80] == 0
    before = (foreign / "run.json").read_bytes()
    with pytest.raises(SettingsError, match="made elsewhere"):
        session.move(-1)
    session.edit("delete", 0, 3)
    session.edit("brush", 2, 1, [3, 80, 40])
    session.run()
    session.wait()
    # Its first mask is gone, so that this would be another run.
    assert "another --out" in session.state()["message"]
    assert (foreign / "run.json").read_bytes() == before


def test_the_run_of_another_video_is_refused(foreign, clip, opened):
    for number, path in enumerate(sorted(clip.iterdir())):
        if number < 2:
            path.unlink()
    with pytest.raises(SettingsError, match="another video"):
        opened(clip, foreign)


def test_a_run_that_is_being_written_is_not_opened_and_one_that_is_open_not_twice(clip, tmp_path, opened):
    (tmp_path / "out").mkdir()
    hold = "import sys\nfrom undertow.base import exclusive\nwith exclusive('out'): print(flush=True), sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=-1, stdout=-1, cwd=tmp_path) as process:
        process.stdout.readline()
        with pytest.raises(SettingsError, match=rf"another run \(process {process.pid}\) is writing to"):
            opened(clip, tmp_path / "out")
        process.kill()
    session = opened(clip, tmp_path / "out")
    with pytest.raises(SettingsError, match=r"has '.*out' open already"):
        opened(clip, tmp_path / "out")
    session.project.close()
    assert [path.name for path in tmp_path.glob("out*")] == ["out"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"video": "", "done": 2, "edits": []}', '{"video": "", "done": -1, "edits": []}',
     json.dumps({"video": "", "done": 1, "edits": [{"number": "../a", "kind": "box", "frame": 0, "object_id": 1}]}),
     json.dumps({"video": "", "done": 1, "edits": [{"number": 1, "kind": "no", "frame": 0, "object_id": 1}]})],
)  # fmt: skip
def test_edits_that_are_damaged_are_refused(content, clip, tmp_path, opened):
    (tmp_path / "out.app").mkdir()
    (tmp_path / "out.app" / "edits.json").write_text(content)
    with pytest.raises(SettingsError, match="damaged"):
        opened(clip, tmp_path / "out")
    assert (tmp_path / "out.app" / "edits.json").read_text() == content


def test_one_thing_is_done_at_a_time_and_the_page_is_answered_meanwhile(clip, tmp_path, opened, monkeypatch):
    session = opened(clip, tmp_path / "out")
    begun, end = Event(), Event()
    found = session._found

    def slow(edit):
        begun.set()
        end.wait(10)
        return found(edit)

    monkeypatch.setattr(session, "_found", slow)
    click = Thread(target=session.edit, args=("point", 0, 1, [30, 34, 1]))
    click.start()
    assert begun.wait(10) and session.state()["doing"] == "mask" and session.labels(0) is None
    with pytest.raises(SettingsError, match="wait for the mask"):
        session.edit("brush", 0, 1, [2, 5, 5])
    end.set()
    click.join()
    assert session.state()["doing"] == "" and session.state()["undo"] == 1 and session.labels(0)[34, 30] == 1


def test_an_edit_that_cannot_be_written_has_not_happened(session):
    resource = pytest.importorskip("resource", reason="needs a system that limits files")
    session.edit("brush", 0, 1, [4, 30, 30])
    before, (soft, hard) = session.labels(0), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            session.edit("brush", 0, 1, [9, 60, 30])
        with pytest.raises(OSError, match="too large"):
            session.move(-1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert session.state()["undo"] == 1 and np.array_equal(session.labels(0), before) and not session.doing
    session.edit("brush", 0, 1, [9, 60, 30])
    assert session.state()["undo"] == 2 and session.labels(0)[30, 60] == 1


@pytest.mark.parametrize(
    ("task", "edit", "lines"),
    [("track", ("brush", 2, 1, [8, 38, 36]), 6), ("points", ("drop", 2, 1, [38, 36]), 1), ("refer", None, 0)],
)
def test_what_is_copied_as_python_does_the_same(workspace, capsys, task, edit, lines):
    session = workspace.projects[0].sessions[task]
    if edit is not None:
        session.edit(*edit)
    exec(session.copies()["python"], {})
    assert len(capsys.readouterr().out.splitlines()) == lines


def test_the_part_of_a_run_follows_its_direction(session):
    session.edit("brush", 2, 1, [8, 38, 36])
    session.edit("brush", 4, 1, [8, 44, 36])
    for way, part in [("", (0, 5)), ("forward", (2, 5)), ("back", (0, 4)), ("both", (0, 5))]:
        session.edit("way", 0, 1, (), way)
        assert (session.part, session.chosen.correct_back) == (part, way in ("back", "both"))
        assert ("--start" in session.copies()["command"]) == (part != (0, 5))
        session.move(-1)
    with pytest.raises(CueError, match="no direction"):
        session.edit("way", 0, 1, (), "sideways")
    session.edit("way", 0, 1, (), "forward")
    session.edit("way", 0, 1, (), "back")
    assert session.way == "both"
