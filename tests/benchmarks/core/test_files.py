"""Results that lie somewhere else, or say something else, than they should: one sentence each, and never a score."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.datasets import open_dataset, select_samples
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.runner import run_benchmark, score_folder
from undertow.benchmarks.refer.sample import read_mask
from undertow.masks import write_label_map

FRAMES, SIZE = 4, (24, 32)


def labels(number: int) -> np.ndarray:
    ids = np.zeros(SIZE, np.uint16)
    ids[4:14, 4 + number : 14 + number] = 1
    ids[-6:, -8:] = 2
    return ids


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for sequence in ("run", "walk"):
        folder = tmp_path / f"data/davis-{sequence}"
        (folder / "frames").mkdir(parents=True)
        for number in range(FRAMES):
            Image.fromarray(np.full((*SIZE, 3), 40 * number, np.uint8)).save(folder / f"frames/{number:05d}.png")
            write_label_map(folder / f"masks/{number:05d}.png", labels(number))
        (folder / "expressions.json").write_text('{"expressions": ["the square", "what moves"]}')
    return tmp_path / "data"


@pytest.fixture
def masks(data: Path) -> Path:
    for path in data.glob("davis-*/masks/*.png"):
        write_label_map(data.parent / "masks" / path.parts[-3].removeprefix("davis-") / path.name, labels(0))
    return data.parent / "masks"


@pytest.fixture
def answers(data: Path) -> Path:
    for path in data.glob("davis-*/masks/*.png"):
        for number in "01":
            at = data.parent / "answers" / path.parts[-3].removeprefix("davis-") / number / path.name
            at.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(labels(0) == 1, 255, 0).astype(np.uint8)).save(at)
    return data.parent / "answers"


def each(rename: Callable[[Path], Path]) -> Callable[[Path], None]:
    def spoil(results: Path) -> None:
        for path in sorted(results.rglob("*.png")):
            path.rename(rename(path))

    return spoil


def into_runs(results: Path) -> None:
    for path in sorted(results.glob("*/*.png")):
        (path.parent / "masks").mkdir(exist_ok=True)
        path.rename(path.parent / "masks" / path.name)


def broken_link(results: Path) -> None:
    (results / "run/00001.png").unlink()
    (results / "run/00001.png").symlink_to("/gone/00001.png")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (each(lambda path: path.with_suffix(".jpg")), "there is '00001.jpg'; save it as PNG"),
        (each(lambda path: path.with_suffix(".PNG")), "there is '00001.PNG'; name it 00001.png"),
        (each(lambda path: path.with_name(f"{int(path.stem):03d}.png")), "there is '001.png'; name results as the fr"),
        (into_runs, "copy the files of '.*run/masks' to '.*run'"),
        (broken_link, "it is a link to '/gone/00001.png'"),
        (lambda results: (results / "run/00001.png").unlink(), "00001.png'; add it"),
    ],
    ids=["jpeg", "upper case", "digits", "runs", "link", "missing"],
)
def test_what_lies_there_instead_is_said(data, masks, spoil, message):
    spoil(masks)
    with pytest.raises(MaskError, match=message):
        score_folder(masks, open_dataset("davis-folders", data))


@pytest.mark.parametrize("given", ["", "masks/run"])
def test_a_folder_one_level_off_is_named(data, masks, given):
    with pytest.raises(SettingsError, match=f"give '{masks}', which holds it"):
        score_folder(masks.parent / given, open_dataset("davis-folders", data))


def test_white_is_no_object_where_there_are_several(data, masks):
    Image.fromarray(np.where(labels(0) > 0, 255, 0).astype(np.uint8)).save(masks / "run/00001.png")
    with pytest.raises(MaskError, match="is black and white, but 'run' has objects 1 to 2; give their ids"):
        score_folder(masks, open_dataset("davis-folders", data))


def test_colours_are_refused_with_a_remedy_that_scoring_has(data, masks):
    with Image.open(masks / "run/00001.png") as image:
        image.convert("RGB").save(masks / "run/00001.png")
    with pytest.raises(MaskError, match="RGB-coded; save it as a palette PNG"):
        score_folder(masks, open_dataset("davis-folders", data))


@pytest.mark.parametrize("given", ["", "answers/run"])
def test_nothing_at_all_is_no_score_of_zero(data, answers, given):
    samples = open_dataset("davis-expressions", data)
    assert len(score_folder(answers, samples)) == 4
    with pytest.raises(SettingsError, match=f"holds no result of any of the 4 samples.*give '{answers}'"):
        score_folder(answers.parent / given, samples)


def test_an_expression_under_other_names_is_no_score_of_zero(data, answers):
    samples = open_dataset("davis-expressions", data)
    each(lambda path: path.with_name(f"{int(path.stem)}.png"))(answers / "run/1")
    with pytest.raises(SettingsError, match=r"there is '0\.png'; name results as the frames are, 00000\.png"):
        score_folder(answers, samples)


def test_rules_of_another_dataset_of_the_task_are_refused(data, answers):
    with pytest.raises(SettingsError, match="'images' is not one of expressions, region, by which 'davis-expr"):
        score_folder(answers, open_dataset("davis-expressions", data), rules="images")


def test_a_video_stands_for_all_of_its_expressions(data):
    samples = open_dataset("davis-expressions", data)
    assert [each.name for each in select_samples(samples, ["walk"])] == ["walk/0", "walk/1"]
    with pytest.raises(SettingsError, match="'wal' is not one of run/0"):
        select_samples(samples, ["wal"])


def test_a_dataset_without_splits_says_so(data):
    with pytest.raises(SettingsError, match="davis-folders has no split 'val', only 'all'"):
        open_dataset("davis-folders", data, "val")


def test_keeping_predictions_afterwards_measures_again(data, tmp_path):
    samples, method = open_dataset("davis-folders", data), baseline_method("copy")
    run_benchmark(samples, [method], tmp_path / "out")
    run_benchmark(samples, [method], tmp_path / "out", keep=True)
    assert len(list((tmp_path / "out/results/copy").rglob("*.png"))) == 2 * FRAMES


def test_masks_that_are_not_black_and_white_are_refused(tmp_path):
    path, inside = tmp_path / "mask.png", labels(0) == 1
    ramp = np.tile(np.arange(SIZE[1], dtype=np.uint8) * 8, (SIZE[0], 1))
    Image.fromarray(ramp).save(path)
    with pytest.raises(MaskError, match="32 shades of grey"):
        read_mask(path, SIZE)
    Image.fromarray(np.dstack([np.full((*SIZE, 3), 255), inside * 255]).astype(np.uint8)).save(path)
    with pytest.raises(MaskError, match="transparent in places"):
        read_mask(path, SIZE)
    inverted = Image.fromarray((~inside).astype(np.uint8))
    inverted.putpalette([255, 255, 255, 0, 0, 0])
    inverted.save(path)
    with pytest.raises(MaskError, match="entry 0 is not black"):
        read_mask(path, SIZE)
    Image.fromarray(inside).save(path)
    assert (read_mask(path, SIZE) == inside).all()
