from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from undertow.base import MaskError, SettingsError
from undertow.benchmarks.core.datasets import open_dataset
from undertow.benchmarks.core.methods import baseline_method
from undertow.benchmarks.core.runner import run_benchmark, score_folder
from undertow.masks import write_label_map


def write_copies(folder: Path, sequences: object) -> None:
    """What the copy baseline would have written, but only the frames that count."""
    for sequence in sequences:  # type: ignore[attr-defined]
        for name in sequence.frames[1:-1]:
            write_label_map(folder / sequence.name / f"{name}.png", sequence.load_mask(0))


def test_a_folder_scores_as_the_run_did(folders: Path, tmp_path: Path) -> None:
    sequences = open_dataset("davis", folders)
    write_copies(tmp_path / "mine", sequences)
    run = run_benchmark(sequences, [baseline_method("copy")], tmp_path / "out")
    scored = score_folder(tmp_path / "mine", sequences)
    for first, second in zip(run, scored, strict=True):
        assert (second.method, second.sequence, second.frames) == ("mine", first.sequence, first.frames)
        for number, scores in first.objects.items():
            assert second.objects[number].region.tolist() == scores.region.tolist()
            assert second.objects[number].contour.tolist() == scores.contour.tolist()
    assert scored[0].seconds_per_frame is None


@pytest.mark.parametrize("white", [1, 255])
def test_2016_takes_any_non_zero_value(make_tree: Callable[[str], Path], tmp_path: Path, white: int) -> None:
    sequences = open_dataset("davis-2016", make_tree("2016"))
    for sequence in sequences:
        (tmp_path / "mine" / sequence.name).mkdir(parents=True)
        for index, name in enumerate(sequence.frames):
            values = (sequence.load_mask(index) * white).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / "mine" / sequence.name / f"{name}.png")
    for outcome in score_folder(tmp_path / "mine", sequences, method="truth"):
        assert outcome.method == "truth" and outcome.combined == 1.0


def test_what_is_missing_is_named(folders: Path, tmp_path: Path) -> None:
    sequences = open_dataset("davis", folders)
    with pytest.raises(SettingsError, match=r"'.*mine' does not exist"):
        score_folder(tmp_path / "mine", sequences)
    write_copies(tmp_path / "mine", sequences[:1])
    with pytest.raises(SettingsError, match=r"'two' are missing: '.*mine/two' is no folder"):
        score_folder(tmp_path / "mine", sequences)
    write_copies(tmp_path / "mine", sequences)
    (tmp_path / "mine/two/00004.png").unlink()
    with pytest.raises(MaskError, match=r"frame '00004' of 'two' is missing: '.*00004\.png'"):
        score_folder(tmp_path / "mine", sequences)


def test_stray_objects_and_sizes_are_named(folders: Path, tmp_path: Path) -> None:
    sequences = open_dataset("davis", folders)
    write_copies(tmp_path / "mine", sequences)
    path = tmp_path / "mine/two/00002.png"
    write_label_map(path, np.full((48, 64), 5, np.uint16))
    with pytest.raises(MaskError, match=r"00002\.png' has object 5, but 'two' has objects 1 to 2"):
        score_folder(tmp_path / "mine", sequences)
    write_label_map(path, np.ones((24, 32), np.uint16))
    with pytest.raises(MaskError, match=r"00002\.png"):
        score_folder(tmp_path / "mine", sequences)
