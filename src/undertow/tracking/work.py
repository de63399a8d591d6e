"""How many bytes tracking holds, from shapes: what is alive while frames are observed and propagated.

The formulas follow the code they are of, and are checked against its tensors in the tests.
"""

from dataclasses import dataclass, replace

import torch

from undertow.affinity.comparison import CPU_BYTES
from undertow.affinity.similarity import CPU_BLOCK
from undertow.affinity.windows import TILE_SIDE, halo_cells
from undertow.backbones import Backbone
from undertow.masks import object_ids
from undertow.masks.soft import BAND_VALUES
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.runs.plan import first_frames
from undertow.runs.task import Given, Phase, Work
from undertow.tracking.appearance import FEATURES
from undertow.tracking.backward import backward_frames
from undertow.tracking.cues import Masks
from undertow.tracking.origins import EVERY, GIVEN, KEPT
from undertow.tracking.settings import ResolvedSettings, TrackSettings
from undertow.video import Clip

LONG = 8


@dataclass(frozen=True)
class Load:
    """What decides how much tracking holds.

    Attributes:
        resolved: The run's settings.
        size: Height and width of the frames, in pixels.
        frames: Number of frames; `None` if unknown.
        objects: Number of objects.
        anchors: Number of frames whose masks are given.
    """

    resolved: ResolvedSettings
    size: tuple[int, int]
    frames: int | None
    objects: int
    anchors: int

    @property
    def tokens(self) -> int:
        """Tokens per frame."""
        return self.resolved.grid[0] * self.resolved.grid[1]

    @property
    def references(self) -> int:
        """Reference frames alive once the memory is full."""
        recent, frames = self.resolved.recent, None if self.resolved.padded else self.frames
        alive = self.anchors + (recent if frames is None else min(recent, max(0, frames - self.anchors)))
        return alive + self.distant

    @property
    def distant(self) -> int:
        """Frames of long ago that are laid out as the present one, once there are as many as there can be."""
        return (min(GIVEN, self.anchors) if self.resolved.preset.motion else 0) + self.later

    @property
    def later(self) -> int:
        """Those of them whose masks were not given: they are also kept as they were."""
        if not self.resolved.preset.motion:
            return 0
        recent, frames = self.resolved.recent, None if self.resolved.padded else self.frames
        # The newest ones are among the recent frames if there are many of these.
        most = max(0, KEPT - recent // EVERY)
        return most if frames is None else min(most, max(0, frames - self.anchors - recent) // EVERY)

    @property
    def warm(self) -> int:
        """Frames until the memory is full."""
        recent, more = self.resolved.recent, KEPT * EVERY if self.resolved.preset.motion else 0
        full = self.anchors + recent + more
        return full if self.resolved.padded or self.frames is None else min(full, self.frames)

    @property
    def heads(self) -> int:
        """Heads that are compared."""
        return sum(site.heads for site in self.resolved.sites) if self.resolved.preset.source == "attention" else 1

    @property
    def channels(self) -> int:
        """How many numbers a token is compared by, all heads together."""
        source = self.resolved.preset.source
        if source in ("pixels", "latents"):
            # Neighbourhoods of 3 x 3: three colours, or the four channels that latents have.
            return 9 * (3 if source == "pixels" else 4)
        # What a further model sees stands beside every head of the first.
        more = sum(site.heads * site.head_dim for each in self.resolved.partners for site in each.sites)
        own = self.resolved.directions or sum(site.heads * site.head_dim for site in self.resolved.sites)
        return own + self.heads * more

    @property
    def keys(self) -> int:
        """Bytes of one reference's keys."""
        return FLOAT * self.tokens * self.channels

    @property
    def queries(self) -> int:
        """Bytes that a frame's features take; only in attention are queries and keys two things."""
        return (2 if self.resolved.preset.source == "attention" else 1) * self.keys

    @property
    def labels(self) -> int:
        """Bytes of one reference's soft labels, background and objects."""
        return FLOAT * (self.objects + 1) * self.tokens

    @property
    def colours(self) -> int:
        """Bytes of one reference's colours."""
        return 3 * FLOAT * self.tokens if self.resolved.preset.appearance else 0


def track_work(resolved: ResolvedSettings, backbone: Backbone, clip: Clip, given: Given[Masks]) -> Work:
    """Returns what tracking a clip will take."""
    masks = given.value
    ids = {object_id for labels in masks.values() for object_id in object_ids(labels)}
    load = Load(resolved, (clip.height, clip.width), clip.frame_count, len(ids), len(masks))
    batch = resolved.batch if load.frames is None else min(resolved.batch, load.frames)
    source = resolved.preset.source
    # Of pixels nothing is encoded: what is held is the features, and as many bytes again while they are made.
    models = zip((backbone, *backbone.partners), (resolved, *resolved.partners), strict=True)
    networks = max(network_bytes(model, own.input_size, batch) for model, own in models)
    network = 2 * batch * load.keys if source == "pixels" else networks
    levels = [each.noising for each in (resolved, *resolved.partners)]
    passes = sum(map(passes_per_frame, levels)) if source in ("attention", "features") else 0
    kept = {
        "features of a batch": batch * load.queries,
        "references": (load.references + load.later) * (load.keys + load.labels + load.colours),
    }
    on_gpu = backbone.device.type == "cuda"
    # Objects are told apart once the kernel is gone.
    kernel = max(kernel_bytes(load, 1 if on_gpu else torch.get_num_threads()), appearance_bytes(load))
    observe, propagate = {"network at work": network, **kept}, {"kernel": kernel, **kept}
    decide = {"labels at native size": 0 if on_gpu else upsampling_bytes(load), **kept}
    phases = [Phase("observe", passes, observe), Phase("propagate", 0, propagate), Phase("decide", 0, decide)]
    back = len(backward_frames(masks, clip)) if resolved.direction == "both" else 0
    if back:
        share = back / (load.frames or back)
        largest = max(observe, propagate, key=lambda held: sum(held.values()))
        phases.insert(0, Phase("backward", passes * share, largest))
        # What both passes say of a frame, and what is made of it.
        decide["soft labels of both passes"] = 4 * load.labels
    return Work(
        input_size=resolved.input_size,
        grid=resolved.grid,
        labels=load.objects,
        phases=tuple(phases),
        warm=load.warm,
        visits=1 + (back / (load.frames or back) if back else 0.0),
    )


def kernel_bytes(load: Load, threads: int) -> int:
    """Returns the most bytes that one frame's kernel takes, in building it and in applying it.

    The one ends before the other begins, but their blocks are of a size that an allocator keeps for itself, and too
    different for one to be given to the other. Each thread has room of its own for the scores of a tile, and for the
    keys around a strip of tiles.
    """
    kernel, (rows, columns) = load.resolved.kernel, load.resolved.grid
    count, tokens, heads = load.references, load.tokens, load.heads
    radii = [kernel.radius_of(reference) for reference in range(count)]
    cells = [halo_cells(radius, (rows, columns)) for radius in radii]
    groups = heads if kernel.topk_stage == "per_head" else 1
    # All scores of a tile, and the logits that are worked on together; the keys around a strip of tiles.
    together = max(FLOAT * TILE_SIDE**2 * heads * max(cells), CPU_BYTES)
    strip = sum(columns if radius is None else min(columns, TILE_SIDE + 2 * radius) for radius in radii) / columns
    at_once = min(threads, -(-columns // TILE_SIDE))
    scores = at_once * (FLOAT * TILE_SIDE**2 * groups * sum(cells) + together + int(strip * load.keys))
    prepared = load.keys * (1 if kernel.similarity == "dot" else 1 + count)
    if kernel.softmax_scope == "reference":
        prepared += FLOAT * (min(threads, count) * CPU_BLOCK**2 + count * heads * tokens)
    kept = tokens * kernel.topk * groups * (FLOAT + LONG)
    channels = load.objects + 1
    # The references' labels stacked and laid end to end, and what each token takes from them; twice if an object
    # joined late or was lost, for what is known of it.
    late = load.anchors > 1 or (load.distant > 1 and load.resolved.lost == "empty")
    stacked = 2 * count * load.labels * (2 if late else 1)
    gathered = 2 * FLOAT * channels * tokens * kernel.topk * groups
    return kept + scores + prepared + stacked + gathered


def appearance_bytes(load: Load) -> int:
    """Returns the most bytes that telling objects apart in one frame takes, if they fill it."""
    if not load.resolved.preset.appearance:
        return 0
    # The tokens of the first reference on their scale, and their cosines while these are made.
    looks = 3 * FLOAT * load.tokens * (load.channels + 3 + FEATURES)
    lessons = (load.references + 3) * FLOAT * (FEATURES + 1) * (FEATURES + 1 + load.objects + 1)
    return looks + lessons + 2 * load.labels


def upsampling_bytes(load: Load) -> int:
    """Returns the most bytes that deciding a label map at native size takes, band by band, and writing it."""
    height, width = load.size
    channels = load.objects + 1
    band = min(height, max(1, BAND_VALUES // (channels * width)))
    soft = 3 * FLOAT * channels * band * width
    decided = (FLOAT + LONG + 2 * LONG) * band * width
    return soft + decided + 12 * height * width


def trial(
    settings: TrackSettings, clip: Clip, given: Given[Masks], frames: int, tokens: int
) -> tuple[TrackSettings, Clip, Given[Masks]]:
    """Returns a run of the first frames whose objects begin there, by one kernel for all."""
    settings, short, _ = first_frames(settings, clip, given, frames, tokens)
    untuned = replace(settings, tuning="off", class_name=None, caption=None, captioner=None, conditioning=None)
    return untuned, short, Given({short.start: given.value[min(given.value)]})
