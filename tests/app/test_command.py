"""`undertow app` as a process of its own: its address, its events, and going on after it was killed."""

import json
import re
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.cli.app_command import _called
from undertow.masks import read_written_map, write_label_map

pytest.importorskip("fastapi", reason="needs the extra app")
httpx = pytest.importorskip("httpx2", reason="needs httpx2")
BOX = {"kind": "box", "frame": 0, "object": 1, "values": [16, 20, 48, 52]}


@contextmanager
def started(clip, out):
    command = [sys.executable, "-m", "undertow", "app", str(clip), "--out", str(out), "--size", "96x64"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+", line)))
            with httpx.Client(base_url=address.partition("?")[0], follow_redirects=True, timeout=60) as client:
                assert client.get(address).status_code == 200
                yield process, client
        finally:
            process.kill()


def news(client):
    """Yields the events of a server."""
    with client.stream("GET", "/api/events") as answer:
        name = ""
        for line in answer.iter_lines():
            if line.startswith("event: "):
                name = line[7:]
            elif line.startswith("data: "):
                yield name, json.loads(line[6:])


def tracked(client):
    """Tracks to the end and returns the frames that came."""
    frames = []
    for name, facts in news(client):
        if name == "hello":
            client.post("/api/0/track/run", json={}).raise_for_status()
        if name == "frame":
            frames.append(facts["frame"])
        if name == "done":
            assert client.get("/api/0/track/state").json()["complete"], facts
            return frames


def said(*words):
    """Returns exit code and standard error of a command that ends by itself."""
    command = [sys.executable, "-m", "undertow", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


def test_a_port_that_is_in_use_is_said_before_anything_else(clip, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = said("app", clip, "--out", tmp_path / "run", "--port", port)
    assert code == 2
    assert text == f"error: port {port} is in use; give another --port, or leave it out\n"
    assert not list(tmp_path.glob("run*"))


def test_a_run_is_open_in_one_app_whose_folder_no_command_writes_to(clip, tmp_path):
    out = tmp_path / "run"
    write_label_map(tmp_path / "mask.png", np.pad(np.ones((24, 24), np.uint16), ((24, 16), (20, 52))))
    track = ("track", clip, "--mask", tmp_path / "mask.png", "--out", out, "--size", "96x64", "--views", "none")
    with started(clip, out) as (process, _):
        code, text = said("app", clip, "--out", out)
        assert code == 2 and f"error: an app (process {process.pid}) has '{out}' open already; " in text
        assert "results are kept" not in text
        code, text = said(*track)
        assert code == 2 and f"an app (process {process.pid}) has '{out}' open; end it, or choose another --out" in text
        assert not out.exists()
    # It was killed, which leaves nothing that is in the way of the next.
    assert said(*track)[0] == 0
    with started(clip, out) as (process, client):
        assert client.get("/api/0/track/state").json()["complete"]
        process.terminate()
        process.wait(60)
    assert sorted(path.name for path in tmp_path.glob("run*")) == ["run", "run.app"]


def test_clips_of_one_name_have_runs_of_their_own(tmp_path):
    clips = [tmp_path / "a/clip.mp4", tmp_path / "b/clip.mp4", tmp_path / "b/other.mp4"]
    assert [_called(each, clips) for each in clips] == ["a-clip", "b-clip", "other"]
    with pytest.raises(SettingsError, match="named twice"):
        _called(clips[0], [clips[0], *clips])


@pytest.mark.slow
def test_a_server_that_is_killed_or_ended_goes_on(clip, tmp_path):
    with started(clip, tmp_path / "whole") as (_, client):
        client.post("/api/0/track/edits", json=BOX).raise_for_status()
        assert tracked(client)[-1] == 5
    whole = maps(tmp_path / "whole")
    for name, code in [("kill", -9), ("terminate", 130)]:
        with started(clip, tmp_path / name) as (process, client):
            client.post("/api/0/track/edits", json=BOX).raise_for_status()
            client.post("/api/0/track/run", json={}).raise_for_status()
            while not client.get("/api/0/track/state").json()["done"]:
                time.sleep(0.01)
            # A page is open, and hears what happens.
            heard = news(client)
            assert next(heard) == ("hello", {})
            getattr(process, name)()
            assert process.wait(60) == code
        with started(clip, tmp_path / name) as (_, client):
            state = client.get("/api/0/track/state").json()
            # A run that was faster than the kill can be undone, too.
            assert state["undo"] == 1 + state["complete"]
            if not state["complete"]:
                tracked(client)
        found = maps(tmp_path / name)
        assert len(found) == 6 and np.array_equal(whole, found)


def maps(out):
    return [*map(read_written_map, sorted((out / "masks").iterdir()))]
