"""The perturbed branch against the dense N x N formula, on the real classes of the three kinds of attention."""

import pytest
import torch
from diffusers import CogVideoXTransformer3DModel, HunyuanVideoTransformer3DModel, WanTransformer3DModel

from undertow.backbones.sampling.temporal import attention_with_lse, frames_apart, own_frame_attention
from undertow.base import SettingsError

FRAMES, WORDS = 3, 5


def dense(query, key, value, frames, text, mask=None, scale=None):
    """Zeroes the weights between frames after the softmax, in an N x N matrix."""
    logits = query @ key.transpose(2, 3) * (query.shape[-1] ** -0.5 if scale is None else scale)
    if mask is not None:
        logits = logits.masked_fill(~mask, -torch.inf)
    length = query.shape[2]
    frame = torch.full((length,), -1)
    pictures = torch.tensor([i for i in range(length) if i not in range(*text.indices(length))])
    frame[pictures] = torch.arange(len(pictures)) // (len(pictures) // frames)
    words = frame < 0
    kept = words[:, None] | words[None, :] | (frame[:, None] == frame[None, :])
    return (logits.softmax(-1) * kept) @ value


def heads(length, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [2 * torch.randn(batch, 3, length, 8, generator=generator) for _ in range(3)]


@pytest.mark.parametrize("text", [slice(0, 5), slice(12, 17), slice(0, 0)], ids=["first", "last", "none"])
def test_exact_without_a_matrix(text):
    query, key, value = heads(12 + text.stop - text.start)
    mine = own_frame_attention(query, key, value, frames=FRAMES, text=text)
    torch.testing.assert_close(mine, dense(query, key, value, FRAMES, text), rtol=1e-5, atol=1e-5)
    # It is a perturbation: something came from other frames before.
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert (mine - plain).abs().max() > 0.01


def test_masked_text_is_not_seen():
    query, key, value = heads(17)
    mask = torch.ones(2, 1, 1, 17, dtype=torch.bool)
    mask[0, ..., 15:] = False
    mask[1, ..., 13:] = False
    mine = own_frame_attention(query, key, value, frames=FRAMES, text=slice(12, 17), mask=mask)
    torch.testing.assert_close(mine, dense(query, key, value, FRAMES, slice(12, 17), mask), rtol=1e-5, atol=1e-5)
    with pytest.raises(SettingsError, match="one flag per key"):
        own_frame_attention(*heads(17, batch=1), frames=FRAMES, text=slice(12, 17), mask=mask.float()[:1])


def test_log_sum_exp():
    query, key, value = heads(17)
    mixed, lse = attention_with_lse(query, key, value, scale=0.3)
    logits = 0.3 * query @ key.transpose(2, 3)
    torch.testing.assert_close(mixed, logits.softmax(-1) @ value)
    torch.testing.assert_close(lse, logits.logsumexp(-1))


def cogvideox():
    network = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=16,
        text_embed_dim=12, num_layers=2, sample_width=8, sample_height=6, sample_frames=9, patch_size=2,
        max_text_seq_length=WORDS, use_rotary_positional_embeddings=True,
    )  # fmt: skip
    from diffusers.models.embeddings import get_3d_rotary_pos_embed

    rotary = get_3d_rotary_pos_embed(16, ((0, 0), (3, 4)), (3, 4), FRAMES)
    inputs = {
        "hidden_states": torch.randn(2, FRAMES, 4, 6, 8),
        "encoder_hidden_states": torch.randn(2, WORDS, 12),
        "image_rotary_emb": rotary,
    }
    return network, inputs, [f"transformer_blocks.{i}.attn1" for i in range(2)], slice(0, WORDS)


def hunyuan():
    network = HunyuanVideoTransformer3DModel(
        in_channels=4, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1,
        num_single_layers=1, num_refiner_layers=1, patch_size=2, patch_size_t=1, guidance_embeds=True,
        text_embed_dim=12, pooled_projection_dim=8, rope_axes_dim=(4, 6, 6),
    )  # fmt: skip
    known = torch.tensor([[1] * WORDS, [1] * (WORDS - 2) + [0, 0]])
    inputs = {
        "hidden_states": torch.randn(2, 4, FRAMES, 6, 8),
        "encoder_hidden_states": torch.randn(2, WORDS, 12),
        "encoder_attention_mask": known,
        "pooled_projections": torch.randn(2, 8),
        "guidance": torch.full((2,), 6000.0),
    }
    sites = ["transformer_blocks.0.attn", "single_transformer_blocks.0.attn"]
    return network, inputs, sites, slice(FRAMES * 12, FRAMES * 12 + WORDS)


def wan():
    network = WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4,
        text_dim=12, freq_dim=16, ffn_dim=32, num_layers=2,
    )  # fmt: skip
    inputs = {
        "hidden_states": torch.randn(2, 4, FRAMES, 6, 8),
        "encoder_hidden_states": torch.randn(2, WORDS, 12),
    }
    return network, inputs, [f"blocks.{i}.attn1" for i in range(2)], slice(0, 0)


@pytest.mark.parametrize("kind", [cogvideox, hunyuan, wan])
def test_networks_equal_the_dense_formula(kind, monkeypatch):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network, inputs, sites, text = kind()
        network = network.eval().requires_grad_(False)
        for parameter in network.parameters():
            # The initialisation leaves gates near zero, behind which no attention would be seen.
            parameter += 0.1 * torch.randn_like(parameter)
    timestep = torch.tensor([500, 500])

    def run():
        with torch.no_grad():
            return network(timestep=timestep, return_dict=False, **inputs)[0]

    plain = run()
    with frames_apart(network, sites, FRAMES):
        apart = run()
    assert (apart - plain).abs().max() > 1e-3
    # Hooks are gone, and what they switched on is off.
    assert torch.equal(run(), plain)

    original = torch.nn.functional.scaled_dot_product_attention
    length = FRAMES * 12 + text.stop - text.start

    def dense_instead(query, key, value, attn_mask=None, scale=None, **rest):
        if query.shape[2] == key.shape[2] == length:
            return dense(query, key, value, FRAMES, text, attn_mask, scale)
        return original(query, key, value, attn_mask=attn_mask, scale=scale, **rest)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", dense_instead)
    torch.testing.assert_close(apart, run(), rtol=1e-4, atol=1e-4)


def test_what_is_no_site_or_no_whole_number_of_frames():
    network, inputs, sites, _ = cogvideox()
    with pytest.raises(SettingsError, match="no attention called 'nowhere'"), frames_apart(network, ["nowhere"], 3):
        pass
    with pytest.raises(SettingsError, match="36 visual tokens are not 5 equal frames"), frames_apart(network, sites, 5):
        network(timestep=torch.tensor([1, 1]), **inputs)
    # Nothing stays switched on after a failure.
    query, key, value = heads(12)
    plain = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(plain, attention_with_lse(query, key, value)[0])
