"""How a benchmark is measured: which frames of a sequence, and how finely a method may look at them."""

from dataclasses import dataclass

from undertow.base import SettingsError


@dataclass(frozen=True)
class EvaluationProtocol:
    """One way of measuring; every table names it.

    Attributes:
        name: what tables call it.
        stride: every how many frames a method is shown one, which makes motion between frames that much larger.
        most_frames: how many frames it is shown at most, `None` for all.
        tokens: about how many tokens it may see a frame as, `None` for its own default.
    """

    name: str
    stride: int = 1
    most_frames: int | None = None
    tokens: int | None = None

    def frames(self, count: int) -> range:
        """Returns the numbers of the frames shown, out of `count`."""
        return range(0, count, self.stride)[: self.most_frames]

    def describe(self) -> str:
        """Returns the protocol in words, for captions."""
        frames = "every frame" if self.stride == 1 else f"every {self.stride}. frame"
        most = "" if self.most_frames is None else f", at most {self.most_frames} frames"
        size = "default size" if self.tokens is None else f"about {self.tokens} tokens"
        return f"{self.name}: {frames}{most}, {size}"


PROTOCOLS = {
    "full": EvaluationProtocol("full"),
    "lab": EvaluationProtocol("lab", stride=3, most_frames=30, tokens=1600),
}


def get_protocol(name: str) -> EvaluationProtocol:
    """Returns the protocol called `name`: "full" for headlines, "lab" for sweeps.

    Raises:
        SettingsError: if there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise SettingsError(f"protocol '{name}' is not one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
