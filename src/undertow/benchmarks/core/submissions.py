"""Archives for evaluation servers: every required frame is looked at before a byte is written."""

import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from undertow.base import MaskError, Progress, SettingsError, SilentProgress, atomic_path
from undertow.benchmarks.core.sample import Sample
from undertow.benchmarks.masks.sample import MaskSample
from undertow.benchmarks.refer.sample import ReferSample, read_mask, read_values
from undertow.masks import palette

# The earliest time a zip file can name; equal masks give equal archives.
EPOCH = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Entry:
    """One file of a submission.

    Attributes:
        name: Where it lies in the archive.
        file: The result it is made of.
        sample: What it is a result of.
    """

    name: str
    file: Path
    sample: Sample


@dataclass(frozen=True)
class SubmissionKind:
    """What one server expects.

    Attributes:
        name: What `write_submission` calls it.
        task: Of which samples it is made.
        entries: From the folder of results and a sample to the files that must be there.
        encode: From a file's path and its sample to the bytes of the PNG; raises `MaskError` if it is broken.
    """

    name: str
    task: str
    entries: Callable[[Path, Sample], Iterator[Entry]]
    encode: Callable[[Path, Sample], bytes]


def write_submission(
    kind: str, results: Path | str, samples: Sequence[Sample], out: Path | str, progress: Progress | None = None
) -> Path:
    """Writes the archive that a server expects, and returns its path.

    All files are read first, so that nothing is written unless everything is there, of the right size and with known
    ids. The archive is the same for the same results, and replaces an older one only when it is complete.

    Args:
        kind: A name of `SUBMISSIONS`.
        results: Folder of results as the samples' task has it.
        samples: All samples of the split, see `open_dataset`.
        out: The .zip file to write.
        progress: Advanced by every file.

    Raises:
        SettingsError: if there is no such kind, the samples are of another task, or `out` is no .zip file.
        MaskError: naming the first file that is missing or broken.
    """
    if kind not in SUBMISSIONS:
        raise SettingsError(f"submission '{kind}' is not one of {', '.join(SUBMISSIONS)}")
    rules, root, target = SUBMISSIONS[kind], Path(results), Path(out)
    if target.suffix != ".zip":
        raise SettingsError(f"'{target}' is no .zip file, which servers expect; name one")
    if not root.is_dir():
        raise SettingsError(f"folder of results '{root}' does not exist; check the path")
    other = next((sample for sample in samples if sample.task != rules.task), None)
    if not samples or other is not None:
        found = "no samples" if other is None else f"'{other.name}' of task '{other.task}'"
        raise SettingsError(f"a submission to {kind} is of task '{rules.task}', found {found}")
    entries = sorted((entry for each in samples for entry in rules.entries(root, each)), key=lambda entry: entry.name)
    for before, after in pairwise(entries):
        if before.name == after.name:
            raise SettingsError(f"'{after.name}' of the submission is asked for twice; give every sample once")
    for entry in entries:
        if not entry.file.is_file():
            raise MaskError(f"'{entry.file}' is missing; a submission to {kind} needs every frame of every sample")
    progress = progress or SilentProgress()
    progress.start(f"pack {kind}", total=len(entries))
    with atomic_path(target) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for entry in entries:
            # PNG is compressed already.
            facts = zipfile.ZipInfo(entry.name, EPOCH)
            facts.external_attr = 0o644 << 16
            archive.writestr(facts, rules.encode(entry.file, entry.sample))
            progress.advance(1, sequence=entry.sample.name)
    return target


def _entry(folder: str, root: Path, sample: Sample, frame: str) -> Entry:
    """Returns the entry of a frame; no name of a sample leads out of the folder in which the archive is unpacked."""
    path = sample.result(root, frame)
    return Entry(folder + path.relative_to(root).as_posix(), path, sample)


def _object_entries(root: Path, sample: Sample) -> Iterator[Entry]:
    """Yields `Annotations/<video>/<frame>.png` for every frame on which some object starts or counts."""
    assert isinstance(sample, MaskSample)
    numbers = {index for frames in sample.asked.values() for index in frames}
    for index in sorted(numbers | set(sample.starts.values())) if numbers else range(len(sample.frames)):
        yield _entry("Annotations/", root, sample, sample.frames[index])


def _object_png(path: Path, sample: Sample) -> bytes:
    assert isinstance(sample, MaskSample)
    labels = read_values(path, sample.size)
    stray = np.setdiff1d(labels, [0, *sample.ids])
    if stray.size:
        raise MaskError(f"'{path}' has object {stray[0]}, but '{sample.name}' has {', '.join(map(str, sample.ids))}")
    image = Image.fromarray(labels.astype(np.uint8))
    image.putpalette(palette().tobytes())
    return _png(image)


def _expression_entries(folder: str) -> Callable[[Path, Sample], Iterator[Entry]]:
    def entries(root: Path, sample: Sample) -> Iterator[Entry]:
        """Yields `<video>/<expression>/<frame>.png` for every frame of the video."""
        for frame in sample.frames:
            yield _entry(folder, root, sample, frame)

    return entries


def _mask_png(path: Path, sample: Sample) -> bytes:
    assert isinstance(sample, ReferSample)
    return _png(Image.fromarray(np.where(read_mask(path, sample.size), 255, 0).astype(np.uint8)))


def _png(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, format="PNG")
    return data.getvalue()


#: The servers' layouts:
#:
#: - "youtube-vos": `Annotations/<video>/<frame>.png`, palette PNG with the ids of the first masks.
#: - "mevis": `<video>/<expression>/<frame>.png` at the root of the archive, black and white.
#: - "ref-youtube-vos": `Annotations/<video>/<expression>/<frame>.png`, 8-bit grey, 0 and 255, native size.
SUBMISSIONS = {
    kind.name: kind
    for kind in (
        SubmissionKind("youtube-vos", "masks", _object_entries, _object_png),
        SubmissionKind("mevis", "refer", _expression_entries(""), _mask_png),
        SubmissionKind("ref-youtube-vos", "refer", _expression_entries("Annotations/"), _mask_png),
    )
}
