"""What is run from a remembered block equals a whole forward, whichever block it is."""

import pytest
import torch

from undertow.backbones import Site
from undertow.backbones.reading.edits import AddMap, Inject, recording
from undertow.base import SettingsError

PATHS = [f"up_blocks.{i}.attentions.{j}" for i in (0, 1) for j in (0, 1)]

CLOSE = 2e-6  # other batches take other paths through the kernels


@pytest.fixture(scope="module")
def model(tiny_like):
    return tiny_like


@pytest.fixture(scope="module")
def latents():
    return torch.randn(3, 4, 8, 12, generator=torch.Generator().manual_seed(0))


def _sites():
    return [
        Site(f"{path}.transformer_blocks.0.{name}", kind, 1, 128, 8)
        for path in PATHS
        for name, kind in (("attn1", "self"), ("attn2", "cross"))
    ]


@pytest.mark.parametrize("block", PATHS)
def test_the_rest_equals_a_whole_forward(model, latents, block):
    trace = model.trace(latents, 41, block=block, sites=_sites())
    assert torch.equal(trace.prediction, model.denoise(latents, 41))
    rows = torch.tensor([2, 0, 0, 1])
    torch.testing.assert_close(trace.rest(rows), trace.prediction[rows], rtol=0, atol=CLOSE)

    size = trace.output.shape[2] * trace.output.shape[3]
    added = AddMap(block, torch.linspace(-20, 20, 4 * size).view(4, size), torch.linspace(0, 1, trace.output.shape[1]))
    whole = model.denoise(latents[rows], 41, edits=[added])
    assert (whole - trace.prediction[rows]).abs().max() > 1e-3, "the edit matters"
    torch.testing.assert_close(trace.rest(rows, added, inject=False), whole, rtol=0, atol=CLOSE)


@pytest.mark.parametrize("block", PATHS[1:3])
def test_later_attention_is_that_of_the_recorded_frames(model, latents, block):
    sites = _sites()
    with recording(model.denoiser, sites) as kept:
        model.denoise(latents, 41)
    rows = torch.tensor([1, 2])
    # Before the block, injection of a forward's own queries and keys changes nothing, so all sites may be injected.
    injected = [Inject(site.path, kept.queries[site.path][rows], kept.keys[site.path][rows]) for site in sites]
    trace = model.trace(latents, 41, block=block, sites=sites)
    size = trace.output.shape[2] * trace.output.shape[3]
    added = AddMap(block, torch.ones(2, size) * torch.linspace(-9, 9, size))
    whole = model.denoise(latents[rows], 41, edits=[*injected, added])
    torch.testing.assert_close(trace.rest(rows, added), whole, rtol=0, atol=CLOSE)
    assert not torch.allclose(trace.rest(rows, added, inject=False), whole, atol=1e-5)

    others = latents[rows].flip(3)
    torch.testing.assert_close(trace.whole(others, rows), model.denoise(others, 41, edits=injected), rtol=0, atol=CLOSE)


def test_only_what_follows_is_computed(model, latents):
    trace = model.trace(latents, 41, block=PATHS[2])
    ran = []
    handles = [
        module.register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, module in model.denoiser.named_modules()
        if isinstance(module, torch.nn.Conv2d) and name != "conv_in"  # that one answers from memory
    ]
    trace.rest(torch.tensor([0]))
    for handle in handles:
        handle.remove()
    later = ("up_blocks.1.resnets.1", "up_blocks.1.attentions.1", "up_blocks.1.upsamplers", "up_blocks.2", "conv_out")
    assert all(name.startswith(later) for name in ran)
    assert {name.split(".")[0] for name in ran} == {"up_blocks", "conv_out"}
    # One skip connection of this block lies ahead and two of the next: of the others only the shape is kept.
    held = [skip for skips in trace._memory._skips.values() for skip in skips if skip.stride() != (0,) * 4]
    assert len(held) == 3
    assert not any("forward" in vars(module) or module._forward_hooks for module in model.denoiser.modules())


def test_blocks_that_are_none_are_refused(model, latents):
    with pytest.raises(SettingsError, match=r"up_blocks\.I"):
        model.trace(latents, 41, block="mid_block.attentions.0")
    with pytest.raises(SettingsError, match="no module"):
        model.trace(latents, 41, block="up_blocks.1.attentions.7")
    with pytest.raises(SettingsError, match="without a block"):
        model.trace(latents, 41).rest(torch.tensor([0]))
