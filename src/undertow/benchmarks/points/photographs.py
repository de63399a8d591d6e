"""Held-out photographs, each seen twice: real pictures with exact points, from which no model has learnt."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.base import Progress, SettingsError, SilentProgress, atomic_path
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.points.sample import PointSample
from undertow.benchmarks.points.worlds import FILE, load_points, save_points
from undertow.world.photographs import Photograph, list_photographs
from undertow.world.view_pairs import VERSION, VIEWS, PhotoPair, photo_pairs

NAME = "photo-pairs"
FRAMES = ("00000", "00001")


def _held_out(root: Path) -> list[Photograph]:
    photographs = root / "photographs"
    found = [each for each in list_photographs(photographs) if each.held_out]
    if not found:
        raise SettingsError(f"none of the photographs of '{photographs}' is held out; give a folder with more of them")
    return found


def _stamp(name: str) -> str:
    return json.dumps({"version": VERSION, "photograph": name, **asdict(VIEWS)}, sort_keys=True)


def _draw(root: Path, progress: Progress | None) -> None:
    """Writes the pairs that are not in `root/photo-pairs` yet."""
    photographs = _held_out(root)
    names = [photograph.path.stem for photograph in photographs]
    if all(load_points(root / NAME / name / FILE, _stamp(name)) for name in names):
        return
    progress = progress or SilentProgress()
    progress.start(f"draw {NAME}", total=len(names))
    for pair in photo_pairs(photographs):
        folder = root / NAME / pair.name
        try:
            _write(pair, folder)
        except OSError as error:
            raise SettingsError(f"'{folder}' cannot be written ({error.strerror}); choose another --root") from error
        progress.advance(1, sequence=pair.name)


def _write(pair: PhotoPair, folder: Path) -> None:
    for name, image in zip(FRAMES, pair.frames, strict=True):
        with atomic_path(folder / "frames" / f"{name}.png") as path:
            Image.fromarray(image).save(path)
    # Written last: a folder that has it is whole.
    save_points(folder / FILE, pair.tracks.astype(np.float32), pair.visible, _stamp(pair.name))


def _open(root: Path, split: str, name: str) -> PointSample:
    folder = root / NAME / name
    found = load_points(folder / FILE, _stamp(name))
    if found is None:
        raise SettingsError(f"the points '{folder / FILE}' are not of this pair; remove them to have them made")
    return PointSample(
        dataset=NAME,
        name=name,
        video=folder / "frames",
        frames=FRAMES,
        size=(VIEWS.size, VIEWS.size),
        tracks=found[0].astype(np.float64),
        occluded=~found[1],
    )


DATASETS = (
    Dataset(
        name=NAME,
        task="points",
        title="two views of each held-out photograph, with exact correspondences",
        source="photographs with free licences; pairs are drawn on first use",
        tree="photographs/SOURCES.csv: file, source, author, licence and where it is from\nphotographs/<file>\n"
        f"{NAME}/<photograph>/frames/<frame>.png (drawn)\n{NAME}/<photograph>/{FILE} (drawn)",
        names=lambda root, split: [photograph.path.stem for photograph in _held_out(root)],
        open=_open,
        rules=("first",),
        splits=("all",),
        prepare=_draw,
    ),
)
