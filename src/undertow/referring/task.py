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
    extras=(*TRACK.extras, "explain.html", "soft/*.png"),
    gather=late("undertow.referring.methods:gather"),
    resolve=late("undertow.referring.methods:resolve"),
    start=late("undertow.referring.methods:start"),
    amend=late("undertow.referring.methods:amend"),
    work=late("undertow.referring.methods:work"),
    trial=late("undertow.referring.methods:trial"),
)
