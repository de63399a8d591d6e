"""The score of a checkpoint of `tiny-video`, fixed before training began: how well its attentions match points.

Queries and keys of every block are compared as the network compares them (after norm and rotation, heads together), on
clean latents of clips whose tracks are known: held-out worlds, and clips of held-out photographs. A match is the best
token, refined within its neighbours. The score is the mean of both kinds in the block that the card reads.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from diffusers import AutoencoderKL, CogVideoXTransformer3DModel
from diffusers.models.embeddings import apply_rotary_emb
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from undertow.training.video_architecture import blocks, rotary
from undertow.training.video_clips import encode_frames
from undertow.world import FAMILIES, FIRST_VALIDATION_SEED, TRACKING_FAMILIES, point_tracks
from undertow.world.photographs import Photograph
from undertow.world.view_clips import ViewClipSettings, held_out_clips

THRESHOLDS = (1, 2, 4, 8, 16)
RASTER = 256
# Far from the seeds by which `tiny` is validated.
FIRST_CLIP = FIRST_VALIDATION_SEED + 9_000


@dataclass(frozen=True)
class VideoValidation:
    """Which worlds are matched, and how.

    Args:
        families: One clip of each family.
        frames: Frames of a clip.
        spacing: Times between them.
        size: Height and width of the pictures in pixels.
        points: Queries in the first frame.
        timestep: What the network is given; the latents are clean.
        photographs: Number of clips of held-out photographs, if there are any.
        block: The block that decides.
    """

    families: tuple[str, ...] = TRACKING_FAMILIES
    frames: int = 8
    spacing: float = 3.0
    size: tuple[int, int] = (192, 192)
    points: int = 100
    timestep: int = 150
    photographs: int = 24
    block: int = 3


@dataclass(frozen=True)
class ValidationClip:
    """Pictures, and where points of the first one are in each, in pixels; a family of worlds or a photograph."""

    name: str
    frames: UInt8[np.ndarray, "t H W 3"]
    tracks: Float[np.ndarray, "q t 2"]
    visible: Bool[np.ndarray, "q t"]


def validation_clips(validation: VideoValidation) -> list[ValidationClip]:
    """Returns the clips, with random points of the first frame as queries."""
    clips = []
    for number, name in enumerate(validation.families):
        family, seed = FAMILIES[name], FIRST_CLIP + number
        times = [validation.spacing * frame for frame in range(validation.frames)]
        staging = replace(family.settings.staging, frames=int(times[-1]) + 1)
        height, width = validation.size
        scene = family.build(seed, replace(family.settings, height=height, width=width, staging=staging))
        frames = np.stack([scene.picture(time).image for time in times])
        points = np.random.default_rng(seed).uniform(0, (width, height), (validation.points, 2))
        tracks, visible = point_tracks(scene, points, times)
        clips.append(ValidationClip(name, frames, tracks, visible))
    return clips


def photograph_clips(photographs: Sequence[Photograph], validation: VideoValidation) -> list[ValidationClip]:
    """Returns clips of the held-out ones among these photographs, with random points of the first view as queries.

    Raises:
        SettingsError: if a file is not a picture.
    """
    settings = ViewClipSettings(frames=validation.frames)
    settings = replace(settings, views=replace(settings.views, size=min(validation.size)))
    clips = []
    for number, (name, clip) in enumerate(held_out_clips(photographs, validation.photographs, settings)):
        points = np.random.default_rng(FIRST_CLIP + number).uniform(0, settings.views.size, (validation.points, 2))
        found = [clip.correspond(points, view) for view in range(validation.frames)]
        tracks, visible = (np.stack(each, axis=1) for each in zip(*found, strict=True))
        clips.append(ValidationClip(name, clip.images, tracks, visible))
    return clips


@dataclass(frozen=True)
class Compared:
    """What one block compares, on the token grid, heads beside each other."""

    queries: Float[Tensor, "t h w c"]
    keys: Float[Tensor, "t h w c"]


@contextmanager
def _kept(modules: Iterable[nn.Module]) -> Iterator[list[Float[Tensor, "1 a s d"]]]:
    """Collects what modules return, in the order in which they run."""
    outputs: list[Tensor] = []
    handles = [module.register_forward_hook(lambda _, __, output: outputs.append(output)) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def compared(
    transformer: CogVideoXTransformer3DModel,
    latents: Float[Tensor, "t 4 h w"],
    text: Float[Tensor, "1 tokens c"],
    timestep: int,
    rotated: bool = True,
) -> list[Compared]:
    """Returns the video tokens' queries and keys of every block, from one pass over a clip.

    Latents are scaled; queries and keys are as the network compares them, or not yet `rotated`.
    """
    patch, head_dim = transformer.config.patch_size, transformer.config.attention_head_dim
    grid = (len(latents), latents.shape[2] // patch, latents.shape[3] // patch)
    axes = [torch.arange(count, dtype=torch.float32) for count in grid]
    cosine, sine = (wave.to(latents.device) for wave in rotary(axes[0], axes[1], axes[2], head_dim))
    level = torch.tensor([timestep], device=latents.device)
    norms = [norm for block in blocks(transformer) for norm in (block.attn1.norm_q, block.attn1.norm_k)]
    with _kept(norms) as outputs, torch.autocast(latents.device.type, torch.bfloat16):
        transformer(latents[None], text, level, image_rotary_emb=(cosine, sine))

    def on_grid(tokens: Float[Tensor, "1 a s d"]) -> Float[Tensor, "t h w c"]:
        video = tokens[:, :, text.shape[1] :].float()
        turned = apply_rotary_emb(video, (cosine, sine)) if rotated else video
        return turned[0].transpose(0, 1).reshape(*grid, -1)

    return [Compared(on_grid(q), on_grid(k)) for q, k in zip(outputs[::2], outputs[1::2], strict=True)]


def match(
    seen: Compared, points: Float[np.ndarray, "q 2"], size: tuple[int, int], sharpness: float
) -> Float[np.ndarray, "q t 2"]:
    """Returns where points of the first frame are in every frame, in pixels.

    The query is interpolated between tokens; the match is the mean place, under a softmax of sharpness times inner
    product, of the best token and those around it.
    """
    rows, columns = seen.keys.shape[1:3]
    stride = np.array([size[1] / columns, size[0] / rows])
    places = torch.from_numpy(points / np.array(size[::-1]) * 2 - 1).float()
    first = seen.queries[0].permute(2, 0, 1)[None]
    queries = functional.grid_sample(first, places[None, None], padding_mode="border", align_corners=False)
    scores = torch.einsum("cq,thwc->qthw", queries[0, :, 0], seen.keys) * sharpness
    best = scores.flatten(2).argmax(dim=2)
    row, column = best // columns, best % columns
    near = torch.arange(-1, 2)
    there = [(at[..., None] + near).clamp(0, most - 1) for at, most in ((row, rows), (column, columns))]
    grid_y, grid_x = torch.broadcast_tensors(there[0][..., :, None], there[1][..., None, :])
    window = scores.flatten(2).gather(2, (grid_y * columns + grid_x).flatten(2)).softmax(dim=2)
    y, x = ((window * at.flatten(2)).sum(dim=2) + 0.5 for at in (grid_y, grid_x))
    return torch.stack([x, y], dim=2).numpy() * stride


def delta_average(found: Float[np.ndarray, "q t 2"], clip: ValidationClip) -> float:
    """Returns the share of visible points after the first frame that are within 1, 2, 4, 8 and 16 pixels, averaged.

    Pixels are those of a raster of 256 x 256 (TAP-Vid, Doersch et al., 2022), whatever the pictures' size.
    """
    height, width = clip.frames.shape[1:3]
    error = np.linalg.norm((found - clip.tracks)[:, 1:] * (RASTER / width, RASTER / height), axis=2)
    error = error[clip.visible[:, 1:]]
    return float(np.mean([(error < threshold).mean() for threshold in THRESHOLDS]))


def validate_video(
    transformer: CogVideoXTransformer3DModel,
    vae: AutoencoderKL,
    text: Float[Tensor, "1 tokens c"],
    clips: list[ValidationClip],
    validation: VideoValidation,
    *,
    rotated: bool = True,
) -> list[float]:
    """Returns the mean delta_avg in [0, 1] of every block over the clips; the best of them is the checkpoint's score.

    Text states are those of the empty caption; the networks are on one device.
    """
    scores = []
    device = next(transformer.parameters()).device
    heads, head_dim = transformer.config.num_attention_heads, transformer.config.attention_head_dim
    for clip in clips:
        latents = torch.from_numpy(encode_frames(vae, clip.frames)).float().to(device) * vae.config.scaling_factor
        per_block = compared(transformer, latents, text, validation.timestep, rotated)
        on_cpu = (Compared(each.queries.cpu(), each.keys.cpu()) for each in per_block)
        # The network's own logits, averaged over heads.
        sharpness = 1 / (heads * head_dim**0.5)
        found = (match(each, clip.tracks[:, 0], clip.frames.shape[1:3], sharpness) for each in on_cpu)
        scores.append([delta_average(each, clip) for each in found])
    return [float(score) for score in np.mean(scores, axis=0)]


def control_scores(vae: AutoencoderKL, clips: list[ValidationClip]) -> Mapping[str, float]:
    """Returns the score of matching without a network: points that stay (`still`), and patches of 3 x 3 latents."""
    scores: dict[str, list[float]] = {"still": [], "latents": []}
    for clip in clips:
        still = np.repeat(clip.tracks[:, :1], clip.tracks.shape[1], axis=1)
        scores["still"].append(delta_average(still, clip))
        latents = torch.from_numpy(encode_frames(vae, clip.frames)).float()
        patches = functional.unfold(latents, 3, padding=1).unflatten(2, latents.shape[2:])
        features = functional.normalize(patches, dim=1).permute(0, 2, 3, 1)
        found = match(Compared(features, features), clip.tracks[:, 0], clip.frames.shape[1:3], 20.0)
        scores["latents"].append(delta_average(found, clip))
    return {name: float(np.mean(each)) for name, each in scores.items()}
