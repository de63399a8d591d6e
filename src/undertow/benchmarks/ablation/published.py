"""What DRIFT prints for each ablation, to stand beside our rows and be marked as the paper's.

All of it is Stable Diffusion on DAVIS-2017 val at full length (protocol `full`), as arXiv 2511.19936 prints it; nothing
here was measured by this program.
"""

from dataclasses import dataclass

SETTING = "SD 2.1, DAVIS-2017 val, every frame"


@dataclass(frozen=True)
class PublishedRow:
    """One row of a table of the paper.

    Attributes:
        title: what it is, in our words.
        figure: as it is printed: J&F in percent, or seconds per object.
        note: what else decides it.
        timestep: noise level, where the row is a point of a curve.
        weights: model that it was measured with, where rows are models.
    """

    title: str
    figure: str
    note: str = ""
    timestep: int | None = None
    weights: str = "sd-2.1"

    @property
    def value(self) -> float | None:
        """The figure as a number; `None` if it is a difference or nothing."""
        try:
            return None if self.figure.startswith(("+", "-")) else float(self.figure)
        except ValueError:
            return None


PAPER: dict[str, tuple[PublishedRow, ...]] = {
    "conditioning": (
        PublishedRow("null text", "71.8"),
        PublishedRow("class name", "71.9"),
        PublishedRow("caption", "72.0", "BLIP-2 on the object cut out"),
        PublishedRow("learned", "74.5", "3500 steps"),
    ),
    "heads": (
        PublishedRow("equal, tuned conditioning", "74.5"),
        PublishedRow("learned, tuned conditioning", "74.8"),
        PublishedRow("learned, null text", "+0.2", "printed as a difference"),
    ),
    "components": (
        PublishedRow("propagation alone, random noise", "71.1", "J 67.0, F 75.1"),
        PublishedRow("+ inversion", "71.8", "J 67.9, F 75.6"),
        PublishedRow("+ inversion, tuning, head weights", "74.8", "J 70.7, F 78.9"),
        PublishedRow("+ inversion, SAM", "80.7", "J 78.2, F 83.2"),
        PublishedRow("all of it", "81.3", "J 78.8, F 83.7"),
    ),
    "runtime": (
        PublishedRow("propagation alone", "9.85", "seconds per object on an H100"),
        PublishedRow("+ inversion", "+2.19"),
        PublishedRow("+ SAM", "+5.78"),
        PublishedRow("+ tuning", "+141.4", "3500 steps"),
    ),
    "models": (
        PublishedRow("SD 1.5", "68.9", "with SAM 76.4", weights="sd-1.5"),
        PublishedRow("SD 2.1", "74.8", "with SAM 81.3"),
    ),
    "refiners": (
        PublishedRow("none", "74.5", "tuned conditioning"),
        PublishedRow("PAC-CRF", "76.4", "tuned conditioning; 5x5 kernels, 30 steps"),
        PublishedRow("SAM", "81.3", "all of it; ViT-H, p 40, n 2"),
    ),
    "attention": (),
    "noising": (
        PublishedRow("DDIM inversion, its best", "58.0", "from the first frame alone", 81),
        PublishedRow("random noise, its best", "57.4", "from the first frame alone", 21),
    ),
    "prompts": (
        PublishedRow("n 2, p 40", "81.3", "n 1 is poor, 3 no better than 2, 5 a little worse; p saturates at about 40"),
    ),
    "embeddings": (),
}
