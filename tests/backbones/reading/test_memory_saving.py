"""Frugal forwards give the same outputs and gradients, keep less, and are gone afterwards."""

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import Downsample2D, ResnetBlock2D

from undertow.backbones.reading import memory_saving as frugal
from undertow.backbones.reading.memory_saving import frugal_forwards, replaced


def kept_by(call):
    """Returns what a call gives, and how many bytes it keeps for its gradients, weights left out."""
    sizes = {}

    def pack(tensor):
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        found = call()
    return found, sum(sizes.values())


@pytest.fixture(params=["residual", "feed-forward", "strided"])
def module_and_inputs(request):
    torch.manual_seed(0)
    values = torch.randn(2, 16, 8, 12)
    if request.param == "residual":
        module = ResnetBlock2D(in_channels=16, out_channels=32, temb_channels=24, groups=4)
        inputs = (values, torch.randn(2, 24))
    elif request.param == "feed-forward":
        module, inputs = FeedForward(16, activation_fn="geglu"), (values.flatten(2).mT.contiguous(),)
    else:
        module, inputs = Downsample2D(16, use_conv=True), (values,)
    return module.eval().requires_grad_(False), inputs


def test_outputs_and_gradients_are_the_same_for_less_memory(module_and_inputs, monkeypatch):
    monkeypatch.setattr(frugal, "TOKENS_CPU", 50)
    module, inputs = module_and_inputs
    forwards = frugal_forwards(module.modules())
    assert forwards
    first = inputs[0].requires_grad_()
    plain, before = kept_by(lambda: module(*inputs))
    with replaced(forwards):
        spared, after = kept_by(lambda: module(*inputs))
    torch.testing.assert_close(spared, plain)
    above = torch.randn(plain.shape)
    (theirs,), (ours,) = torch.autograd.grad(plain, first, above), torch.autograd.grad(spared, first, above)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-4)
    assert after < 0.7 * before
    assert not any("forward" in vars(each) for each in module.modules())


def test_the_network_as_a_whole_keeps_less(model, latents, sites, monkeypatch):
    states = torch.stack([model.condition("a dog").tensor] * 2).requires_grad_()
    observer = model.observer(latents[:1], 41, [sites[-1]])
    _, spared = kept_by(lambda: observer(states))
    monkeypatch.setattr("undertow.backbones.reading.prefix.frugal_forwards", lambda modules: {})
    observer = model.observer(latents[:1], 41, [sites[-1]])
    _, plain = kept_by(lambda: observer(states))
    assert spared < 0.7 * plain


def test_learned_weights_and_other_padding_are_left_alone():
    learned, circular = torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3, padding_mode="circular")
    assert not frugal_forwards([learned, circular.requires_grad_(False)])


def test_what_was_replaced_before_is_put_back():
    module = torch.nn.Linear(2, 2)
    with replaced({module: lambda values: values + 1}):
        with replaced({module: lambda values: values + 2}):
            assert module(1) == 3
        assert module(1) == 2
    assert "forward" not in vars(module)
