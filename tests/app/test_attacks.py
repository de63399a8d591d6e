"""What strangers, hostile clips and impatient pages try: nothing is read, written or executed that should not be."""

import asyncio
import io
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from threading import Thread
from time import sleep

import av
import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError

testclient = pytest.importorskip("fastapi.testclient", reason="needs the extra app")
TOKEN, PORT = "a token", 8123


@pytest.fixture
def client(workspace):
    from undertow.app import create_app

    with testclient.TestClient(create_app(workspace, TOKEN, PORT), base_url=f"http://127.0.0.1:{PORT}") as made:
        made.headers["X-Undertow-Token"] = TOKEN
        yield made


def film() -> bytes:
    """A film of two frames."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", "matroska") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 16, "bgr0"
        for level in (0, 200):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((16, 32, 3), level, np.uint8))))
        file.mux(stream.encode())
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("/root/.ssh/authorized_keys", "authorized_keys"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".bashrc", "bashrc"),
        ("a\0b.mkv", "a-b.mkv"),
        ("<img src=x onerror=alert(1)>.mkv", "img-src-x-onerror-alert-1.mkv"),
        ("..", "clip"),
        ("", "clip"),
        ("x" * 5000 + ".mkv", "x" * 80 + ".mkv"),
        ("run.app", "run.app"),
    ],
)
def test_an_upload_is_called_what_is_safe_and_stays_in_its_folder(name, kept, tmp_path):
    from undertow.app.uploads import free_path

    assert free_path(tmp_path / "uploads", name) == tmp_path / "uploads" / kept
    (tmp_path / "uploads").mkdir()
    (tmp_path / "uploads" / kept).touch()
    again = free_path(tmp_path / "uploads", name)
    assert again.parent == tmp_path / "uploads" and not again.exists()


def test_names_cannot_turn_or_break_what_is_said(client, workspace, clip, tmp_path):
    strange = clip.rename(tmp_path / "a\n\u202egpj.mp4")
    label = workspace.open(strange, tmp_path / "strange\u202e").label
    assert label.isprintable() and client.get("/api/clips").json()[1] == label
    refused = client.post("/api/1/track/exports", json={"format": "davis"})
    assert refused.status_code == 409 and refused.json()["detail"].isprintable()
    unseen = {"kind": "name", "frame": 0, "object": 1, "text": "\u202egnp"}
    assert "cannot be seen" in client.post("/api/0/track/edits", json=unseen).json()["detail"]


def test_a_clip_is_taken_whole_or_not_at_all(client, workspace, tmp_path):
    folder, content = tmp_path / "uploads", film()
    answer = client.post("/api/clips", params={"name": "../new clip.mkv"}, content=content)
    assert answer.json() == {"clip": 1} and client.get("/api/clips").json()[1] == "new-clip.mkv"
    assert client.get("/api/1/about").json()["count"] == 2
    frame = Image.open(io.BytesIO(client.get("/api/1/frames/1.bmp").content)).convert("RGB")
    assert np.array_equal(np.asarray(frame), np.full((16, 32, 3), 200, np.uint8))
    before = sorted(folder.rglob("*"))
    # What is no clip, more or less than was announced, far too large, or of unknown length.
    assert client.post("/api/clips", params={"name": "a.mkv"}, content=b"#!/bin/sh").status_code == 409
    for announced, code in [("100", 409), (str(10 * 2**40), 413), ("9" * 400, 413), ("-1", 413), ("1e3", 413)]:
        answer = client.post(
            "/api/clips", params={"name": "a.mkv"}, content=content, headers={"Content-Length": announced}
        )
        assert answer.status_code == code, answer.text
    assert client.post("/api/clips", params={"name": "a.mkv"}, content=iter([content])).status_code == 413
    assert sorted(folder.rglob("*")) == before and len(workspace.projects) == 2
    workspace.uploads = None
    assert client.post("/api/clips", params={"name": "a.mkv"}, content=content).status_code == 404


def test_an_upload_that_does_not_fit_on_the_disk_is_refused_before_it_is_read(tmp_path):
    from undertow.app.uploads import receive

    async def never():
        raise AssertionError("it was read")
        yield b""

    with pytest.raises(SettingsError, match="no room"):
        asyncio.run(receive(never(), "a.mkv", 2**60, tmp_path))
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    "path",
    [
        "/api/9/about", "/api/-1/track/state", "/api/0/shell/state", "/api/0/..%2F..%2Fetc/state",
        "/api/0/track/masks/99.png",
        "/api/0/track/masks/-1.png", "/api/0/track/masks/..%2F0.png",
        "/api/0/thumbs/99.jpg", "/api/0/track/heat/0/1/0.png",
        "/api/0/frames/1e3.bmp", "/api/0/look/0/nan/1/0.png", "/api/0/look/0/1/1/99.png",
        "/api/0/refer/heat/0/1/0.png",
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(client, path):
    answer = client.get(path)
    assert answer.status_code in (404, 409, 422) and b"Traceback" not in answer.content


def test_what_a_table_is_given_is_checked(client):
    def said(task, **body):
        return client.post(f"/api/0/{task}/edits", json={"frame": 0, "object": 1, "values": [], **body}).status_code

    assert said("track", kind="name", text="x" * 201) == 422 and said("track", kind="name", text="a\nb\x1b[2J") == 409
    assert said("parse", kind="colour", text="red;}") == 409 and said("track", kind="merge", values=[2]) == 409
    assert said("points", kind="grid", values=[10**9]) == 409 and said("track", kind="range", values=[5, 1]) == 409
    assert client.post("/api/0/track/exports", json={"format": "davis", "template": "../{clip}"}).status_code == 409
    assert client.post("/api/0/track/shell").status_code == 404


def test_a_run_is_open_in_one_app_at_a_time(workspace, clip, tmp_path, tiny_like):
    from undertow.app import Workspace

    session = workspace.projects[0].sessions["track"]
    session.edit("brush", 0, 1, [3, 20, 20])
    other = Workspace(lambda task: tiny_like)
    with pytest.raises(SettingsError, match=r"an app .* open already"):
        other.open(clip, tmp_path / "run")
    workspace.close()
    assert other.open(clip, tmp_path / "run").sessions["track"].state()["undo"] == 1
    other.close()


def test_two_tabs_and_a_thousand_requests_at_once(workspace):
    from undertow.app import serve

    told: list[str] = []
    Thread(target=serve, args=(workspace, 0, told.append), daemon=True).start()
    while not told:
        sleep(0.01)
    address, token = told[0].split("//")[1].split("/?token=")
    session = workspace.projects[0].sessions["track"]

    def ask(number: int) -> int:
        connection = HTTPConnection(address, timeout=120)
        body, method = None, "GET"
        path = [f"/api/0/frames/{number % 6}.bmp", "/api/clips", f"/api/0/track/masks/{number % 6}.png"][number % 3]
        if number % 10 == 0:
            # Tabs draw and take back whatever the other did.
            path, method = f"/api/0/track/{'undo' if number % 20 else 'edits'}", "POST"
            body = json.dumps({"kind": "brush", "frame": number % 6, "object": 1, "values": [2, number % 90, 30]})
        headers = {"X-Undertow-Token": token, "Content-Type": "application/json"}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer.status

    with ThreadPoolExecutor(64) as pool:
        codes = Counter(pool.map(ask, range(1000)))
    assert codes.keys() <= {200, 204, 409} and codes[200] > 600, codes
    state = session.state()
    assert state["undo"] == len(session.edits.active) and not state["doing"]
    # What is on disk is what is in memory.
    log = json.loads((session.edits.folder / "edits.json").read_text())
    assert log["done"] == state["undo"] and len(log["edits"]) == state["undo"] + state["redo"]
    for frame, edit in session.edits.last().items():
        assert session.edits.file(edit, frame).is_file()
