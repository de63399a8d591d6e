"""Time and peak memory of a tuning step: the straightforward way against ours, and that both have the same loss.

    python benchmarks/tuning_cost.py --model tiny --tokens 1600 --objects 3 --steps 3
    python benchmarks/tuning_cost.py --model sd-2.1 --width 0.25 --tokens 1024 --objects 3 --steps 1

Straightforward: one object after the other, the whole network with attention as matrices (as code that reads
attention probabilities runs it), the loss by a matrix of tokens by tokens, autograd from the text on. `matrix at the
site` is the same with fused attention in the network. Ours: objects as one batch, what comes before the text computed
once, the forward left at the site, masks carried as values; `recomputed` forgets activations and computes them again.
Each way runs in a process of its own; memory is how far its resident set rises above what it is before the first step,
where weights and latents are loaded. Models other than `tiny` have random weights; `--width` makes them narrower.
"""

import argparse
import json
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
from undertow.tracking.features import resize
from undertow.tracking.tuning import Objective, TuningSettings

WAYS = ("matrices", "matrix at the site", "ours", "ours, recomputed")


def build(asked):
    """Returns the model, its tuning site behind a cross-attention."""
    if asked.model == "tiny":
        model = load("tiny", dtype="float32")
        site = Site("up_blocks.1.attentions.0.transformer_blocks.0.attn1", "self", 1, 128, 8)
        model.card = replace(model.card, sites={**model.card.sites, "tuning": (site,)})
        return model
    card, published = get_card(asked.model), ARCHITECTURES[asked.model]
    channels = [int(width * asked.width) // 64 * 64 for width in published.unet["block_out_channels"]]
    heads = [width // 64 for width in channels]
    unet = {**published.unet, "block_out_channels": channels, "attention_head_dim": heads}
    sites = tuple(replace(site, heads=heads[0], head_dim=64) for site in card.sites["track"])
    small = {"block_out_channels": (32, 32, 32, 32), "layers_per_block": 1}
    architecture = replace(published, unet=unet, vae={**published.vae, **small})
    return random_backbone(replace(card, sites={"track": sites}), architecture=architecture)


def scene(objects):
    """Returns noise of some smoothness, and squares as objects."""
    random = np.random.default_rng(0)
    image = np.kron(random.integers(0, 256, (24, 42, 3)), np.ones((20, 20, 1))).astype(np.uint8)
    labels = np.zeros(image.shape[:2], np.uint16)
    for number in range(objects):
        labels[100:300, 100 + 200 * number : 240 + 200 * number] = number + 1
    return image, labels


def straightforward(model, latents, resolved, states, logits, mask):
    """Returns the loss of one object by the formulas (DRIFT, section 4.2)."""
    seen, handles = {}, []
    for site in resolved.sites:
        attention = model.unet.get_submodule(site.path)
        for which, module in (("q", attention.to_q), ("k", attention.to_k)):
            key = (site.path, which)
            handles.append(module.register_forward_hook(lambda _, __, out, key=key: seen.__setitem__(key, out)))
    model.unet(latents, resolved.noising.timestep, states[None])
    for handle in handles:
        handle.remove()
    carried = []
    for site in resolved.sites:
        q, k = (seen[site.path, which][0].unflatten(-1, (site.heads, -1)).movedim(1, 0) for which in "qk")
        attention = (q @ k.mT / site.head_dim**0.5 / resolved.kernel.temperature).softmax(-1)
        carried.append(attention @ mask)
    mixed = (logits.softmax(-1)[:, None] * torch.cat(carried)).sum(0).clamp(1e-6, 1 - 1e-6)
    return -(mask * mixed.log() + (1 - mask) * (1 - mixed).log()).mean()


def resident(name):
    text = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name)) / 1024


