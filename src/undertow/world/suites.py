"""Benchmark worlds: fixed lists of clips, with seeds that neither training nor validation ever uses."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from undertow.world.families import make_family_scene
from undertow.world.scene import Picture, Scene

# Training uses seeds below the first, validation those between the two, benchmarks those from the second on.
FIRST_VALIDATION_SEED = 1_000_000_000
FIRST_BENCHMARK_SEED = 2_000_000_000


@dataclass(frozen=True)
class WorldClip:
    """One clip of a benchmark world: its name says what is hard about it, family and seed decide everything."""

    name: str
    family: str
    seed: int
    frames: int = 48
    height: int = 270
    width: int = 480

    def scene(self) -> Scene:
        """Returns the clip's scene."""
        return make_family_scene(self.family, self.seed, self.height, self.width)

    def pictures(self) -> Iterator[Picture]:
        """Yields the clip's pictures in order, at times 0, 1, ..."""
        return self.scene().clip(self.frames)


def _clips(first: int, *families: str) -> tuple[WorldClip, ...]:
    """Returns one clip per family named, with seeds counted from `first`."""
    return tuple(WorldClip(f"{family}-{i:02d}", family, first + i) for i, family in enumerate(families))


SUITES: Mapping[str, tuple[WorldClip, ...]] = MappingProxyType(
    {
        "world-easy": _clips(FIRST_BENCHMARK_SEED, *("plain",) * 12),
        "world-hard": _clips(
            FIRST_BENCHMARK_SEED + 1000,
            *("look-alikes", "look-alikes", "occlusion", "occlusion", "reentry", "reentry"),
            *("fast", "light", "camouflage", "deformation", "camera", "mixed"),
        ),
    }
)
