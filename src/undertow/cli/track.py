"""`undertow track`."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from undertow.base import CueError, Progress, SettingsError, set_threads
from undertow.cli.options import (
    Continue,
    Device,
    Dtype,
    End,
    Every,
    Json,
    Lost,
    MaskColors,
    Model,
    NoisingKind,
    Out,
    Preset,
    Seed,
    Size,
    SkipDamaged,
    SoftmaxScope,
    Start,
    Threads,
    sizes,
)
from undertow.cli.showing import say, shown_progress

if TYPE_CHECKING:
    from undertow.backbones import Backbone, Conditioning
    from undertow.masks import LabelMap
    from undertow.runs import Prompted
    from undertow.tracking import TrackSettings, TunedKernels
    from undertow.video import Clip


def track(
    video: Annotated[
        str, typer.Argument(help="Video file, folder of frames, - for standard input, or camera:0.", show_default=False)
    ],
    out: Out,
    mask: Annotated[
        list[str], typer.Option("--mask", help="FILE[@F]: objects painted on frame F (a number, or seconds like 1.5s).")
    ] = [],  # noqa: B006
    box: Annotated[
        list[str], typer.Option("--box", help="x0,y0,x1,y1[@F][#ID]: a box around an object, in pixels.")
    ] = [],  # noqa: B006
    point: Annotated[
        list[str], typer.Option("--point", help="x,y[,+|-][@F][#ID]: a point on an object, or with - beside it.")
    ] = [],  # noqa: B006
    text: Annotated[
        list[str], typer.Option("--text", help="WORD[@F][#ID]: what an object is called (experimental).")
    ] = [],  # noqa: B006
    segmenter: Annotated[
        str | None,
        typer.Option(help="What boxes and points go to, GrabCut if not given, and --refine sam: sam-vit-b, a folder."),
    ] = None,
    model: Model = "tiny",
    preset: Preset = None,
    size: Size = None,
    mask_colors: MaskColors = False,
    noising: NoisingKind = None,
    softmax_scope: SoftmaxScope = None,
    channel_norm: Annotated[Literal["none", "minmax"], typer.Option(help="Stretch channels before deciding.")] = "none",
    lost: Lost = None,
    refine: Annotated[
        Literal["none", "guided", "crf", "sam"], typer.Option(help="Better masks from the frames, after propagation.")
    ] = "none",
    feed_back: Annotated[
        bool, typer.Option("--feed-back", help="Go on from masks that --refine sam made, instead of the tracker's.")
    ] = False,
    tuning: Annotated[
        Literal["off", "paper", "fast", "amortised"], typer.Option(help="Learn conditioning and head weights first.")
    ] = "off",
    class_name: Annotated[str | None, typer.Option(help="What the object is: a text to be conditioned on.")] = None,
    caption: Annotated[str | None, typer.Option(help="A sentence to be conditioned on.")] = None,
    captioner: Annotated[
        Path | None, typer.Option(help="A folder with a BLIP-2 model, which makes a caption of each object.")
    ] = None,
    conditioning: Annotated[Path | None, typer.Option(help="A kernel file to be conditioned on.")] = None,
    start: Start = None,
    end: End = None,
    every: Every = 1,
    skip_damaged: SkipDamaged = False,
    raw: Annotated[
        str | None, typer.Option(help="Standard input or a pipe is raw video: WIDTHxHEIGHT[:FORMAT][@RATE].")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Frames observed at once: 4, and 1 of live video, where none is to wait.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Render overlay.mp4.")] = True,
    overwrite: Continue = False,
    max_memory: Annotated[
        str | None, typer.Option("--max-memory", help="Refuse what would need more, such as 8GB.")
    ] = None,
    device: Device = None,
    dtype: Dtype = None,
    seed: Seed = 0,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Track the objects of masks, boxes, points or words through a video.

    The same command again goes on after an interruption; with one more --mask FILE@F it corrects a complete run from
    frame F on.
    """
    from undertow.backbones import load
    from undertow.runs import Latency, execute
    from undertow.runs.budget import parse_memory
    from undertow.tracking import TrackSettings, make_refiner
    from undertow.tracking.task import TASK, given_masks

    set_threads(threads)
    if feed_back and refine != "sam":
        raise SettingsError(f"--feed-back goes with --refine sam, not with {refine}; leave it out")
    settings = TrackSettings(
        preset=preset, noising=noising, softmax_scope=softmax_scope, channel_norm=channel_norm, lost=lost, seed=seed,
        batch=(1 if is_live(video) else 4) if batch is None else batch, **sizes(size),
    )  # fmt: skip
    allowed = None if max_memory is None else parse_memory(max_memory)
    with opened(video, raw, start, end, every, skip_damaged) as clip:
        masks = masks_of(mask, box, point, clip, segmenter, device, mask_colors=mask_colors, worded=bool(text))
        backbone = load(model, device=device, dtype=dtype)
        masks |= named_masks(text, masks, clip, backbone, settings)
        check_memory(clip, masks, backbone, settings, overlay, allowed)
        latency = Latency()
        given = (("mask", mask), ("box", box), ("point", point), ("text", text))
        cues = [{kind: cue} for kind, each in given for cue in each]
        refiner = make_refiner(refine, segmenter or "sam-vit-h", device, feed_back)
        with shown_progress(json) as progress:
            tuned = tuned_kernels(
                tuning, clip, masks, backbone, settings, out, progress,
                captioner=captioner, device=device, class_name=class_name, caption=caption, file=conditioning,
            )  # fmt: skip
            execute(
                TASK, out, clip, given_masks(clip, masks, cues, tuned=tuned, refiner=refiner), backbone, settings,
                views=TASK.views[:1] if overlay else (), overwrite=overwrite, progress=progress, latency=latency,
            )  # fmt: skip
    if latency.count:
        say(f"{latency}")
    say(f"masks, scores and overlay are in {out}" if overlay else f"masks and scores are in {out}")


