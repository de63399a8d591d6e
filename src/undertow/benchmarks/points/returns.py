"""Points that were hidden and can be seen again: where a tracker has to find what it had lost."""

import numpy as np
from jaxtyping import Bool


def back_again(visible: Bool[np.ndarray, "q t"], starts: np.ndarray | None = None) -> Bool[np.ndarray, "q t"]:
    """Tells on which frames a point is seen after it was hidden on an earlier one, after its query.

    Args:
        visible: where each point is seen.
        starts: the frame on which each is asked for; the first frame if not given.
    """
    times = np.arange(visible.shape[1])
    after = times > (0 if starts is None else np.asarray(starts)[:, None])
    hidden = np.logical_or.accumulate(~visible & after, axis=1)
    return visible & after & hidden
