"""What a fine-tuned generator is asked, and the numbers of a run that asks it: sizes, windows, work."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from undertow.backbones import Backbone
from undertow.base import CueError, SettingsError
from undertow.grounding.generator import MaskGenerator
from undertow.observing.settings import FLOAT
from undertow.referring.settings import AnswerSettings, ReferSettings
from undertow.runs.cues import Cue
from undertow.runs.task import Given, Phase, Work
from undertow.tracking.cues import numbered
from undertow.video import Clip

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
