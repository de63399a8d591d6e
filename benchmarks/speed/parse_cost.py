"""What masked modulation costs: passes, floating-point operations, seconds and memory, of each way to do it.

    python benchmarks/speed/parse_cost.py                       # shapes of SD 2.1, and a narrow one on the CPU
    python benchmarks/speed/parse_cost.py --full --device cuda  # SD 2.1 itself with random weights, 448x832

Part 1 counts the operations of one frame at full size on shapes alone (nothing is computed): a whole forward, the part
after VidSeg's block 7, a decoded frame, and the forward that turbo needs; from these the totals of a batch of 14 as in
the published settings. Part 2 runs every way on a model of the same shape, narrower unless `--full`, and counts and
times what really happened. Seconds on a CPU say nothing about a GPU; ratios of operations do.
"""

import argparse
import resource
import time
from dataclasses import dataclass, replace
from multiprocessing import get_context

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from undertow.backbones import get_card, random_backbone
from undertow.backbones.published import ARCHITECTURES
from undertow.backbones.reading.edits import AddMap, Inject, recording
from undertow.parsing.modulation import VIDSEG, decoder_sites, modulated_sites, one_hot, transformer_path
from undertow.parsing.perturbation import blank, blend
from undertow.parsing.protocols import CoarseBatch
from undertow.parsing.sharpeners import ExactSharpener, TurboSharpener, difference

# The note on the method predicts these ratios to the straightforward way for 10 labels (full size, batch of 14).
PREDICTED = {
    "exact": "1.17",
    "turbo": "190-370",
}


@dataclass
class Count:
    """What a run did: samples through the whole denoiser, through its end only, and decoded."""

    whole: int = 0
    suffix: int = 0
    decoded: int = 0


def straightforward(backbone, batch, modulation):
    """Yields the maps of each frame as the method is written down: whole forwards, every label, one at a time."""
    given = [backbone.condition(), blank(backbone.condition())]
    sites, pushed = decoder_sites(backbone, modulation.inject), modulated_sites(backbone.card, modulation)
    masks, steps, schedule = one_hot(batch.soft).to(backbone.device), modulation.steps, backbone.schedule

    def guided(latents, step, edits):
        yes, no = (backbone.denoise(latents, step, text, edits=each) for text, each in zip(given, edits, strict=True))
        clean, noise = backbone.to_x0_eps(no + modulation.guidance * (yes - no), latents, step)
        later = [each for each in steps if each < step]
        return schedule.mix(clean, noise, schedule.level(later[0])) if later else clean

    here = backbone.prepare(batch.latents, modulation.level(), batch.indices)
    states, caches = [here], []
    for step in steps:
        kept = []
        for text in given:
            # The forward itself is what gives the queries and keys: two forwards per step, as with guidance anyway.
            with recording(backbone.denoiser, sites) as seen:
                kept.append((backbone.denoise(here, step, text), seen))
        (yes, first), (no, second) = kept
        clean, noise = backbone.to_x0_eps(no + modulation.guidance * (yes - no), here, step)
        later = [each for each in steps if each < step]
        here = schedule.mix(clean, noise, schedule.level(later[0])) if later else clean
        caches.append((first, second))
        states.append(here)
    maps = []
    for mask in masks:
        sides = []
        for sign in (1, -1):
            here = states[0]
            for place, step in enumerate(steps):
                edits = [[Inject(s.path, c.queries[s.path], c.keys[s.path]) for s in sites] for c in caches[place]]
                if place == 0:
                    push = sign * modulation.strength * mask.flatten(1).float()
                    edits = [[*each, *(AddMap(site.path, push) for site in pushed)] for each in edits]
                here = guided(here, step, edits)
                if place < modulation.blended:
                    here = blend(here, states[place + 1], mask)
            sides.append(torch.cat([backbone.decode_float(one[None]) for one in here]))
        maps.append(difference(*sides))
    yield from torch.stack(maps, 1)


