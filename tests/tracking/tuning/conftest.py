import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import Site
from undertow.tracking import TrackSettings, resolve
from undertow.world import crossing_scene


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small steps by the hundred: on a busy machine, threads that wait for each other cost more than the work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _site(path):
    return Site(f"{path}.transformer_blocks.0.attn1", "self", 1, 128, 8)


@pytest.fixture(scope="session")
def tunable(tiny_like):
    """The small model, read where text reaches it: one attention before the first cross-attention, one behind."""
    sites = (_site("down_blocks.1.attentions.0"), _site("up_blocks.1.attentions.0"))
    model, card = copy.copy(tiny_like), tiny_like.card
    temperatures = {**card.temperatures, "drift, tuned": 0.5}
    model.card = replace(card, sites={**card.sites, "tuning": sites}, temperatures=temperatures)
    return model


@pytest.fixture(scope="session")
def clip():
    """Images and label maps of two objects that cross."""
    scene = crossing_scene(seed=11, height=96, width=160, frames=24)
    pictures = [scene.picture(float(t)) for t in range(3)]
    return np.stack([p.image for p in pictures]), [p.labels for p in pictures]


@pytest.fixture(scope="session")
def settings():
    return TrackSettings(preset="drift", tokens=60, batch=1)


@pytest.fixture(scope="session")
def resolved(tunable, settings):
    return resolve(settings, tunable, 96, 160, tuned=True)


@pytest.fixture(scope="session")
def plain():
    """The straightforward way: one object, the whole network, matrices of tokens by tokens."""

    def loss(model, latents, resolved, states, logits, mask, exclude_self=False):
        """Binary cross-entropy of the mask carried by softmax(q k / sqrt(d) / T), heads mixed (DRIFT, section 4.2)."""
        seen = {}

        def keep(path, which):
            return lambda _, __, output: seen.__setitem__((path, which), output)

        handles = []
        for site in resolved.sites:
            attention = model.denoiser.get_submodule(site.path)
            handles += [attention.to_q.register_forward_hook(keep(site.path, "q"))]
            handles += [attention.to_k.register_forward_hook(keep(site.path, "k"))]
        model.denoiser(latents, resolved.noising.timestep, states[None])
        for handle in handles:
            handle.remove()
        carried = []
        for site in resolved.sites:
            q, k = (seen[site.path, which][0].unflatten(-1, (site.heads, -1)).movedim(1, 0) for which in "qk")
            scores = q @ k.mT / site.head_dim**0.5 / resolved.kernel.temperature
            if exclude_self:
                scores = scores.masked_fill(torch.eye(scores.shape[-1]).bool(), -torch.inf)
            carried.append(scores.softmax(-1) @ mask)
        mixed = (logits.softmax(-1)[:, None] * torch.cat(carried)).sum(0).clamp(1e-6, 1 - 1e-6)
        return -(mask * mixed.log() + (1 - mask) * (1 - mixed).log()).mean()

    return loss
