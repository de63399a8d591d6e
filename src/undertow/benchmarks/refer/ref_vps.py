"""Ref-VPS: expressions of things that flow, burn or break, with regions that do not count.

The data had not been published when this was written; the layout is the one Ref-YouTube-VOS has, with one mask per
clip and frame, because all of a clip's expressions are of the same thing.
"""

from collections.abc import Sequence
from pathlib import Path

from undertow.base import SettingsError
from undertow.benchmarks.datasets.reading import folder_frames
from undertow.benchmarks.datasets.registry import Dataset, register
from undertow.benchmarks.refer.expressions import expression_names, read_videos
from undertow.benchmarks.refer.sample import FileTruth, ReferSample
from undertow.metrics.referring_video import IGNORE

META = "meta_expressions.json"


def _names(root: Path, split: str) -> Sequence[str]:
    return expression_names(read_videos(root / META))


def _open(root: Path, split: str, name: str) -> ReferSample:
    clip, _, number = name.rpartition("/")
    row = read_videos(root / META)[clip]["expressions"][number]
    folder, masks = root / "JPEGImages" / clip, root / "Annotations" / clip
    frames, size = folder_frames(folder, clip)
    files = {path.stem: path for path in sorted(masks.glob("*.png"))}
    stray = sorted(files.keys() - set(frames))
    if stray or not files:
        what = f"an annotation '{files[stray[0]]}' but no such frame" if stray else f"no annotations in '{masks}'"
        raise SettingsError(f"clip '{clip}' has {what}; fetch it again")
    return ReferSample(
        dataset="ref-vps",
        name=name,
        video=folder,
        frames=frames,
        size=size,
        texts=(row["exp"],),
        truth={frame: FileTruth(path, ignore=(IGNORE,)) for frame, path in files.items()},
    )


REF_VPS = register(
    Dataset(
        name="ref-vps",
        task="refer",
        title="Ref-VPS (Bagchi et al., ReferEverything, 2024)",
        source="announced at https://github.com/miccooper9/ReferEverything, not published when this was written",
        tree=f"{META}\nJPEGImages/<clip>/<frame>.jpg\nAnnotations/<clip>/<frame>.png: 0, 1, and 255 where nobody knows",
        names=_names,
        open=_open,
        rules=("region",),
        splits=("all",),
        # 145 clips with four expressions each.
        counts=(("all", 580),),
    )
)
