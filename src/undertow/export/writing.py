"""Writing a finished run in other tools' formats: which, of what, where, resumed and read back."""

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from undertow.base import LOCK, Progress, SettingsError, SilentProgress, atomic_path, exclusive, write_json
from undertow.export.exporter import Exporter, ExportSettings, Plan, check_template
from undertow.export.run import Run, open_run
from undertow.runs.record import RECORD, plain

RECEIPT = "export.json"
# What `atomic_path` calls the temporary file of a name.
TEMPORARY = re.compile(r"\..+-[a-z0-9_]{8}\.[a-z0-9]+", re.DOTALL)
# Of each format: module, class, and a line about it.
FORMATS: Mapping[str, tuple[str, str, str]] = {
    "davis": ("pngs", "Davis", "palette PNG per frame in Annotations/CLIP/, for DAVIS"),
    "youtube-vos": ("pngs", "YouTubeVos", "the same with the frames' own names and meta.json, for YouTube-VOS"),
    "mots": ("pngs", "Mots", "MOTS PNG (class * 1000 + object), which CVAT imports with ids kept"),
    "objects": ("pngs", "Objects", "a black and white PNG per object and frame"),
    "coco": ("coco", "Coco", "COCO JSON with run lengths and track_id"),
    "ytvis": ("coco", "Ytvis", "YouTube-VIS JSON with a run length per frame"),
    "cvat": ("annotators", "Cvat", "CVAT for video XML, polygon tracks with every frame a key frame"),
    "yolo": ("annotators", "Yolo", "YOLO-seg text and data.yaml"),
    "labelme": ("annotators", "LabelMe", "LabelMe JSON per frame"),
    "labelstudio": ("labelstudio", "LabelStudio", "Label Studio tasks with brush labels"),
    "classes": ("pngs", "Classes", "grey PNGs of ids with a legend"),
    "png": ("pictures", "Png", "a PNG sequence of mattes per object, or of the picture with alpha (--fill)"),
    "tiff": ("pictures", "Tiff", "the same as TIFF"),
    "prores": ("pictures", "ProRes", "ProRes 4444 with alpha, a film per object"),
    "ffv1": ("pictures", "Ffv1", "FFV1 with alpha, exact, a film per object"),
    "apng": ("pictures", "Apng", "animated PNG, exact"),
    "vp9": ("pictures", "Vp9", "VP9 with alpha for browsers; many programs drop the alpha"),
    "exr": ("exr", "Exr", "OpenEXR with a half-float layer per object and Cryptomatte; needs the extra export"),
    "tapvid": ("points", "TapVid", "TAP-Vid arrays as .npz"),
    "csv": ("points", "Csv", "CSV of points over time"),
    "nuke": ("points", "Nuke", "a Tracker4 node for Nuke"),
    "after-effects": ("points", "AfterEffects", "keyframe text for After Effects, a file per point"),
    "rerun": ("rerun", "Rerun", "a recording for the viewer of rerun; needs the extra rerun"),
    "boxes": ("tables", "Boxes", "CSV of boxes, areas and scores over time"),
}


@dataclass(frozen=True)
class Exported:
    """What an export did.

    Attributes:
        frames: Number of frames.
        differences: What differs from the run when read back, the most on one frame; `None` if not checked.
        levels: The most by which alpha differs, of 255; `None` of masks.
        note: What the user should know.
        unit: What differences are counted in.
    """

    frames: int
    differences: int | None = None
    levels: int | None = None
    note: str = ""
    unit: str = "pixels"

    def said(self, out: Path) -> str:
        """Returns what was done, and into which folder, in a line or two."""
        frames = f"{self.frames} frame{'s' * (self.frames != 1)} are in {out}".replace("1 frame are", "1 frame is", 1)
        if self.differences is not None:
            by = f" by up to {self.levels} of 255" if self.levels else ""
            differ = f"{self.differences} {self.unit} differ{by}" if self.differences else "nothing differs"
            frames += f"; read back, {differ}"
        return f"{frames}\nnote: {self.note}" if self.note else frames


def check_format(name: str, task: str) -> type[Exporter]:
    """Returns the class of a format for the runs of a task.

    Raises:
        SettingsError: if there is none of that name, or it is for other tasks.
    """
    if name not in FORMATS:
        raise SettingsError(f"format '{name}' is not one of {', '.join(FORMATS)}")
    module, kind, _ = FORMATS[name]
    found: type[Exporter] = getattr(import_module(f"undertow.export.{module}"), kind)
    if task not in found.tasks:
        raise SettingsError(f"format '{name}' is for runs of {' or '.join(found.tasks)}, not of {task}; choose another")
    return found