def masks_of(
    mask: list[str],
    box: list[str],
    point: list[str],
    clip: "Clip",
    segmenter: str | None,
    device: str | None,
    *,
    mask_colors: bool,
    worded: bool = False,
) -> "dict[int, LabelMap]":
    """Returns the label map of each frame that cues name: files as they are, boxes and points through a segmenter.

    Without any there has to be a word, `worded`, which is read later: it asks the model.
    """
    from undertow.runs import parse_box, parse_point, prompted_masks, read_masks

    masks: dict[int, LabelMap] = {}
    if mask or not (box or point or worded):
        masks, colours = read_masks(mask, clip, mask_colors=mask_colors)
        for colour, object_id in colours.items():
            say(f"colour {colour} is object {object_id}")
    if box or point:
        from undertow.refinement import load_segmenter, segment, segment_grabcut

        prompts = [parse_box(text, clip) for text in box] + [parse_point(text, clip) for text in point]

        def load_maker() -> "Prompted":
            return segment_grabcut if segmenter is None else partial(segment, load_segmenter(segmenter, device=device))

        both = sorted(masks.keys() & {prompt.frame for prompt in prompts})
        if both:
            raise CueError(f"frame {both[0]} has a mask, and boxes or points too; give one of them")
        made = prompted_masks(prompts, clip, load_maker)
        for frame, labels in made.items():
            say(f"frame {frame}: made object {described(labels)}")
        masks |= made
    return masks


def named_masks(
    texts: list[str], masks: "dict[int, LabelMap]", clip: "Clip", backbone: "Backbone", settings: "TrackSettings"
) -> "dict[int, LabelMap]":
    """Returns the label map of each frame that words are on, by the model's own attention to them."""
    from undertow.runs import parse_words, worded_masks
    from undertow.tracking.words import word_mask

    if not texts:
        return {}
    prompts = parse_words(texts, clip)
    both = sorted(masks.keys() & {prompt.frame for prompt in prompts})
    if both:
        raise CueError(f"frame {both[0]} has a word, and a mask, boxes or points too; give one of them")
    if backbone.card.family != "unet-image":
        raise SettingsError(
            f"words are found by image models, and '{backbone.card.name}' is none; give --box or --point"
        )
    if backbone.card.embedded:
        say(f"masks that '{backbone.card.name}' makes of words are no better than chance; look at them first")
    made = worded_masks(prompts, clip, lambda image, word: word_mask(backbone, image, word, settings))
    for frame, labels in made.items():
        say(f"frame {frame}: {', '.join(each.word for each in prompts)} is object {described(labels)}")
    return made


