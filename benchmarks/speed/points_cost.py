"""What point tracking with a video transformer costs: the published procedure done straightforwardly, and ours.

    python benchmarks/speed/points_cost.py --frames 49 80                       # a narrow CogVideoX-2B, random
    python benchmarks/speed/points_cost.py --full --device cuda --frames 49 80  # its published width, 480x720

The straightforward way does what DiffTrack's code does for every chunk (arXiv 2506.17220, docs/points.md): it encodes
each frame of the chunk again, runs all blocks over two equal rows (guidance with two empty prompts), decodes the
result, and compares all tokens with all tokens, head by head. Ours gives the same tracks: `identical chunks` covers the
video as it does, `minimal chunks` is our default cover. Each way runs in a process of its own. On a CPU the model is
narrower and the picture smaller, so only ratios mean something.
"""

import argparse
import time
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from undertow.backbones import Site, get_card, random_backbone
from undertow.backbones.published import ARCHITECTURES
from undertow.points import PointSettings, PointTracker
from undertow.points.following import cover
from undertow.video import Video

WAYS = ("straightforward", "identical chunks", "minimal chunks")
# DiffTrack's layer of CogVideoX-2B.
BLOCK = 17


def build(full, device, dtype):
    """Returns CogVideoX-2B with random weights, narrow unless `full`, that reads block 17."""
    architecture = ARCHITECTURES["cogvideox-2b"]
    if not full:
        thin = {"num_attention_heads": 4, "text_embed_dim": 256, "sample_height": 30, "sample_width": 45}
        channels = {"block_out_channels": (16, 32, 32, 64), "norm_num_groups": 8}
        architecture = replace(
            architecture,
            denoiser=(architecture.denoiser[0], {**architecture.denoiser[1], **thin}),
            vae=(architecture.vae[0], {**architecture.vae[1], **channels}),
            text=(226, 256),
        )
    config = {"num_attention_heads": 30, **architecture.denoiser[1]}
    site = Site(f"transformer_blocks.{BLOCK}.attn1", "joint", config["num_attention_heads"], 64, 16)
    card = replace(get_card("cogvideox-2b"), sites={"track": (site,)})
    return random_backbone(card, architecture=architecture, device=device, dtype=dtype)


