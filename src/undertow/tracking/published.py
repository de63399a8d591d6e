"""What the code of a paper does besides its order of operations, for parity with its numbers.

The order of operations, with radius, top-k and temperature, is the preset's (`undertow.affinity.PRESETS`); sites and
noise level are the card's, since they are of one model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

FirstLabels = Literal["area", "nearest", "bilinear"]


@dataclass(frozen=True)
class Published:
    """How frames are shown, and labels taken down to the grid and up again.

    Attributes:
        side: Shorter side of the model input in pixels; `None` for the frame's own size, "square" for a square of the
            card's tokens.
        patches: Shorter side in tokens instead, of models of any patch.
        multiple: What the longer side is rounded down to a multiple of; of a frame's own size, both are rounded up.
        first_labels: How a given mask comes down to the grid.
        channel_norm: Whether each channel is stretched before the argmax.
        padded: Whether the first frame stands in for recent frames that are not there yet.
        gate: `SamSettings.minimum_score` of a refinement by SAM.
    """

    side: int | Literal["square"] | None = None
    patches: int | None = None
    multiple: int = 8
    first_labels: FirstLabels = "nearest"
    channel_norm: Literal["none", "minmax"] = "minmax"
    padded: bool = False
    gate: float = 0.0

    def input_size(self, height: int, width: int, patch: int, multiple: int) -> tuple[int, int] | None:
        """Returns the (height, width) in pixels at which frames of one size are shown; `None` for a square.

        A token has `patch` pixels to a side, and models read multiples of `multiple` pixels.
        """
        if self.patches is not None:
            sized = replace(self, side=self.patches * patch, patches=None, multiple=multiple)
            return sized.input_size(height, width, patch, multiple)
        if self.side == "square":
            return None
        if self.side is None:
            return -(-height // self.multiple) * self.multiple, -(-width // self.multiple) * self.multiple
        longer = max(height, width) * self.side // min(height, width) // self.multiple * self.multiple
        return (self.side, longer) if height <= width else (longer, self.side)


PUBLISHED: Mapping[str, Published] = {
    # DRIFT (arXiv 2511.19936) shows squares, and keeps every mask of SAM; labels are not described, and taken as in
    # DIFT's code, which it follows otherwise.
    "drift": Published("square"),
    # eval_video_segmentation.py of DINO.
    "dino": Published(480, multiple=64),
    # eval_davis.py of DIFT.
    "dift": Published(480, multiple=32),
    "adm": Published(480, multiple=32),
    # 60 tokens, the middle one of the three sizes of DINOv3 (arXiv 2508.10104); its 7B reads 90.
    "dinov3": Published(patches=60),
    # test.py of CRW: frames as they are, labels in a grid of an eighth, the first frame twenty times in front.
    "crw": Published(None, first_labels="bilinear", channel_norm="none", padded=True),
}
