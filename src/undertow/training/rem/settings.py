"""What decides a fine-tuned generator: which weights are trained, on what, how long, and what its answers mean."""

from dataclasses import dataclass
from typing import Literal

from undertow.backbones.fine_tuning import FineTuning
from undertow.base import Options, SettingsError, option

Trained = Literal["full", "attention", "lora"]


@dataclass(frozen=True)
class RemSettings(Options):
    """Options of `undertow train rem`.

    Raises:
        SettingsError: if a value is out of range, a word is unknown, or two do not go together.
    """

    steps: int = option(2000, "Steps in all.", least=1)
    batch: int = option(8, "Clips of a step, over all processes.", least=1)
    image_batch: int = option(16, "Images of a step, over all processes.", least=1)
    images: float = option(0.5, "Share of the steps that are of images.", least=0, most=1)
    frames: int = option(9, "Frames of a clip.", least=1, most=1000)
    spacing: int = option(
        1, "Frames from one of a clip to the next, at most, in procedural clips and where masks are asked for.", least=1
    )
    sheet: bool = option(False, "Show an image model the frames of a clip as one picture, below one another.")
    size: tuple[int, int] = option((512, 512), "Input as (width, height) in pixels; frames are stretched to it.")
    train: Trained = option("full", "Weights that are trained: full, those of attention, or pairs beside them (lora).")
    rank: int = option(32, "Rank of the pairs of lora.", least=1, most=1024)
    target: Literal["direct", "residual"] = option("direct", "What is predicted, see `FineTuning`.")
    mask_range: Literal["0..1", "-1..1"] = option("0..1", "Values outside and inside of masks.")
    pad_tokens: int | None = option(None, "Text states, see `FineTuning`.", least=1)
    t0_noise: Literal["ddpm", "none"] = option("none", "Noise on the latents of the video, see `FineTuning`.")
    rate: float = option(1e-5, "Learning rate.", above=0)
    warmup: int = option(100, "Steps until the rate is reached.", least=1)
    cooldown: float = option(0.25, "Share of the steps, the last, over which the rate falls to 0.", least=0, most=1)
    decay: float = option(1e-5, "Weight decay of what is neither bias nor norm.", least=0)
    average: int = option(500, "Steps over which the weights that are kept are averaged; 1 keeps the last.", least=1)
    checkpointing: bool = option(False, "Compute activations again in the backward pass, to hold fewer.")
    bfloat16: bool = option(True, "Compute in bfloat16; weights stay float32.")
    seed: int = option(0, "Seed of the order, the draws and the noise.", least=0)
    validate_every: int = option(500, "Steps between two looks at the validation data.", least=1)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.target == "residual" and self.t0_noise == "ddpm":
            raise SettingsError("target residual begins at the video itself; leave t0_noise out")

    def about(self, backbone: str, steps: int = 1000) -> FineTuning:
        """Returns the description of a model of a number of timesteps that is trained by these settings."""
        return FineTuning(
            backbone=backbone,
            target=self.target,
            mask_range=self.mask_range,
            pad_tokens=self.pad_tokens,
            t0_noise=self.t0_noise,
            # The cleanest level, or for residuals the end at which the video is.
            timestep=0 if self.target == "direct" else steps,
            size=(self.size[1], self.size[0]),
            window=self.frames,
            spacing=self.spacing,
            sheet=self.sheet,
            trained=f"{self.train} {self.rank}" if self.train == "lora" else self.train,
        )
