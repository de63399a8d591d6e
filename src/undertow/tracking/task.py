"""The task `track`: masks through a video."""

from undertow.base.on_demand import late
from undertow.runs.task import Task
from undertow.tracking.settings import TrackSettings, resolve

TASK = Task(
    name="track",
    title="Masks, boxes, points or words through a video",
    settings=TrackSettings,
    cues=("mask", "box", "point", "text"),
    files=("masks/*.png", "soft/*.npz", "masks.json", "scores.csv"),
    views=("overlay.mp4",),
    gather=late("undertow.tracking.cues:gather"),
    resolve=lambda settings, backbone, size, given: resolve(settings, backbone, *size, tuned=settings.tuned),
    start=late("undertow.tracking.job:start"),
    amend=late("undertow.tracking.corrections:corrections"),
    work=late("undertow.tracking.work:track_work"),
    trial=late("undertow.tracking.work:trial"),
    live=("overlay.mp4",),
    extras=("backward/*.safetensors",),
)
