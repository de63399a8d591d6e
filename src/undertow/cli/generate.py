"""`undertow generate`: sampling clips and pictures, with or without temporal guidance."""

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from undertow.base import SettingsError, set_threads
from undertow.base.options import sizes
from undertow.cli.options import Device, Dtype, Json, Model, Out, Overwrite, Size, Threads, check_free, numbers
from undertow.cli.showing import say, shown_progress

CLIP, PICTURE = "clip.mp4", "image.png"


def generate(
    prompt: Annotated[str, typer.Option(help="Text to show.")],
    model: Model = "tiny",
    frames: Annotated[int | None, typer.Option(help="Latent frames; by default as many as the model sees.")] = None,
    guidance: Annotated[
        Literal["none", "temporal"], typer.Option(help="temporal: away from frames that ignore each other.")
    ] = "none",
    scale: Annotated[float | None, typer.Option(help="Strength of the guidance; 1 if it is on.")] = None,
    sites: Annotated[
        str, typer.Option(help="Layers to perturb, by their numbers in `undertow analyze`, such as 13,17,21.")
    ] = "",
    text_scale: Annotated[float | None, typer.Option(help="Text guidance; 6, or 1 for distilled models.")] = None,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 50,
    shift: Annotated[float | None, typer.Option(help="Timestep shift of flow-matching models.")] = None,
    image: Annotated[Path | None, typer.Option(help="First frame, for image-to-video models.")] = None,
    fps: Annotated[int, typer.Option(help="Frames per second of the clip.")] = 8,
    out: Out = Path("generated"),
    overwrite: Overwrite = False,
    size: Size = None,
    seed: Annotated[int, typer.Option(help="Seed of the noise.")] = 0,
    device: Device = None,
    dtype: Dtype = None,
    threads: Threads = None,
    json: Json = False,
) -> None:
    """Sample a clip (or a picture, of an image model) that shows a text."""
    set_threads(threads)
    if not 1 <= fps <= 240:
        raise SettingsError(f"--fps is {fps}; give 1 to 240")
    check_free(out, "generation.json", (CLIP, PICTURE), "sample", overwrite=overwrite)
    if scale is None:
        scale = 1.0 if guidance == "temporal" else 0.0
    blocks = sorted({*numbers("--sites", sites, "numbers of layers such as 13,17,21")})
    if blocks and guidance == "none":
        raise SettingsError(f"--sites is {sites} without --guidance temporal; add it, or leave --sites out")

    import numpy as np
    from PIL import Image

    from undertow.analysis.scores import candidate_sites
    from undertow.backbones import load
    from undertow.backbones.sampling.guidance import SamplingSettings, guided_sites, sample
    from undertow.base import atomic_path, write_json
    from undertow.video import Video, write_video

    settings = SamplingSettings(steps, text_scale, guidance, scale, (), shift, seed)
    given: dict[str, Any] = sizes(size)
    backbone = load(model, device=device, dtype=dtype)
    if blocks:
        known = candidate_sites(backbone)
        if blocks[-1] >= len(known):
            raise SettingsError(f"'{model}' has layers 0 to {len(known) - 1}, not {blocks[-1]}; change --sites")
        settings = SamplingSettings(
            steps, text_scale, guidance, scale, tuple(known[block].path for block in blocks), shift, seed
        )
    wished = (given["size"][1], given["size"][0]) if "size" in given else None
    shown = backbone.input_size(480, 720, tokens=given.get("tokens"), size=wished)
    first = None
    if image is not None:
        with Video(image) as opened:
            first = backbone.encode(opened.frame(0).image[None], shown)[0]
    count = backbone.card.chunk if frames is None else frames
    with shown_progress(json) as progress:
        made = sample(backbone, prompt, frames=count, size=shown, settings=settings, first=first, progress=progress)
    images = backbone.decode_clip(made.latents)
    if not np.isfinite(made.latents.cpu().numpy()).all():
        raise SettingsError("sampling gave numbers that are not finite; lower --scale or --text-scale")
    if len(images) == 1:
        result = out / PICTURE
        with atomic_path(result) as path:
            Image.fromarray(images[0]).save(path)
    else:
        result = out / CLIP
        write_video(result, list(images), fps=Fraction(fps))
    facts = {
        "model": backbone.card.name,
        "fingerprint": backbone.fingerprint(),
        "prompt": prompt,
        **asdict(settings),
        "text_scale": made.text_scale,
        "sites": list(settings.sites or guided_sites(backbone.card)) if settings.perturbed else [],
        "frames": len(images),
        "latents": count,
        "width": images.shape[2],
        "height": images.shape[1],
        "fps": fps,
        "dtype": str(backbone.dtype).removeprefix("torch."),
        "calls": made.calls,
    }
    write_json(out / "generation.json", facts)
    # Of an earlier sample by a model of the other kind.
    (out / (CLIP if result.name == PICTURE else PICTURE)).unlink(missing_ok=True)
    say(f"{len(images)} frames are in {result}" if len(images) > 1 else f"the picture is {result}")
