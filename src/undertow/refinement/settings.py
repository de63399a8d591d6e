"""How masks are refined: options of guided upsampling, of the random field, and of a segmenter."""

from dataclasses import dataclass

from undertow.base import Options, SettingsError, option


@dataclass(frozen=True)
class GuidedSettings(Options):
    """Which cells of the grid a pixel listens to."""

    radius: int = option(2, "Cells to each side of the pixel's own.", least=0)
    near: float = option(1.0, "Distance in cells at which a cell counts e^(-1/2).", above=0)
    colour: float = option(20.0, "Difference of colour, of 255, at which it does.", above=0)


@dataclass(frozen=True)
class CrfSettings(Options):
    """How strongly pixels agree, and with which.

    The steps are DRIFT's; it gives no other number. Weights were set by hand, so that neighbours of like colour
    outvote a mask that is unsure, not one that is certain.
    """

    steps: int = option(30, "Mean-field updates.", least=0)
    unary: float = option(1.0, "Weight of the logarithm of the given soft masks.", least=0)
    pairwise: float = option(0.1, "Weight of the agreement with the neighbours, of each dilation.", least=0)
    dilations: tuple[int, ...] = option(
        (1, 4, 16), "Pixels between the samples of each window of neighbours; none for no neighbours.", least=1
    )
    radius: int = option(2, "Samples to each side of the centre; 2 for 5 x 5.", least=1)
    colour: float = option(30.0, "Difference of colour, of 255, at which agreement has fallen to e^(-1/2).", above=0)
    certain: float = option(
        0.01, "Soft masks are clipped this far from 0 and 1, so that every pixel can change.", above=0, most=0.49
    )


@dataclass(frozen=True)
class SamSettings:
    """How masks are refined; the defaults are the paper's where it states them.

    Args:
        prompts: Prompts per object and frame (the paper's p; it saturates at about 40).
        points: Points of each prompt (the paper's n; 1 is poor, 2 is best).
        multimask: Whether each prompt is answered by three masks. SAM's own advice for several points is one.
        minimum_score: The propagated mask is kept if the best candidate's soft overlap is below this share of its own.
            A share, since a blurred soft mask overlaps little with any mask, the right one included. The paper
            states no such gate; 0 switches it off.
        batch: Frames embedded at a time.
        feed_back: Whether the tracker goes on from the refined masks instead of its own soft ones. Then a frame has to
            be refined before the next is tracked, and errors of the segmenter stay.
        mask_prompt: Whether each prompt also holds the propagated mask, as SAM's mask input. The paper does without; a
            small segmenter that cannot tell an object by two points needs it.
        seed: Of the points; each object of each frame has draws of its own.

    Raises:
        SettingsError: if a number is out of range.
    """

    prompts: int = 40
    points: int = 2
    multimask: bool = False
    minimum_score: float = 0.7
    batch: int = 4
    feed_back: bool = False
    mask_prompt: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.prompts, self.points, self.batch) < 1 or self.seed < 0:
            raise SettingsError(
                f"prompts {self.prompts}, points {self.points} and batch {self.batch} must be 1 or more, "
                f"seed {self.seed} 0 or more"
            )
        if not 0 <= self.minimum_score <= 1:
            raise SettingsError(f"minimum score {self.minimum_score} is not a share; give 0 to 1")
