"""One video in which a fine-tuned generator says what texts name: windows, scores, masks, what is kept (REM)."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
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
from undertow.base import CueError, Progress, SettingsError, atomic_path, write_json
from undertow.drawing import overlay
from undertow.grounding.generator import MaskGenerator
from undertow.masks import encode_rle, read_written_map
from undertow.observing.settings import FLOAT
from undertow.referring.settings import AnswerSettings, ReferSettings
from undertow.referring.windows import Window, crossfade, windows
from undertow.runs.cues import Cue
from undertow.runs.folder import Folder
from undertow.runs.task import Given, Phase, Work
from undertow.tracking.cues import numbered
from undertow.tracking.job import MASKS, write_frame, write_tables
from undertow.tracking.results import ObjectScore, TrackResult
from undertow.video import Clip, Frame

WORDS, SOFT = "words.json", "soft"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prompts(Mapping[int, str]):
    """What is asked for, by object id."""

    texts: Mapping[int, str]

    def __getitem__(self, object_id: int) -> str:
        return self.texts[object_id]

    def __iter__(self) -> Iterator[int]:
        return iter(self.texts)

    def __len__(self) -> int:
        return len(self.texts)


@dataclass(frozen=True)
class ResolvedAnswers:
    """The numbers of one run.

    Attributes:
        model: Name of the card.
        input_size: (height, width) in pixels that frames are shown at.
        grid: (height, width) of the latents.
        window: Frames that are seen together.
        spacing: Frames from one of them to the next, at most.
        answers: How they are made masks.
        seed: Of the noise on latents, if they get any.
        dtype: Number type of the weights.
    """

    model: str
    input_size: tuple[int, int]
    grid: tuple[int, int]
    window: int
    spacing: int
    answers: AnswerSettings
    seed: int
    dtype: str

    @property
    def span(self) -> int:
        """Frames that windows between one another's frames cover together."""
        return self.window * self.spacing

    def as_dict(self) -> dict[str, Any]:
        """Returns the numbers as plain values for `run.json`."""
        return asdict(self)


@dataclass(frozen=True)
class Answer(TrackResult):
    """One frame's answer, with the score of every text at native size; above the model's threshold it is in the mask.

    `labels` has at each pixel the object of the highest score; `masks` are those of each text, which may overlap.
    """

    probabilities: Mapping[int, Float[Tensor, "h w"]] = field(default_factory=dict, repr=False)
    masks: Mapping[int, Bool[np.ndarray, "h w"]] = field(default_factory=dict, repr=False)


def gather(cues: Sequence[Cue]) -> Given[Prompts]:
    """Returns what is asked for; a fine-tuned generator takes nothing but texts.

    Raises:
        CueError: if there is no text, another cue, or a text that names a frame.
    """
    texts = numbered([cue for cue in cues if cue.kind == "text"])
    if not texts:
        raise CueError('no text was given; add --text "the red kite"')
    if others := [cue.kind for cue in cues if cue.kind != "text"]:
        raise CueError(f"--method rem takes texts and no {others[0]}; leave it out, or use --method refam")
    if placed := [cue.typed for cue in texts if "@" in cue.typed and cue.typed != cue.value]:
        raise CueError(f"'{placed[0]}' names a frame, and --method rem answers for all frames alike; leave it out")
    prompts = Prompts({cue.object_id: str(cue.value) for cue in texts if cue.object_id is not None})
    return Given(prompts, tuple(cue.log for cue in cues))


def resolve(settings: ReferSettings, backbone: Backbone, size: tuple[int, int]) -> ResolvedAnswers:
    """Returns the numbers of a run: what is asked for first, then how the model was trained.

    Raises:
        SettingsError: if the model was not fine-tuned, or cannot be shown such frames or such windows.
    """
    about = MaskGenerator(backbone, size).about
    # A budget of tokens is for models that were trained at many sizes; this one knows its own.
    asked = settings.size is not None or about.size is None
    if settings.tokens is not None and not asked:
        log.info("tokens is left out: '%s' is shown frames as in training; give size to change it", backbone.card.name)
    wanted = None if settings.size is None else (settings.size[1], settings.size[0])
    shown = backbone.input_size(*size, tokens=settings.tokens, size=wanted, fit=settings.fit) if asked else about.size
    assert shown is not None
    window, step = settings.answers.window or about.window, backbone.autoencoder.frames_per_latent
    if about.sheet and (window > about.window or shown != about.size):
        # Where a frame begins on the sheet was learned.
        raise SettingsError(
            f"'{backbone.card.name}' sees at most {about.window} frames at its own size together; leave out size, and "
            f"answers.window above {about.window}"
        )
    if (window - 1) % step:
        raise SettingsError(f"answers.window is {window}; give a multiple of {step} and 1, such as {16 * step + 1}")
    spacing = settings.answers.spacing or about.spacing
    if 2 * settings.answers.overlap > window * spacing:
        raise SettingsError(
            f"answers.overlap is {settings.answers.overlap}; give at most half of the {window * spacing} frames "
            "that are looked at together"
        )
    stride = backbone.stride
    return ResolvedAnswers(
        model=backbone.card.name,
        input_size=shown,
        grid=(shown[0] // stride, shown[1] // stride),
        window=window,
        spacing=spacing,
        answers=settings.answers,
        seed=settings.seed,
        dtype=str(backbone.dtype).removeprefix("torch."),
    )


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


def answer_work(resolved: ResolvedAnswers, backbone: Backbone, clip: Clip, given: Given[Prompts]) -> Work:
    """Returns what answering will take: a forward of the whole network per window and text."""
    prompts, frames = len(given.value), clip.frame_count
    span = resolved.span if frames is None else min(resolved.span, frames)
    window = min(resolved.window, span)
    pixels = resolved.input_size[0] * resolved.input_size[1]
    size, autoencoder = backbone.dtype.itemsize, backbone.autoencoder
    latents = 1 + -(-(window - 1) // autoencoder.frames_per_latent)
    held = {
        "frames of windows": 2 * span * clip.height * clip.width * 3 + window * pixels * 3 * FLOAT,
        "scores": prompts * (span + resolved.answers.overlap) * pixels * FLOAT,
    }
    denoising = int(6 * backbone.denoiser_width * size / backbone.stride**2 * latents * pixels)
    coding = 4 * autoencoder.width * size * pixels * 8
    passes = prompts * span / (window * max(1, span - resolved.answers.overlap))
    phases = (
        Phase("encode", 0, {"autoencoder at work": coding, **held}),
        Phase("answer", passes, {"network at work": denoising, **held}),
        Phase("decode", 0, {"autoencoder at work": coding, **held}, decodes=prompts),
    )
    return Work(resolved.input_size, resolved.grid, prompts, phases)


def _score(score: Float[Tensor, "h w"], mask: Bool[np.ndarray, "h w"], least: int) -> ObjectScore:
    """Returns how sure a text's mask is: how far from the threshold, and how high, its scores are on average."""
    area = int(mask.sum())
    inside = score[torch.from_numpy(mask)]
    mean = float(inside.clamp(0, 1).mean()) if area else 0.0
    return ObjectScore(area, max(0.0, 2 * mean - 1), mean, mean, area <= least)
