"""What parsing takes, from shapes and from how often each quality runs the network."""

from collections.abc import Mapping

from undertow.backbones import Backbone
from undertow.masks import LabelMap
from undertow.observing.settings import FLOAT, network_bytes, passes_per_frame
from undertow.parsing.anchors import classes_of
from undertow.parsing.settings import ResolvedParse
from undertow.parsing.sharpeners.presets import modulation_for
from undertow.runs.task import Given, Phase, Work
from undertow.video import Clip

# What clusters are near to if their number is to be found.
USUAL_CLUSTERS = 20
# Maps of all classes at native size that upsampling one frame holds: two of the image's statistics, and the result.
MAPS = 3
# Frames that a model whose frames do not see each other observes at once.
_TOGETHER = 4


def parse_work(resolved: ResolvedParse, backbone: Backbone, clip: Clip, given: Given[Mapping[int, LabelMap]]) -> Work:
    """Returns what parsing a clip will take."""
    asked, classes = resolved.settings, len(classes_of(given.value))
    tokens = resolved.grid[0] * resolved.grid[1]
    if not given.value:
        classes = min(USUAL_CLUSTERS if asked.clusters == "auto" else asked.clusters, tokens * asked.batch)
    batch = asked.batch if clip.frame_count is None else min(asked.batch, clip.frame_count)
    together = min(batch, _TOGETHER) if backbone.card.chunk == 1 else batch
    pixels, inputs = clip.height * clip.width, resolved.input_size[0] * resolved.input_size[1]
    site = resolved.sites[0]
    latents = inputs // backbone.stride**2 * backbone.channels
    kept = {
        "frames of a batch": batch * (3 * pixels + 3 * FLOAT * inputs),
        "features of a batch": FLOAT * batch * (2 * tokens * site.heads * site.head_dim + latents),
        "labels of tokens": 2 * FLOAT * batch * classes * tokens,
    }
    pushed, suffixes, decodes = pushes_per_frame(backbone, resolved, classes)
    phases = [
        Phase("observe", passes_per_frame(resolved.noising), {
            "network at work": network_bytes(backbone, resolved.input_size, together), **kept,
        }),
        Phase("sharpen", 0, {"maps at native size": MAPS * FLOAT * classes * pixels, **kept}),
    ]  # fmt: skip
    if pushed or suffixes:
        pushing = {"network at work": network_bytes(backbone, resolved.input_size, 2), **kept}
        phases.insert(1, Phase("push", pushed, pushing, suffixes=suffixes, decodes=decodes))
    return Work(resolved.input_size, resolved.grid, classes, tuple(phases))


def pushes_per_frame(backbone: Backbone, resolved: ResolvedParse, classes: int) -> tuple[int, int, int]:
    """Returns how often, to read pixels out of the model, it runs whole, from the push on, and how often it decodes.

    "fast" and "exact" run the frame as it is at each step, and for every label and sign the end of the first step and
    all of the later ones; a network under guidance runs twice each time. "turbo" does not ask the model.
    """
    if resolved.settings.quality == "turbo":
        return 0, 0, 0
    modulation = modulation_for(backbone.card, resolved.settings)
    exact = resolved.settings.quality == "exact"
    steps = len(modulation.steps) if exact else 1
    guided = 1 if modulation.guidance == 1.0 else 2
    pushes = classes * (1 if modulation.one_sided else 2)
    whole = len(modulation.level().steps_grid) if modulation.noising == "invert" else 0
    whole += guided * (steps + pushes * (steps - 1))
    return whole, guided * pushes, 0 if not exact else pushes + (1 if modulation.one_sided else 0)
