"""The task `refer`: what a sentence names, through a video."""

from dataclasses import replace

from undertow.base.on_demand import late
from undertow.referring.settings import ReferSettings
from undertow.tracking.task import TASK as TRACK

TASK = replace(
    TRACK,
    name="refer",
    title="What a sentence names, through a video",
    settings=ReferSettings,
    cues=("text", "mask", "box", "point"),
    files=(*TRACK.files, "words.json"),
    extras=(*TRACK.extras, "explain.html"),
    gather=late("undertow.referring.job:gather"),
    start=late("undertow.referring.job:start"),
)
