"""How many bytes tracking holds, from shapes: what is alive while frames are observed, propagated and drawn.

The formulas follow the code they are of, and are checked against its tensors in the tests. What shapes cannot tell,
the interpreter and what the network takes while it runs, comes in from outside (`undertow.runs.calibration`).
"""

from dataclasses import dataclass

from undertow.affinity.denominators import CPU_BLOCK
from undertow.affinity.windows import TILE_SIDE
from undertow.backbones import Backbone
from undertow.masks.soft import BAND_VALUES
from undertow.tracking import ResolvedSettings

FLOAT, LONG = 4, 8
# Frames that a `Video` keeps.
CACHED_FRAMES = 16
# Bytes per native pixel, measured: a decoder's pictures; colours mixed as float64 and contours; one frame in x264.
DECODER, DRAWING, ENCODED_FRAME = 40, 30, 3.5
# Frames x264 looks ahead at its preset "medium", and what it holds besides.
LOOKAHEAD, ENCODER = 51, 20
# Share of all tensors that the allocator holds in addition, in pieces too small for what is asked next.
FRAGMENTS = 0.08


@dataclass(frozen=True)
class Work:
    """What there is to do.

    Attributes:
        height: Of the frames, in pixels.
        width: Of the frames, in pixels.
        frames: Number of frames; None if unknown.
        objects: Number of objects.
        anchors: Number of frames whose masks are given.
        overlay: Whether the overlay is rendered.
        base: Bytes of the interpreter, its libraries and the weights.
        weights: Bytes of the weights alone.
        network: Bytes that observing takes per frame and pixel of the model's input.
        cuda: Whether the network and the kernel are on a GPU, whose memory is then what counts.
    """

    height: int
    width: int
    frames: int | None
    objects: int
    anchors: int
    overlay: bool
    base: int
    weights: int
    network: float
    cuda: bool = False


@dataclass(frozen=True)
class Footprint:
    """Bytes by part, and by phase of a run; the peak is the largest phase."""

    parts: dict[str, int]
    phases: dict[str, int]

    @property
    def peak(self) -> int:
        """The most bytes held at a time."""
        return max(self.phases.values())


def footprint(work: Work, resolved: ResolvedSettings) -> Footprint:
    """Returns what tracking holds under some settings."""
    pixels = work.height * work.width
    inputs = resolved.input_size[0] * resolved.input_size[1]
    batch = resolved.batch if work.frames is None else min(resolved.batch, work.frames)
    observed = int(work.network * batch * inputs)
    if resolved.preset.source == "pixels":
        # Nothing is encoded: what is held is the features themselves, and as many bytes again while they are made.
        observed = 2 * batch * keys_bytes(resolved)
    parts = {
        "interpreter and libraries": work.base - work.weights,
        "weights": work.weights,
        "network at work": observed,
        "features of a batch": batch * queries_bytes(resolved),
        "references": references(work, resolved) * (keys_bytes(resolved) + labels_bytes(work, resolved)),
        "kernel": kernel_bytes(work, resolved),
        "labels at native size": upsampling_bytes(work),
        "decoded frames": decoded_bytes(work, batch),
        "overlay": int((DRAWING + encoder_bytes_per_pixel(work)) * pixels) if work.overlay else 0,
    }
    if work.cuda:
        for name in ("interpreter and libraries", "labels at native size", "decoded frames", "overlay"):
            parts[name] = 0
    alive = parts["features of a batch"] + parts["references"] + parts["decoded frames"]
    if work.frames is None:
        # A stream cannot be read again, so its overlay is drawn as frames come.
        alive += parts["overlay"]
    phases = {
        "observing": alive + parts["network at work"],
        "propagating": alive + max(parts["kernel"], parts["labels at native size"]),
        "drawing": parts["decoded frames"] + parts["overlay"],
    }
    base = parts["interpreter and libraries"] + parts["weights"]
    fragments = int(FRAGMENTS * max(phases.values()))
    parts["fragments"] = fragments
    return Footprint(parts, {name: base + held + fragments for name, held in phases.items()})


def weights_bytes(backbone: Backbone) -> int:
    """Returns the bytes of the networks that stay loaded."""
    return sum(backbone.parts().values())


def network_bytes_per_pixel(backbone: Backbone) -> float:
    """Returns about what observing takes per frame and pixel of the model's input, without having measured it.

    The widest place is the autoencoder's first block, at full resolution: its input, kept for the shortcut, and three
    versions of it on their way through norm, activation and convolution; and the input itself as float32, twice.
    """
    return 4.0 * backbone.encoder_width * backbone.dtype.itemsize + 2 * 3 * FLOAT


