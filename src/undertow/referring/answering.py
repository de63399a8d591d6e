"""One video in which a fine-tuned generator says what texts name: windows, scores, masks, what is kept (REM)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from jaxtyping import Bool, Float, UInt8
from PIL import Image
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, atomic_path, write_json
from undertow.drawing import overlay
from undertow.grounding.generator import MaskGenerator
from undertow.masks import encode_rle, read_written_map
from undertow.referring.prompts import Prompts, ResolvedAnswers, resolve
from undertow.referring.settings import ReferSettings
from undertow.referring.windows import Window, crossfade, windows
from undertow.runs.folder import Folder
from undertow.runs.task import Given
from undertow.tracking.job import MASKS, write_frame, write_tables
from undertow.tracking.results import ObjectScore, TrackResult
from undertow.video import Clip, Frame

WORDS, SOFT = "words.json", "soft"


@dataclass(frozen=True)
class Answer(TrackResult):
    """One frame's answer, with the score of every text at native size; above the model's threshold it is in the mask.

    `labels` has at each pixel the object of the highest score; `masks` are those of each text, which may overlap.
    """

    probabilities: Mapping[int, Float[Tensor, "h w"]] = field(default_factory=dict, repr=False)
    masks: Mapping[int, Bool[np.ndarray, "h w"]] = field(default_factory=dict, repr=False)


class AnswerJob:
    """One video being answered about."""

    def __init__(self, generator: MaskGenerator, prompts: Mapping[int, str], resolved: ResolvedAnswers) -> None:
        """Begins before the first frame."""
        self._generator, self._prompts, self._resolved = generator, prompts, resolved
        self.batch = resolved.span - resolved.answers.overlap
        self.facts: dict[str, Any] = {"fine tuning": asdict(generator.about)}
        # Pictures of frames that were answered for, and scores of the last that another window is to answer for too.
        self._before: list[UInt8[np.ndarray, "h w 3"]] = []
        self._held: Float[Tensor, "n o h w"] | None = None

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[Answer]:
        """Yields each frame's answer, a window at a time."""
        states = {object_id: self._generator.read(text) for object_id, text in self._prompts.items()}
        length, overlap = self._resolved.span, self._resolved.answers.overlap
        frames = iter(frames)
        waiting: list[Frame] = []
        if self._held is not None:
            # Frames whose scores are known already come again where a run goes on.
            waiting = list(islice(frames, self._held.shape[1]))
        before = [*self._before, *(frame.image for frame in waiting)][-length:]
        fresh: list[Frame] = []

        def images() -> Iterator[UInt8[np.ndarray, "h w 3"]]:
            for frame in frames:
                fresh.append(frame)
                yield frame.image

        for window in windows(images(), length, overlap, before):
            scores = self._look(window, states, (fresh or waiting)[0].index)
            if self._held is not None and window.shared:
                faded = crossfade(self._held, scores[:, : window.shared])
                scores = torch.cat([faded, scores[:, window.shared :]], dim=1)
            seen, keep = [*waiting, *fresh], min(overlap, len(fresh))
            done = len(seen) - keep
            fresh.clear()
            self._before = [*self._before, *(frame.image for frame in seen[:done])][-length:]
            waiting, self._held = seen[done:], scores[:, done:] if overlap else None
            for index, frame in enumerate(seen[:done]):
                yield self._answer(frame, scores[:, index])
        if self._held is not None:
            scores, self._held = self._held, None
            self._before = [*self._before, *(frame.image for frame in waiting)][-length:]
            for index, frame in enumerate(waiting):
                yield self._answer(frame, scores[:, index])

    def _look(
        self, window: Window[UInt8[np.ndarray, "h w 3"]], states: Mapping[int, Tensor], first: int
    ) -> Float[Tensor, "n t h w"]:
        """Returns the scores of the frames of a window that it is to answer for, at the size the model sees."""
        images, start = window.frames, first - len(window.earlier)
        step = -(-len(images) // self._resolved.window)
        found = torch.empty(len(states), len(images), *self._resolved.input_size)
        for phase in range(step):
            seen = images[phase::step]
            video = self._generator.encode(np.stack(seen))
            for scores, each in zip(found, states.values(), strict=True):
                masks = self._generator.answer(video, each, start + phase)
                scores[phase::step] = self._generator.scores(masks, len(seen)).cpu()
        return found[:, len(window.earlier) - window.shared :]

    def _answer(self, frame: Frame, scores: Float[Tensor, "n h w"]) -> Answer:
        height, width = frame.image.shape[:2]
        native = functional.interpolate(scores[None], (height, width), mode="bilinear")[0]
        ids = list(self._prompts)
        best, which = native.max(0)
        threshold = self._generator.about.threshold
        inside = (best > threshold).numpy()
        labels = np.where(inside, np.array(ids, np.uint16)[which.numpy()], 0).astype(np.uint16)
        merged = self._resolved.answers.merge == "argmax"
        masks = {
            object_id: labels == object_id if merged else (native[index] > threshold).numpy()
            for index, object_id in enumerate(ids)
        }
        scored = {
            object_id: _score(native[index], masks[object_id], self._resolved.answers.least)
            for index, object_id in enumerate(ids)
        }
        answers = dict(zip(ids, native, strict=True))
        return Answer(frame.index, frame.time, frame.name, labels, scored, probabilities=answers, masks=masks)

    def state(self) -> Mapping[str, Tensor]:
        """Returns the pictures of the last window, and scores that the next is to be mixed with."""
        held = {} if self._held is None else {"held": self._held.contiguous()}
        before = torch.from_numpy(np.stack(self._before)) if self._before else torch.zeros(0)
        return {"before": before, **held}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a state."""
        self._before = list(tensors["before"].numpy())
        self._held = tensors.get("held")

    def write(self, run: Folder, result: Answer) -> Mapping[str, Any]:
        """Writes the masks of a frame, and scores as 16-bit pictures, 65535 being 1."""
        written = write_frame(run, result)
        files = written["files"]
        for object_id, score in result.probabilities.items() if self._resolved.answers.soft else ():
            soft = run.file(SOFT, f"{result.name}-{object_id}", ".png")
            levels = (score.clamp(0, 1) * 65535).round().to(torch.int32).numpy().astype(np.uint16)
            with atomic_path(soft) as temporary:
                Image.fromarray(levels).save(temporary, format="PNG")
            files.append(f"{SOFT}/{soft.name}")
        # Masks of texts may overlap, which no label map says.
        return written | {"rles": {key: encode_rle(mask) for key, mask in result.masks.items() if mask.any()}}

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame with its masks over it."""
        path = run.file(MASKS, frame.name, ".png")
        return overlay(frame.image, read_written_map(path)) if path.exists() else None

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes masks.json, scores.csv, and words.json, which says whether each text was answered with anything."""
        write_tables(run, run.lines())
        peaks = dict.fromkeys(self._prompts, 0)
        for line in run.lines():
            for object_id in peaks:
                peaks[object_id] = max(peaks[object_id], int(line["scores"][str(object_id)][0]))
        words = [
            {"object": object_id, "text": text, "present": peaks[object_id] > 0, "largest": peaks[object_id]}
            for object_id, text in self._prompts.items()
        ]
        write_json(run.path / WORDS, words)


def start(settings: ReferSettings, backbone: Backbone, clip: Clip, given: Given[Prompts]) -> AnswerJob:
    """Returns the job of a run.

    Raises:
        SettingsError: if windows of a stream are to overlap: what was looked at ahead cannot be looked at again.
    """
    resolved = resolve(settings, backbone, (clip.height, clip.width))
    if resolved.answers.overlap and not clip.again:
        raise SettingsError("answers.overlap is for videos that can be read again; leave it out for a stream")
    return AnswerJob(MaskGenerator(backbone, resolved.input_size, settings.seed), given.value, resolved)


def _score(score: Float[Tensor, "h w"], mask: Bool[np.ndarray, "h w"], least: int) -> ObjectScore:
    """Returns how sure a text's mask is: how far from the threshold, and how high, its scores are on average."""
    area = int(mask.sum())
    inside = score[torch.from_numpy(mask)]
    mean = float(inside.clamp(0, 1).mean()) if area else 0.0
    return ObjectScore(area, max(0.0, 2 * mean - 1), mean, mean, area <= least)
