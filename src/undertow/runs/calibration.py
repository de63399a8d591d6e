"""A few seconds of the real work, measured: what a frame costs here, and what the network takes while it runs.

The work is done on a ladder of sizes, and the next rung is climbed only if the ones below say that it is quick and that
it fits; what is above the highest rung follows by growth laws. So a run that would not fit is never tried.
"""

import json
import math
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8

from undertow.affinity import compute_affinity
from undertow.backbones import Backbone
from undertow.base.memory import PeakMeter, process_memory, release_memory
from undertow.drawing import overlay
from undertow.masks import LabelMap, label_map_rles, object_ids, soft_one_hot, upsample_argmax, write_label_map
from undertow.tracking import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.features import extract
from undertow.tracking.footprint import Work, footprint, references
from undertow.video import VideoWriter

RGB: TypeAlias = UInt8[np.ndarray, "h w 3"]

# Shares of the tokens that are tried, one frame at a time; then come all tokens, and the whole batch. The first is
# tried in any case, so it is never large.
LADDER = (1 / 16, 1 / 4)
LEAST_TOKENS, MOST_TOKENS = 16, 1024
# A rung is climbed if it should take no longer than this, and no more than this share of the memory that is left.
PATIENCE = 4.0
PRUDENCE = 0.5
# How many times the formula's bytes a network may take that was only measured at smaller sizes.
STRAY = 1.3
# Frames that are encoded to see what the overlay costs.
ENCODED = 3


class FrameLike(Protocol):
    """What is needed of a frame; `undertow.video.Frame` is one."""

    @property
    def image(self) -> RGB:
        """RGB pixels."""


class Frames(Protocol):
    """What is needed of a video; `undertow.video.Video` is one, and so is a part of it."""

    @property
    def height(self) -> int:
        """Pixels down."""

    @property
    def width(self) -> int:
        """Pixels across."""

    @property
    def frame_count(self) -> int | None:
        """Number of frames; None for a stream."""

    def __iter__(self) -> Iterator[FrameLike]:
        """Yields the frames from the first on."""


@dataclass(frozen=True)
class Calibration:
    """What was measured, brought to the size asked for.

    Attributes:
        base: Bytes of the process once its libraries had been used: code, interpreter, weights.
        network: Bytes that observing took per frame and pixel of the model's input.
        observing: Seconds per frame in the network.
        propagating: Seconds per frame in the kernel at the full memory of references.
        deciding: Seconds per frame for its labels at native size.
        decoding: Seconds per frame to read it.
        writing: Seconds per frame to write its mask and run lengths.
        drawing: Seconds per frame of the overlay.
        overlay_bytes: Bytes on disk per frame of the overlay.
        share: Share of the tokens at which it was measured; 1 if nothing had to be extrapolated.
    """

    base: int
    network: float
    observing: float
    propagating: float
    deciding: float
    decoding: float
    writing: float
    drawing: float
    overlay_bytes: int
    share: float


@dataclass(frozen=True)
class _Rung:
    """Some frames measured at one size.

    Attributes:
        tokens: Per frame.
        network: Bytes that observing took per frame and pixel of the model's input.
        observing: Seconds per frame.
        propagating: Seconds per frame.
        deciding: Seconds per frame for labels at native size, which do not grow with the tokens.
    """

    tokens: int
    network: float
    observing: float
    propagating: float
    deciding: float


def calibrate(
    video: Frames, labels: LabelMap, work: Work, backbone: Backbone, settings: TrackSettings, room: int
) -> Calibration:
    """Returns what the first frames of a video cost.

    Args:
        video: The video.
        labels: A label map of its size, such as the first frame's.
        work: What there is to do; its `base` and `network` are what is to be found out.
        backbone: The model.
        settings: Options of the run.
        room: Bytes that the process may hold.
    """
    resolved = resolve(settings, backbone, video.height, video.width)
    tokens = resolved.grid[0] * resolved.grid[1]
    first, second = (max(LEAST_TOKENS, round(share * tokens)) for share in LADDER)
    small = replace(settings, size=None, tokens=min(first, MOST_TOKENS))
    middle = replace(settings, size=None, tokens=second)
    # Libraries load their code and make their tables on first use: that is no part of what a frame takes.
    _climb([np.zeros((video.height, video.width, 3), np.uint8)], labels, work, backbone, small)
    base = held_memory(backbone)
    images, decoding = _first_frames(video, resolved.batch)
    rungs = [_climb(images[:1], labels, work, backbone, small)]
    for options, count in ((middle, 1), (settings, 1), (settings, len(images))):
        wanted = replace(resolve(options, backbone, video.height, video.width), batch=count)
        known = replace(work, base=base, network=max(work.network, rungs[-1].network))
        seconds = count * _grown(rungs, "observing", wanted) + _grown(rungs, "propagating", wanted)
        if seconds > PATIENCE or footprint(known, wanted).peak > base + PRUDENCE * (room - base):
            break
        rungs.append(_climb(images[:count], labels, work, backbone, options))
    network, share = rungs[-1].network, min(1.0, rungs[-1].tokens / tokens)
    if share < 1:
        # At small sizes what is there anyway counts for more, so what is measured there may not stray from the formula.
        network = min(max(network, work.network), STRAY * work.network)
    drawing, overlay_bytes = _drawn(images, labels) if work.overlay else (0.0, 0)
    return Calibration(
        base=base,
        network=network,
        observing=_grown(rungs, "observing", resolved),
        propagating=_grown(rungs, "propagating", resolved),
        deciding=rungs[-1].deciding,
        decoding=decoding,
        writing=written(labels)[0],
        drawing=drawing,
        overlay_bytes=overlay_bytes,
        share=share,
    )


