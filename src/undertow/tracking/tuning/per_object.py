"""From masks to kernels: every object tuned on the frame of its mask, all objects of a frame at once."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from undertow.backbones import Backbone, Conditioning
from undertow.base import CueError, Progress
from undertow.masks import LabelMap, object_ids
from undertow.tracking.kernels import ObjectKernel, TunedKernels
from undertow.tracking.settings import ResolvedSettings, TrackSettings, resolve
from undertow.tracking.tuning.learning import Begun, Learned, learn
from undertow.tracking.tuning.objective import Objective
from undertow.tracking.tuning.settings import TuningSettings
from undertow.tracking.tuning.store import kernel_key, mask_hash, read_facts, read_kernel, write_kernel
from undertow.video import Clip, Video

log = logging.getLogger(__name__)


def tune(
    video: Video | Clip,
    masks: Mapping[int, LabelMap],
    backbone: Backbone,
    settings: TrackSettings | None = None,
    tuning: TuningSettings | None = None,
    *,
    start: Conditioning | Mapping[int, Conditioning] | None = None,
    folder: Path | str | None = None,
    progress: Progress | None = None,
) -> TunedKernels:
    """Returns a kernel for every object, learned on the first frame that has a mask of it (DRIFT, section 4.2).

    Args:
        video: The video; it must be possible to read a frame twice.
        masks: Checked label maps by frame number, see `check_masks`.
        backbone: The model.
        settings: Tracking options, the same that the tracker will get.
        tuning: How to tune; the paper's way if None. With no steps, all objects share one kernel.
        start: Where conditionings begin, or where that of each object does, by id; the null text if None.
        folder: Where kernels are kept: those that are there for the same video, mask, model and settings are not
            learned again, and new ones are written. What an interruption left is where learning goes on.
        progress: Notified of every step, with the loss.

    Raises:
        KeyboardInterrupt: after an interruption, once the best so far is in the folder; without a folder the best so
            far is returned.
        SettingsError: if the preset or the model's sites cannot be tuned, or a kept kernel is damaged.
        CueError: if the video is a stream, whose frames are gone once read.
    """
    tuning = tuning or TuningSettings()
    if not video.again:
        raise CueError("a stream cannot be tuned for, since its first frame can be read only once; save it to a file")
    resolved = resolve(settings or TrackSettings(), backbone, video.height, video.width, tuned=True)
    begins = _Begins(start or backbone.condition())
    if tuning.steps == 0:
        heads = 1 if resolved.preset.source == "features" else sum(site.heads for site in resolved.sites)
        weights = torch.full((heads,), 1 / heads)
        if begins.same is not None:
            return TunedKernels(others=ObjectKernel(begins.same, weights))
        objects = {each for labels in masks.values() for each in object_ids(labels)}
        return TunedKernels({each: ObjectKernel(begins.of(each), weights) for each in objects})
    kernels: dict[int, ObjectKernel] = {}
    for index in sorted(masks):
        labels = masks[index]
        facts = {
            object_id: _facts(video, index, labels, object_id, backbone, resolved, tuning, begins.of(object_id))
            for object_id in object_ids(labels)
            if object_id not in kernels
        }
        paths = {each: Path(folder or "") / f"{kernel_key(facts[each])}.safetensors" for each in facts}
        found = [each for each in facts if folder is not None and paths[each].exists()]
        kept = [each for each in found if not read_facts(paths[each]).get("interrupted")]
        kernels |= {each: read_kernel(paths[each], backbone) for each in kept}
        missing = [each for each in facts if each not in kept]
        if not missing:
            continue
        image = video.frame(index).image
        objective = Objective(backbone, image, index, labels, missing, resolved, tuning)
        begun = _begun({each: paths[each] for each in missing if each in found}, missing, backbone, begins, objective)
        learned = learn(objective, [begins.of(each) for each in missing], progress, begun=begun)
        for place, object_id in enumerate(missing):
            kernels[object_id] = _kernel(learned, place, begins.of(object_id))
            if folder is not None:
                write_kernel(paths[object_id], kernels[object_id], facts[object_id] | _outcome(learned, place))
        if learned.interrupted and folder is not None:
            raise KeyboardInterrupt
    return TunedKernels(kernels)


class _Begins:
    """Where the conditioning of each object begins: all at one, `same`, or each at its own."""

    def __init__(self, start: Conditioning | Mapping[int, Conditioning]) -> None:
        self.same = start if isinstance(start, Conditioning) else None
        self._own = {} if isinstance(start, Conditioning) else start

    def of(self, object_id: int) -> Conditioning:
        if self.same is None and object_id not in self._own:
            raise CueError(f"object {object_id} has no conditioning to start from; give one for each object")
        return self._own[object_id] if self.same is None else self.same


def _begun(
    left: Mapping[int, Path], objects: Sequence[int], backbone: Backbone, begins: "_Begins", objective: Objective
) -> Begun | None:
    """Returns where an interruption left the kernels of some objects, None if it left none.

    Objects without one begin at the start; all take as many steps as the one that is furthest from its end.
    """
    if not left:
        return None
    heads = objective.frame.heads
    equal = torch.full((heads,), 1 / heads)
    kernels = [
        read_kernel(left[each], backbone) if each in left else ObjectKernel(begins.of(each), equal) for each in objects
    ]
    steps = [int(read_facts(left[each])["steps"]) if each in left else 0 for each in objects]
    moving = objective.settings.learned != "heads"
    states = torch.stack([kernel.conditioning.tensor.float() for kernel in kernels]) if moving else None
    return Begun(states, torch.stack([kernel.head_weights for kernel in kernels]), min(steps))


def _kernel(learned: Learned, place: int, begin: Conditioning) -> ObjectKernel:
    """Returns one object's kernel; where no conditioning was learned, all objects share the one they began with."""
    weights = learned.head_weights[place].cpu()
    if learned.states is None:
        return ObjectKernel(begin, weights)
    return ObjectKernel(Conditioning(learned.states[place], "learned"), weights)


def _facts(
    video: Video | Clip,
    index: int,
    labels: LabelMap,
    object_id: int,
    backbone: Backbone,
    resolved: ResolvedSettings,
    tuning: TuningSettings,
    begin: Conditioning,
) -> dict[str, Any]:
    """Returns everything that decides what is learned for an object."""
    deciding = ("preset", "kernel", "noising", "sites", "input_size", "grid", "first_labels", "dtype")
    settings = resolved.as_dict()
    return {
        "video": video.fingerprint(),
        "frame": index,
        "object": object_id,
        "mask": mask_hash(labels, object_id),
        "model": backbone.fingerprint(),
        "settings": {name: settings[name] for name in deciding},
        # How it is computed changes rounding, not what is asked for.
        "tuning": asdict(replace(tuning, compiled=False, recomputed=False, together=None)),
        "start": kernel_key({"states": begin.tensor.float().cpu().tolist()}),
    }


def _outcome(learned: Learned, place: int) -> dict[str, Any]:
    """Returns how the learning went, for people to read."""
    facts: dict[str, Any] = {
        "loss": [round(float(each[place]), 6) for each in learned.loss],
        "best_step": learned.best[place],
        "steps": learned.steps,
        "seconds": round(learned.seconds, 1),
        "interrupted": learned.interrupted,
        "head_weights": [round(float(weight), 4) for weight in learned.head_weights[place]],
    }
    if learned.held_out is not None:
        facts["held_out"] = [round(float(each[place]), 4) for each in learned.held_out]
    return facts
