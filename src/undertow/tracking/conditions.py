"""What the options of a run ask for besides the tracker: kernels tuned to its objects, and better masks."""

import logging
from collections.abc import Mapping
from pathlib import Path

from undertow.backbones import Backbone, Conditioning
from undertow.base import CueError, Progress, SettingsError
from undertow.masks import LabelMap, object_ids
from undertow.tracking.kernels import TunedKernels
from undertow.tracking.refining import Refiner, make_refiner
from undertow.tracking.settings import TrackSettings
from undertow.video import Clip, Video

log = logging.getLogger(__name__)


def asked_refiner(settings: TrackSettings, backbone: Backbone) -> Refiner | None:
    """Returns what makes better masks of the tracker's; `None` if nothing is asked for.

    Raises:
        WeightsUnavailable: if it is a segmenter whose weights are unavailable.
    """
    chosen = settings.of(backbone.card)
    return make_refiner(
        chosen.refine, chosen.segmenter or "sam-vit-h", str(backbone.device), chosen.feed_back, chosen.gate
    )


def asked_kernels(
    settings: TrackSettings,
    backbone: Backbone,
    video: Video | Clip,
    masks: Mapping[int, LabelMap],
    out: Path | None,
    progress: Progress,
) -> TunedKernels | None:
    """Returns what is learned of the masks; `None` if nothing is to be.

    A text or file to be conditioned on is where tuning starts; without tuning it is used as it is. So are the captions
    of a captioner, one for each object.

    Args:
        settings: Options of the run.
        backbone: The model.
        video: The video.
        masks: Label maps by frame number.
        out: Folder of the run, beside which kernels are kept so that they are learned once; `None` to keep none.
        progress: Notified of every step.

    Raises:
        SettingsError: if the model cannot be tuned, or options contradict each other.
        CueError: if objects are to be captioned in a stream.
    """
    from undertow.tracking import tuning

    if not settings.tuned:
        return None
    chosen = tuning.get_tuning(settings.tuning) or tuning.get_tuning("amortised")
    assert chosen is not None
    if backbone.card.family != "unet-image":
        raise SettingsError(f"'{backbone.card.name}' is no image model; tuning and texts are for those, leave them out")
    start: Conditioning | dict[int, Conditioning]
    given = {"class_name": settings.class_name, "caption": settings.caption, "file": settings.conditioning}
    amortised = settings.tuning == "amortised"
    if settings.captioner is None:
        start = tuning.starting_conditioning(backbone, amortised=amortised, **given)  # type: ignore[arg-type]
    elif amortised or any(value is not None for value in given.values()):
        raise SettingsError("a conditioning can start from --captioner or from something else, not both; give one")
    else:
        start = captioned(backbone, video, masks, settings.captioner)
    folder = None if out is None else out.with_name(f"{out.name}.kernels")
    return tuning.tune(video, masks, backbone, settings, chosen, start=start, folder=folder, progress=progress)


def captioned(
    backbone: Backbone, video: Video | Clip, masks: Mapping[int, LabelMap], folder: Path
) -> dict[int, Conditioning]:
    """Returns the conditioning of what a BLIP-2 model says of each object, on the first frame that has a mask of it.

    Raises:
        CueError: if the video is a stream.
        WeightsUnavailable: if the captioner's files are missing or damaged.
    """
    from undertow.tracking.captions import embed_caption, load_captioner

    if not video.again:
        raise CueError("a stream cannot be captioned, since its first frame can be read only once; save it to a file")
    captioner, found = load_captioner(folder, device=backbone.device), dict[int, Conditioning]()
    for frame in sorted(masks):
        for number in object_ids(masks[frame]):
            if number in found:
                continue
            caption = captioner(video.frame(frame).image, masks[frame] == number)
            log.info("object %d: %s", number, caption)
            found[number] = embed_caption(backbone, caption)
            if found[number].text != caption:
                log.info("object %d: '%s' reads no more than '%s'", number, backbone.card.name, found[number].text)
    return found