def _climb(images: Sequence[RGB], labels: LabelMap, work: Work, backbone: Backbone, settings: TrackSettings) -> _Rung:
    """Returns what some frames take at one size: observed together, one of them propagated from a full memory."""
    resolved = resolve(settings, backbone, work.height, work.width)
    rows, columns = resolved.grid
    # What earlier work left behind would be used again, and hide what this takes.
    release_memory()
    started = time.perf_counter()
    with PeakMeter(backbone.device) as meter:
        features = extract(backbone, images, range(len(images)), resolved)
    observing = (time.perf_counter() - started) / len(images)
    ids = object_ids(labels)
    soft = soft_one_hot(labels, ids, resolved.grid).flatten(1)
    started = time.perf_counter()
    # The same keys over and over cost what different ones cost, and need not be held.
    count = max(1, references(work, resolved))
    affinity = compute_affinity(features[0].queries, [features[0].keys] * count, resolved.grid, resolved.kernel)
    carried = affinity.apply(soft.expand(count, -1, -1))
    propagated = time.perf_counter()
    upsample_argmax(carried.reshape(-1, rows, columns), ids, (work.height, work.width))
    pixels = len(images) * resolved.input_size[0] * resolved.input_size[1]
    return _Rung(
        tokens=rows * columns,
        network=(meter.peak - meter.before) / pixels,
        observing=observing,
        propagating=propagated - started,
        deciding=time.perf_counter() - propagated,
    )


def _grown(rungs: Sequence[_Rung], name: Literal["observing", "propagating"], wanted: ResolvedSettings) -> float:
    """Returns the seconds of a frame at the size wanted, by the growth between the two highest sizes measured."""
    tokens = wanted.grid[0] * wanted.grid[1]
    times = {rung.tokens: max(getattr(rung, name), 1e-6) for rung in rungs}
    top = max(times)
    below = max((each for each in times if each < top), default=top)
    # Convolutions grow with the tokens, attention and the kernel with their square.
    power = math.log(times[top] / times[below]) / math.log(top / below) if below < top else 1.5
    return times[top] * (tokens / top) ** min(max(power, 1.0), 2.0)


def _first_frames(video: Frames, batch: int) -> tuple[list[RGB], float]:
    """Returns up to `batch` frames, and the seconds that reading one took.

    A stream gives each frame once, and the run is to have them all: blocks of noise stand for its frames.
    """
    if video.frame_count is None:
        blocks = np.random.default_rng(0).integers(0, 256, (-(-video.height // 8), -(-video.width // 8), 3), np.uint8)
        image = blocks.repeat(8, 0).repeat(8, 1)[: video.height, : video.width]
        return [image] * batch, 0.0
    started = time.perf_counter()
    images = [frame.image for frame in islice(video, min(batch, video.frame_count))]
    return images, (time.perf_counter() - started) / len(images)


def written(labels: LabelMap) -> tuple[float, int, int]:
    """Returns the seconds that writing a frame takes, and the bytes of its mask and of its run lengths."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        write_label_map(path, labels)
        rows = json.dumps(label_map_rles(labels, object_ids(labels)))
        return time.perf_counter() - started, path.stat().st_size, len(rows)


def _drawn(images: Sequence[RGB], labels: LabelMap) -> tuple[float, int]:
    """Returns seconds and bytes of a frame of the overlay."""
    height, width = labels.shape
    count = min(ENCODED, len(images))
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "overlay.mp4"
        with VideoWriter(path, fps=24, width=width, height=height) as writer:
            for image in images[:count]:
                writer.write(overlay(image, labels))
        return (time.perf_counter() - started) / count, path.stat().st_size // count


def held_memory(backbone: Backbone) -> int:
    """Returns the bytes held now, of the GPU if the model is there."""
    device = backbone.device
    return torch.cuda.memory_allocated(device) if device.type == "cuda" else process_memory()