def export(
    run: Run | Path | str,
    to: str,
    out: Path | str,
    settings: ExportSettings | None = None,
    *,
    check: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Writes a finished run in another tool's format, a frame at a time.

    Given again after an interruption it goes on: files of single frames that are there stay, files that hold several
    frames begin anew and appear when they are whole. A complete export of the same run is left as it is.

    Args:
        run: The run or its folder.
        to: Name of the format; see `FORMATS`.
        out: Folder to make; it may exist if it is empty or holds the same export.
        settings: Options.
        check: Whether the files are read back and compared with the run.
        progress: Notified after each frame.

    Raises:
        SettingsError: if the run is not finished or of a task the format does not take, the folder holds something
            else, or an option is of no use.
    """
    run = run if isinstance(run, Run) else open_run(run)
    kind, out, progress = check_format(to, run.task), Path(out), progress or SilentProgress()
    plan = _plan(run, kind, out, settings or ExportSettings())
    receipt = _receipt(run, to, plan)
    check_target(out, receipt)
    out.mkdir(parents=True, exist_ok=True)
    with exclusive(out), closing(plan):
        if (_read(out) or {}).get("complete") is True:
            _pack(plan)
            return _checked(kind(plan), progress) if check else Exported(len(plan.frames), note=kind(plan).notes())
        exporter = kind(plan)
        _sweep(out)
        write_json(out / RECEIPT, receipt | {"complete": False})
        try:
            exporter.open()
            progress.start("export", len(plan.frames))
            for shot in plan.shots():
                if not exporter.done(shot):
                    exporter.frame(shot)
                progress.advance(frame=shot.number)
            exporter.close()
        except BaseException:
            exporter.discard()
            raise
        write_json(out / RECEIPT, receipt | {"complete": True})
        _pack(plan)
        return _checked(kind(plan), progress) if check else Exported(len(plan.frames), note=exporter.notes())


def check_target(out: Path, receipt: Mapping[str, Any]) -> None:
    """Raises SettingsError unless an export can be written to a folder or continued there."""
    if out.exists() and not out.is_dir():
        raise SettingsError(f"--out '{out}' is a file; name a folder")
    # A process killed as it began leaves its lock and a receipt, perhaps under a temporary name.
    own = (LOCK, RECEIPT)
    there = [each.name for each in out.iterdir()] if out.exists() else []
    left = [name for name in there if name not in own and not TEMPORARY.fullmatch(name)]
    earlier = _read(out)
    if earlier is None and left:
        raise SettingsError(f"--out '{out}' holds files that are not an export; choose an empty or new folder")
    if earlier is not None and left and {name: earlier.get(name) for name in receipt} != dict(receipt):
        raise SettingsError(
            f"--out '{out}' holds another export (of {earlier.get('to')}, or with other options or of another run); "
            "remove it or choose another --out"
        )


def _plan(run: Run, kind: type[Exporter], out: Path, settings: ExportSettings) -> Plan:
    start, end = settings.start, settings.end
    frames = [each for each in run.frames if (start or 0) <= each.number and (end is None or each.number < end)]
    if not frames:
        raise SettingsError(f"the run has no frame from {start or 0} to before {end}; change --start or --end")
    names = dict(run.names)
    if settings.objects is not None:
        if stray := [each for each in settings.objects if each not in names]:
            known = ", ".join(map(str, names)) if len(names) <= 12 else f"{len(names)} from {min(names)} on"
            raise SettingsError(f"the run has no object {stray[0]}; it has {known}")
        names = {number: names[number] for number in sorted(settings.objects)}
    names |= _labels(settings, names)
    template = check_template(settings.name or kind.template, kind.fields)
    return Plan(run, out, settings, frames, names, template, _rate(settings, run))


def _labels(settings: ExportSettings, names: Mapping[int, str]) -> dict[int, str]:
    """Returns the names of objects that were given as ID=NAME."""
    found = {}
    for text in settings.labels.split(",") if settings.labels else ():
        number, mark, name = text.partition("=")
        if not (mark and name and number.isdecimal() and len(number) <= 5 and int(number) in names):
            raise SettingsError(f"--labels has '{text}'; give ID=NAME with the id of an object that is exported")
        found[int(number)] = name
    return found


def _rate(settings: ExportSettings, run: Run) -> Fraction:
    from undertow.video.frames import as_rate

    return run.fps if settings.fps is None else as_rate(settings.fps)


def _receipt(run: Run, to: str, plan: Plan) -> dict[str, Any]:
    """Returns by what an export is known again: format, options and what the run was."""
    digest = hashlib.sha256((run.path / RECORD).read_bytes()).hexdigest()
    # Not where the video lies, since it is known by its content.
    options = {name: value for name, value in plain(plan.settings).items() if name not in ("video", "zip")}
    return {"format": "undertow export", "version": 1, "to": to, "run": digest, "options": options}


def _read(out: Path) -> dict[str, Any] | None:
    try:
        value = json.loads((out / RECEIPT).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and value.get("format") == "undertow export" else None


def _pack(plan: Plan) -> None:
    """Packs the files into OUT.zip, if that is asked for."""
    target = plan.out.with_name(f"{plan.out.name}.zip")
    if not plan.settings.zip or target.exists():
        return
    with atomic_path(target) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED) as archive:
        for path in sorted(plan.out.rglob("*")):
            if path.is_file() and path.name not in (LOCK, RECEIPT):
                archive.write(path, path.relative_to(plan.out).as_posix())


def _sweep(out: Path) -> None:
    """Removes files under temporary names that an export left that was killed."""
    for path in out.rglob(".*"):
        if TEMPORARY.fullmatch(path.name) and path.is_file() and not path.is_symlink():
            path.unlink()


def _checked(exporter: Exporter, progress: Progress) -> Exported:
    """Reads an export back and compares it with the run."""
    differences, levels = 0, None
    progress.start("check", len(exporter.plan.frames))
    for shot, found in zip(exporter.plan.shots(), exporter.back(), strict=True):
        wanted = exporter.expected(shot)
        for number in wanted.keys() | found.keys():
            nothing = np.zeros_like(next(iter((wanted or found).values())))
            kind: type[Any] = np.float64 if nothing.dtype.kind == "f" else np.int32
            apart: Any = np.abs(wanted.get(number, nothing).astype(kind) - found.get(number, nothing).astype(kind))
            differences = max(differences, int(np.count_nonzero(apart > exporter.tolerance)))
            if nothing.dtype == np.uint8:
                levels = max(levels or 0, int(apart.max()))
        progress.advance(frame=shot.number)
    return Exported(len(exporter.plan.frames), differences, levels, exporter.notes(), exporter.unit)
