"""What moves together belongs together: objects are told apart by how their tokens moved since the frame before.

Where the camera follows an object, or stands still while it moves, its motion tells it from the ground however alike
they look; where everything moves alike, motion says nothing. (Gestalt psychology calls it common fate: Wertheimer,
1923.) So a ridge regression on random features of motion is fitted to the tokens near objects in the frame before.
"""

from jaxtyping import Float
from torch import Tensor

from undertow.tracking.memory import Reference
from undertow.tracking.motion import Motion
from undertow.tracking.regression import balanced, cosines, near_objects, normal_equations, ridge

# All chosen on validation clips (docs/kernel.md).
FEATURES, WIDTH = 64, 1.0
# Motions that differ by less than this, in tokens, are alike.
ALIKE = 0.1
# How much more of a token an object has than of all that is near counts by this power. Shares are kept this far from 0
# and 1, and an object has no less than this of all: nothing speaks for or against one that was not there before.
POWER, LEAST = 0.2, 0.05


def moving_together(
    frame: Reference, before: Reference, motion: Motion, grid: tuple[int, int], radius: int | None
) -> Float[Tensor, "n s"]:
    """Returns soft labels of a frame in which objects have more of what moves as they do, and less of what does not.

    Args:
        frame: The frame, with the soft labels that were carried to it.
        before: The frame before it.
        motion: The motion from there to here.
        grid: Rows and columns of tokens.
        radius: The window's, in tokens; None if there is none.
    """
    soft = frame.labels
    taught, asked = near_objects(before.labels, grid, radius), near_objects(soft, grid, radius)
    if not len(taught) or not len(asked):
        return soft
    (ahead, ahead_believed), (back, back_believed) = motion.of_tokens()
    ahead, labels = ahead[taught], before.labels[:, taught]
    typical = (ahead - ahead.median(0).values).abs().mean().clamp(min=ALIKE)
    # Even where nothing is believed there is something to fit.
    weights = balanced(labels) * ahead_believed[taught].clamp(min=0.01)
    regression = ridge(*normal_equations(cosines(ahead / typical, WIDTH, FEATURES), labels, weights))
    usual = labels @ weights / weights.sum()
    shares = (cosines(-back[asked] / typical, WIDTH, FEATURES) @ regression).T
    more = shares.clamp(LEAST, 1 - LEAST) / usual.clamp(min=LEAST)[:, None]
    found = soft.clone()
    found[:, asked] *= more ** (POWER * back_believed[asked])
    return found / found.sum(0).clamp(min=1e-9)
