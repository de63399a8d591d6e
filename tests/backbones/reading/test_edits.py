"""Edits change what they name and nothing else, and leave no trace."""

import pytest
import torch

from undertow.backbones import Site
from undertow.backbones.reading.edits import AddMap, Inject, Restrict, edited, recording
from undertow.base import SettingsError

SELF = "up_blocks.1.attentions.0.transformer_blocks.0.attn1"
CROSS = "up_blocks.1.attentions.0.transformer_blocks.0.attn2"
BLOCK = "up_blocks.1.attentions.0"


def _untouched(unet):
    hooks = any(m._forward_hooks or m._forward_pre_hooks for m in unet.modules())
    return not hooks and not any("forward" in vars(m) for m in unet.modules())


def _recorded(model, latents, *paths):
    with recording(model.denoiser, [Site(path, "self", 2, 16, 2) for path in paths]) as kept:
        prediction = model.denoise(latents, 41)
    return prediction, kept


def test_own_queries_and_keys_change_nothing(model, latents):
    prediction, kept = _recorded(model, latents, SELF, CROSS)
    edits = [Inject(path, kept.queries[path], kept.keys[path]) for path in (SELF, CROSS)]
    assert torch.equal(model.denoise(latents, 41, edits=edits), prediction)
    assert _untouched(model.denoiser)


def test_injected_keys_are_what_is_observed_and_attended_to(model, latents):
    prediction, kept = _recorded(model, latents, SELF)
    other = kept.keys[SELF].flip(1)
    edits = [Inject(SELF, keys=other)]
    seen = model.observe(latents, 41, [Site(SELF, "self", 2, 16, 2)], edits=edits)
    torch.testing.assert_close(seen.keys[SELF], other.unflatten(2, (2, 16)).transpose(1, 2), rtol=0, atol=0)
    assert not torch.allclose(model.denoise(latents, 41, edits=edits), prediction)
    # Flipping the values too would undo it: the values stay the attention's own, in their order.
    attention = model.denoiser.get_submodule(SELF)
    hidden = torch.randn(1, 24, 32, generator=torch.Generator().manual_seed(0))
    keys = attention.to_k(hidden).flip(1)
    with edited(model.denoiser, [Inject(SELF, keys=keys)]):
        found = attention(hidden)
    query, key, value = (
        each.unflatten(2, (2, 16)).transpose(1, 2) for each in (attention.to_q(hidden), keys, attention.to_v(hidden))
    )
    mixed = (query @ key.transpose(2, 3) / 4).softmax(3) @ value
    torch.testing.assert_close(found, attention.to_out[0](mixed.transpose(1, 2).flatten(2)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", [None, torch.linspace(-1, 1, 32)])
def test_a_map_is_added_to_an_attention_and_to_a_block(model, latents, direction):
    seen = {}

    def keep(module, _, output):
        seen[module] = output[0] if isinstance(output, tuple) else output

    attention, block = model.denoiser.get_submodule(SELF), model.denoiser.get_submodule(BLOCK)
    amounts = torch.arange(len(latents) * 96.0).view(len(latents), 96) / 96
    vector = torch.ones(32) if direction is None else direction
    for path, module in ((SELF, attention), (BLOCK, block)):
        edits = [AddMap(path, amounts, direction)]
        outputs = []
        for chosen in ([], edits):
            with edited(model.denoiser, chosen):
                # Registered last, so that it sees the output after the edit.
                handle = module.register_forward_hook(keep)
                model.denoiser(latents, 41, model.condition("").tensor.expand(len(latents), -1, -1))
                handle.remove()
            outputs.append(seen[module].clone())
        change = outputs[1] - outputs[0]
        if change.ndim == 4:
            change = change.flatten(2).transpose(1, 2)
        torch.testing.assert_close(change, amounts[..., None] * vector, rtol=1e-4, atol=1e-4)
    assert _untouched(model.denoiser)


def test_a_temporal_map_turns_frames_into_the_sequence():
    identity = torch.nn.Sequential(torch.nn.Identity())
    amounts = torch.arange(2 * 3 * 4.0).view(6, 4)  # two clips of three frames of four tokens
    with edited(identity, [AddMap("0", amounts, clip=3)]):
        found = identity(torch.zeros(2 * 4, 3, 1))[..., 0]
    for clip in range(2):
        for frame in range(3):
            for token in range(4):
                assert found[clip * 4 + token, frame] == amounts[clip * 3 + frame, token]


def test_a_restricted_key_is_not_attended_to(model, latents):
    attention = model.denoiser.get_submodule(SELF)
    hidden = torch.randn(2, 24, 32, generator=torch.Generator().manual_seed(1))
    bias = torch.zeros(1, 1, 24)
    bias[..., 10:] = -torch.inf
    with edited(model.denoiser, [Restrict(SELF, bias)]):
        found = attention(hidden)
    query = attention.to_q(hidden).unflatten(2, (2, 16)).transpose(1, 2)
    key, value = (p(hidden)[:, :10].unflatten(2, (2, 16)).transpose(1, 2) for p in (attention.to_k, attention.to_v))
    expected = ((query @ key.transpose(2, 3) / 4).softmax(3) @ value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(found, attention.to_out[0](expected), rtol=1e-4, atol=1e-5)
    text = torch.full((1, 1, 9), 0.3)
    whole = model.denoise(latents, 41)
    torch.testing.assert_close(model.denoise(latents, 41, edits=[Restrict(CROSS, text)]), whole)


def test_wrong_edits_are_refused_and_put_back(model, latents):
    for edit, words in (
        (Inject("up_blocks.9.attn1", torch.zeros(1, 1, 1)), "no module called"),
        (Inject(SELF, torch.zeros(3, 5, 32)), "5"),
        (AddMap(SELF, torch.zeros(3, 7)), "map"),
        (AddMap(BLOCK, torch.zeros(2, 96)), "map"),
        (Restrict(SELF, torch.zeros(1, 1, 7)), "bias"),
    ):
        with pytest.raises(SettingsError, match=words):
            model.denoise(latents, 41, edits=[edit])
        assert _untouched(model.denoiser)
