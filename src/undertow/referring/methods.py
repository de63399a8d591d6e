"""The two ways to do the task `refer`: by a frozen model and a tracker, or by a model that was fine-tuned to answer."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone
from undertow.base import Progress
from undertow.referring import answering, job, prompts
from undertow.referring.settings import ReferSettings
from undertow.runs.cues import Cue
from undertow.runs.folder import Folder
from undertow.runs.plan import first_frames
from undertow.runs.task import Amendment, Given, Job, Work
from undertow.tracking.corrections import corrections
from undertow.tracking.settings import resolve as resolve_tracking
from undertow.tracking.work import track_work
from undertow.tracking.work import trial as track_trial
from undertow.video import Clip


def answers(settings: ReferSettings, model: Callable[[], Backbone]) -> bool:
    """Returns whether the model itself is to answer, by default if it was fine-tuned to."""
    return settings.method == "rem" if settings.method else model().fine_tuning is not None


def gather(cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: ReferSettings) -> Given[Any]:
    """Returns the cues as the method of the settings takes them."""
    return prompts.gather(cues) if answers(settings, model) else job.gather(cues, clip, model, settings)


def resolve(settings: ReferSettings, backbone: Backbone, size: tuple[int, int], given: Given[Any]) -> Any:
    """Returns the numbers of a run by the method of the settings."""
    if answers(settings, lambda: backbone):
        return prompts.resolve(settings, backbone, size)
    return resolve_tracking(settings, backbone, *size, tuned=settings.tuned)


def start(
    settings: ReferSettings, backbone: Backbone, clip: Clip, given: Given[Any], out: Path | None, progress: Progress
) -> Job:
    """Returns a job by the method of the settings."""
    if answers(settings, lambda: backbone):
        return answering.start(settings, backbone, clip, given)
    return job.start(settings, backbone, clip, given, out, progress)


def amend(run: Folder, clip: Clip, given: Given[Any], start: Callable[[], Any]) -> Iterator[Amendment] | None:
    """Returns the changes that make a run one of other masks; answers to other texts are another run."""
    return None if isinstance(given.value, prompts.Prompts) else corrections(run, clip, given, start)


def work(resolved: Any, backbone: Backbone, clip: Clip, given: Given[Any]) -> Work:
    """Returns what a run will take."""
    if isinstance(resolved, prompts.ResolvedAnswers):
        return prompts.answer_work(resolved, backbone, clip, given)
    return track_work(resolved, backbone, clip, given)


def trial(
    settings: ReferSettings, clip: Clip, given: Given[Any], frames: int, tokens: int
) -> tuple[ReferSettings, Clip, Given[Any]]:
    """Returns a run of the first frames that costs per frame what a run does."""
    if isinstance(given.value, prompts.Prompts):
        return first_frames(settings, clip, given, frames, tokens)
    return track_trial(settings, clip, given, frames, tokens)  # type: ignore[return-value]
