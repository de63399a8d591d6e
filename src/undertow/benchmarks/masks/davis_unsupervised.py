"""DAVIS 2017 unsupervised: nothing is given, and every salient object is to be found and kept apart."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.masks.davis import RESOLUTION, mask_sample, read_list
from undertow.benchmarks.samples import MaskSample
from undertow.masks import LabelMap

NAME = "davis-2017-unsupervised"
ANNOTATIONS = "Annotations_unsupervised"


@dataclass(frozen=True, kw_only=True)
class ProposalSample(MaskSample):
    """A video whose objects are to be found: there are no first masks to give."""

    def cues(self) -> dict[int, LabelMap]:
        """Raises `SettingsError`, since a method that starts from masks is not what is asked for."""
        raise SettingsError(
            f"'{self.name}' of {self.dataset} gives no first masks; score a folder of proposals with "
            "`undertow bench score`, or run on davis-2017"
        )


def _names(root: Path, split: str) -> Sequence[str]:
    for folder in (root / kind / RESOLUTION for kind in ("JPEGImages", ANNOTATIONS)):
        if not folder.is_dir():
            raise SettingsError(f"'{root}' has no DAVIS unsupervised tree: '{folder}' is missing; check --root")
    return read_list(root / "ImageSets" / "2017" / f"{split}.txt", root)


def _open(root: Path, split: str, name: str) -> MaskSample:
    frames, masks = (root / kind / RESOLUTION / name for kind in ("JPEGImages", ANNOTATIONS))
    sample = mask_sample(NAME, name, frames, masks)
    return ProposalSample(**{field.name: getattr(sample, field.name) for field in fields(sample)})


DAVIS_2017_UNSUPERVISED = register(
    Dataset(
        name=NAME,
        task="masks",
        title="DAVIS 2017, unsupervised (Caelles et al., The 2019 DAVIS Challenge on VOS, 2019)",
        source="https://davischallenge.org, 'Unsupervised, TrainVal, 480p'; free for research",
        tree=f"JPEGImages/480p/<sequence>/<frame>.jpg\n{ANNOTATIONS}/480p/<sequence>/<frame>.png\n"
        "ImageSets/2017/<split>.txt",
        names=_names,
        open=_open,
        rules=("davis-unsupervised",),
        splits=("val", "train"),
        counts=(("val", 30), ("train", 60)),
    )
)
