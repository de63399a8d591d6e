"""The kernel's settings: one dataclass whose options are the orders of operation that published trackers use."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from undertow.base import SettingsError

SimilarityKind = Literal["dot", "cosine", "distance"]
SoftmaxScope = Literal["reference", "window", "joint", "none", "survivors"]
WindowShape = Literal["square", "disc"]
TopkScope = Literal["joint", "per_reference"]
TopkStage = Literal["mixed", "per_head"]


@dataclass(frozen=True)
class KernelSettings:
    """How a frame's tokens are compared with those of its references; the defaults are DRIFT's order.

    DRIFT (arXiv 2511.19936) leaves the order open; the default is the likeliest reading of it: per-head softmax over
    all keys of one reference, heads mixed, window, joint top-k over all references, renormalise.

    Attributes:
        similarity: "dot" is q·k / √d, "cosine" is q·k of vectors of length one, "distance" is −|q − k|².
        temperature: Logits are similarity / temperature.
        softmax_scope: What the weights of one head sum to one over:
            "reference": all keys of one reference, near or far (DRIFT);
            "window": the keys of one reference inside the window;
            "joint": the keys of all references inside the window;
            "none": nothing, they are exp(logit), summed over heads (DINO, DIFT: renormalising follows the top-k);
            "survivors": the k kept, as exp(logit); heads are averaged as logits before the top-k (CRW).
        window: "square" keeps |Δy| ≤ radius and |Δx| ≤ radius; "disc" keeps Δy² + Δx² < radius², as in CRW. Windows
            are clipped at the border of the grid, not shifted.
        radius: In tokens; None compares with everything.
        topk: Number of weights kept per token.
        topk_scope: Whether k are kept of all references together, or of each.
        topk_stage: Whether k are kept of the mixed heads, or of each head before mixing.
        renormalise: Whether the kept weights of a token are divided by their sum.
        first_frame_unrestricted: Whether reference 0 has no window, so that it can be found again anywhere (CRW).
    """

    similarity: SimilarityKind = "dot"
    temperature: float = 1.0
    softmax_scope: SoftmaxScope = "reference"
    window: WindowShape = "square"
    radius: int | None = 14
    topk: int = 15
    topk_scope: TopkScope = "joint"
    topk_stage: TopkStage = "mixed"
    renormalise: bool = True
    first_frame_unrestricted: bool = False

    def __post_init__(self) -> None:
        choices = {
            "similarity": SimilarityKind,
            "softmax_scope": SoftmaxScope,
            "window": WindowShape,
            "topk_scope": TopkScope,
            "topk_stage": TopkStage,
        }
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(get_args(kind))}")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise SettingsError(f"temperature is {self.temperature}; give a number above 0")
        if self.topk < 1:
            raise SettingsError(f"topk is {self.topk}; give 1 or more")
        least = 1 if self.window == "disc" else 0
        if self.radius is not None and self.radius < least:
            raise SettingsError(
                f"radius is {self.radius}; a {self.window} window needs {least} or more, and None means no window"
            )

    @property
    def logarithmic(self) -> bool:
        """Whether tokens are ranked by logits, which may be of any size, instead of by normalised weights."""
        return self.softmax_scope in ("none", "survivors")

    def radius_of(self, reference: int) -> int | None:
        """Returns the window's radius on one reference, counted from the anchor at 0; None where there is no window."""
        return None if reference == 0 and self.first_frame_unrestricted else self.radius
