"""The stages of a frame, one by one, each beside other ways to do the same on the same data."""

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from undertow.affinity import compute_affinity
from undertow.backbones import Backbone
from undertow.backbones.reading.sizes import resize
from undertow.benchmarks.speed.ceiling import Ceiling, Clock
from undertow.benchmarks.speed.kernels import dense, dino, square_mask
from undertow.masks import write_label_map
from undertow.observing.settings import noise_level
from undertow.refinement.bilateral import upsample_guided
from undertow.tracking import TrackSettings
from undertow.tracking.settings import ResolvedSettings, observer_of, resolve
from undertow.video import Video, write_video
from undertow.world import crossing_scene

OBJECTS = 2
OURS = "undertow"


@dataclass(frozen=True)
class Timing:
    """What one way to do a stage takes, for one frame.

    Attributes:
        model: Name of the model.
        stage: Such as "kernel".
        way: "undertow", or what it is compared with.
        seconds: The least of several repeats.
        gigaflops: Operations of matrix products and convolutions.
        megabytes: What has to be read and written at least: weights, what goes in and what comes out.
        share: Of the machine's ceiling, for products or memory, whichever is nearer.
        ratio: Seconds over those of undertow in the same stage.
    """

    model: str
    stage: str
    way: str
    seconds: float
    gigaflops: float
    megabytes: float
    share: float
    ratio: float


@dataclass(frozen=True)
class _Stage:
    """Ways to do a stage, and what they move.

    Attributes:
        name: Of the stage.
        ways: What is called for each; undertow's own first.
        frames: How many frames a call of each way does.
        moved: Bytes per frame at least.
        operations: Per frame of each way, where they cannot be counted.
        single: Ways that are done in float32.
    """

    name: str
    ways: Mapping[str, Callable[[], Any]]
    frames: Mapping[str, int]
    moved: float
    operations: Mapping[str, float] = field(default_factory=dict)
    single: frozenset[str] = frozenset()


@torch.no_grad()
def time_stages(
    backbone: Backbone,
    settings: TrackSettings,
    size: tuple[int, int],
    ceiling: Ceiling,
    *,
    references: int = 8,
    repeats: int = 3,
    float32: Backbone | None = None,
) -> Iterator[Timing]:
    """Yields what each stage of tracking a frame takes, in each of its ways.

    Args:
        backbone: The model.
        settings: Of tracking; its batch is how many frames go through the model together.
        size: Height and width of the frames, in pixels.
        ceiling: Of the machine, measured in the same run.
        references: Frames that each is compared with.
        repeats: How often each way is timed; the least counts.
        float32: The same model in float32, to be compared with.
    """
    clock = Clock(backbone.device)
    for stage in _stages(backbone, settings, size, references, float32):
        seconds = clock.fastest(dict(stage.ways), repeats)
        own = seconds[OURS] / stage.frames[OURS]
        for way, call in stage.ways.items():
            each, operations = seconds[way] / stage.frames[way], stage.operations.get(way)
            if operations is None:
                with FlopCounterMode(display=False) as counter:
                    call()
                operations = counter.get_total_flops() / stage.frames[way]
            yield Timing(
                backbone.card.name, stage.name, way, each, operations / 1e9, stage.moved / 1e6,
                ceiling.share(each, operations, stage.moved, single=way in stage.single), each / max(own, 1e-9),
            )  # fmt: skip


def _stages(
    backbone: Backbone, settings: TrackSettings, size: tuple[int, int], references: int, float32: Backbone | None
) -> Iterator[_Stage]:
    """Yields the stages in the order in which a frame goes through them."""
    height, width = size
    resolved = resolve(settings, backbone, height, width)
    pictures = list(crossing_scene(height=height, width=width).clip(max(references + 1, resolved.batch)))
    images = np.stack([picture.image for picture in pictures])
    yield from _of_files(images, pictures[0].labels)
    yield from _of_model(backbone, resolved, images, float32)
    observer = observer_of(backbone, resolved)
    features = observer.see(list(images[: references + 1]), range(references + 1))
    queries, keys = features[-1].queries, [each.keys for each in features[:-1]]
    soft = torch.rand(references, 1 + OBJECTS, queries.shape[1], device=queries.device)
    soft /= soft.sum(1, keepdim=True)
    yield _of_kernel(resolved, queries, keys, soft)

    def frame(count: int) -> None:
        for channels in [soft] if count == 1 else [soft[:, [0, each]] for each in range(1, count + 1)]:
            (seen,) = observer.see([images[-1]], [0])
            compute_affinity(seen.queries, keys, resolved.grid, resolved.kernel).apply(channels)

    ways = {OURS: lambda: frame(1), f"each of {OBJECTS} objects by itself": lambda: frame(OBJECTS)}
    yield _Stage("objects", ways, dict.fromkeys(ways, 1), 0)
    coarse = soft[0].reshape(-1, *resolved.grid)
    pixels = height * width
    yield _Stage(
        "refine", {OURS: lambda: upsample_guided(coarse, images[0])}, {OURS: 1},
        coarse.nbytes + 3 * pixels + 4 * pixels * len(coarse),
    )  # fmt: skip


