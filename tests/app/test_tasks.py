"""Points, classes and words in the app: edits become cues, runs are made of them, and exports of the runs."""

import csv
import json

import numpy as np
import pytest

from undertow.base import CueError, SettingsError
from undertow.export import open_run
from undertow.masks import VOID
from undertow.runs.record import read_record


def ran(session):
    session.run()
    session.wait()
    state = session.state()
    assert state["complete"] and not state["stale"], state["message"]
    return state


def test_points_are_dropped_dragged_hidden_and_followed(workspace, tmp_path):
    session = workspace.projects[0].sessions["points"]
    with pytest.raises(CueError, match="no point"):
        session.run()
    session.edit("drop", 0, 1, [30.5, 34.5])
    session.edit("grid", 2, 1, [2])
    state = ran(session)
    assert len(state["objects"]) == 5 and list(state["given"]) == [0, 2] and "--grid 2@2" in session.copies()["command"]
    first = open_run(session.out).tracks
    assert first.queries.shape == (5, 3)
    number, x, y, seen, _, tail = next(row for row in session.layer(0) if row[0] == 1)
    assert (number, seen) == (1, True) and abs(x - 30.5) < 4 and abs(y - 34.5) < 4 and len(tail) == 1
    assert len(session.layer(5)[0][5]) == 6 and session.scores()[5].keys() == {"1"}

    # One more is added to the run: what the others are does not change, nor is the network asked again.
    session.edit("drop", 1, 2, [10.5, 50.5])
    assert session.state()["stale"]
    ran(session)
    assert np.array_equal(open_run(session.out).tracks.positions[:5], first.positions)
    # One that is dragged is another point: the run begins again.
    session.edit("drag", 3, 1, [41.0, 36.0])
    ran(session)
    assert [3.0, 41.0, 36.0] in open_run(session.out).tracks.queries.tolist()
    session.edit("hide", 0, 2)
    assert next(each for each in session.state()["objects"] if each["id"] == 2)["hidden"]
    session.edit("remove", 0, session.state()["objects"][2]["id"])
    assert "--grid" not in session.copies()["command"]
    with pytest.raises(CueError, match="no point 7"):
        session.edit("drag", 0, 7, [1, 1])
    with pytest.raises(CueError, match="outside"):
        session.edit("drop", 0, 7, [97, 1])
    # Runs are taken back, too.
    for _ in range(5):
        session.move(-1)
    assert open_run(session.out).tracks.queries.shape == (5, 3)
    session.export("csv")
    session.wait()
    assert "6 frames" in session.message, session.message


def test_points_of_a_late_grid_can_be_dragged(workspace):
    session = workspace.projects[0].sessions["points"]
    for number in range(1, 21):
        session.edit("drop", 0, number, [30.5, 34.5])
    session.edit("grid", 0, 1, [2])
    session.edit("grid", 0, 1, [3])
    late = [each["id"] for each in session.state()["objects"] if each["name"].startswith("Grid")]
    assert len(set(late)) == 13 and max(late) < VOID
    session.edit("drag", 1, late[-1], [5.0, 6.0])
    assert session.queries()[late[-1]].frame == 1
    for number in range(15):
        session.edit("grid", number % 6, 1, [60])
    with pytest.raises(CueError, match="too many points"):
        session.edit("grid", 0, 1, [60])


def test_clusters_are_named_merged_and_coloured(workspace):
    session = workspace.projects[0].sessions["parse"]
    state = ran(session)
    ids = [each["id"] for each in state["objects"]]
    assert len(ids) == 3 and all(each["name"] == f"cluster {each['id']}" for each in state["objects"])
    session.edit("name", 0, ids[0], (), "road")
    session.edit("colour", 0, ids[0], (), "#d02090")
    session.edit("merge", 0, ids[2], [ids[0]])
    rows = {each["id"]: each for each in session.state()["objects"]}
    assert rows[ids[0]]["name"] == "road" and rows[ids[2]]["colour"] == "#d02090" and not session.state()["stale"]
    assert not (session.labels(2) == ids[2]).any() and (session.results.labels(2) == ids[2]).any()
    with pytest.raises(SettingsError, match="merged into itself"):
        session.edit("merge", 0, ids[0], [ids[2]])
    with pytest.raises(SettingsError, match="colour"):
        session.edit("colour", 0, ids[0], (), "url(x)")
    session.export("classes")
    session.wait()
    assert "6 frames" in session.message, session.message
    assert np.array_equal(open_run(session.out).masks(2), session.labels(2))
    assert json.loads((session.out / "names.json").read_text())["classes"][0]["name"] == "road"
    session.move(-1)
    assert (session.labels(2) == ids[2]).any()
    assert b"PLTE" in session.picture(session.labels(2))


def test_an_anchor_is_painted_and_parsed(workspace):
    session = workspace.projects[0].sessions["parse"]
    session.edit("brush", 0, 1, [10, 34, 36])
    session.edit("brush", 0, 0, [10, 10, 50, 80, 55])
    assert set(np.unique(session.labels(0))) == {0, 1, VOID}
    session.edit("fill", 0, 2, [90, 20])
    assert session.labels(0)[5, 5] == 2 and (session.labels(0) == 1).sum() > 250
    session.edit("erase", 0, 2, [4, 90, 20])
    assert session.labels(0)[20, 90] == VOID
    state = ran(session)
    assert [each["id"] for each in state["objects"]] == [0, 1, 2] and state["given"] == {0: [1, 2]}
    assert read_record(session.out).task == "parse" and (session.labels(4) == 1).any()
    assert np.array_equal(session.results.labels(0) == 1, session.labels(0) == 1)


def test_words_are_found_and_show_where_they_look(workspace):
    session = workspace.projects[0].sessions["refer"]
    with pytest.raises(CueError, match="nothing is named"):
        session.run()
    with pytest.raises(CueError, match="no word"):
        session.edit("word", 0, 1, (), "  ")
    session.edit("word", 0, 1, (), "yellow square")
    heat = session.heat(2, 1, 1)
    assert heat.shape == (64, 96) and heat.min() < heat.max() and heat.min() >= 0 and heat.max() <= 1
    state = ran(session)
    assert [word["word"] for word in state["objects"][0]["finding"]["words"]] == ["yellow", "square"]
    assert any(session.labels(number).any() for number in range(6))
    session.edit("word", 0, 1, (), "dark ground")
    assert session.state()["stale"]
    session.move(-1)
    assert not session.state()["stale"]
    session.export("boxes")
    session.wait()
    with next((session.out.parent / f"{session.out.name}.boxes").glob("*.csv")).open() as file:
        assert len(list(csv.reader(file))) > 1


def test_a_pixel_shows_where_it_looks(workspace):
    from undertow.app.looking import looks

    seen = looks(workspace.projects[0], 0, (32, 36), 3)
    assert seen.shape == (64, 96) and 0.5 < seen.max() <= 1 and seen.min() >= 0
    with pytest.raises(CueError):
        looks(workspace.projects[0], 0, (200, 36), 3)
