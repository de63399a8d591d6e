"""Where a pixel looks: what the model's attention says of it in another frame, as a map over that frame."""

import numpy as np
import torch
from jaxtyping import Float32
from torch.nn.functional import interpolate

from undertow.app.project import Project
from undertow.base import CueError
from undertow.tracking.inspection import inspect


def looks(project: Project, number: int, at: tuple[float, float], other: int) -> Float32[np.ndarray, "h w"]:
    """Returns where a pixel of a frame looks in another, in [0, 1], all heads together.

    Args:
        project: The clip.
        number: The frame of the pixel.
        at: The pixel (x, y).
        other: The frame that is looked at.

    Raises:
        CueError: if the clip has no such frames, or the pixel lies outside.
    """
    video = project.video
    if video is None or not (0 <= number < project.count and 0 <= other < project.count):
        raise CueError(f"there are no frames {number} and {other}; choose others")
    settings = project.sessions["track"].settings
    with project.jobs.aside():
        found = dict(inspect(video, at, number, other, project.model("track"), settings).maps)
    weights = torch.from_numpy(found.get("heads mixed", next(iter(found.values()))).copy())
    # Most of what is looked at is little; its root shows where that is, too.
    shown = (weights / weights.amax().clamp(min=1e-12)).sqrt()
    return interpolate(shown[None, None], project.size, mode="bilinear", align_corners=False)[0, 0].numpy()
