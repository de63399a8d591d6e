"""How long frames take, from having been read to having their mask on disk; constant memory."""

from bisect import bisect_right
from time import perf_counter

# Upper ends of the bins, in seconds: from 0.1 ms, each 2 % wider than the one before, to beyond an hour.
_ENDS = [1e-4 * 1.02**step for step in range(900)]


class Latency:
    """Times of frames, kept as a histogram: percentiles are right to 2 %, however many frames there are.

    Attributes:
        count: Number of frames.
    """

    def __init__(self) -> None:
        """Starts the clock that `rate` goes by."""
        self.count = 0
        self._bins = [0] * (len(_ENDS) + 1)
        self._begun = self._last = perf_counter()

    def add(self, seconds: float) -> None:
        """Adds the time of a frame."""
        self._bins[bisect_right(_ENDS, seconds)] += 1
        self.count += 1
        self._last = perf_counter()

    def percentile(self, share: float) -> float:
        """Returns the time in seconds that `share` (0 to 1) of the frames do not exceed; 0 if there are none."""
        passed = 0
        for place, count in enumerate(self._bins):
            passed += count
            if passed and passed >= share * self.count:
                return _ENDS[min(place, len(_ENDS) - 1)]
        return 0.0

    @property
    def rate(self) -> float:
        """Frames per second since the clock was started; 0 if there are none."""
        return self.count / max(self._last - self._begun, 1e-9)

    def __str__(self) -> str:
        """Says it in a few words."""
        middle, late = (1000 * self.percentile(share) for share in (0.5, 0.95))
        speed = f"{self.count} frames, {self.rate:.2f} per second"
        return f"{speed}; from read to written a frame took {middle:.0f} ms, 95 % at most {late:.0f} ms"
