"""Ref-DAVIS17: the objects of DAVIS 2017 val, each with four expressions, scored once for each annotator."""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames
from undertow.benchmarks.datasets.registry import Dataset, register
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


def _first(root: Path, folders: Sequence[str], what: str) -> Path:
    for folder in folders:
        if (root / folder).is_dir():
            return root / folder
    raise SettingsError(f"'{root}' has no {what}: none of {', '.join(folders)} is there; check --root")


def _names(root: Path, split: str) -> Sequence[str]:
    videos = read_videos(root / META)
    return [f"anno_{annotator}/{video}" for annotator in range(ANNOTATORS) for video in sorted(videos)]


def _open(root: Path, split: str, name: str) -> ReferSample:
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
    files = {path.stem: path for path in sorted(masks.glob("*.png"))}
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


REF_DAVIS = register(
    Dataset(
        name="ref-davis17",
        task="refer",
        title="Ref-DAVIS17 (Khoreva et al., ACCV 2018)",
        source="https://davischallenge.org (DAVIS 2017 unsupervised, 480p) and the text annotations of "
        "https://www.mpi-inf.mpg.de (Video Object Segmentation with Language Referring Expressions), in the layout "
        "that ReferFormer's convert_davis_to_ytvos.py makes; free for research",
        tree=f"{META}\nvalid/JPEGImages/<video>/<frame>.jpg\nvalid/Annotations/<video>/<frame>.png\n"
        "or DAVIS/JPEGImages/480p and DAVIS/Annotations_unsupervised/480p for frames and annotations",
        names=_names,
        open=_open,
        rules=("referformer", "rem", "strict"),
        splits=("val",),
        # 30 videos, once for each of the four annotators; 61 objects, 244 expressions.
        counts=(("val", 120),),
    )
)