def turbo(backbone, batch):
    """Yields the maps of each frame from one early-ended forward and an upsampling."""
    card = backbone.card
    for index, latents in zip(batch.indices, batch.latents, strict=True):
        noising = card.levels["parse"]
        noisy = backbone.prepare(latents[None], noising, [index])
        backbone.observe(noisy, noising.timestep, [*card.sites["parse"], *card.sites["correspond"]])
    yield from TurboSharpener()(batch)


def ways(backbone, memory):
    """Returns every way as a function of a batch, by name."""
    published = replace(VIDSEG, memory=memory)
    plain = replace(published, guidance=1.0)
    return {
        "straightforward": lambda batch: straightforward(backbone, batch, published),
        "exact": ExactSharpener(backbone, published),
        "exact, no guidance": ExactSharpener(backbone, plain),
        "turbo": lambda batch: turbo(backbone, batch),
    }


def narrow(width):
    """Returns the architecture of SD 2.1 with fewer channels and heads, and its card."""
    architecture, card = ARCHITECTURES["sd-2.1-base"], get_card("sd-2.1-base")
    unet = dict(architecture.denoiser[1]) | {
        "block_out_channels": tuple(channels * width // 320 for channels in (320, 640, 1280, 1280)),
        "attention_head_dim": tuple(max(1, heads * width // 320) for heads in (5, 10, 20, 20)),
        "cross_attention_dim": 64,
    }
    # Normalised in groups of 32 channels.
    channels = tuple(max(1, round(c * width / 320 / 32)) * 32 for c in (128, 256, 512, 512))
    vae = dict(architecture.vae[1]) | {"block_out_channels": channels}

    def thinner(site):
        return replace(site, heads=max(1, site.heads * width // 320))

    sites = {purpose: tuple(thinner(site) for site in sites) for purpose, sites in card.sites.items()}
    networks = {"denoiser": (architecture.denoiser[0], unet), "vae": (architecture.vae[0], vae), "text": (77, 64)}
    return replace(architecture, **networks), replace(card, sites=sites)


def make_batch(backbone, size, frames, labels):
    """Returns frames of noise whose tokens have `labels` labels in vertical bands."""
    height, width = size
    images = np.random.default_rng(0).integers(0, 256, (frames, height, width, 3), dtype=np.uint8)
    bands = torch.arange(width // 16) * labels // (width // 16)
    soft = torch.nn.functional.one_hot(bands.expand(frames, height // 16, -1), labels).movedim(-1, 1).float()
    latents = torch.randn(frames, 4, height // 8, width // 8, generator=torch.Generator().manual_seed(0))
    return CoarseBatch(range(frames), list(images), soft, tuple(range(labels)), latents.to(backbone.device))


def counting(backbone, count):
    """Counts the samples that go through the denoiser and the decoder; returns what undoes it."""

    def denoised(unet, inputs):
        answered = "forward" in vars(unet.conv_in)
        count.suffix += answered * len(inputs[0])
        count.whole += (not answered) * len(inputs[0])

    def decoded(_, inputs):
        count.decoded += len(inputs[0])

    return (
        backbone.denoiser.register_forward_pre_hook(denoised),
        backbone.autoencoder.module.decoder.register_forward_pre_hook(decoded),
    )


def measure(run, backbone, batch):
    """Returns (counts, seconds, bytes) of one run of a way."""
    cuda = backbone.device.type == "cuda"
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    count = Count()
    # On a CPU, of the process itself: a machine with other work changes them little.
    clock = time.perf_counter if cuda else time.process_time
    handles, start = counting(backbone, count), clock()
    with torch.no_grad():
        for _ in run(batch):
            pass
    if cuda:
        torch.cuda.synchronize()
    seconds = clock() - start
    for handle in handles:
        handle.remove()
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return count, seconds, peak - before


def operations(run, backbone, batch):
    """Returns the floating-point operations of one run, two per multiplication and addition."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        for _ in run(batch):
            pass
    return counter.get_total_flops()


def full_size(labels, frames, size):
    """Prints the operations of one sample at full size and of a batch, from shapes alone."""
    card = get_card("sd-2.1-base")
    backbone = random_backbone(card, device="meta")
    latents = torch.empty(1, 4, size[0] // 8, size[1] // 8, device="meta")
    text = replace(backbone.condition(""), tensor=torch.empty(77, 1024, device="meta"))
    block = transformer_path(card.sites["modulate"][0])

    def flops(function):
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            result = function()
        return counter.get_total_flops() / 1e12, result

    whole, trace = flops(lambda: backbone.trace(latents, 119, text, block=block))
    rest, _ = flops(lambda: trace.rest(torch.tensor([0])))
    decode, _ = flops(lambda: backbone.decode_float(latents))
    early, _ = flops(lambda: backbone.observe(latents, 39, card.sites["parse"], text))
    print(
        f"one frame of {size[1]}x{size[0]}: denoiser {whole:.2f} TFLOP, after block 7 {rest:.2f} "
        f"({rest / whole:.0%}), forward of turbo {early:.2f}, decoder {decode:.2f}"
    )
    steps, pushes = len(VIDSEG.steps), 2 * labels
    straight = frames * (2 * steps * (1 + pushes) * whole + pushes * decode)
    exact = frames * (2 * (steps * whole + pushes * (rest + (steps - 1) * whole)) + pushes * decode)
    totals = {
        "straightforward": straight,
        "exact": exact,
        "exact, no guidance": frames * (steps * whole + pushes * (rest + (steps - 1) * whole) + pushes * decode),
        "turbo": frames * early,
    }
    print(f"a batch of {frames}, {labels} labels in every frame:")
    for name, total in totals.items():
        print(f"  {name:28} {total:8.1f} TFLOP   {straight / total:6.2f}x   predicted {PREDICTED.get(name, '')}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="run SD 2.1 at full width")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--width", type=int, default=64, help="channels of the narrow model's first block (320)")
    parser.add_argument("--size", default=None, help="WxH; 832x448 with --full, else 128x128")
    parser.add_argument("--frames", type=int, default=None, help="14 with --full, else 1")
    parser.add_argument("--labels", type=int, default=3)
    parser.add_argument("--memory", type=float, default=2.0, help="gigabytes for the forwards of one call")
    arguments = parser.parse_args()
    full_size(10, 14, (448, 832))
    width, height = map(int, (arguments.size or ("832x448" if arguments.full else "128x128")).split("x"))
    frames = arguments.frames or (14 if arguments.full else 1)
    architecture, card = (None, get_card("sd-2.1-base")) if arguments.full else narrow(arguments.width)
    dtype = torch.bfloat16 if arguments.device == "cuda" else torch.float32
    backbone = random_backbone(card, architecture=architecture, device=arguments.device, dtype=dtype)
    backbone.condition("")
    batch = make_batch(backbone, (height, width), frames, arguments.labels)
    if arguments.device == "cpu":
        torch.set_num_threads(1)
    channels = backbone.denoiser.config.block_out_channels[0]
    print(f"run: {channels} channels, {width}x{height}, {frames} frames, {arguments.labels} labels, {arguments.device}")
    print("  way                          whole suffix decoded     GFLOP   ratio   seconds   ratio    memory")
    first = None
    for name, run in ways(backbone, int(arguments.memory * 2**30)).items():
        total = operations(run, backbone, batch) / 1e9
        if arguments.device == "cuda":
            count, seconds, peak = measure(run, backbone, batch)
        else:
            # A process of its own, for what a run takes is not given back.
            context = get_context("fork")
            answers = context.SimpleQueue()
            process = context.Process(target=_measured, args=(answers, run, backbone, batch))
            process.start()
            count, seconds, peak = answers.get()
            process.join()
        first = first or (total, seconds)
        print(
            f"  {name:28} {count.whole:5} {count.suffix:6} {count.decoded:7} {total:9.1f} {first[0] / total:6.2f}x "
            f"{seconds:9.2f} {first[1] / seconds:6.2f}x {peak / 2**20:6.0f} MB",
            flush=True,
        )


def _measured(answers, run, backbone, batch):
    answers.put(measure(run, backbone, batch))


if __name__ == "__main__":
    main()
