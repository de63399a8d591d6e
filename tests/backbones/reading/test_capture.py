"""Early exit shows exactly what a whole forward computes, and leaves no trace in the model."""

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from undertow.backbones import Site
from undertow.base import SettingsError


def whole_forward(model, latents, timestep, sites):
    """The obvious reference: run the denoiser to its end and record the inputs of the sites' attentions."""
    seen, handles = {}, []
    for site in sites:
        attention = model.denoiser.get_submodule(site.path)
        block = model.denoiser.get_submodule(site.path.removesuffix(".attn1"))
        handles.append(
            attention.register_forward_pre_hook(lambda _, args, path=site.path: seen.__setitem__(path, args[0]))
        )
        handles.append(
            block.register_forward_pre_hook(lambda _, args, path=site.path: seen.__setitem__("in " + path, args[0]))
        )
    states = model.condition("").tensor.expand(len(latents), -1, -1)
    with torch.no_grad():
        model.denoiser(latents, timestep, states)
    for handle in handles:
        handle.remove()
    queries, keys = {}, {}
    for site in sites:
        attention, entered = model.denoiser.get_submodule(site.path), seen[site.path]
        shape = (len(entered), entered.shape[1], site.heads, site.head_dim)
        with torch.no_grad():
            queries[site.path] = attention.to_q(entered).reshape(shape).permute(0, 2, 1, 3)
            keys[site.path] = attention.to_k(entered).reshape(shape).permute(0, 2, 1, 3)
    return queries, keys, {site.path: seen["in " + site.path] for site in sites}