def references(work: Work, resolved: ResolvedSettings) -> int:
    """Returns how many reference frames are alive once the memory is full."""
    others = resolved.recent if work.frames is None else min(resolved.recent, max(0, work.frames - work.anchors))
    return work.anchors + others


def keys_bytes(resolved: ResolvedSettings) -> int:
    """Returns the bytes of one reference's keys."""
    return FLOAT * resolved.grid[0] * resolved.grid[1] * _channels(resolved)


def queries_bytes(resolved: ResolvedSettings) -> int:
    """Returns the bytes that the queries of a frame take beside its keys; only in attention are they two things."""
    both = 2 if resolved.preset.source == "attention" else 1
    return both * keys_bytes(resolved)


def labels_bytes(work: Work, resolved: ResolvedSettings) -> int:
    """Returns the bytes of one reference's soft labels, background and objects."""
    return FLOAT * (work.objects + 1) * resolved.grid[0] * resolved.grid[1]


def kernel_bytes(work: Work, resolved: ResolvedSettings) -> int:
    """Returns the most bytes that one frame's kernel takes, in building it and in applying it.

    The one ends before the other begins, but their blocks are of a size that an allocator keeps for itself, and too
    different for one to be given to the other.
    """
    kernel, (rows, columns) = resolved.kernel, resolved.grid
    count, tokens = references(work, resolved), rows * columns
    heads = _heads(resolved)
    cells = []
    for reference in range(count):
        radius = kernel.radius_of(reference)
        side = None if radius is None else TILE_SIDE + 2 * radius
        cells.append(tokens if side is None else min(rows, side) * min(columns, side))
    groups = heads if kernel.topk_stage == "per_head" else 1
    # Per query of a tile: logits of one reference and what they start from; all scores, laid side by side, and once
    # more for the logarithm of their sum.
    copies = 3 if kernel.logarithmic else 2
    row = 2 * heads * max(cells) + (copies * groups + heads * (kernel.softmax_scope == "joint")) * sum(cells)
    scores = FLOAT * TILE_SIDE**2 * row
    prepared = keys_bytes(resolved) * (1 if kernel.similarity == "dot" else 1 + count)
    if kernel.softmax_scope == "reference":
        prepared += FLOAT * (CPU_BLOCK**2 + count * heads * tokens)
    kept = tokens * kernel.topk * groups * (FLOAT + LONG)
    channels = work.objects + 1
    # The references' labels stacked and laid end to end, and what each token takes from them; twice if an object
    # joined late, for what is known of it.
    stacked = 2 * count * labels_bytes(work, resolved) * (2 if work.anchors > 1 else 1)
    gathered = 2 * FLOAT * channels * tokens * kernel.topk * groups
    return kept + scores + prepared + stacked + gathered


def upsampling_bytes(work: Work) -> int:
    """Returns the most bytes that deciding a label map at native size takes, band by band, and writing it."""
    channels = work.objects + 1
    band = min(work.height, max(1, BAND_VALUES // (channels * work.width)))
    soft = 3 * FLOAT * channels * band * work.width
    decided = (FLOAT + LONG + 2 * LONG) * band * work.width
    return soft + decided + 12 * work.height * work.width


def decoded_bytes(work: Work, batch: int) -> int:
    """Returns the bytes of frames as they come out of a video: kept ones, a batch of copies, the decoder's own."""
    kept = CACHED_FRAMES if work.frames is None else min(CACHED_FRAMES, work.frames)
    return (3 * (kept + batch) + DECODER) * work.height * work.width


def encoder_bytes_per_pixel(work: Work) -> float:
    """Returns what the encoder of the overlay holds per native pixel: it looks ahead by about two seconds."""
    return ENCODER + ENCODED_FRAME * min(LOOKAHEAD, work.frames or LOOKAHEAD)


def _heads(resolved: ResolvedSettings) -> int:
    return sum(site.heads for site in resolved.sites) if resolved.preset.source == "attention" else 1


def _channels(resolved: ResolvedSettings) -> int:
    """Returns how many numbers a token is compared by, all heads together."""
    source = resolved.preset.source
    if source in ("pixels", "latents"):
        # Neighbourhoods of 3 x 3: three colours, or the four channels that latents have.
        return 9 * (3 if source == "pixels" else 4)
    sites = resolved.sites if source == "attention" else resolved.sites[-1:]
    return sum(site.heads * site.head_dim for site in sites)
