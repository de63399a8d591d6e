"""What video transformers show is what their attention compares, and nothing after the last site runs."""

import pytest
import torch

from families import FAMILIES, small_backbone
from undertow.backbones import Site, get_card
from undertow.base import SettingsError

KINDS = tuple(name for name, family in FAMILIES.items() if family.block is not None and get_card(family.card).chunk > 1)


@pytest.fixture(scope="module", params=KINDS)
def backbone(request):
    return small_backbone(request.param, seed=1)


@pytest.fixture(scope="module")
def clip(backbone):
    generator = torch.Generator().manual_seed(0)
    # One of them reads only the size it was trained on, a grid of 6 by 8 tokens.
    size = (12, 16) if backbone.fixed_size else (4, 6)
    return torch.randn(3, backbone.autoencoder.channels, *size, generator=generator)


@pytest.fixture
def compared(monkeypatch, backbone, clip):
    """What enters and leaves the fused attention of every site in a whole stock forward: (queries, keys, output)."""
    seen, current, handles = {}, [], []
    real = torch.nn.functional.scaled_dot_product_attention

    def recording(query, key, value, *args, **kwargs):
        output = real(query, key, value, *args, **kwargs)
        if current:
            seen[current[0]] = tuple(each[0].clone() for each in (query, key, output))
        return output

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.functional, "scaled_dot_product_attention", recording)
        for site in backbone.sites():
            attention = backbone.denoiser.get_submodule(site.path)
            handles += [
                attention.register_forward_pre_hook(lambda *_, path=site.path: current.append(path)),
                attention.register_forward_hook(lambda *_: current.clear()),
            ]
        backbone.denoise(clip, 100)
    for handle in handles:
        handle.remove()
    return seen


def parts(backbone, tokens, visual):
    """The visual and the text tokens of one sequence (a, tokens, d): CogVideoX has its text first, others last."""
    count = tokens.shape[1] - visual
    if type(backbone.denoiser).__name__.startswith("CogVideoX"):
        return tokens[:, count:], tokens[:, :count]
    return tokens[:, :visual], tokens[:, visual:]


