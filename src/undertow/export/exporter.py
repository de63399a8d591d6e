"""What every format is to the export: one class, opened on a plan, given frame by frame, and closed.

A format knows files and nothing of runs, resuming or options; `undertow.export.writing` knows those and no format.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from undertow.base import Options, SettingsError, inside, option
from undertow.export.mattes import soft_mattes
from undertow.export.run import OF_OBJECTS, Run, RunFrame, SoftMasks, grid_of
from undertow.masks import VOID, LabelMap

FIELDS = ("clip", "object", "label", "frame", "name")
# How a field of a template may be padded, such as 05d.
_SPEC = re.compile(r"0?\d?d?")


@dataclass(frozen=True)
class ExportSettings(Options):
    """What is exported, and what files and frames are called."""

    name: str | None = option(
        None, "Template of file names, such as {clip}_{object}_{frame:05d}; {label} and {name} too."
    )
    objects: tuple[int, ...] | None = option(None, "Only these objects, classes or points.")
    labels: str | None = option(None, "Labels of objects, as ID=NAME,ID=NAME.")
    start: int | None = option(None, "First frame, by its number in the video.", least=0)
    end: int | None = option(None, "Frame to stop before.", least=1)
    frame_offset: int = option(0, "Added to frame numbers; compositors count from 1 or 1001.")
    fps: str | None = option(None, "Frame rate, such as 24 or 30000/1001; by default that of the run.")
    zip: bool = option(False, "Also pack the folder into OUT.zip, for servers and CVAT.", decides=False)
    video: Path | None = option(None, "The video the run is of, for pictures and for edges that follow them.")
    edges: Literal["soft", "hard"] = option("soft", "Of mattes; soft follows the picture, hard is the mask as it is.")
    fill: Literal["matte", "straight", "premultiplied"] = option(
        "matte", "What a file of a matte shows; the matte, or the picture with it as alpha."
    )


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame on its way out.

    Attributes:
        place: 0-based place among the frames exported.
        number: Its number as the target counts, with the offset.
        frame: The frame of the run.
        plan: The export it belongs to.
    """

    place: int
    number: int
    frame: RunFrame
    plan: "Plan" = field(repr=False)

    @cached_property
    def labels(self) -> LabelMap:
        """The label map, with the objects that are not exported taken out."""
        labels = self.plan.run.masks(self.frame.number)
        if self.plan.settings.objects is None:
            return labels
        # Among classes 0 is one too.
        kept = np.full(VOID + 1, VOID if self.plan.run.task == "parse" else 0, np.uint16)
        for number in (*self.plan.names, VOID):
            kept[number] = number
        return kept[labels]

    @cached_property
    def masks(self) -> dict[int, Bool[np.ndarray, "h w"]]:
        """The mask of each object seen on the frame, by id, ascending."""
        seen = np.flatnonzero(np.bincount(self.labels.ravel(), minlength=VOID + 1))
        return {int(number): self.labels == number for number in seen if number in self.plan.names}

    @cached_property
    def mattes(self) -> dict[int, Float32[np.ndarray, "h w"]]:
        """The alpha of each object seen on the frame, in [0, 1]: soft edges that follow the picture, or the mask.

        Raises:
            SettingsError: if edges are to be soft and the video is not given.
        """
        if self.plan.settings.edges == "hard" or not self.masks:
            return {number: mask.astype(np.float32) for number, mask in self.masks.items()}
        soft = self.plan.soft(self.frame.number)
        return soft_mattes(self.labels, list(self.masks), self.image, self.plan.grid, soft)

    @cached_property
    def image(self) -> UInt8[np.ndarray, "h w 3"]:
        """The picture.

        Raises:
            SettingsError: if the video is not given.
        """
        return self.plan.picture(self.frame.number)