def hook_count(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_early_exit_equals_a_whole_forward(model, latents, sites):
    queries, keys, hidden = whole_forward(model, latents, 41, sites)
    seen = model.observe(latents, 41, sites, features=True)
    assert seen.grid == (8, 12) and seen.stride == 2
    for site in sites:
        assert seen.queries[site.path].shape == (3, site.heads, 96, site.head_dim)
        assert torch.equal(seen.queries[site.path], queries[site.path])
        assert torch.equal(seen.keys[site.path], keys[site.path])
        assert torch.equal(seen.features[site.path], hidden[site.path])


def test_features_are_kept_only_when_asked_for(model, latents, sites):
    assert model.observe(latents, 41, sites).features == {}


def test_the_forward_ends_at_the_last_site_and_its_values_are_never_computed(model, latents, sites):
    ran = []
    watched = {"first": sites[0].path + ".to_v", "last": sites[1].path + ".to_v", "output": "conv_out"}
    handles = [
        model.denoiser.get_submodule(path).register_forward_hook(lambda *_, name=name: ran.append(name))
        for name, path in watched.items()
    ]
    try:
        # The order in which sites are named does not matter; the order in the network does.
        model.observe(latents, 41, [sites[1], sites[0]])
        assert ran == ["first"]
        model.denoise(latents, 41)
        assert ran == ["first", "first", "last", "output"]
    finally:
        for handle in handles:
            handle.remove()


def test_coarser_grids_and_cross_attention(model, latents):
    coarse = Site("mid_block.attentions.0.transformer_blocks.0.attn1", "self", 4, 16, 4)
    text = Site("mid_block.attentions.0.transformer_blocks.0.attn2", "cross", 4, 16, 4)
    seen = model.observe(latents, 41, [coarse, text])
    assert seen.grid == (4, 6)
    assert seen.keys[coarse.path].shape == (3, 4, 24, 16)
    assert seen.queries[text.path].shape == (3, 4, 24, 16)
    assert seen.keys[text.path].shape == (3, 4, 9, 16)


def test_norms_of_queries_and_keys_are_applied(model, latents, sites):
    plain = model.observe(latents, 41, sites[:1])
    attention = model.denoiser.get_submodule(sites[0].path)
    assert attention.norm_q is None
    attention.norm_q, attention.norm_k = torch.nn.LayerNorm(16), torch.nn.RMSNorm(16)
    try:
        normed = model.observe(latents, 41, sites[:1])
        path = sites[0].path
        assert torch.equal(normed.queries[path], attention.norm_q(plain.queries[path]))
        assert torch.equal(normed.keys[path], attention.norm_k(plain.keys[path]))
    finally:
        attention.norm_q = attention.norm_k = None


def test_the_text_reaches_the_queries(model, latents, sites):
    null, text = model.observe(latents, 41, sites), model.observe(latents, 41, sites, model.condition("a dog"))
    assert not torch.allclose(null.queries[sites[0].path], text.queries[sites[0].path], atol=1e-5)


def test_a_batch_equals_its_frames_one_by_one(model, latents, sites):
    together = model.observe(latents, 41, sites, features=True)
    for frame in range(3):
        alone = model.observe(latents[frame : frame + 1], 41, sites, features=True)
        for site in sites:
            for kind in ("queries", "keys", "features"):
                torch.testing.assert_close(
                    getattr(together, kind)[site.path][frame], getattr(alone, kind)[site.path][0], rtol=1e-4, atol=1e-5
                )


def test_bfloat16_agrees_with_float32(model, bf16_model, latents, sites):
    exact, rough = model.observe(latents, 41, sites), bf16_model.observe(latents, 41, sites)
    for site in sites:
        q, k = exact.queries[site.path], rough.queries[site.path]
        assert k.dtype == torch.bfloat16
        assert (q - k.float()).norm() / q.norm() < 0.05
    assert bf16_model.denoise(latents, 41).dtype == torch.float32


def test_an_exception_inside_leaves_the_model_as_it_was(model, latents, sites):
    before = model.observe(latents, 41, sites)
    processors = {name: id(processor) for name, processor in model.denoiser.attn_processors.items()}

    class Trouble(Exception):
        pass

    def trouble(*_):
        raise Trouble

    # One breaks before the first site, one between the sites.
    for path in ("mid_block", sites[0].path + ".to_v"):
        handle = model.denoiser.get_submodule(path).register_forward_hook(trouble)
        with pytest.raises(Trouble):
            model.observe(latents, 41, sites, features=True)
        handle.remove()
        assert hook_count(model.denoiser) == 0
        assert {name: id(processor) for name, processor in model.denoiser.attn_processors.items()} == processors
    after = model.observe(latents, 41, sites)
    assert all(torch.equal(before.keys[site.path], after.keys[site.path]) for site in sites)
    assert hook_count(model.denoiser) == 0


def test_threads_take_turns(model, latents, sites):
    expected = model.observe(latents, 41, sites).keys[sites[0].path]
    prediction = model.denoise(latents, 41)
    wrong = []

    def work(number):
        for _ in range(4):
            if number % 2:
                same = torch.allclose(model.denoise(latents, 41), prediction, atol=1e-4)
            else:
                keys = model.observe(latents, 41, sites).keys
                same = torch.allclose(keys[sites[0].path], expected, atol=1e-4)
            if not same:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (lambda s: [], "no sites are given"),
        (lambda s: [s[0], replace(s[1], stride=4)], r"strides \[2, 4\]"),
        (lambda s: [replace(s[0], path="up_blocks.9.attn1")], "no attention called 'up_blocks.9.attn1'"),
        (lambda s: [replace(s[0], path="conv_in")], "no attention called 'conv_in'"),
        (lambda s: [replace(s[0], heads=4)], "2 heads of 16 in this model, not 4 of 16"),
    ],
)
def test_wrong_sites_are_named(model, latents, sites, wanted, message):
    with pytest.raises(SettingsError, match=message):
        model.observe(latents, 41, wanted(sites))


def test_a_site_that_takes_no_part_is_an_error(model, latents, sites):
    attention = model.denoiser.get_submodule(sites[0].path)
    processor = attention.processor

    def passive(attn, hidden_states, encoder_hidden_states=None, attention_mask=None):
        return torch.zeros_like(hidden_states)

    class Passive:
        __call__ = staticmethod(passive)

    attention.processor = Passive()
    try:
        with pytest.raises(SettingsError, match="took no part"):
            model.observe(latents, 41, sites[:1])
    finally:
        attention.processor = processor
    assert hook_count(model.denoiser) == 0


def test_observation_is_repeatable(model, images, sites):
    one, two = (model.observe(model.encode(images), 41, sites).keys[sites[0].path] for _ in range(2))
    assert np.array_equal(one.numpy(), two.numpy())
