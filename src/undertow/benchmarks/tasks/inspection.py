"""What `check` finds about any sample of frames and per-frame annotations, whatever is asked of it."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from undertow.base import UndertowError
from undertow.benchmarks.samples import Sample
from undertow.benchmarks.tasks.base import Finding


def frame_findings(sample: Sample) -> Iterator[Finding]:
    """Yields every frame that cannot be decoded, or is of another size than the sample says."""
    try:
        with sample.open() as video:
            if (video.height, video.width) != tuple(sample.size):
                yield Finding(
                    sample.video,
                    f"frames are {video.width}x{video.height}, annotations {sample.size[1]}x{sample.size[0]}",
                )
            for index in range(len(sample.frames)):
                try:
                    video.frame(index)
                except UndertowError as error:
                    yield Finding(sample.video, str(error))
    except UndertowError as error:
        yield Finding(sample.video, str(error))


def gap_findings(sample: Sample, annotated: Sequence[int]) -> Iterator[Finding]:
    """Yields one finding if most frames are annotated but some are not, which looks like files that were lost.

    Annotations at a steady distance from each other, or of few frames, are a choice of the dataset's authors.
    """
    missing = sorted(set(range(len(sample.frames))) - set(annotated))
    steps = {after - before for before, after in pairwise(annotated)}
    if not missing or 3 * len(missing) > len(sample.frames) or (len(steps) == 1 and steps != {1}):
        return
    names = ", ".join(f"'{sample.frames[index]}'" for index in missing[:3])
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    yield Finding(sample.video, f"frames {names}{more} have no annotation, while most of '{sample.name}' have", "odd")
