"""Options of tuning, and its presets."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

from undertow.base import SettingsError

Learned = Literal["both", "tensor", "heads"]


@dataclass(frozen=True)
class TuningSettings:
    """How the conditioning and the head weights of an object are learned on the frame of its mask.

    The defaults are DRIFT's (arXiv 2511.19936, section 4.2 and supplement): Adam, 3500 steps at 1e-4, both jointly.

    Attributes:
        steps: Steps of Adam at most; with 0 everything stays as it starts.
        rate: Learning rate of the conditioning.
        head_rate: Learning rate of the logits of the head weights; None for the same.
        decay: "cosine" lets the rates fall to zero over the steps.
        learned: "tensor" for the conditioning, "heads" for the head weights, or "both".
        exclude_self: Whether a token may not take its label from itself. If it may, the loss has a minimum that says
            nothing: every token looks at itself.
        held_out: Whether altered copies of the frame, and not the loss, decide which state is best and when to stop.
        every: Steps between two such checks.
        patience: Checks without a gain of an object after which it is finished.
        seed: Of the altered copies.
        compiled: Whether the network's blocks are compiled; worth it for long tuning on a GPU.
        recomputed: Whether the network's blocks are computed again for gradients, for less memory and more time.
        together: Objects that one forward holds; None for one on a CPU, where a batch costs memory and gains no time,
            and for all elsewhere.
    """

    steps: int = 3500
    rate: float = 1e-4
    head_rate: float | None = None
    decay: Literal["none", "cosine"] = "none"
    learned: Learned = "both"
    exclude_self: bool = False
    held_out: bool = False
    every: int = 10
    patience: int = 4
    seed: int = 0
    compiled: bool = False
    recomputed: bool = False
    together: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("steps", 0), ("every", 1), ("patience", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"tuning {name} is {getattr(self, name)}; give {least} or more")
        if self.together is not None and self.together < 1:
            raise SettingsError(f"tuning together is {self.together}; give 1 object or more")
        for name in ("rate", "head_rate"):
            value = getattr(self, name)
            if value is not None and not 0 < value <= 10:
                raise SettingsError(f"tuning {name} is {value}; give a number above 0, such as 1e-4")
        if self.learned not in get_args(Learned):
            raise SettingsError(f"learned is {self.learned!r}; choose one of {', '.join(get_args(Learned))}")
        if self.decay not in ("none", "cosine"):
            raise SettingsError(f"decay is {self.decay!r}; choose none or cosine")


TUNING: Mapping[str, TuningSettings | None] = MappingProxyType(
    {
        "off": None,
        "paper": TuningSettings(),
        "fast": TuningSettings(steps=200, rate=5e-2, head_rate=5e-2, decay="cosine", held_out=True),
        # The rate and length at which others learn prompts for segmentation; heads stay equal.
        "prompt": TuningSettings(steps=100, rate=1e-2, learned="tensor"),
        # Nothing is learned per video: the start, learned once on training worlds, is what is used.
        "amortised": TuningSettings(steps=0),
    }
)


def get_tuning(name: str) -> TuningSettings | None:
    """Returns the tuning preset called `name`; None if it is "off".

    Raises:
        SettingsError: if there is none.
    """
    if name not in TUNING:
        raise SettingsError(f"tuning '{name}' is not known; choose one of {', '.join(TUNING)}")
    return TUNING[name]