def measure(asked):
    """Runs one way and prints what it took."""
    set_threads(1)
    model = build(asked)
    image, labels = scene(asked.objects)
    size = None if asked.size is None else tuple(map(int, asked.size.split("x")))
    tokens = asked.tokens if size is None else None
    settings = TrackSettings(preset="drift", tokens=tokens, size=size)
    resolved = resolve(settings, model, *labels.shape, tuned=True)
    ids = list(range(1, asked.objects + 1))
    null, heads = model.embed("").tensor, sum(site.heads for site in resolved.sites)
    latents = model.encode(np.stack([resize(image, resolved.input_size)]))
    if resolved.noising.kind == "invert":
        # The way to the noise level is the same for all, and not what is measured.
        resolved = replace(resolved, noising=replace(resolved.noising, kind="noise"))
    latents = model.prepare(latents, resolved.noising, [0])
    if asked.way == "matrices":
        model.unet.set_attn_processor(AttnProcessor())
    objective = Objective(model, image, 0, labels, ids, resolved, TuningSettings(recomputed="recomputed" in asked.way))
    masks = objective.frame.masks
    states = null.expand(asked.objects, -1, -1).clone().requires_grad_()
    logits = torch.zeros(asked.objects, heads, requires_grad=True)
    Path("/proc/self/clear_refs").write_text("5")
    before, losses, wall, used = resident("VmRSS"), [], time.perf_counter(), time.process_time()
    adam = torch.optim.Adam([states, logits], lr=1e-4)
    for _ in range(asked.steps):
        adam.zero_grad()
        if asked.way.startswith("ours"):
            per_object = objective.losses(objective.heads(states), logits.softmax(-1))
            per_object.sum().backward()
            losses.append(per_object.tolist())
        else:
            losses.append([])
            for place in range(asked.alone):
                one = straightforward(model, latents, resolved, states[place], logits[place], masks[place])
                one.backward()
                losses[-1].append(float(one.detach()))
        adam.step()
    count = asked.steps * (asked.objects if asked.way.startswith("ours") else asked.alone)
    facts = {
        "tokens": resolved.grid[0] * resolved.grid[1],
        "cpu_s": (time.process_time() - used) / count,
        "wall_s": (time.perf_counter() - wall) / count,
        "peak_mb": resident("VmHWM") - before,
        "losses": losses,
    }
    print(json.dumps(facts))


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny", choices=["tiny", *ARCHITECTURES])
    parser.add_argument("--tokens", type=int, default=1600)
    parser.add_argument("--objects", type=int, default=3)
    parser.add_argument("--alone", type=int, help="objects that ways of one object are timed on; all of them")
    parser.add_argument("--size", help="model input as WIDTHxHEIGHT, instead of tokens")
    parser.add_argument("--ways", default="; ".join(WAYS), help="which ways, ours among them, separated by ;")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--width", type=float, default=1.0, help="share of the published channels")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
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
        done = subprocess.run([sys.executable, *sys.argv, "--way", way], capture_output=True, text=True, check=True)
        found[way] = json.loads(done.stdout)
        print(way, done.stdout, file=sys.stderr, flush=True)
    ours = next(facts for way, facts in found.items() if way.startswith("ours"))
    print(
        f"{asked.model}, width {asked.width:g}, {ours['tokens']} tokens, {asked.objects} objects, {asked.steps} steps"
    )
    print(
        "| way | CPU s per object and step | time ratio | peak MB | MB ratio | MB ratio per object | loss differs by |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|")
    for way, facts in found.items():
        mine = np.array(facts["losses"])
        apart = np.abs(mine - np.array(ours["losses"])[:, : mine.shape[1]]).max()
        # Ours has all objects in memory at once, the other ways one.
        each = facts["peak_mb"] * (1 if way.startswith("ours") else asked.objects) / ours["peak_mb"]
        ratios = (
            f"{facts['cpu_s'] / ours['cpu_s']:.1f} | {facts['peak_mb']:.0f} | {facts['peak_mb'] / ours['peak_mb']:.1f}"
        )
        print(f"| {way} | {facts['cpu_s']:.3f} | {ratios} | {each:.1f} | {apart:.1e} |")


if __name__ == "__main__":
    main()
