"""The server of the app: exact frames, refusals, and a whole session."""

import io
import json

import numpy as np
import pytest
from PIL import Image

from undertow.export import open_run
from undertow.masks import read_written_map
from undertow.video import Video

testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra app")
COUNT = 6
HOST, TOKEN = "http://127.0.0.1:8123", "a token"


def served(workspace):
    from undertow.app import create_app

    return create_app(workspace, TOKEN, 8123)


@pytest.fixture
def client(workspace):
    with testclient.TestClient(served(workspace), base_url=HOST) as made:
        made.headers["X-Undertow-Token"] = TOKEN
        yield made


def picture(answer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB"))


def test_frames_are_those_of_the_video_and_are_sent_once(client, clip):
    with Video(clip) as video:
        for number in (3, 0, 5):
            answer = client.get(f"/api/0/frames/{number}.bmp")
            assert np.array_equal(picture(answer), video.frame(number).image)
            again = client.get(f"/api/0/frames/{number}.bmp", headers={"If-None-Match": answer.headers["ETag"]})
            assert again.status_code == 304 and not again.content
    assert client.get(f"/api/0/frames/{COUNT}.bmp").status_code == 404
    assert client.get("/api/0/frames/-1.bmp").status_code == 404


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"X-Undertow-Token": "another"}, 401),
        ({"X-Undertow-Token": ""}, 401),
        ({"Host": "evil.example:8123"}, 403),
        ({"Host": "127.0.0.1:9999"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://127.0.0.1:9999"}, 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/static/app.js", "/api/0/track/state", "/api/0/frames/0.bmp", "/nothing"])
def test_strangers_are_refused_everything(client, headers, code, path):
    assert client.get(path, headers=headers).status_code == code
    assert client.post("/api/0/track/run", headers=headers).status_code == code


def test_the_token_in_the_address_becomes_a_cookie(workspace):
    with testclient.TestClient(served(workspace), base_url=HOST, follow_redirects=False) as client:
        assert client.get("/api/0/track/state", params={"token": TOKEN}).status_code == 401
        answer = client.get("/", params={"token": TOKEN})
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")
        assert "HttpOnly" in answer.headers["Set-Cookie"] and "SameSite=strict" in answer.headers["Set-Cookie"]
        page = client.get("/")
        assert page.status_code == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
        assert client.get("/api/0/track/state").status_code == 200


@pytest.mark.parametrize("name", ["..%2Fserver.py", "%2Fetc%2Fpasswd", "server.py", "....//app.js", "app.js%00"])
def test_only_the_files_of_the_page_are_served(client, name):
    answer = client.get(f"/static/{name}")
    assert answer.status_code == 404 and b"import" not in answer.content


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "point", "frame": 0, "object": 0, "values": [1, 1, 1]},
        {"kind": "point", "frame": 99, "object": 1, "values": [1, 1, 1]},
        {"kind": "point", "frame": 0, "object": 1, "values": []},
        {"kind": "brush", "frame": 0, "object": 1, "values": [4, 1e400, 3]},
        {"kind": "brush", "frame": 0, "object": 1, "values": [4]},
        {"kind": "shell", "frame": 0, "object": 1, "values": [1, 1, 1]},
    ],
)
def test_what_cannot_be_drawn_is_refused_and_leaves_nothing(client, session, body):
    answer = client.post("/api/0/track/edits", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert answer.status_code in (409, 422)
    assert session.state()["undo"] == 0


def test_too_much_is_refused_before_it_is_read(client):
    assert client.post("/api/0/track/edits", content=b" " * (2**20 + 1)).status_code == 413
    assert client.post("/api/0/track/edits", content=iter([b"{}"])).status_code == 413


def test_a_session_from_click_to_export(client, session, workspace, clip, tmp_path, tiny_like):
    state = client.post(
        "/api/0/track/edits", json={"kind": "box", "frame": 0, "object": 1, "values": [16, 20, 48, 52]}
    ).json()
    assert state["given"] == {"0": [1]} and not state["done"]
    drawn = session.labels(0)
    assert drawn[36, 32] == 1 and drawn[36, 80] == 0

    # Stopped after two frames, these are kept; the same again goes on.
    made, seen = session.made, []

    def two(line):
        seen.append(line["frame"])
        if len(seen) == 3:
            client.post("/api/0/track/stop")
        made(line)

    session.made = two
    assert client.post("/api/0/track/run").json()["doing"] == "track"
    session.wait()
    session.made = made
    state = client.get("/api/0/track/state").json()
    assert state["doing"] == "" and not state["complete"] and "kept" in state["message"]
    assert seen == [0, 1, 2] and state["done"] == 3
    assert client.get("/api/0/track/masks/1.png").status_code == 200
    client.post("/api/0/track/run")
    session.wait()
    state = client.get("/api/0/track/state").json()
    assert state["complete"] and not state["stale"] and state["done"] == COUNT, state
    first = [read_written_map(tmp_path / "run" / "masks" / f"{n:05d}.png") for n in range(COUNT)]
    assert np.array_equal(first[0], drawn)

    # A correction changes the same run from its frame on.
    client.post("/api/0/track/edits", json={"kind": "brush", "frame": 3, "object": 1, "values": [6, 80, 40, 86, 44]})
    assert client.get("/api/0/track/state").json()["stale"]
    client.post("/api/0/track/run")
    session.wait()
    state = client.get("/api/0/track/state").json()
    assert state["complete"] and not state["stale"], state
    run = open_run(tmp_path / "run")
    assert run.masks(3)[42, 83] == 1 and first[3][42, 83] == 0
    assert all(np.array_equal(run.masks(n), first[n]) for n in range(3))
    assert [each for each in run.record.cues if "corrected" in each]
    assert client.get("/api/0/track/scores").json()["3"]["1"][0] == (run.masks(3) == 1).sum()

    # What was tracked is taken back, and then the correction, without tracking again; all of it comes again, too.
    for what, left, stale, corrected in [("undo", 1, True, False), ("redo", 0, False, True), ("undo", 1, True, False)]:
        state = client.post(f"/api/0/track/{what}").json()
        assert (state["redo"], state["stale"], state["complete"]) == (left, stale, True)
        assert (open_run(tmp_path / "run").masks(3)[42, 83] == 1) == corrected
    state = client.post("/api/0/track/undo").json()
    assert state["redo"] == 2 and not state["stale"]
    assert all(np.array_equal(open_run(tmp_path / "run").masks(n), first[n]) for n in range(COUNT))

    assert client.post("/api/0/track/exports", json={"format": "../davis"}).status_code == 409
    client.post("/api/0/track/exports", json={"format": "davis"})
    session.wait()
    assert "6 frames" in client.get("/api/0/track/state").json()["message"]
    assert len([*(tmp_path / "run.davis").rglob("*.png")]) == COUNT

    # What was done is there when the app is started again, on the clip or on the run alone.
    from undertow.app import Workspace

    for video in (clip, None):
        workspace.close()
        workspace = Workspace(lambda task: tiny_like, {"track": session.settings})
        later = workspace.open(video, tmp_path / "run").sessions["track"]
        assert later.state()["undo"] == 2 and later.state()["redo"] == 2 and later.state()["complete"]
        assert np.array_equal(later.labels(4), first[4])
    workspace.close()


def test_edits_are_taken_back_and_done_again_one_by_one(client, session):
    strokes = [[5, 30.5, 30.5], [3, 60.5, 20.5, 70.5, 20.5], [2, 10.5, 50.5]]
    maps = [None]
    for values in strokes:
        client.post("/api/0/track/edits", json={"kind": "brush", "frame": 2, "object": 2, "values": values})
        maps.append(session.labels(2))
    assert maps[1][30, 30] == 2 and maps[1][30, 36] == 0 and maps[2][20, 65] == 2
    for before in maps[2::-1]:
        client.post("/api/0/track/undo")
        now = session.labels(2)
        assert (now is None) if before is None else np.array_equal(now, before)
    for after in maps[1:]:
        client.post("/api/0/track/redo")
        assert np.array_equal(session.labels(2), after)
    client.post("/api/0/track/edits", json={"kind": "erase", "frame": 2, "object": 2, "values": [5, 30.5, 30.5]})
    assert session.labels(2)[30, 30] == 0 and session.labels(2)[20, 65] == 2
    client.post("/api/0/track/undo")
    client.post("/api/0/track/undo")
    # What is done instead of what was taken back replaces it.
    state = client.post("/api/0/track/edits", json={"kind": "clear", "frame": 2, "object": 2, "values": []}).json()
    assert state["undo"] == 3 and state["redo"] == 0 and state["given"] == {"2": []}


def test_masks_show_their_objects_in_colour_and_nothing_else(client, session):
    assert client.get("/api/0/track/masks/0.png").status_code == 204
    client.post("/api/0/track/edits", json={"kind": "brush", "frame": 0, "object": 300, "values": [4, 40.5, 40.5]})
    with Image.open(io.BytesIO(client.get("/api/0/track/masks/0.png").content)) as image:
        pixels = np.asarray(image.convert("RGBA"))
    assert pixels[40, 40, 3] == 255 and pixels[40, 40, :3].any() and pixels[10, 10, 3] == 0
