"""Broken run folders: a run goes on, begins again or is refused with an UndertowError, whatever lies in its files.

    python fuzz/fuzz_runs.py --seconds 60

The first byte of an input says which file of an unfinished run the rest takes the place of.
"""

import json
import logging
import shutil
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from loop import instrumented, main

from undertow.base import UndertowError
from undertow.runs.folder import STAGING
from undertow.tracking import ObjectScore, TrackResult
from undertow.tracking.job import write_frame, write_tables
from undertow.tracking.task import TASK

with instrumented("undertow.runs.folder", "undertow.runs.record", "undertow.runs.journal", "json.decoder"):
    from undertow.runs import Folder, Record

# A run waits for the disk again and again; memory does not keep it waiting.
MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
FOLDER = Path(tempfile.mkdtemp(prefix="undertow-fuzz-", dir=MEMORY))
NAMES = ("run.json", ".journal.jsonl", "state.safetensors", "masks/00001.png", ".amendment/ready.json", "masks.json")
FRAMES = 3
RECORD = Record("track", "0" * 64, "tiny", {"seed": 0}, ({"frame": 0, "sha256": "1" * 64},), TASK.files)


def result(index: int) -> TrackResult:
    """Returns what a tracker would say of a frame."""
    labels = np.zeros((6, 8), np.uint16)
    labels[1:4, index : index + 3] = 1
    scores = {1: ObjectScore(9, 0.5, 1.0), 2: ObjectScore(0, 0.0, 1.0)}
    return TrackResult(index, Fraction(index, 24), f"{index:05d}", labels, scores)


def unfinished(path: Path) -> None:
    """Makes a run that was interrupted after two frames."""
    with Folder.open(path, RECORD) as run:
        for index in range(FRAMES - 1):
            run.note(result(index), write_frame(run, result(index)))
            run.save({"labels": torch.zeros(2, 3), "known": torch.ones(2)})


def target(data: bytes) -> None:
    """Puts an input into a run, and does with it what can be done with one."""
    name, content = NAMES[data[0] % len(NAMES)] if data else NAMES[0], data[1:]
    for work in (go_on, replace, log_cue, change):
        path = FOLDER / "run"
        shutil.rmtree(path, ignore_errors=True)
        shutil.copytree(FOLDER / "good", path)
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_bytes(content)
        try:
            work(path)
        except UndertowError:
            continue


def go_on(path: Path) -> None:
    """Continues a run to its end; then its tables must be whole."""
    with Folder.open(path, RECORD) as run:
        if run.finished:
            return
        assert 0 <= run.done < FRAMES
        for index in range(run.done, FRAMES):
            run.note(result(index), write_frame(run, result(index)))
        write_tables(run, run.lines())
        run.complete()
    assert [row["frame"] for row in json.loads((path / "masks.json").read_text())] == list(range(FRAMES))
    assert len((path / "scores.csv").read_text().splitlines()) == 1 + 2 * FRAMES


def replace(path: Path) -> None:
    """Overwrites a run."""
    with Folder.open(path, RECORD, overwrite=True) as run:
        assert run.done == 0 and not run.finished


def change(path: Path) -> None:
    """Opens a run in which a change is being put in place."""
    (path / STAGING).mkdir(exist_ok=True)
    shutil.copy(path / "run.json", path / STAGING / "run.json")
    (path / STAGING / "ready.json").write_text('{"outdated": ["overlay.mp4"]}')
    with Folder.open(path, RECORD):
        assert not (path / STAGING).exists()


def log_cue(path: Path) -> None:
    """Adds a cue to the log."""
    with Folder.open(path, RECORD) as run:
        run.log({"frame": 1, "sha256": "2" * 64})


def seeds() -> list[bytes]:
    """Returns the good files of an unfinished run, and some that a run would not write."""
    unfinished(FOLDER / "good")
    files = [bytes([number]) + (FOLDER / "good" / name).read_bytes() for number, name in enumerate(NAMES[:4])]
    odd: list[Callable[[], bytes]] = [
        lambda: b"\x00" + b"[" * 100_000,
        lambda: b"\x00" + b'{"format": "undertow run", "cues": 5}',
        lambda: b"\x00" + b'{"format": "undertow run", "cues": [{"sha256": 1}], "settings": []}',
        lambda: b"\x01" + b'{"frame": 0}\n' * 2,
        lambda: b"\x01" + b"null\n" * 2,
        lambda: b"\x04",
        lambda: b"\x05" + b"[]",
    ]
    return files + [make() for make in odd]


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    main(target, seeds())
