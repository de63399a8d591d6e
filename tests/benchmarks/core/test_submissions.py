"""Archives for servers: complete, the same each time, or not written at all."""

import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError, UndertowError
from undertow.benchmarks.core.submissions import SUBMISSIONS, write_submission
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.refer.sample import ReferSample
from undertow.masks import write_label_map

HEIGHT, WIDTH = 6, 8
FRAMES = ("00000", "00005", "00010")


@pytest.fixture
def expressions(tmp_path: Path) -> list[ReferSample]:
    """Two expressions of one video, and masks for both."""
    made = [
        ReferSample(
            dataset="mevis", name=f"v/{number}", video=tmp_path, frames=FRAMES, size=(HEIGHT, WIDTH), texts=("x",),
            private=True,
        )
        for number in range(2)
    ]  # fmt: skip
    for sample in made:
        for index in range(3):
            get_task("refer").write(tmp_path / "out", sample, index, np.eye(HEIGHT, WIDTH, dtype=bool)[None])
    return made


@pytest.fixture
def objects(tmp_path: Path) -> list[MaskSample]:
    """A video whose second object starts late, and label maps for it."""
    sample = MaskSample(
        dataset="youtube-vos-2019", name="v", video=tmp_path, frames=FRAMES, size=(HEIGHT, WIDTH), masks={},
        ids=(1, 2), starts={1: 0, 2: 1}, asked={1: (1, 2), 2: (2,)}, private=True,
    )  # fmt: skip
    for frame in FRAMES:
        write_label_map(tmp_path / f"out/v/{frame}.png", np.full((HEIGHT, WIDTH), 2, np.uint16))
    return [sample]


def members(path: Path) -> dict[str, Image.Image]:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        return {name: Image.open(io.BytesIO(archive.read(name))) for name in archive.namelist()}


@pytest.mark.parametrize(("kind", "folder"), [("mevis", ""), ("ref-youtube-vos", "Annotations/")])
def test_expressions(kind: str, folder: str, expressions: list[ReferSample], tmp_path: Path) -> None:
    found = members(write_submission(kind, tmp_path / "out", expressions, tmp_path / "a.zip"))
    assert list(found) == [f"{folder}v/{number}/{frame}.png" for number in range(2) for frame in FRAMES]
    for image in found.values():
        assert (image.mode, image.size) == ("L", (WIDTH, HEIGHT))
        np.testing.assert_array_equal(np.asarray(image), 255 * np.eye(HEIGHT, WIDTH, dtype=np.uint8))


def test_objects(objects: list[MaskSample], tmp_path: Path) -> None:
    found = members(write_submission("youtube-vos", tmp_path / "out", objects, tmp_path / "a.zip"))
    assert list(found) == [f"Annotations/v/{frame}.png" for frame in FRAMES]
    assert all(image.mode == "P" and (np.asarray(image) == 2).all() for image in found.values())
    # Frames on which nothing counts need not be there.
    short = [replace(objects[0], asked={1: (1,), 2: ()})]
    (tmp_path / "out/v/00010.png").unlink()
    assert len(members(write_submission("youtube-vos", tmp_path / "out", short, tmp_path / "a.zip"))) == 2


def test_the_same_results_give_the_same_bytes(expressions: list[ReferSample], tmp_path: Path) -> None:
    first = write_submission("mevis", tmp_path / "out", expressions, tmp_path / "a.zip").read_bytes()
    for path in (tmp_path / "out").rglob("*.png"):
        path.touch()
    again = write_submission("mevis", tmp_path / "out", expressions[::-1], tmp_path / "b.zip").read_bytes()
    assert first == again


def remove(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove, r"00005\.png' is missing; a submission to mevis needs every frame"),
        (lambda path: path.write_bytes(b"x"), r"00005\.png' cannot be read"),
        (lambda path: Image.new("L", (9, 9)).save(path), r"00005\.png' is 9x9 but the frame 8x6"),
    ],
)
def test_nothing_is_written_unless_all_is_there(
    damage: Callable[[Path], Any], message: str, expressions: list[ReferSample], tmp_path: Path
) -> None:
    damage(tmp_path / "out/v/1/00005.png")
    before = write_old(tmp_path / "a.zip")
    with pytest.raises(MaskError, match=message):
        write_submission("mevis", tmp_path / "out", expressions, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == before and {path.name for path in tmp_path.iterdir()} == {
        "out",
        "a.zip",
    }


def write_old(path: Path) -> bytes:
    path.write_bytes(b"an older submission")
    return path.read_bytes()


def test_unknown_objects_are_named(objects: list[MaskSample], tmp_path: Path) -> None:
    write_label_map(tmp_path / "out/v/00010.png", np.full((HEIGHT, WIDTH), 3, np.uint16))
    with pytest.raises(MaskError, match=r"00010\.png' has object 3, but 'v' has 1, 2"):
        write_submission("youtube-vos", tmp_path / "out", objects, tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("kind", "out", "message"),
    [
        ("davis", "a.zip", "submission 'davis' is not one of youtube-vos, mevis, ref-youtube-vos"),
        ("mevis", "a.tar", "is no .zip file"),
        ("youtube-vos", "a.zip", "is of task 'masks', found 'v/0' of task 'refer'"),
    ],
)
def test_wrong_requests(kind: str, out: str, message: str, expressions: list[ReferSample], tmp_path: Path) -> None:
    assert set(SUBMISSIONS) == {"youtube-vos", "mevis", "ref-youtube-vos"}
    with pytest.raises(UndertowError, match=message.replace(".", r"\.")):
        write_submission(kind, tmp_path / "out", expressions, tmp_path / out)


def test_samples_are_given_once(expressions: list[ReferSample], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="is asked for twice"):
        write_submission("mevis", tmp_path / "out", [*expressions, expressions[0]], tmp_path / "a.zip")
    with pytest.raises(SettingsError, match="found no samples"):
        write_submission("mevis", tmp_path / "out", [], tmp_path / "a.zip")
    with pytest.raises(SettingsError, match=r"folder of results '.*' does not exist"):
        write_submission("mevis", tmp_path / "none", expressions, tmp_path / "a.zip")