def _of_files(images: np.ndarray, labels: np.ndarray) -> Iterator[_Stage]:
    """Yields what is read from disk and written there."""
    with tempfile.TemporaryDirectory() as folder:
        film, mask = Path(folder) / "clip.mp4", Path(folder) / "mask.png"
        write_video(film, images, 24)

        def decode() -> None:
            with Video(film) as video:
                for _ in video:
                    pass

        yield _Stage("decode", {OURS: decode}, {OURS: len(images)}, images[0].nbytes, {OURS: 0.0})
        yield _Stage("write", {OURS: lambda: write_label_map(mask, labels)}, {OURS: 1}, labels.nbytes, {OURS: 0.0})


def _of_model(
    backbone: Backbone, resolved: ResolvedSettings, images: np.ndarray, float32: Backbone | None
) -> Iterator[_Stage]:
    """Yields what the networks do."""
    # A video transformer takes no more than its chunk, an image model any number.
    most = resolved.batch if backbone.card.chunk == 1 else backbone.card.chunk
    batch, level = min(resolved.batch, most, len(images)), resolved.noising
    hidden = resolved.preset.source == "features"
    sites = resolved.sites
    shown = resize(images[:batch], resolved.input_size)
    latents = backbone.encode(shown)
    parts, read = backbone.parts(), backbone.parts(sites)
    put_in = shown[0].nbytes + latents[0].nbytes
    several = {OURS: batch, "one frame at a time": 1, "float32": batch, "the whole network": batch}

    def stage(name: str, weights: int, moved: float, **ways: Callable[[], Any]) -> _Stage:
        named = {{"ours": OURS, "single": "one frame at a time", "full": "the whole network"}.get(key, key): way
                 for key, way in ways.items()}  # fmt: skip
        if batch == 1:
            named.pop("one frame at a time", None)
        return _Stage(name, named, {way: several.get(way, batch) for way in named}, weights / batch + moved,
                      single=frozenset({"float32"}))  # fmt: skip

    other: dict[str, Callable[[], Any]] = {}
    if float32 is not None:
        other = {"float32": lambda: float32.encode(shown)}
    yield stage(
        "encode", parts.get("autoencoder", 0), put_in,
        ours=lambda: backbone.encode(shown), single=lambda: backbone.encode(shown[:1]), **other,
    )  # fmt: skip
    noised, whole = latents, dict[str, Callable[[], Any]]()
    # What was trained without noise cannot be run to its end.
    if backbone.card.prediction != "none":
        whole = {"full": lambda: backbone.denoise(noised, level.timestep)}
        inverted = level if level.kind == "invert" else noise_level(level, None, "invert", 0)
        once = {"ours": lambda: backbone.invert(latents, inverted)}
        yield stage("inversion", parts.get("denoiser", 0), latents[0].nbytes * 2, **once)
        if level.kind == "noise":
            noised = backbone.noise(latents, level, list(range(batch)))
    if float32 is not None:
        other = {"float32": lambda: float32.observe(noised.float(), level.timestep, sites, features=hidden)}
    yield stage(
        "observe", read.get("denoiser", 0), latents[0].nbytes,
        ours=lambda: backbone.observe(noised, level.timestep, sites, features=hidden),
        single=lambda: backbone.observe(noised[:1], level.timestep, sites, features=hidden),
        **whole, **other,
    )  # fmt: skip


def _of_kernel(resolved: ResolvedSettings, queries: Tensor, keys: list[Tensor], soft: Tensor) -> _Stage:
    """Returns the comparison of a frame with its references."""
    kernel, grid = resolved.kernel, resolved.grid
    heads, tokens, width = queries.shape
    radius = max(grid) if kernel.radius is None else kernel.radius
    near, every = float(square_mask(grid, radius).sum()), float(tokens**2)
    each = 2.0 * width * heads * len(keys)
    # DRIFT's denominators are sums over whole references.
    own = each * (near + (every if kernel.softmax_scope == "reference" else 0))
    cosine = kernel.similarity == "cosine"
    name, formula = ("DINO's and DIFT's order", dino) if cosine else ("dense formula", dense)
    ways = {
        OURS: lambda: compute_affinity(queries, keys, grid, kernel).apply(soft),
        name: lambda: formula(queries, keys, soft, grid, replace(kernel, radius=radius)),
    }
    moved = queries.nbytes + sum(each.nbytes for each in keys) + soft.nbytes
    return _Stage("kernel", ways, dict.fromkeys(ways, 1), moved, {OURS: own, name: each * every}, frozenset(ways))
