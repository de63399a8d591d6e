"""The microscope: where one pixel of a frame looks in another frame, per head, mixed, and under other kernels."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from undertow.affinity import attention_row
from undertow.backbones import Backbone
from undertow.base import CueError
from undertow.tracking.settings import TrackSettings, observer_of, resolve
from undertow.video import Video


@dataclass(frozen=True)
class Inspection:
    """Where one pixel looks.

    Attributes:
        source: Frame that holds the pixel.
        target: Frame that is looked at.
        at: The pixel (x, y) in native pixels.
        cell: The token (row, column) that holds it.
        maps: Title and weight per token of the target frame, each summing to 1 (or to 0 if nothing is near).
    """

    source: UInt8[np.ndarray, "h w 3"]
    target: UInt8[np.ndarray, "h w 3"]
    at: tuple[float, float]
    cell: tuple[int, int]
    maps: list[tuple[str, Float[np.ndarray, "gh gw"]]]


def inspect(
    video: Video,
    at: tuple[float, float],
    frame_a: int,
    frame_b: int,
    backbone: Backbone,
    settings: TrackSettings | None = None,
) -> Inspection:
    """Returns the attention of the pixel `at` of frame A over frame B.

    The maps are: each head's softmax over all of frame B, their mixture if there are several, and what the kernels
    `drift`, `dift` and `pixels` keep of it after window and top-k.

    Args:
        video: The video.
        at: Pixel (x, y) of frame A, in native pixels.
        frame_a: Number of the frame of the pixel.
        frame_b: Number of the other frame.
        backbone: The model.
        settings: Options; the preset is set for each map.

    Raises:
        CueError: if the pixel lies outside the frame.
    """
    settings = settings or TrackSettings()
    x, y = at
    if not (0 <= x < video.width and 0 <= y < video.height):
        raise CueError(f"pixel {x:g},{y:g} is outside the {video.width}x{video.height} frame; give x,y inside it")
    images = [video[frame_a], video[frame_b]]
    maps = []
    cell = (0, 0)
    for preset in ("drift", "dift", "pixels"):
        resolved = resolve(_with_preset(settings, preset), backbone, video.height, video.width)
        rows, columns = resolved.grid
        cell = (int(y * rows / video.height), int(x * columns / video.width))
        # One by one: tokens then see what they would see in tracking, whatever the two frames are.
        observer = observer_of(backbone, resolved)
        asking, looked_at = (
            observer.see([image], [index])[0] for image, index in zip(images, (frame_a, frame_b), strict=True)
        )
        token = cell[0] * columns + cell[1]
        row = attention_row(asking.queries, looked_at.keys, token, resolved.grid, resolved.kernel)
        if preset == "drift":
            maps += [(f"head {head}", weights) for head, weights in enumerate(row.per_head)]
            if len(row.per_head) > 1:
                maps.append(("heads mixed", row.mixed))
        maps.append((f"{preset}, window and top {resolved.kernel.topk}", row.kept))
    shown = [(title, weights.reshape(resolved.grid).float().numpy()) for title, weights in maps]
    return Inspection(images[0], images[1], at, cell, shown)


def _with_preset(settings: TrackSettings, preset: str) -> TrackSettings:
    """Returns the settings under another preset; a temperature given for one kernel means nothing for another."""
    return replace(settings, preset=preset, temperature=None, softmax_scope=None)
