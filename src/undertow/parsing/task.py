"""The task `parse`: the class of every pixel of a video."""

from undertow.base.on_demand import late
from undertow.parsing.settings import ParseSettings, resolve_parse
from undertow.runs.task import Task

TASK = Task(
    name="parse",
    title="The class of every pixel of a video",
    settings=ParseSettings,
    cues=("anchor",),
    files=("masks/*.png", "soft/*.npz", "labels.json"),
    extras=("edited/*.png", "names.json"),
    views=("overlay.mp4", "contours.mp4", "sidebyside.mp4"),
    gather=late("undertow.parsing.anchors:gather"),
    resolve=lambda settings, backbone, size, given: resolve_parse(
        settings, backbone, *size, anchored=bool(given.value)
    ),
    start=late("undertow.parsing.job:start"),
    work=late("undertow.parsing.job:parse_work"),
    trial=late("undertow.parsing.job:trial"),
    redraw=late("undertow.parsing.job:redraw"),
)
