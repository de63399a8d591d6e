"""Sequences in folders of their own with a few expressions each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames, read_json
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.refer.sample import FileTruth, ReferSample


def _facts(root: Path, sequence: str) -> tuple[int, list[str]]:
    """Returns the object and the expressions of a sequence."""
    path = root / f"davis-{sequence}" / "expressions.json"
    facts: Any = read_json(path)
    texts = facts.get("expressions") if isinstance(facts, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"'{path}' has no list of expressions; write one")
    number = facts.get("object", 1)
    if type(number) is not int or not 0 < number < 255:
        raise SettingsError(f"'{path}' names object {number!r}; give the id it has in the masks")
    return number, texts


def _names(root: Path, split: str) -> Sequence[str]:
    found = sorted(path.parent.name.removeprefix("davis-") for path in root.glob("davis-*/expressions.json"))
    if not found:
        raise SettingsError(f"'{root}' has no folder davis-<sequence> with expressions.json inside; check --root")
    return [f"{name}/{number}" for name in found for number in range(len(_facts(root, name)[1]))]


def _open(root: Path, split: str, name: str) -> ReferSample:
    sequence, _, number = name.rpartition("/")
    object_id, texts = _facts(root, sequence)
    folder = root / f"davis-{sequence}"
    frames, size = folder_frames(folder / "frames", sequence)
    files = {path.stem: path for path in sorted((folder / "masks").glob("*.png")) if path.stem in set(frames)}
    if not files:
        raise SettingsError(f"sequence '{sequence}' has no mask of any of its frames in '{folder / 'masks'}'; add some")
    return ReferSample(
        dataset="davis-expressions",
        name=name,
        video=folder / "frames",
        frames=frames,
        size=size,
        texts=(texts[int(number)],),
        truth={frame: FileTruth(path, ((object_id,),)) for frame, path in files.items()},
    )


DAVIS_EXPRESSIONS = register(
    Dataset(
        name="davis-expressions",
        task="refer",
        title="expressions of one object in folders of their own",
        source="your own",
        tree="davis-<sequence>/frames/<frame>.jpg\ndavis-<sequence>/masks/<frame>.png\n"
        'davis-<sequence>/expressions.json: {"object": 1, "expressions": ["the ...", ...]}',
        names=_names,
        open=_open,
        rules=("expressions", "region"),
        splits=("all",),
    )
)
