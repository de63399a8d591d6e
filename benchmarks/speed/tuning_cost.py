"""Time and peak memory of a tuning step: the straightforward way against ours, and that both have the same loss.

    python benchmarks/speed/tuning_cost.py --model tiny --tokens 1600 --objects 3 --steps 5
    python benchmarks/speed/tuning_cost.py --model sd-2.1 --size 512x512 --objects 1 --steps 1 --ways ours

Straightforward: one object after the other, the whole network with attention as matrices (as code that reads
attention probabilities runs it), the loss by the site's own matrix, autograd from the text on, weights frozen. With
`fused`, the network's attentions but the site's are fused. Ours: what comes before the text computed once, the forward
left at the site, loss and gradient in one sweep over rows, little kept; objects one by one, as is the default on a CPU,
or `together` as one batch; `recomputed` forgets still more. `bfloat16` is what models are loaded in by default where
the processor has it. Each way runs in a process of its own. Time is the least of a step (and object); memory is how
far the process's resident set rises above what it is before the first step, where weights, latents and, by a step on a
sixteenth of the tokens, libraries are loaded. Of more than one step, memory is that of the first, in a run of its own
in which freed memory is given back at once. Models other than `tiny` have random weights; `--width` makes them
narrower.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor

from undertow.backbones import Site, get_card, load, random_backbone
from undertow.backbones.published import ARCHITECTURES
from undertow.base import set_threads
from undertow.tracking import TrackSettings, resolve
from undertow.tracking.settings import observer_of
from undertow.tracking.tuning import Objective, TuningSettings

WAYS = "straightforward; ours; ours, together; ours, recomputed; straightforward, bfloat16; ours, bfloat16"


def build(asked, dtype):
    """Returns the model, its tuning site behind a cross-attention."""
    if asked.model == "tiny":
        model = load("tiny", dtype=dtype)
        site = Site("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "self", 1, 128, 8)
        model.card = replace(model.card, sites={**model.card.sites, "tuning": (site,)})
        return model
    card, published = get_card(asked.model), ARCHITECTURES[asked.model]
    channels = [int(width * asked.width) // 64 * 64 for width in published.denoiser[1]["block_out_channels"]]
    heads = [width // 64 for width in channels]
    unet = {**published.denoiser[1], "block_out_channels": channels, "attention_head_dim": heads}
    sites = tuple(replace(site, heads=heads[0], head_dim=64) for site in card.sites["track"])
    small = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
    architecture = replace(
        published, denoiser=(published.denoiser[0], unet), vae=(published.vae[0], {**published.vae[1], **small})
    )
    card = replace(card, sites={"track": sites})
    return random_backbone(card, architecture=architecture, dtype=getattr(torch, dtype))


def scene(objects):
    """Returns noise of some smoothness, and squares as objects."""
    random = np.random.default_rng(0)
    image = np.kron(random.integers(0, 256, (24, 42, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    labels = np.zeros(image.shape[:2], np.uint16)
    for number in range(objects):
        labels[100:300, 100 + 200 * number : 240 + 200 * number] = number + 1
    return image, labels


class Probabilities(AttnProcessor):
    """Attention as matrices, softened as asked for, which are kept."""

    def __init__(self, temperature):
        super().__init__()
        self.temperature, self.kept = temperature, None

    def __call__(self, attention, *inputs, **named):  # noqa: D102
        scores = attention.get_attention_scores

        def kept(query, key, mask=None):
            self.kept = scores(query / self.temperature, key, mask)
            return self.kept

        attention.get_attention_scores = kept
        try:
            return super().__call__(attention, *inputs, **named)
        finally:
            del attention.get_attention_scores


def straightforward(model, latents, resolved, states, logits, mask):
    """Returns the loss of one object by the formulas (DRIFT, section 4.2)."""
    keepers = [model.denoiser.get_submodule(site.path).processor for site in resolved.sites]
    model.denoiser(latents, resolved.noising.timestep, states[None].to(model.dtype))
    carried = torch.cat([keeper.kept.float() @ mask for keeper in keepers])
    mixed = (logits.softmax(-1)[:, None] * carried).sum(0).clamp(1e-6, 1 - 1e-6)
    return -(mask * mixed.log() + (1 - mask) * (1 - mixed).log()).mean()


def resident(name):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) / 1024


def prepare(model, asked, share=1.0):
    """Returns a function that takes one step and returns the losses; `share` of the tokens."""
    kind, *flags = asked.way.split(", ")
    image, labels = scene(asked.objects)
    size = (
        None if asked.size is None else tuple(round(int(side) * share**0.5 / 64) * 64 for side in asked.size.split("x"))
    )
    tokens = round(asked.tokens * share) if size is None else None
    settings = TrackSettings(preset="drift", tokens=tokens, size=size)
    resolved = resolve(settings, model, *labels.shape, tuned=True)
    if resolved.noising.kind == "invert":
        # The way to the noise level is the same for all, and not what is measured.
        resolved = replace(resolved, noising=replace(resolved.noising, kind="noise"))
    null, heads = model.condition("").tensor, sum(site.heads for site in resolved.sites)
    observer = observer_of(model, resolved)
    latents = observer.noise(observer.encode([image], [0]), [0]).to(model.dtype)
    tuning = TuningSettings(recomputed="recomputed" in flags, together=asked.objects if "together" in flags else None)
    ids = list(range(1, asked.objects + 1))
    objective = Objective(model, image, 0, labels, ids, resolved, tuning)
    if kind != "ours":
        if "fused" not in flags:
            model.denoiser.set_attn_processor(AttnProcessor())
        for site in resolved.sites:
            model.denoiser.get_submodule(site.path).set_processor(Probabilities(resolved.kernel.temperature))
    states = null.expand(asked.objects, -1, -1).clone().requires_grad_()
    logits = torch.zeros(asked.objects, heads, requires_grad=True)
    adam = torch.optim.Adam([states, logits], lr=1e-4)

    def step():
        adam.zero_grad()
        if kind == "ours":
            weights = logits.softmax(-1)
            of_each, gradients = objective.descend(states, weights)
            torch.autograd.backward([states, weights], gradients)
            losses = of_each.tolist()
        else:
            losses = []
            for place in range(asked.alone):
                mask = objective.frame.masks[place]
                one = straightforward(model, latents, resolved, states[place], logits[place], mask)
                one.backward()
                losses.append(float(one.detach()))
        adam.step()
        return losses

    return step, resolved.grid[0] * resolved.grid[1]


def measure(asked):
    """Runs one way and prints what it took."""
    set_threads(1)
    model = build(asked, "bfloat16" if "bfloat16" in asked.way else "float32")
    # Libraries load code and make kernels when they are first asked.
    prepare(model, asked, share=1 / 16)[0]()
    step, tokens = prepare(model, asked)
    Path("/proc/self/clear_refs").write_text("5")
    before, losses, seconds = resident("VmRSS"), [], []
    for _ in range(asked.steps):
        used = time.process_time()
        losses.append(step())
        seconds.append((time.process_time() - used) / len(losses[-1]))
    facts = {"tokens": tokens, "cpu_s": min(seconds), "peak_mb": resident("VmHWM") - before, "losses": losses}
    print(json.dumps(facts))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", choices=["tiny", *ARCHITECTURES])
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--alone", type=int, help="objects that ways of one object are timed on; all of them")
    parser.add_argument("--size", help="model input as WIDTHxHEIGHT, instead of tokens")
    parser.add_argument("--ways", default=WAYS, help="which ways, separated by ;")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="share of the published channels")
    parser.add_argument("--way", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    asked.alone = asked.alone or asked.objects
    return asked


def main():
    asked = options()
    if asked.way:
        measure(asked)
        return
    found = {}
    for way in asked.ways.split("; "):
        command = [sys.executable, *sys.argv, "--way", way]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[way] = facts = json.loads(done.stdout)
        if asked.steps > 1:
            # Memory that is freed goes back to the system at once, which takes time.
            tidy = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072"}
            done = subprocess.run([*command, "--steps", "1"], capture_output=True, text=True, check=True, env=tidy)
            facts["peak_mb"] = json.loads(done.stdout)["peak_mb"]
        print(way, found[way], file=sys.stderr, flush=True)
    first = next(iter(found.values()))
    print(
        f"{asked.model}, width {asked.width:g}, {first['tokens']} tokens, {asked.objects} objects, {asked.steps} steps"
    )
    print("| way | CPU s per object and step | times less | peak MB | per object | times less | loss differs by |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for way, facts in found.items():
        one, other = (np.array(each["losses"]) for each in (facts, first))
        seen = min(one.shape[1], other.shape[1])
        apart = np.abs(one[:, :seen] - other[:, :seen]).max()
        # A batch has all objects in memory at once, the other ways one.
        each = facts["peak_mb"] / (asked.objects if "together" in way else 1)
        print(
            f"| {way} | {facts['cpu_s']:.3f} | {first['cpu_s'] / facts['cpu_s']:.1f} | {facts['peak_mb']:.0f} | "
            f"{each:.0f} | {first['peak_mb'] / each:.1f} | {apart:.1e} |"
        )


if __name__ == "__main__":
    main()
