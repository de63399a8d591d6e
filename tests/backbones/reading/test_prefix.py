"""What is remembered changes no number, costs no gradient, and leaves no trace."""

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.resnet import Downsample2D, ResnetBlock2D

from undertow.backbones.reading import prefix
from undertow.backbones.reading.edits import answering
from undertow.backbones.reading.prefix import saving_forwards


def test_it_shows_what_observing_shows(model, latents, sites):
    states = torch.stack([model.condition("").tensor, model.condition("a dog").tensor])
    observer = model.observer(latents[:1], 41, sites, features=True)
    seen = observer(states)
    for place, text in enumerate(("", "a dog")):
        expected = model.observe(latents[:1], 41, sites, model.condition(text), features=True)
        for site in sites:
            for mine, theirs in (
                (seen.queries, expected.queries),
                (seen.keys, expected.keys),
                (seen.features, expected.features),
            ):
                torch.testing.assert_close(mine[site.path][place], theirs[site.path][0], atol=1e-5, rtol=1e-4)


def test_gradients_are_those_of_a_whole_forward(model, latents, sites):
    site = sites[-1]
    states = torch.stack([model.condition("a dog").tensor] * 2).requires_grad_()
    seen = model.observer(latents[:1], 41, [site])(states)
    (ours,) = torch.autograd.grad((seen.queries[site.path] * seen.keys[site.path]).sum(), states)

    kept = {}
    attention = model.denoiser.get_submodule(site.path)
    handles = [
        attention.to_q.register_forward_hook(lambda _, __, out: kept.__setitem__("q", out)),
        attention.to_k.register_forward_hook(lambda _, __, out: kept.__setitem__("k", out)),
    ]
    model.denoiser(latents[:1].expand(2, -1, -1, -1), 41, states)
    for handle in handles:
        handle.remove()
    (theirs,) = torch.autograd.grad((kept["q"] * kept["k"]).sum(), states)
    assert theirs.abs().max() > 0
    torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=1e-3)


def test_what_comes_before_the_text_runs_once_and_all_is_put_back(model, latents, sites):
    calls = []
    handle = (
        model.denoiser.conv_in.weight.register_hook(calls.append)
        if model.denoiser.conv_in.weight.requires_grad
        else None
    )
    assert handle is None, "the network is frozen"
    observer = model.observer(latents[:1], 41, [sites[-1]])
    before = model.denoiser.conv_in.forward
    model.denoiser.conv_in.register_forward_hook(lambda *_: calls.append(1))
    try:
        first = observer(model.condition("").tensor[None])
        bias = model.denoiser.conv_in.bias.clone()
        model.denoiser.conv_in.bias += 1  # remembered outputs do not notice
        second = observer(model.condition("").tensor[None])
        model.denoiser.conv_in.bias.copy_(bias)
    finally:
        model.denoiser.conv_in._forward_hooks.clear()
    assert torch.equal(first.keys[sites[-1].path], second.keys[sites[-1].path])
    assert model.denoiser.conv_in.forward == before
    assert not any("forward" in vars(module) for module in model.denoiser.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.denoiser.modules())


def test_a_site_before_any_text_is_constant(tiny_like):
    card = tiny_like.card
    latents = torch.randn(1, 4, 24, 40, generator=torch.Generator().manual_seed(0))
    observer = tiny_like.observer(latents, 201, card.sites["track"])
    assert not observer.reached
    seen = observer(tiny_like.condition("").tensor.expand(3, -1, -1))
    (site,) = card.sites["track"]
    assert torch.equal(
        seen.keys[site.path], tiny_like.observe(latents, 201, [site]).keys[site.path].expand(3, -1, -1, -1)
    )


def test_compiled_blocks_show_the_same(model, latents, sites, monkeypatch):
    compiled = []

    def eager(forward, **_):
        compiled.append(forward)
        return forward

    monkeypatch.setattr(torch, "compile", eager)
    states = model.condition("a dog").tensor[None]
    site = sites[-1]
    observer = model.observer(latents[:1], 41, [site], compiled=True)
    assert compiled and not any(module.__self__ is model.denoiser for module in compiled)
    expected = model.observer(latents[:1], 41, [site])(states).keys[site.path]
    torch.testing.assert_close(observer(states).keys[site.path], expected)


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
    monkeypatch.setattr(prefix, "TOKENS_CPU", 50)
    module, inputs = module_and_inputs
    forwards = saving_forwards(module.modules())
    assert forwards
    first = inputs[0].requires_grad_()
    plain, before = kept_by(lambda: module(*inputs))
    with answering(forwards):
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
    monkeypatch.setattr("undertow.backbones.reading.prefix.saving_forwards", lambda modules: {})
    observer = model.observer(latents[:1], 41, [sites[-1]])
    _, plain = kept_by(lambda: observer(states))
    assert spared < 0.7 * plain


def test_learned_weights_and_other_padding_are_left_alone():
    learned, circular = torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3, padding_mode="circular")
    assert not saving_forwards([learned, circular.requires_grad_(False)])


def test_what_was_replaced_before_is_put_back():
    module = torch.nn.Linear(2, 2)
    with answering({module: lambda values: values + 1}):
        with answering({module: lambda values: values + 2}):
            assert module(1) == 3
        assert module(1) == 2
    assert "forward" not in vars(module)
