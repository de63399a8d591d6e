"""The task `parse`: the class of every pixel of a video, and what that takes, from shapes and passes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from undertow.backbones import Backbone
from undertow.base import CueError, Progress, SettingsError, SilentProgress
from undertow.masks import LabelMap, read_class_map
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.parsing import ParseSettings, ResolvedParse, resolve_parse
from undertow.parsing.anchors import check_anchors, classes_of
from undertow.parsing.job import SOFT, ParseJob
from undertow.parsing.labels import (
    EDITED,
    LABELS,
    MASKS,
    NAMES,
    ClassPictures,
    apply_names,
    name_clusters,
    read_labels,
    read_names,
)
from undertow.parsing.modulation import modulation_for
from undertow.parsing.naming import NameTable, read_vocabulary
from undertow.runs import Folder
from undertow.runs.cues import Cue, described
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Phase, Task, Work
from undertow.runs.views import render
from undertow.video import Clip, Video

# What clusters are near to if their number is to be found.
USUAL_CLUSTERS = 20
# Maps of all classes at native size that upsampling one frame holds: two of the image's statistics, and the result.
MAPS = 3
# Frames that a model whose frames do not see each other observes at once.
_TOGETHER = 4


def parse_work(resolved: ResolvedParse, backbone: Backbone, clip: Clip, given: Given[Mapping[int, LabelMap]]) -> Work:
    """Returns what parsing a clip will take."""
    asked, classes = resolved.settings, len(classes_of(given.value))
    tokens = resolved.grid[0] * resolved.grid[1]
    if not given.value:
        classes = min(USUAL_CLUSTERS if asked.clusters == "auto" else asked.clusters, tokens * asked.batch)
    batch = asked.batch if clip.frame_count is None else min(asked.batch, clip.frame_count)
    together = min(batch, _TOGETHER) if backbone.card.chunk == 1 else batch
    pixels, inputs = clip.height * clip.width, resolved.input_size[0] * resolved.input_size[1]
    site = resolved.sites[0]
    latents = inputs // backbone.stride**2 * backbone.channels
    kept = {
        "frames of a batch": batch * (3 * pixels + 3 * FLOAT * inputs),
        "features of a batch": FLOAT * batch * (2 * tokens * site.heads * site.head_dim + latents),
        "labels of tokens": 2 * FLOAT * batch * classes * tokens,
    }
    pushed, suffixes, decodes = pushes_per_frame(backbone, resolved, classes)
    phases = [
        Phase("observe", passes_per_frame(resolved.noising), {
            "network at work": network_bytes(backbone, resolved.input_size, together), **kept,
        }),
        Phase("sharpen", 0, {"maps at native size": MAPS * FLOAT * classes * pixels, **kept}),
    ]  # fmt: skip
    if pushed or suffixes:
        pushing = {"network at work": network_bytes(backbone, resolved.input_size, 2), **kept}
        phases.insert(1, Phase("push", pushed, pushing, suffixes=suffixes, decodes=decodes))
    return Work(resolved.input_size, resolved.grid, classes, tuple(phases))


def pushes_per_frame(backbone: Backbone, resolved: ResolvedParse, classes: int) -> tuple[int, int, int]:
    """Returns how often, to read pixels out of the model, it runs whole, from the push on, and how often it decodes.

    "fast" and "exact" run the frame as it is at each step, and for every label and sign the end of the first step and
    all of the later ones; a network under guidance runs twice each time. "turbo" does not ask the model.
    """
    if resolved.settings.quality == "turbo":
        return 0, 0, 0
    modulation = modulation_for(backbone.card, resolved.settings)
    exact = resolved.settings.quality == "exact"
    steps = len(modulation.steps) if exact else 1
    guided = 1 if modulation.guidance == 1.0 else 2
    pushes = classes * (1 if modulation.one_sided else 2)
    whole = len(modulation.level().steps_grid) if modulation.noising == "invert" else 0
    whole += guided * (steps + pushes * (steps - 1))
    return whole, guided * pushes, 0 if not exact else pushes + (1 if modulation.one_sided else 0)


def gather(
    cues: Sequence[Cue], clip: Clip, model: Callable[[], Backbone], settings: ParseSettings
) -> Given[Mapping[int, LabelMap]]:
    """Returns the class map of each frame that anchors are on; 0 is a class like any other, white is void.

    Raises:
        CueError: if a frame has two anchors.
        MaskError: if a file is not a class map of the video's size.
    """
    anchors: dict[int, LabelMap] = {}
    for cue in cues:
        if cue.frame in anchors:
            raise CueError(f"frame {cue.frame} has two anchors; give one of them")
        anchors[cue.frame] = read_class_map(cue.value, size=(clip.height, clip.width))
    return given_anchors(clip, anchors, [cue.log for cue in cues])


def given_anchors(
    video: Video | Clip, anchors: Mapping[int, LabelMap], typed: Sequence[Mapping[str, Any]] = ()
) -> Given[Mapping[int, LabelMap]]:
    """Returns class maps by frame number as cues of a run.

    Args:
        video: The video.
        anchors: The class maps; none for clusters.
        typed: What the user typed, for the log in run.json.

    Raises:
        CueError, MaskError: if one does not fit the video.
    """
    checked = check_anchors(video, anchors)
    digests = (described(index, labels) for index, labels in checked.items())
    return Given(checked, (*typed, *digests), tuple(checked))


def render_again(
    out: Path | str,
    clip: Clip | Video,
    views: Sequence[str] = ("overlay.mp4",),
    *,
    names: NameTable | None = None,
    namer: Path | None = None,
    vocabulary: Path | None = None,
    progress: Progress | None = None,
) -> None:
    """Puts the names.json of a complete run into effect, and draws its views anew; no diffusion model is asked.

    Args:
        out: Folder of the run.
        clip: The video that it is of.
        views: Which views to draw; others that are there are removed, as they would show old names.
        names: A table to put in place of the rows of names.json that have the same ids.
        namer: Folder of a CLIP model that names the classes which have no name of their own yet.
        vocabulary: File of the words it chooses from.
        progress: Notified of every frame.

    Raises:
        SettingsError: if there is no complete run of `parse`, it is of another video, or names.json is no table.
    """
    clip, progress = clip if isinstance(clip, Clip) else Clip(clip), progress or SilentProgress()
    words = [] if vocabulary is None else read_vocabulary(vocabulary)
    with Folder.reopen(out, TASK.name) as run:
        if run.record.video != clip.fingerprint():
            raise SettingsError(f"the run in '{out}' is of another video; give the one it was made of")
        if namer is not None:
            from undertow.parsing.namer import ClipNamer

            names = name_clusters(run, clip, ClipNamer.load(namer, words), names)
        if names is not None:
            names.extended(read_names(run, read_labels(run.path))).write(run.path / NAMES)
        apply_names(run, progress)
        for view in TASK.views:
            if view not in views:
                (run.path / view).unlink(missing_ok=True)
        render(run, ClassPictures(), clip, views, progress)


def _redraw(out: Path, clip: Clip, settings: ParseSettings, views: Sequence[str], progress: Progress) -> None:
    table = None if settings.names is None else NameTable.read(settings.names)
    render_again(out, clip, views, names=table, namer=settings.namer, vocabulary=settings.vocabulary, progress=progress)


def _resolve(
    settings: ParseSettings, backbone: Backbone, size: tuple[int, int], given: Given[Mapping[int, LabelMap]]
) -> ResolvedParse:
    return resolve_parse(settings, backbone, *size, anchored=bool(given.value))


def _start(
    settings: ParseSettings,
    backbone: Backbone,
    clip: Clip,
    given: Given[Mapping[int, LabelMap]],
    out: Path | None,
    progress: Progress,
) -> ParseJob:
    return ParseJob(settings, backbone, clip, given.value)


def _trial(
    settings: ParseSettings, clip: Clip, given: Given[Mapping[int, LabelMap]], frames: int, tokens: int
) -> tuple[ParseSettings, Clip, Given[Mapping[int, LabelMap]]]:
    """Returns a run of the first frames, of which the first has an anchor if there is one at all."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    if settings.clusters != "auto":
        # Fewer frames have fewer tokens to make clusters of.
        settings = replace(settings, clusters=min(settings.clusters, frames * tokens))
    anchors = {short.start: given.value[min(given.value)]} if given.value else {}
    return replace(settings, names=None, namer=None, vocabulary=None), short, Given(anchors)


TASK = Task(
    name="parse",
    title="The class of every pixel of a video",
    settings=ParseSettings,
    cues=("anchor",),
    files=(f"{MASKS}/*.png", f"{SOFT}/*.npz", LABELS),
    extras=(f"{EDITED}/*.png", NAMES),
    views=("overlay.mp4", "contours.mp4", "sidebyside.mp4"),
    gather=gather,
    resolve=_resolve,
    start=_start,
    work=parse_work,
    trial=_trial,
    redraw=_redraw,
)
