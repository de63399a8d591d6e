"""A broken folder of results is refused, naming file and problem; nothing scores in silence."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError, UndertowError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.runner import score_folder
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import get_task
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.parse.sample import SemanticSample

Layout = Callable[[str], tuple[str, Path, str | None]]
FRAME = "00002.png"


def save(path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(path)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image).copy()


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


def as_jpeg(path: Path) -> None:
    Image.fromarray(pixels(path)).save(path, format="JPEG")


def as_rgb(path: Path) -> None:
    with Image.open(path) as image:
        converted = image.convert("RGB")
    converted.save(path)


def with_value(path: Path, value: int) -> None:
    changed = pixels(path)
    changed[20:23, :3] = value
    image = Image.fromarray(changed)
    image.putpalette(list(range(256)) * 3)
    image.save(path)


def transposed(path: Path) -> None:
    save(path, pixels(path).T.copy())


def empty_folder(path: Path) -> None:
    for each in path.parent.glob("*"):
        each.unlink()


COMMON = {
    "missing frame": (Path.unlink, r"prediction for frame '00002' of 'kite' is missing: '.*00002\.png'"),
    "truncated": (truncate, r"00002\.png' cannot be read"),
    "text": (lambda path: path.write_text("labels"), r"00002\.png' (is not an image|cannot be read)"),
    "empty file": (lambda path: path.write_bytes(b""), r"00002\.png' (is not an image|cannot be read)"),
    "JPEG": (as_jpeg, r"00002\.png' (is JPEG|cannot be read)"),
    "RGB": (as_rgb, r"00002\.png' is RGB-coded"),
    "transposed": (transposed, r"00002\.png' is 24x32 but the video is 32x24|00002\.png' is 24x32 but the frame 32x24"),
    "another id": (lambda path: with_value(path, 9), r"00002\.png' (has object 9|holds the value 9)"),
    "empty folder": (empty_folder, r"'00002|'00001' of 'kite' is missing"),
    "no folder": (
        lambda path: shutil.rmtree(path.parent),
        r"predictions for 'kite' are missing: '.*kite' is no folder",
    ),
    "a folder for a file": (
        lambda path: (path.unlink(), path.mkdir()),
        r"'00002' of 'kite' is missing: '.*00002\.png'",
    ),
}


@pytest.fixture(params=["mask-folders", "davis-folders-parse"])
def scored(request: pytest.FixtureRequest, layout: Layout, tmp_path: Path) -> tuple[tuple[Sample, ...], Path]:
    """Samples of masks or classes, and a folder of perfect results for them."""
    dataset, root, _ = layout(request.param)
    samples = open_dataset(dataset, root)
    task = get_task(samples[0].task)
    for sample in samples:
        assert isinstance(sample, MaskSample | SemanticSample)
        for index in sample.annotated:
            truth = sample.load_mask(index) if isinstance(sample, MaskSample) else sample.load_labels(index)
            task.write(tmp_path / "results", sample, index, truth)
    return samples, tmp_path / "results"


@pytest.mark.parametrize("kind", list(COMMON))
def test_broken_results(scored: tuple[tuple[Sample, ...], Path], kind: str) -> None:
    samples, results = scored
    assert len(score_folder(results, samples)) == 1
    damage, message = COMMON[kind]
    damage(results / "kite" / FRAME)
    with pytest.raises((MaskError, SettingsError), match=message) as raised:
        score_folder(results, samples)
    assert raised.value.exit_code == 2


def test_void_in_a_predicted_mask_is_refused(layout: Layout, tmp_path: Path) -> None:
    dataset, root, _ = layout("mask-folders")
    samples = open_dataset(dataset, root)
    shutil.copytree(root / "kite/masks", tmp_path / "results/kite")
    with_value(tmp_path / "results/kite" / FRAME, 255)
    with pytest.raises(MaskError, match=r"00002\.png' has void pixels \(255\)"):
        score_folder(tmp_path / "results", samples)


def test_void_in_predicted_classes_is_a_miss(scored: tuple[tuple[Sample, ...], Path]) -> None:
    samples, results = scored
    if samples[0].task == "masks":
        return
    with_value(results / "kite" / FRAME, 255)
    figures = get_task("parse").summarise(score_folder(results, samples))
    # 9 of the 768 pixels of one of four frames.
    assert figures["pixel accuracy"] == pytest.approx(1 - 9 / (4 * 768))


def test_a_folder_that_is_not_there(scored: tuple[tuple[Sample, ...], Path]) -> None:
    samples, results = scored
    with pytest.raises(UndertowError, match="does not exist"):
        score_folder(results / "elsewhere", samples)
