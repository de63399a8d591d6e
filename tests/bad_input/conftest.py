"""One good clip and mask for all cases, and the command line run in this process."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import undertow.backbones
from undertow import cli
from undertow.masks import write_label_map
from undertow.video import write_video

from .kitchen import FRAMES, Kitchen, labels, picture


@pytest.fixture(scope="session")
def pantry(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pantry")
    write_video(folder / "clip.mp4", [picture(number) for number in range(FRAMES)], fps=24)
    write_label_map(folder / "first.png", labels())
    return folder


@pytest.fixture
def kitchen(pantry, tmp_path) -> Kitchen:
    return Kitchen(tmp_path, pantry / "clip.mp4", pantry / "first.png")


@pytest.fixture(scope="session")
def cached_load() -> Callable[..., object]:
    """The same model is loaded once for all cases: they are many, and loading is what takes a second."""
    return functools.cache(undertow.backbones.load)


@pytest.fixture
def loaded_once(cached_load, monkeypatch) -> None:
    """Only for the test that asks: others mean what they load."""
    monkeypatch.setattr(undertow.backbones, "load", cached_load)


@pytest.fixture
def run(capsys, loaded_once, monkeypatch, tmp_path) -> Callable[..., tuple[int, str, str]]:
    """Runs the command line, and returns exit code, standard output and standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["undertow", *map(str, arguments)])
        # Nothing is looked for on the hub or in a cache of this machine's user, nor in the folder of the tests.
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.chdir(tmp_path)
        monkeypatch.delenv("UNDERTOW_DEBUG", raising=False)
        # As Python's own standard error does, but not the one that captures.
        sys.stderr.reconfigure(errors="backslashreplace")
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run