@dataclass(frozen=True, eq=False)
class Plan:
    """What is exported where.

    Attributes:
        run: The run.
        out: The folder that files go to.
        settings: Options.
        frames: The frames exported, in order.
        names: What the objects exported are called, by id, ascending.
        template: What files are called.
        fps: Frame rate.
    """

    run: Run
    out: Path
    settings: ExportSettings
    frames: Sequence[RunFrame]
    names: Mapping[int, str]
    template: str
    fps: Fraction

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.run.size

    @property
    def uneven(self) -> bool:
        """Whether frames are not where the run's mean rate has them: some are more than half a frame away in time."""
        times = [frame.time - self.frames[0].time for frame in self.frames]
        step = 1 / self.run.fps
        return any(abs(time - place * step) > step / 2 for place, time in enumerate(times))

    @property
    def goes_on(self) -> bool:
        """Whether the video is known to have frames after the last one exported."""
        last = self.frames[-1].number
        counted = None if self.settings.video is None else self._video.frame_count
        return last < self.run.frames[-1].number or (counted is not None and last + 1 < counted)

    @property
    def grid(self) -> tuple[int, int] | None:
        """Rows and columns of the run's tokens, if it says."""
        return grid_of(self.run.record)

    def soft(self, number: int) -> SoftMasks | None:
        """Returns the soft masks that mattes of a frame are made of; `None` where masks were given, and of classes."""
        given = any("sha256" in cue and cue.get("frame") == number for cue in self.run.record.cues)
        return None if given or self.run.task not in OF_OBJECTS else self.run.soft(number)

    def shots(self) -> Iterator[Shot]:
        """Yields the frames."""
        for place, frame in enumerate(self.frames):
            yield self.shot(place, frame)

    def shot(self, place: int, frame: RunFrame) -> Shot:
        """Returns a frame on its way out."""
        return Shot(place, frame.number + self.settings.frame_offset, frame, self)

    def file(self, suffix: str, shot: Shot | None = None, number: int = 0, folder: str = "") -> Path:
        """Returns the path of a file by the template; missing folders are made.

        Args:
            suffix: Such as ".png".
            shot: The frame it is of, if it is of one.
            number: The object it is of, if it is of one.
            folder: Of the format, within the target.
        """
        name = self.name(shot, number)
        path = inside(self.out, f"{folder}/{name}" if folder else name, suffix=suffix, links=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @cached_property
    def per_object(self) -> bool:
        """Whether the template tells objects apart.

        Raises:
            SettingsError: if it does by what they are called, and two are called alike.
        """
        found = {self.name(number=number) for number in self.names}
        if 1 < len(found) < len(self.names) or (len(found) == 1 < len(self.names) and "{label" in self.template):
            raise SettingsError(f"two objects are called alike, and --name is '{self.template}'; add {{object}}")
        return len(found) > 1 or "{object" in self.template or "{label" in self.template

    def name(self, shot: Shot | None = None, number: int = 0) -> str:
        """Returns what the template makes of a frame and an object, without suffix."""
        return self.template.format(
            clip=_part(self.run.clip),
            object=number,
            label=_part(self.names.get(number, str(number))),
            frame=0 if shot is None else shot.number,
            name="" if shot is None else shot.frame.name,
        )

    @cached_property
    def _video(self) -> Any:
        from undertow.video import Video

        if self.settings.video is None:
            raise SettingsError("pictures are needed, and a run does not hold them; add --video FILE, or --edges hard")
        video = Video(self.settings.video)
        if (video.height, video.width) != self.size or video.fingerprint() != self.run.record.video:
            raise SettingsError(f"'{self.settings.video}' is not the video that the run is of; give that one")
        return video

    def picture(self, number: int) -> UInt8[np.ndarray, "h w 3"]:
        """Returns a frame of the video.

        Raises:
            SettingsError: if the video is not given, or is another one.
        """
        image: UInt8[np.ndarray, "h w 3"] = self._video.frame(number).image
        return image

    def close(self) -> None:
        """Closes the video, if it was opened."""
        if "_video" in vars(self):
            self._video.close()


class Exporter(ABC):
    """A format.

    Attributes:
        tasks: The tasks whose runs it takes.
        template: What files are called if nobody says.
        fields: What a template has to have, so that no two files get one name.
        note: What a user should know, said after the export.
        rated: Whether its files know a rate, and no time of a frame.
        unit: What is compared when files are read back.
        tolerance: By how much it may differ, as the format rounds it.
        stack: What is open until the export is closed or given up, such as files under temporary names.
    """

    tasks: ClassVar[tuple[str, ...]] = OF_OBJECTS
    template: ClassVar[str] = "{name}"
    fields: ClassVar[tuple[str, ...]] = ("frame",)
    note: ClassVar[str] = ""
    rated: ClassVar[bool] = False
    unit: ClassVar[str] = "pixels"
    tolerance: ClassVar[float] = 0.0

    def __init__(self, plan: Plan) -> None:
        """Takes the plan and checks that the format can hold it; nothing is opened."""
        self.plan = plan
        self.stack = ExitStack()

    def open(self) -> None:
        """Begins to write; files that hold several frames appear when the export is closed."""
        self.plan.out.mkdir(parents=True, exist_ok=True)

    def notes(self) -> str:
        """Returns what a user should know of this export."""
        if not (self.rated and self.plan.uneven):
            return self.note
        uneven = (
            f"frames are not evenly spaced in time, and are exported as if they were, at {float(self.plan.fps):.6g} a "
            "second, so that they do not stay with the clip: give the clip a constant rate and track that"
        )
        return f"{self.note}; {uneven}" if self.note else uneven

    def done(self, shot: Shot) -> bool:
        """Returns whether the files of a frame are there from an export that was interrupted."""
        return False

    @abstractmethod
    def frame(self, shot: Shot) -> None:
        """Takes the next frame."""

    def close(self) -> None:
        """Finishes the files."""
        self.stack.close()

    def discard(self) -> None:
        """Gives up what is not finished."""
        self.stack.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def back(self) -> Iterator[Mapping[int, np.ndarray]]:
        """Yields, for each frame, what the files say: masks (bool), alpha (uint8) or other numbers by object.

        Raises:
            SettingsError: if the format cannot be read back here.
        """
        raise SettingsError("this format cannot be checked here; open it in the tool that it is for")

    def expected(self, shot: Shot) -> Mapping[int, np.ndarray]:
        """Returns what `back` should yield for a frame."""
        return shot.masks


def check_template(template: str, wanted: Iterable[str]) -> str:
    """Returns a template for names, if it is one.

    Raises:
        SettingsError: if it has an unknown field or lacks one that tells files apart.
    """
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise SettingsError(f"--name '{template}' is no template ({error}); write fields as {{frame:05d}}") from error
    used = set()
    for _, name, spec, conversion in parts:
        if name is None:
            continue
        padded = not spec or (name in ("frame", "object") and _SPEC.fullmatch(spec))
        if name not in FIELDS or conversion or not padded:
            known = ", ".join(f"{{{each}}}" for each in FIELDS)
            raise SettingsError(f"--name '{template}' has the field '{name}', which is none of {known}; correct it")
        used.add({"name": "frame", "label": "object"}.get(name, name))
    if missing := [each for each in wanted if each not in used]:
        raise SettingsError(f"--name '{template}' would give several files one name; add {{{missing[0]}}}")
    return template


def _part(text: str) -> str:
    """Returns a name that comes from a file as one part of a path."""
    return re.sub(r"[/\\\x00-\x1f\x7f]", "_", text).strip(". ") or "_"