def straightforward(backbone, frames, points, size):
    """Returns the tracks by the published procedure, and how many rows went through the transformer."""
    width, height = size
    (site,), chunk = backbone.card.sites["track"], backbone.card.chunk
    null, rows = backbone.condition(""), 0
    sums, seen = {}, {}
    columns, lines = width // site.stride, height // site.stride
    kept = {}
    attention = backbone.denoiser.get_submodule(site.path)
    norms = (attention.norm_q, attention.norm_k)
    hooks = [
        norm.register_forward_hook(lambda _, __, output, name=name: kept.__setitem__(name, output))
        for norm, name in zip(norms, "qk", strict=True)
    ]
    for numbers in cover(range(len(frames)), 0, chunk, "overlap"):
        latents = torch.cat([backbone.encode(frames[number][None], (height, width)) for number in numbers])
        clip = latents.to(backbone.dtype)[None].expand(2, -1, -1, -1, -1)
        text = null.tensor.to(backbone.device, backbone.dtype).reshape(1, *null.tensor.shape[-2:]).expand(2, -1, -1)
        told = torch.tensor([19, 19], device=backbone.device)
        predicted = backbone.denoiser(clip, text, told).sample[0].float()
        rows += 2
        clean, _ = backbone.to_x0_eps(predicted, latents, 19)
        # The pipeline decodes and throws the picture away; an odd number of latents is a clip.
        backbone.decode_clip(clean if len(clean) % 2 else clean[:-1])
        tokens = text.shape[1]
        q, k = (kept[name][1, :, tokens:].float().unflatten(1, (len(numbers), -1)) for name in "qk")
        # Kept as the tracker keeps them.
        q, k = q.half().float(), k.half().float()
        for place, number in enumerate(numbers[1:], start=1):
            forward = (q[:, 0] @ k[:, place].mT / site.heads**0.5).softmax(-1).mean(0)
            backward = (k[:, 0] @ q[:, place].mT / site.heads**0.5).softmax(1).mean(0)
            sums[number] = sums.get(number, 0) + (forward + backward) / 2
            seen[number] = seen.get(number, 0) + 1
    for hook in hooks:
        hook.remove()
    tracks = np.repeat(points[:, None], len(frames), axis=1).astype(np.float32)
    slack = width / 1024
    for number, total in sums.items():
        best = (total / seen[number]).argmax(-1)
        table = torch.stack([best % columns, best // columns]).float().reshape(1, 2, lines, columns)
        scale = np.array([width / frames.shape[2], height / frames.shape[1]])
        x, y = torch.tensor(points * scale / site.stride, dtype=torch.float32, device=best.device).T
        at = torch.stack([x / (columns - slack) * 2 - 1, y / (lines - slack) * 2 - 1], -1)[None, None]
        found = functional.grid_sample(table, at, align_corners=True, padding_mode="border")[0, :, 0].T
        tracks[:, number] = found.cpu().numpy() * site.stride / scale
    return tracks, rows


def ours(backbone, frames, points, size, plan):
    """Returns the tracks by our tracker under the same preset, and how many clips went through the transformer."""
    settings = PointSettings(preset="difftrack", size=size, cover=plan)
    with PointTracker(backbone, settings) as tracker:
        tracker.observe(Video(frames))
        tracks = tracker.follow(np.concatenate([np.zeros((len(points), 1)), points], axis=1))
        return tracks.tracks, tracker.forwards


def run(way, options, count, queue):
    """Measures one way in a process of its own: seconds, peak memory beyond the model, passes, tracks."""
    torch.set_num_threads(options.threads)
    torch.set_grad_enabled(False)
    dtype = torch.bfloat16 if options.device == "cuda" else torch.float32
    backbone = build(options.full, options.device, dtype)
    width, height = options.size
    random = np.random.default_rng(0)
    base = random.integers(0, 256, (height // 8 + count, width // 8 + count, 3), dtype=np.uint8)
    large = np.kron(base, np.ones((8, 8, 1), np.uint8))
    frames = np.stack([large[4 * i : 4 * i + height, 4 * i : 4 * i + width] for i in range(count)])
    points = random.uniform((8, 8), (width - 8, height - 8), (64, 2))
    if options.device == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before, start = _peak(options.device, reset=True), time.perf_counter()
    used = time.process_time()
    if way == "straightforward":
        tracks, passes = straightforward(backbone, frames, points, (width, height))
    else:
        tracks, passes = ours(
            backbone, frames, points, (width, height), "overlap" if way == "identical chunks" else "minimal"
        )
    if options.device == "cuda":
        torch.cuda.synchronize()
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    queue.put((way, passes, seconds, cpu, _peak(options.device) - before, tracks))


def _peak(device, reset=False):
    """Returns the most bytes this process has held; with `reset`, those it holds now, and counts from here."""
    if device == "cuda":
        return torch.cuda.memory_allocated() if reset else torch.cuda.max_memory_allocated()
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS" if reset else "VmHWM"].split()[0]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[49, 80])
    parser.add_argument("--size", type=lambda text: tuple(int(side) for side in text.split("x")), default=(240, 160))
    parser.add_argument("--full", action="store_true", help="the published width, at 720x480 unless --size says so")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.full and options.size == (240, 160):
        options.size = (720, 480)
    context = get_context("spawn")
    print("| frames | way | rows through the transformer | seconds | CPU seconds | MB beyond the model | less time |")
    print("|---:|---|---:|---:|---:|---:|---:|")
    for count in options.frames:
        first = None
        for way in WAYS:
            queue = context.Queue()
            process = context.Process(target=run, args=(way, options, count, queue))
            process.start()
            name, passes, seconds, cpu, peak, tracks = queue.get()
            process.join()
            first = first or (seconds, cpu, tracks)
            less = first[0] / seconds if options.device == "cuda" else first[1] / cpu
            print(
                f"| {count} | {name} | {passes} | {seconds:.1f} | {cpu:.1f} | {peak / 1e6:.0f} | {less:.1f} |",
                flush=True,
            )
            if way == "identical chunks":
                apart = np.linalg.norm(tracks - first[2], axis=2)
                print(f"|  | tracks differ | by at most {apart.max():.3f} px | in {(apart > 0.5).mean():.2%} | | | |")


if __name__ == "__main__":
    main()
