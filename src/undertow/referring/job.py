"""One video in which what was named is found and tracked: its masks, words.json, and a page that shows why."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone, load
from undertow.base import CueError, Progress, write_json, write_text
from undertow.grounding import Asker, Grounder, finder_of, frames_of, make_proposer, reader_of, tell_limits
from undertow.masks import LabelMap
from undertow.referring.explain import explain_page
from undertow.referring.finding import Finding, find, label_maps, pivot_frames
from undertow.referring.following import followed
from undertow.referring.settings import ReferSettings
from undertow.runs.cues import Cue
from undertow.runs.folder import Folder
from undertow.runs.task import Given
from undertow.tracking.cues import Masks, given_masks, numbered
from undertow.tracking.cues import gather as gather_masks
from undertow.tracking.job import TrackJob
from undertow.tracking.job import start as start_tracking
from undertow.tracking.tracker import MaskTracker
from undertow.video import Clip

log = logging.getLogger(__name__)

WORDS, PAGE = "words.json", "explain.html"


@dataclass(frozen=True)
class FoundMasks(Mapping[int, LabelMap]):
    """Label maps by frame, and what was found of each expression."""

    maps: Mapping[int, LabelMap]
    findings: Sequence[Finding] = field(default=(), repr=False)

    def __getitem__(self, frame: int) -> LabelMap:
        return self.maps[frame]

    def __iter__(self) -> Any:
        return iter(self.maps)

    def __len__(self) -> int:
        return len(self.maps)


def gather(
    cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: ReferSettings
) -> Given[FoundMasks]:
    """Returns the masks of what texts name, each on the frame that shows it best, and of other cues as in `track`.

    Raises:
        CueError: if there is no text, or nothing is found.
        SettingsError: if the model cannot read text.
    """
    texts = numbered([cue for cue in cues if cue.kind == "text"])
    others = [cue for cue in cues if cue.kind != "text"]
    if not texts:
        raise CueError('no text was given; add --text "the red kite", or use `undertow track` with masks')
    grounder = make_grounder(model, settings, (clip.height, clip.width))
    frames = [clip.start] if settings.paper else pivot_frames(clip, settings.pivots)
    findings = find(texts, clip, grounder, frames)
    if isinstance(grounder, Asker) and settings.words.deeds and clip.again and not settings.paper:
        free = {cue.object_id for cue in texts if "@" not in cue.typed}
        findings = [
            followed(each, clip, grounder, MaskTracker(model(), settings), settings.pivots)
            if each.object_id in free
            else each
            for each in findings
        ]
    maps = label_maps(findings, (clip.height, clip.width))
    tell_limits(grounder.backbone)
    for each in findings:
        if each.present:
            log.info("'%s' is object %d, seen best on frame %d", each.sight.expression.text, each.object_id, each.frame)
    if others:
        painted = gather_masks(others, clip, model, settings)
        if both := sorted(painted.value.keys() & maps.keys()):
            raise CueError(f"frame {both[0]} has a mask, and something named was found there too; give another frame")
        maps |= dict(painted.value)
    given = given_masks(clip, maps, [cue.log for cue in cues])
    return replace(given, value=FoundMasks(given.value, findings))  # type: ignore[return-value]


def make_grounder(model: Callable[[], Backbone], settings: ReferSettings, size: tuple[int, int]) -> Grounder | Asker:
    """Returns what finds words in frames of one size, with the reader and the segmenter of the settings."""
    own = model()
    reader = reader_of(own) if settings.reader is None else load(settings.reader, device=str(own.device), sites="refer")
    propose = make_proposer(settings.segmenter, reader.device, settings.paper)
    frames = frames_of(settings, own=reader is own)
    words = replace(settings.words, peaks=1, least=settings.words.least or 0.0) if settings.paper else settings.words
    return finder_of(reader, size, words, frames, propose)


class ReferJob(TrackJob):
    """One video in which what was named is tracked.

    Attributes:
        findings: What was found of each expression.
        explain: The clip, if a page is wanted that shows why.
    """

    findings: Sequence[Finding] = ()
    explain: Clip | None = None

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes the tables of tracking, words.json, and the page that shows why."""
        super().finish(run, progress)
        write_json(run.path / WORDS, [each.as_dict() for each in self.findings])
        if self.explain is not None:
            seen = self.explain.video.frames(sorted({each.frame for each in self.findings}))
            write_text(run.path / PAGE, explain_page(self.findings, {frame.index: frame.image for frame in seen}))


def start(
    settings: ReferSettings, backbone: Backbone, clip: Clip, given: Given[Masks], out: Path | None, progress: Progress
) -> ReferJob:
    """Returns the job of a run: that of tracking, with what was found of the words."""
    tracking = start_tracking(settings, backbone, clip, given, out, progress)
    assert isinstance(tracking, TrackJob)
    job = ReferJob(tracking.tracker, tracking.masks, tracking.refiner, tracking.backward)
    job.findings = getattr(given.value, "findings", ())
    job.explain = clip if settings.explain else None
    return job
