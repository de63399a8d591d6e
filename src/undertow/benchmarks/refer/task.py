"""Referring segmentation: an expression says what is to be segmented, in a video or an image."""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import tee
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt16
from PIL import Image

from undertow.base import MaskError, SettingsError, UndertowError, atomic_path
from undertow.benchmarks.core.files import Finding, file_remedy, frame_findings, holds_frames
from undertow.benchmarks.core.outcomes import Outcome
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.core.task import BenchmarkTask, Evaluator, Images
from undertow.benchmarks.refer.sample import ReferSample, read_mask, read_values
from undertow.benchmarks.refer.scoring import (
    PICTURE_KINDS,
    ExpressionEvaluator,
    ImageEvaluator,
    ObjectsEvaluator,
    summarise,
)
from undertow.masks import write_label_map
from undertow.metrics.ref_davis import compete

Answer = Bool[np.ndarray, "n h w"] | Float[np.ndarray, "n h w"]
MATCHED = ("strict", "referformer", "rem")


class ReferTask(BenchmarkTask[ReferSample, Answer | None]):
    """The task "refer".

    Results are `<video>/<expression>/<frame>.png`, where everything not black is the mask; `<expression>.png` for
    images; and for datasets whose objects are scored together `anno_<k>/<video>/<frame>.png` with object ids (rules
    "strict" and "referformer") or `anno_<k>/<video>/<object>/<frame>.png` (rules "rem"). A missing file scores 0
    by the rules of expressions, classes and images, as in their evaluators; DAVIS's evaluator stops there, and so do
    its rules here. A broken file is always an error.

    A method is a function of the images and of one text; it returns one mask (h, w) per image, bool or a number in
    [0, 1] that counts above 0.5. Where a dataset scores several texts together, the images are read once and the
    methods for each text take turns, frame by frame.
    """

    name: ClassVar[str] = "refer"
    rules: ClassVar[tuple[str, ...]] = (
        *("expressions", "region", "class-macro", "class-macro-exhaustive", "images", "kinds"),
        *MATCHED,
    )
    measures: ClassVar[tuple[str, ...]] = (
        *("J&F", "J", "F", "change of J"),
        *("oIoU", "mIoU", "P@0.5", "P@0.6", "P@0.7", "P@0.8", "P@0.9", "PA", "chance"),
        *(f"PA {kind}" for kind in PICTURE_KINDS),
    )

    layout: ClassVar[str] = "<video>/<expression>/<frame>.png"

    def asked(self, sample: ReferSample, rules: str, shown: Sequence[int] | None = None) -> Sequence[int]:
        """Returns the annotated frames among those shown; the first and the last count."""
        return [index for index in sample.annotated if shown is None or index in shown]

    def evaluator(
        self, sample: ReferSample, rules: str, shown: Sequence[int] | None = None
    ) -> Evaluator[Answer | None]:
        """Returns what scores a sample by the rules."""
        asked = self.asked(sample, rules, shown)
        if rules in MATCHED:
            return ObjectsEvaluator(sample, asked, rules)
        return ImageEvaluator(sample) if rules in ("images", "kinds") else ExpressionEvaluator(sample, asked, rules)

    def check_shown(self, sample: ReferSample, rules: str, shown: Sequence[int], protocol: str) -> None:
        """Raises `SettingsError` if no annotated frame is shown, unless the truth is private, for submissions."""
        if not sample.private:
            super().check_shown(sample, rules, shown, protocol)

    def check_results(self, folder: Path, sample: ReferSample) -> None:
        """Raises `SettingsError` if nothing can be scored, or a folder of results is evidently another one."""
        if sample.private:
            raise SettingsError(
                f"the truth of '{sample.name}' is kept by the dataset's server; write a submission for it instead"
            )
        if sample.annotator is not None:
            super().check_results(folder, sample)
        if (folder / "Annotations").is_dir():
            raise SettingsError(f"'{folder}' is a submission; give '{folder / 'Annotations'}', which holds the videos")
        if not any(folder.iterdir()):
            raise SettingsError(f"'{folder}' is empty; give a folder of {self.layout}")
        if sample.annotator is None and not sample.image:
            self._check_names(sample.result(folder, suffix=""), sample)

    @staticmethod
    def _check_names(own: Path, sample: ReferSample) -> None:
        """Raises `SettingsError` if an expression has results under no name of a frame: they would all score 0."""
        if own.is_dir() and any(own.iterdir()) and not holds_frames(own, sample.frames):
            wanted = own / f"{sample.frames[sample.annotated[0] if sample.annotated else 0]}.png"
            raise SettingsError(
                f"'{own}' holds no result of any frame of '{sample.name}', such as '{wanted.name}'; "
                + file_remedy(wanted)
            )

    def holds(self, folder: Path, sample: ReferSample) -> bool:
        """Returns whether a folder of results has anything for a sample."""
        if sample.image:
            return sample.result(folder).is_file()
        return sample.annotator is not None or holds_frames(sample.result(folder, suffix=""), sample.frames)

    def kept(self, folder: Path, sample: ReferSample, shown: Sequence[int]) -> bool:
        """Returns whether a folder of results has all predictions of a sample that a protocol shows."""
        return self.holds(folder, sample) if sample.image else super().kept(folder, sample, shown)

    def read(self, folder: Path, sample: ReferSample, index: int, rules: str) -> Answer | None:
        """Returns the masks of a frame, `None` if the rules let a missing file score 0.

        Raises:
            MaskError: naming the file, if it is broken, of another size or has unknown ids, or must not be missing.
        """
        name = sample.frames[index]
        if sample.annotator is None:
            path = sample.result(folder) if sample.image else sample.result(folder, name)
            return read_mask(path, sample.size)[None] if path.is_file() else None
        if rules == "rem":
            paths = [sample.result(folder, str(number + 1), name) for number in range(len(sample.texts))]
            return np.stack([read_mask(path, sample.size) for path in paths])
        path = sample.result(folder, name)
        labels = read_values(path, sample.size)
        numbers = np.arange(1, len(sample.texts) + 1)
        stray = np.setdiff1d(labels, [0, *numbers])
        if stray.size:
            raise MaskError(f"'{path}' has object {stray[0]}, but '{sample.name}' has 1 to {numbers[-1]}")
        return cast(Answer, labels == numbers[:, None, None])

    def write(self, folder: Path, sample: ReferSample, index: int, prediction: Answer | None) -> None:
        """Writes the masks of a frame, black and white; for objects scored together both of their layouts."""
        if prediction is None:
            return
        name = sample.frames[index]
        if sample.annotator is None:
            _write_mask(sample.result(folder, *(() if sample.image else (name,)), links=False), prediction[0])
            return
        write_label_map(sample.result(folder, name, links=False), competed(prediction))
        for number, mask in enumerate(prediction, start=1):
            _write_mask(sample.result(folder, str(number), name, links=False), mask)

    def predict(
        self, sample: ReferSample, predictor: Callable[..., Any], images: Images, shown: Sequence[int], rules: str = ""
    ) -> Iterator[tuple[int, Answer | None]]:
        """Yields the masks of a predictor that takes images and one text, for all texts of the sample."""
        copies = tee(images, len(sample.texts)) if len(sample.texts) > 1 else (images,)
        answers = [predictor(own, text) for own, text in zip(copies, sample.texts, strict=True)]
        for index, masks in zip(shown, zip(*answers, strict=False), strict=False):
            for mask in masks:
                if np.shape(mask) != sample.size:
                    raise MaskError(
                        f"the mask for frame '{sample.frames[index]}' of '{sample.name}' has shape {np.shape(mask)}, "
                        f"the video {sample.size}"
                    )
            yield index, np.stack(masks)

    def check(self, sample: ReferSample) -> Iterator[Finding]:
        """Yields frames and annotations that cannot be read or do not fit, and expressions without words."""
        video = Sample(
            dataset=sample.dataset, name=sample.video.name, video=sample.video, frames=sample.frames, size=sample.size
        )
        yield from _video_findings(video, sample.video.stat().st_mtime_ns)
        for text in sample.texts:
            if not text.strip():
                yield Finding(sample.video, f"'{sample.name}' has an empty expression", "odd")
        stray = sorted(sample.truth.keys() - set(sample.frames))
        if stray:
            yield Finding(sample.video, f"'{sample.name}' has an annotation of '{stray[0]}' but no such frame")
        if not sample.private and not sample.annotated:
            yield Finding(sample.video, f"'{sample.name}' has no annotated frame")
        seen = False
        for index in sample.annotated:
            truth = sample.truth[sample.frames[index]]
            try:
                masks, _ = sample.load(index)
            except UndertowError as error:
                yield Finding(getattr(truth, "path", sample.video), str(error))
            else:
                seen = seen or bool(masks.any())
                if sample.annotator is None and hasattr(truth, "path"):
                    yield from _stray_values(truth, sample)
        if sample.annotated and not seen:
            yield Finding(sample.video, f"what '{sample.name}' refers to is on no annotated frame", "odd")

    def summarise(self, outcomes: Sequence[Outcome]) -> dict[str, float]:
        """Returns the figures that the official evaluator of the rules prints, from 0 to 1."""
        return summarise(outcomes)


