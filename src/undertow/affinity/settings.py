"""The order of operations between queries and weights, as options of one dataclass: peers are presets, not copies."""

from dataclasses import dataclass
from typing import Literal, get_args

from undertow.base import SettingsError

Similarity = Literal["dot", "cosine", "distance"]
SoftmaxScope = Literal["reference", "window", "joint", "none", "survivors"]


@dataclass(frozen=True)
class KernelSettings:
    """How queries and keys become weights.

    Args:
        similarity: "dot" is q.k / sqrt(d), "cosine" the cosine of the angle, "distance" minus the squared distance.
        temperature: Divides the similarity; the quotient is called logit.
        softmax_scope: What weights are normalised over before the top-k, for each head.
            "reference": all keys of one reference frame (DRIFT, Eq. 2); "window": the window of one reference;
            "joint": the windows of all references together; "none": exp(logit), nothing is normalised (DINO, DIFT);
            "survivors": heads are mixed as logits, and a softmax runs over the k that survive (CRW).
        window: "square" keeps |dy| and |dx| <= radius, "disc" keeps dy^2 + dx^2 < radius^2, as CRW does.
        radius: In tokens; None keeps every key.
        topk: Number of weights kept. Ties go to the earlier reference, then to no particular key.
        topk_scope: "joint" keeps k over all references together, "per_reference" k of each.
        topk_stage: "mixed" selects after the heads are mixed, "per_head" before.
        renormalise: Whether the kept weights are divided by their sum.
        first_frame_unrestricted: Whether the first reference ignores the window (CRW), which helps reappearance.
    """

    similarity: Similarity = "dot"
    temperature: float = 1.0
    softmax_scope: SoftmaxScope = "reference"
    window: Literal["square", "disc"] = "square"
    radius: int | None = 14
    topk: int = 15
    topk_scope: Literal["joint", "per_reference"] = "joint"
    topk_stage: Literal["mixed", "per_head"] = "mixed"
    renormalise: bool = True
    first_frame_unrestricted: bool = False

    def __post_init__(self) -> None:
        choices = {
            "similarity": get_args(Similarity),
            "softmax_scope": get_args(SoftmaxScope),
            "window": ("square", "disc"),
            "topk_scope": ("joint", "per_reference"),
            "topk_stage": ("mixed", "per_head"),
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise SettingsError(f"{name} is '{getattr(self, name)}'; give one of {', '.join(known)}")
        if not self.temperature > 0:
            raise SettingsError(f"temperature is {self.temperature}; give a number above 0")
        if self.radius is not None and self.radius < 0:
            raise SettingsError(f"radius is {self.radius}; give 0 or more tokens, or None for no window")
        if self.topk < 1:
            raise SettingsError(f"topk is {self.topk}; give 1 or more")

    @property
    def logarithmic(self) -> bool:
        """Whether keys are ranked by logits, which overflow nothing, instead of by normalised weights."""
        return self.softmax_scope in ("none", "survivors")