def hook_count(module):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def test_queries_and_keys_are_those_that_the_attention_compares(backbone, clip, compared):
    seen = backbone.observe(clip, 100, backbone.sites(), features=True)
    patch = backbone.multiple // backbone.stride
    grid = (clip.shape[2] // patch, clip.shape[3] // patch)
    count = grid[0] * grid[1]
    assert seen.grid == grid and seen.stride == backbone.multiple
    assert set(compared) == set(seen.queries) == {site.path for site in backbone.sites()}
    for site in backbone.sites():
        queries, keys, output = (parts(backbone, each, 3 * count) for each in compared[site.path])
        for found, (video, _) in ((seen.queries, queries), (seen.keys, keys)):
            assert found[site.path].shape == (3, site.heads, count, site.head_dim)
            torch.testing.assert_close(found[site.path].transpose(0, 1).flatten(1, 2), video, rtol=1e-5, atol=1e-6)
        if site.kind == "joint":
            torch.testing.assert_close(seen.text_queries[site.path], queries[1], rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(seen.text_keys[site.path], keys[1], rtol=1e-5, atol=1e-6)
        assert seen.features[site.path].shape == (3, count, site.heads * site.head_dim)
        merged = output[0].transpose(0, 1).flatten(1)
        torch.testing.assert_close(seen.features[site.path].flatten(0, 1), merged, rtol=1e-4, atol=1e-5)
    assert bool(seen.text_keys) == (backbone.kind.site_kind == "joint")


def test_one_site_alone_shows_the_same(backbone, clip):
    every = backbone.observe(clip, 100, backbone.sites(), features=True)
    for site in backbone.sites():
        one = backbone.observe(clip, 100, [site, site], features=True)
        assert list(one.queries) == [site.path]
        assert torch.equal(one.queries[site.path], every.queries[site.path])
        assert torch.equal(one.keys[site.path], every.keys[site.path])
        assert torch.equal(one.features[site.path], every.features[site.path])
        assert backbone.observe(clip, 100, [site]).features == {}


@pytest.mark.parametrize("features", [False, True])
def test_the_forward_ends_at_the_last_site(backbone, clip, features):
    first, last = backbone.sites()[0], backbone.sites()[1]
    paths = [site.path for site in backbone.sites()]
    ran, handles = [], []
    values = backbone.denoiser.get_submodule(f"{last.path}.to_v")
    handles.append(values.register_forward_hook(lambda *_: ran.append("values")))
    for path in paths:
        block = backbone.denoiser.get_submodule(path.rpartition(".")[0])
        handles.append(block.register_forward_pre_hook(lambda *_, path=path: ran.append(path)))
    backbone.observe(clip, 100, [last, first], features=features)
    for handle in handles:
        handle.remove()
    assert ran == paths[:2] + ["values"] * features


def test_nothing_stays_on_the_network(backbone, clip):
    state, hooks = backbone.denoiser.state_dict(), hook_count(backbone.denoiser)
    before = backbone.denoise(clip, 100)
    backbone.observe(clip, 100, backbone.sites()[:2], features=True)
    with pytest.raises(ZeroDivisionError):
        _fails(backbone, clip)
    assert hook_count(backbone.denoiser) == hooks
    assert all(torch.equal(state[name], now) for name, now in backbone.denoiser.state_dict().items())
    assert torch.equal(backbone.denoise(clip, 100), before)


def _fails(backbone, clip):
    """Runs an observation in which a block after the first site raises."""
    block = backbone.denoiser.get_submodule(backbone.sites()[1].path.rpartition(".")[0])
    handle = block.register_forward_pre_hook(lambda *_: 1 / 0)
    try:
        backbone.observe(clip, 100, backbone.sites()[:2])
    finally:
        handle.remove()


def test_without_rotary_embedding_place_says_nothing(clip, backbone):
    """Equal latents everywhere: queries differ from token to token by rotation alone, the outermost blocks aside."""
    if not getattr(backbone.denoiser.config, "use_rotary_positional_embeddings", True):
        pytest.skip("this one has no rotary embedding")
    if getattr(backbone.denoiser.config, "use_learned_positional_embeddings", False):
        pytest.skip("this one has positions at the input too")
    same = clip[:1, :, :1, :1].expand_as(clip)
    site = backbone.sites()[0]
    rotated = backbone.observe(same, 100, [site])
    try:
        backbone.rotary = False
        plain = backbone.observe(same, 100, [site])
    finally:
        backbone.rotary = True
    for which in ("queries", "keys"):
        before, after = getattr(plain, which)[site.path], getattr(rotated, which)[site.path]
        torch.testing.assert_close(before, before[:1, :, :1].expand_as(before), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(after, after[:1, :, :1].expand_as(after), atol=1e-2)
        # The token at the origin is turned by no angle, where that is in a corner; and turning keeps lengths.
        if not type(backbone.denoiser).__name__.startswith(("Mochi", "LTX")):
            torch.testing.assert_close(after[0, :, 0], before[0, :, 0], rtol=1e-4, atol=1e-5)
        # LTX-Video turns dimensions of all heads together, two of which may be in different heads.
        whole = (before.transpose(1, 2).flatten(2), after.transpose(1, 2).flatten(2))
        torch.testing.assert_close(whole[1].norm(dim=-1), whole[0].norm(dim=-1), rtol=1e-4, atol=1e-5)


def test_unusable_sites_are_refused(backbone, clip):
    site = backbone.sites()[0]
    with pytest.raises(SettingsError, match="no sites are given"):
        backbone.observe(clip, 100, [])
    with pytest.raises(SettingsError, match=r"no attention called 'blocks\.99\.attn1'"):
        backbone.observe(clip, 100, [Site("blocks.99.attn1", "self", 2, 16, 16)])
    with pytest.raises(SettingsError, match="has 2 heads of 16 in this model, not 4 of 8"):
        backbone.observe(clip, 100, [Site(site.path, site.kind, 4, 8, 16)])


def test_frames_of_a_clip_see_each_other(backbone, clip):
    site = backbone.sites()[-1]
    seen = backbone.observe(clip, 100, [site]).queries[site.path]
    changed = clip.clone()
    changed[2] += 1
    other = backbone.observe(changed, 100, [site]).queries[site.path]
    assert not torch.allclose(seen[0], other[0], atol=1e-4)
