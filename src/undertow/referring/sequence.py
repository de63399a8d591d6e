"""`refer`: from a video and a sentence to the masks of every frame."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from undertow.backbones import Backbone, load
from undertow.referring.job import gather
from undertow.referring.settings import ReferSettings
from undertow.runs.cues import Cue
from undertow.tracking import TrackResult, track
from undertow.video import Clip, Video


def refer(
    video: Video | Clip | str | Path | np.ndarray,
    text: str | Sequence[str],
    model: Backbone | str | Path = "tiny",
    settings: ReferSettings | None = None,
) -> Iterator[TrackResult]:
    """Yields the label map of every frame of a video, in which object i is what the i-th text names.

        for frame in ut.refer("clip.mp4", "the red kite", model="sd-2.1"):
            frame.labels == 1

    Args:
        video: A video, a clip of one, or anything `Video` opens.
        text: An expression, or several; an expression that is not found has no pixels.
        model: A loaded backbone, or the name or folder of one; it reads and tracks, unless the settings name a reader.
        settings: Options; defaults come from the model's card.

    Yields:
        One `TrackResult` per frame, in order.

    Raises:
        CueError: if a text has no words to search for, or nothing is found.
        SettingsError: if the model cannot read text.
    """
    settings = settings or ReferSettings()
    clip = video if isinstance(video, Clip) else Clip(video if isinstance(video, Video) else Video(video))
    backbone = load(model) if isinstance(model, str | Path) else model
    texts = [text] if isinstance(text, str) else text
    cues = [Cue("text", each, clip.start, number) for number, each in enumerate(texts, 1)]
    given = gather(cues, clip, lambda: backbone, settings)
    yield from track(clip, given.value, backbone, settings)