def described(labels: "LabelMap") -> str:
    """Returns how many pixels each object of a label map has."""
    from undertow.masks import object_ids

    return ", ".join(f"{number} of {int((labels == number).sum())} pixels" for number in object_ids(labels))


def tuned_kernels(
    tuning: str,
    clip: "Clip",
    masks: "dict[int, LabelMap]",
    backbone: "Backbone",
    settings: "TrackSettings",
    out: Path,
    progress: Progress,
    *,
    captioner: Path | None,
    device: str | None,
    **given: Any,
) -> "TunedKernels | None":
    """Returns what `--tuning` learns of the masks, kept beside the run so that it is learned once.

    A text or file to be conditioned on, in `given`, is where tuning starts; without tuning it is used as it is. So are
    the captions of a captioner, one for each object.
    """
    from undertow.tracking.tuning import get_tuning, starting_conditioning, tune

    chosen = get_tuning(tuning)
    if chosen is None:
        if captioner is None and all(value is None for value in given.values()):
            return None
        chosen = get_tuning("amortised")
    if backbone.card.family != "unet-image":
        raise SettingsError(f"'{backbone.card.name}' is no image model; tuning and texts are for those, leave them out")
    start: Conditioning | dict[int, Conditioning]
    if captioner is None:
        start = starting_conditioning(backbone, amortised=tuning == "amortised", **given)
    elif tuning == "amortised" or any(value is not None for value in given.values()):
        raise SettingsError("a conditioning can start from --captioner or from something else, not both; give one")
    else:
        from undertow.tracking.captions import embed_caption

        captions = made_captions(clip, masks, captioner, device)
        start = {each: embed_caption(backbone, caption) for each, caption in captions.items()}
        for each, conditioning in start.items():
            if conditioning.text != captions[each]:
                say(f"object {each}: '{backbone.card.name}' reads no more than '{conditioning.text}'")
    folder = out.with_name(f"{out.name}.kernels")
    return tune(clip, masks, backbone, settings, chosen, start=start, folder=folder, progress=progress)


def made_captions(clip: "Clip", masks: "dict[int, LabelMap]", folder: Path, device: str | None) -> dict[int, str]:
    """Returns what a BLIP-2 model says of each object, on the first frame that has a mask of it."""
    from undertow.masks import object_ids
    from undertow.tracking.captions import load_captioner

    if not clip.again:
        raise CueError("a stream cannot be captioned, since its first frame can be read only once; save it to a file")
    captioner, captions = load_captioner(folder, device=device), dict[int, str]()
    for frame in sorted(masks):
        for number in object_ids(masks[frame]):
            if number not in captions:
                captions[number] = captioner(clip.frame(frame).image, masks[frame] == number)
                say(f"object {number}: {captions[number]}")
    return captions


def is_live(video: str) -> bool:
    """Returns whether a video is a pipe or a camera."""
    from undertow.video import is_stream

    return is_stream(video)


def opened(video: str, raw: str | None, start: str | None, end: str | None, every: int, skip_damaged: bool) -> "Clip":
    """Returns the frames that a command is to work on."""
    from undertow.video import Clip, Video, frame_number, open_stream

    if raw is not None and not is_live(video):
        raise SettingsError(f"--raw is for standard input and pipes, and '{video}' is neither; leave it out")
    whole = open_stream(video, raw=raw) if is_live(video) else Video(video, skip_damaged=skip_damaged)
    first = 0 if start is None else frame_number(start, whole, "--start")
    return Clip(whole, first, None if end is None else frame_number(end, whole, "--end"), every)


def check_memory(
    clip: "Clip",
    masks: "dict[int, LabelMap]",
    backbone: "Backbone",
    settings: "TrackSettings",
    overlay: bool,
    allowed: int | None,
) -> None:
    """Raises MemoryBudgetError if tracking would need more memory than there is, or than is allowed (in bytes)."""
    from undertow.runs.estimate import check_budget, estimate

    calibrate = allowed is not None
    check_budget(
        estimate(clip, masks, backbone, settings, overlay=overlay, calibrate=calibrate, max_memory=allowed), allowed
    )