def competed(prediction: Answer) -> UInt16[np.ndarray, "h w"]:
    """Returns the label map of masks that compete for pixels; of hard masks the first takes what is shared."""
    soft: Float32[np.ndarray, "n h w"] = prediction.astype(np.float32)
    return compete(soft)


@lru_cache(maxsize=1)
def _video_findings(video: Sample, changed: int) -> tuple[Finding, ...]:
    """Returns what is wrong with the frames of a video; kept, because a video has many expressions."""
    return tuple(frame_findings(video))


def _write_mask(path: Path, mask: Bool[np.ndarray, "h w"] | Float[np.ndarray, "h w"]) -> None:
    inside = mask if mask.dtype == bool else mask > 0.5
    with atomic_path(path) as temporary:
        Image.fromarray(np.where(inside, 255, 0).astype(np.uint8)).save(temporary, format="PNG")


def _stray_values(truth: Any, sample: ReferSample) -> Iterator[Finding]:
    """Yields a value of a black and white truth file that is neither, such as the soft edge of a resized mask."""
    if truth.values != ((),):
        return
    values = np.setdiff1d(read_values(truth.path, sample.size), [0, 1, 255, *truth.ignore])
    if values.size:
        yield Finding(truth.path, f"the mask has the value {values[0]}, where 0, 1 and 255 are expected", "odd")


TASK = ReferTask()
