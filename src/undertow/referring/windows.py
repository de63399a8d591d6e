"""Windows of frames that a generator sees together: end to end or overlapping, the last one moved back to be whole."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Generic, TypeVar

from jaxtyping import Float
from torch import Tensor

T = TypeVar("T")


@dataclass(frozen=True)
class Window(Generic[T]):
    """Frames that are seen together.

    Attributes:
        earlier: Those that earlier windows had, oldest first.
        fresh: Those that none had; never empty.
        shared: How many of the earlier ones, the last, are answered by this window too.
    """

    earlier: Sequence[T]
    fresh: Sequence[T]
    shared: int

    @property
    def frames(self) -> list[T]:
        """All of them in order."""
        return [*self.earlier, *self.fresh]


def windows(frames: Iterable[T], length: int, overlap: int = 0, before: Sequence[T] = ()) -> Iterator[Window[T]]:
    """Yields windows that cover a video, taking frames as they are needed.

    The last window has its full length if the video does: it reaches back into what earlier ones had. A video that is
    shorter than a window is one window of its length.

    Args:
        frames: The frames to come.
        length: Of a window.
        overlap: Frames that neighbours share, at most half a window.
        before: The frames that came before, the last `length` of them or all there were, where a run goes on; the last
            `overlap` of them are answered again.

    >>> [(list(each.earlier), list(each.fresh), each.shared) for each in windows(range(7), 3)]
    [([], [0, 1, 2], 0), ([], [3, 4, 5], 0), ([4, 5], [6], 0)]
    >>> [(list(each.earlier), list(each.fresh), each.shared) for each in windows(range(6), 4, 2)]
    [([], [0, 1, 2, 3], 0), ([2, 3], [4, 5], 2)]
    """
    frames, kept = iter(frames), list(before)
    while fresh := list(islice(frames, length - (overlap if kept else 0))):
        shared = min(overlap, len(kept))
        earlier = kept[max(0, len(kept) - (length - len(fresh))) :] if kept else []
        if len(fresh) == length - shared:
            earlier = earlier[len(earlier) - shared :]
        yield Window(earlier, fresh, shared)
        kept = [*kept, *fresh][-length:]


def crossfade(first: Float[Tensor, "n t h w"], second: Float[Tensor, "n t h w"]) -> Float[Tensor, "n t h w"]:
    """Returns the scores of frames that two windows share: mostly the first's at first, mostly the second's at last."""
    count = first.shape[1]
    share = (first.new_tensor(range(1, count + 1)) / (count + 1)).view(1, -1, 1, 1)
    return first + share * (second - first)
