"""Expressions of DAVIS: Ref-DAVIS17, and sequences in folders of their own with a few expressions each.

Ref-DAVIS17 has the objects of DAVIS 2017 val with four expressions each, scored once for each annotator.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from undertow.base import SettingsError, whole
from undertow.benchmarks.core.datasets import Dataset
from undertow.benchmarks.core.files import annotations, folder_frames, read_json
from undertow.benchmarks.refer.expressions import expression_order, read_videos
from undertow.benchmarks.refer.sample import FileTruth, ReferSample, read_values
from undertow.metrics.ref_davis import ANNOTATORS, annotator_expressions

META = "meta_expressions/valid/meta_expressions.json"
VOID = 255
# Where frames and label maps are, as the data comes and as ReferFormer's scripts arrange it.
FRAMES = ("valid/JPEGImages", "DAVIS/JPEGImages/480p", "JPEGImages/480p")
MASKS = (
    "valid/Annotations",
    "DAVIS/Annotations_unsupervised/480p",
    "DAVIS/Annotations/480p",
    "Annotations_unsupervised/480p",
    "Annotations/480p",
)


def _facts(root: Path, sequence: str) -> tuple[int, list[str]]:
    """Returns the object and the expressions of a sequence."""
    path = root / f"davis-{sequence}" / "expressions.json"
    facts: Any = read_json(path)
    texts = facts.get("expressions") if isinstance(facts, dict) else None
    if not isinstance(texts, list) or not texts or not all(isinstance(text, str) for text in texts):
        raise SettingsError(f"'{path}' has no list of expressions; write one")
    number = facts.get("object", 1)
    return whole(number, "object", least=1, most=254, source=path), texts


def _folder_names(root: Path, split: str) -> Sequence[str]:
    found = sorted(path.parent.name.removeprefix("davis-") for path in root.glob("davis-*/expressions.json"))
    if not found:
        raise SettingsError(f"'{root}' has no folder davis-<sequence> with expressions.json inside; check --root")
    return [f"{name}/{number}" for name in found for number in range(len(_facts(root, name)[1]))]


def _open_folder(root: Path, split: str, name: str) -> ReferSample:
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


def _first(root: Path, folders: Sequence[str], what: str) -> Path:
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise SettingsError(f"'{root}' has no {what}: none of {', '.join(folders)} is there; check --root")


def _ref_names(root: Path, split: str) -> Sequence[str]:
    videos = read_videos(root / META)
    return [f"anno_{annotator}/{video}" for annotator in range(ANNOTATORS) for video in sorted(videos)]


def _open_ref(root: Path, split: str, name: str) -> ReferSample:
    run, _, video = name.partition("/")
    annotator = int(run.removeprefix("anno_"))
    rows = read_videos(root / META)[video]["expressions"]
    numbers = sorted(rows, key=expression_order)
    try:
        chosen = annotator_expressions(len(numbers), annotator)
    except ValueError as error:
        raise SettingsError(
            f"'{root / META}' has {len(numbers)} expressions of '{video}', which are no four for every object; fix it"
        ) from error
    texts = tuple(rows[numbers[place]]["exp"] for place in chosen)
    folder = _first(root, FRAMES, "frames") / video
    frames, size = folder_frames(folder, video)
    masks = _first(root, MASKS, "annotations") / video
    files = annotations(masks, video)
    missing = [frame for frame in frames if frame not in files]
    if missing:
        raise SettingsError(f"'{video}' has no annotation of frame '{missing[0]}': '{masks}' lacks it; add it")
    first = read_values(files[frames[0]], size)
    objects = int(first[first != VOID].max(initial=0))
    if objects < len(texts):
        raise SettingsError(
            f"'{video}' has expressions of {len(texts)} objects, but its first annotation '{files[frames[0]]}' "
            f"has {objects}; fetch it again"
        )
    values = tuple((number,) for number in range(1, objects + 1))
    return ReferSample(
        dataset="ref-davis17",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=texts,
        truth={frame: FileTruth(files[frame], values, (VOID,)) for frame in frames},
        objects=objects,
        annotator=annotator,
    )


DATASETS = (
    Dataset(
        name="davis-expressions",
        task="refer",
        title="expressions of one object in folders of their own",
        source="your own",
        tree="davis-<sequence>/frames/<frame>.jpg\ndavis-<sequence>/masks/<frame>.png\n"
        'davis-<sequence>/expressions.json: {"object": 1, "expressions": ["the ...", ...]}',
        names=_folder_names,
        open=_open_folder,
        rules=("expressions", "region"),
        splits=("all",),
    ),
    Dataset(
        name="ref-davis17",
        task="refer",
        title="Ref-DAVIS17 (Khoreva et al., ACCV 2018)",
        source="https://davischallenge.org (DAVIS 2017 unsupervised, 480p) and the text annotations of "
        "https://www.mpi-inf.mpg.de (Video Object Segmentation with Language Referring Expressions), in the layout "
        "that ReferFormer's convert_davis_to_ytvos.py makes; free for research",
        tree=f"{META}\nvalid/JPEGImages/<video>/<frame>.jpg\nvalid/Annotations/<video>/<frame>.png\n"
        "or DAVIS/JPEGImages/480p and DAVIS/Annotations_unsupervised/480p for frames and annotations",
        names=_ref_names,
        open=_open_ref,
        rules=("referformer", "rem", "strict"),
        splits=("val",),
        # 30 videos, once for each of the four annotators; 61 objects, 244 expressions.
        counts=(("val", 120),),
    ),
)
