"""Objects that are to be followed: samples of a video and label maps, and what a method is given of them."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from undertow.base import MaskError
from undertow.benchmarks.core.sample import Sample
from undertow.masks import LabelMap, read_label_map
from undertow.metrics import merge_objects


@dataclass(frozen=True, kw_only=True)
class MaskSample(Sample):
    """A video whose objects are to be followed from the mask each has at first.

    Attributes:
        masks: Annotation file of each annotated frame, by frame name.
        ids: Object ids that are scored.
        merged: Whether all objects count as one, as in DAVIS 2016.
        starts: Frame number of each object's first mask, for those that do not start at frame 0.
        groups: a word for each object by which its scores are averaged apart, such as "seen" and "unseen".
        asked: Frame numbers that count at most, for each object that does not count on all annotated frames.
        private: Whether the truth is kept by a server: there are first masks and nothing to score.
    """

    task: ClassVar[str] = "masks"
    masks: Mapping[str, Path]
    ids: tuple[int, ...]
    merged: bool = False
    starts: Mapping[int, int] = field(default_factory=dict)
    groups: Mapping[int, str] = field(default_factory=dict)
    asked: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    private: bool = False

    @property
    def annotated(self) -> tuple[int, ...]:
        """Numbers of the frames that have an annotation."""
        return tuple(index for index, name in enumerate(self.frames) if name in self.masks)

    def truth_files(self) -> Iterable[Path]:
        """Returns the annotations in the order of their frames."""
        return [path for _, path in sorted(self.masks.items())]

    def fingerprint(self) -> str:
        """Returns a sha256 hex digest of the frames, the annotations, and which objects count where."""
        facts = [self.ids, *(sorted(each.items()) for each in (self.starts, self.groups, self.asked))]
        return hashlib.sha256(f"{super().fingerprint()} {facts}".encode()).hexdigest()

    def load_mask(self, index: int) -> LabelMap:
        """Returns the annotation of frame `index`.

        Raises:
            MaskError: if the file is not a label map of the video's size.
        """
        return self.read(self.masks[self.frames[index]])

    def read(self, path: Path) -> LabelMap:
        """Returns a label map file of this video, an annotation or a prediction.

        Raises:
            MaskError: if the file is not a label map of the video's size.
        """
        if not self.merged:
            try:
                return read_label_map(path, size=self.size)
            except MaskError as error:
                # What `track` would take is no way out here: colours say nothing of the truth's ids.
                if "--mask-colors" not in str(error):
                    raise
                raise MaskError(f"mask '{path}' is RGB-coded; save it as a palette PNG with the truth's ids") from error
        # Some annotations of DAVIS 2016 are black and white stored as colour.
        return merge_objects(read_label_map(path, size=self.size, mask_colors=True))

    def cues(self) -> dict[int, LabelMap]:
        """Returns what a method is given: by frame number, the label map of the objects that start there."""
        starts = {number: self.starts.get(number, 0) for number in self.ids}
        given: dict[int, LabelMap] = {}
        for index in sorted(set(starts.values())):
            labels = self.load_mask(index)
            if index:
                here = [number for number, start in starts.items() if start == index]
                labels = np.where(np.isin(labels, here), labels, 0).astype(labels.dtype)
            given[index] = labels
        return given
