"""One video being parsed: class maps as they come, tables and names at the end, pictures.

masks/        one PNG of classes per frame at native size: palette up to id 254, 16 bits beyond
soft/         probabilities of every pixel, if asked for: <frame>.npz with `probabilities` (m, h, w) and `ids`
names.json    what classes are called, for people to edit (see `undertow.parsing.naming`)
labels.json   every class with name, colour, area and confidence in each frame
edited/       the class maps as names.json wants them, if it merges or splits
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from undertow.backbones import Backbone
from undertow.base import Progress, SettingsError, SilentProgress, atomic_path
from undertow.drawing import class_palette
from undertow.masks import VOID, LabelMap, write_label_map
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.parsing import Parser, ParseResult, ParseSettings, ResolvedParse
from undertow.parsing.anchors import classes_of
from undertow.parsing.labels import (
    MASKS,
    NAMES,
    ClassPictures,
    apply_names,
    name_clusters,
    read_figures,
    read_labels,
    read_names,
    write_labels,
)
from undertow.parsing.modulation import modulation_for
from undertow.parsing.naming import NameTable, read_vocabulary
from undertow.parsing.settings import makes_clusters
from undertow.parsing.task import TASK
from undertow.runs import Folder
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Phase, Work
from undertow.runs.views import render
from undertow.video import Clip, Frame, Video

log = logging.getLogger(__name__)

SOFT = "soft"
# Maps of all classes at native size that upsampling one frame holds: two of the image's statistics, and the result.
MAPS = 3
# Frames that a model whose frames do not see each other observes at once.
_TOGETHER = 4


class ParseJob:
    """One video being parsed."""

    def __init__(
        self, settings: ParseSettings, backbone: Backbone, clip: Clip, anchors: Mapping[int, LabelMap]
    ) -> None:
        """Begins before the first frame.

        Raises:
            SettingsError: if the table of names or the vocabulary cannot be used.
        """
        self.parser = Parser(backbone, anchors, settings)
        self.batch = settings.batch
        self.facts: Mapping[str, Any] = {}
        self._clip, self._settings = clip, settings
        self._given = NameTable() if settings.names is None else NameTable.read(settings.names)
        self._words = [] if settings.vocabulary is None else read_vocabulary(settings.vocabulary)
        self._pictures = ClassPictures()
        if settings.clusters != ParseSettings().clusters and not makes_clusters(settings, anchored=bool(anchors)):
            log.warning(
                "clusters is %d and not used: the anchors say what the classes are; leave it out", settings.clusters
            )

    def run(self, frames: Iterable[Frame], progress: Progress) -> Iterator[ParseResult]:
        """Yields each frame's class map."""
        return self.parser.run(self._clip, frames)

    def state(self) -> Mapping[str, Tensor]:
        """Returns the parser's state."""
        return self.parser.state() if self.parser.next else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Goes on from a parser's state."""
        self.parser.restore(tensors)

    def write(self, run: Folder, result: ParseResult) -> Mapping[str, Any]:
        """Writes the maps of a frame, and returns area and confidence of its classes."""
        path = run.file(MASKS, result.name, ".png")
        write_label_map(path, result.labels, class_palette())
        files = [f"{MASKS}/{path.name}"]
        if result.probabilities is not None:
            soft = run.file(SOFT, result.name, ".npz")
            write_soft(soft, result)
            files.append(f"{SOFT}/{soft.name}")
        classes = {n: [area, float(result.confidence[n])] for n, area in result.areas.items() if n != VOID}
        return {"files": files, "classes": classes}

    def draw(self, run: Folder, frame: Frame, view: str) -> UInt8[np.ndarray, "h w 3"] | None:
        """Returns a frame with its classes: "overlay", "contours" or "sidebyside"."""
        return self._pictures.draw(run, frame, view)

    def finish(self, run: Folder, progress: Progress) -> None:
        """Writes labels.json and names.json, names clusters if asked to, and edits maps as names.json wants them."""
        figures = read_figures(run.lines())
        if not (run.path / NAMES).exists():
            # What an anchor names is a class; what is found without one stays a cluster until it has a name.
            named = NameTable.of(classes_of(self.parser.anchors), "class")
            self._given.extended(named).write(run.path / NAMES)
        names = read_names(run, figures)
        names.write(run.path / NAMES)
        write_labels(run.path, figures, names.names, names.colours)
        if self._settings.namer is not None:
            from undertow.parsing.namer import ClipNamer

            namer = ClipNamer.load(self._settings.namer, self._words, device=str(self.parser.backbone.device))
            name_clusters(run, self._clip, namer, self._given).write(run.path / NAMES)
        apply_names(run, progress)


def write_soft(path: Path, result: ParseResult) -> None:
    """Writes the probabilities of a frame's pixels as float16, with the id of each map."""
    assert result.probabilities is not None
    maps = result.probabilities.cpu().numpy().astype(np.float16)
    with atomic_path(path) as temporary:
        np.savez_compressed(temporary, probabilities=maps, ids=np.array(result.ids, np.uint16))


def start(
    settings: ParseSettings,
    backbone: Backbone,
    clip: Clip,
    given: Given[Mapping[int, LabelMap]],
    out: Path | None,
    progress: Progress,
) -> ParseJob:
    """Returns a job on a clip; see `Task.start`."""
    return ParseJob(settings, backbone, clip, given.value)


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
        progress: Notified after each frame.

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


def redraw(out: Path, clip: Clip, settings: ParseSettings, views: Sequence[str], progress: Progress) -> None:
    """Puts names into effect as settings say; see `Task.redraw`."""
    table = None if settings.names is None else NameTable.read(settings.names)
    render_again(out, clip, views, names=table, namer=settings.namer, vocabulary=settings.vocabulary, progress=progress)


def parse_work(resolved: ResolvedParse, backbone: Backbone, clip: Clip, given: Given[Mapping[int, LabelMap]]) -> Work:
    """Returns what parsing a clip will take."""
    asked, classes = resolved.settings, len(classes_of(given.value))
    tokens = resolved.grid[0] * resolved.grid[1]
    if not given.value:
        classes = min(asked.clusters, tokens * asked.batch)
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

    "exact" runs the frame as it is at each step, and for every label and sign the end of the first step and all of the
    later ones; a network under guidance runs twice each time. "turbo" does not ask the model.
    """
    if resolved.settings.quality == "turbo":
        return 0, 0, 0
    modulation = modulation_for(backbone.card, resolved.settings)
    steps, pushes = len(modulation.steps), 2 * classes
    guided = 1 if modulation.guidance == 1.0 else 2
    whole = len(modulation.level().steps_grid) if modulation.noising == "invert" else 0
    whole += guided * (steps + pushes * (steps - 1))
    return whole, guided * pushes, pushes


def trial(
    settings: ParseSettings, clip: Clip, given: Given[Mapping[int, LabelMap]], frames: int, tokens: int
) -> tuple[ParseSettings, Clip, Given[Mapping[int, LabelMap]]]:
    """Returns a run of the first frames, of which the first has an anchor if there is one at all."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    # Fewer frames have fewer tokens to make clusters of.
    clusters = settings.clusters
    if makes_clusters(settings, anchored=bool(given.value)):
        clusters = min(clusters, frames * tokens)
    anchors = {short.start: given.value[min(given.value)]} if given.value else {}
    return replace(settings, clusters=clusters, names=None, namer=None, vocabulary=None), short, Given(anchors)
