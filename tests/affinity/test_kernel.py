"""The kernel equals the dense formula, whatever the options."""

import itertools

import pytest
import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import undertow.affinity.kernel
from undertow.affinity import PRESETS, KernelSettings, attention_row, compute_affinity, get_preset
from undertow.affinity.similarity import LOG2_E, Similarity, log2_denominators
from undertow.base import SettingsError


def dense_logits(queries, keys, settings):
    if settings.similarity == "dot":
        similarity = torch.einsum("asd,and->asn", queries, keys) / queries.shape[-1] ** 0.5
    elif settings.similarity == "cosine":
        q, k = (x / x.norm(dim=-1, keepdim=True) for x in (queries, keys))
        similarity = torch.einsum("asd,and->asn", q, k)
    else:
        similarity = -(queries[:, :, None] - keys[:, None]).square().sum(-1)
    return similarity / settings.temperature


def window_mask(grid, settings, unrestricted):
    y, x = torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
    y, x = y.flatten(), x.flatten()
    dy, dx = (y[:, None] - y[None]).abs(), (x[:, None] - x[None]).abs()
    if settings.radius is None or unrestricted:
        return torch.ones_like(dy, dtype=torch.bool)
    if settings.window == "square":
        return (dy <= settings.radius) & (dx <= settings.radius)
    return dy**2 + dx**2 < settings.radius**2


def dense_kernel(queries, references, grid, settings, head_weights=None):
    """The dense formula, one screenful: (tokens, references * tokens), and the kept mass."""
    heads = queries.shape[0]
    w = torch.ones(heads) if head_weights is None else head_weights
    w = (w / w.sum())[:, None, None]
    logits = [dense_logits(queries, keys, settings) for keys in references]
    masks = [window_mask(grid, settings, n == 0 and settings.first_frame_unrestricted) for n in range(len(references))]
    windowed = [x.masked_fill(~m, -torch.inf) for x, m in zip(logits, masks, strict=True)]
    logarithmic = settings.softmax_scope in ("none", "survivors")
    if settings.softmax_scope == "reference":
        each = [torch.softmax(x, -1) * m for x, m in zip(logits, masks, strict=True)]
    elif settings.softmax_scope == "window":
        each = [torch.softmax(x, -1) for x in windowed]
    elif settings.softmax_scope == "joint":
        each = list(torch.softmax(torch.cat(windowed, -1), -1).split(queries.shape[1], -1))
    elif settings.softmax_scope == "none" or settings.topk_stage == "per_head":
        each = [x.double().exp() for x in windowed]
    else:
        mixed = [(x * w).sum(0, keepdim=True).masked_fill(~m, -torch.inf) for x, m in zip(logits, masks, strict=True)]
        each, w = [x.double().exp() for x in mixed], torch.ones(1, 1, 1)
    parts = [x * w for x in each]
    if settings.topk_stage == "mixed":
        parts = [x.sum(0, keepdim=True) for x in parts]

    def keep(x):
        threshold = x.topk(min(settings.topk, x.shape[-1]), -1).values[..., -1:]
        return x * (x >= threshold)

    kept = (
        torch.cat([keep(x) for x in parts], -1)
        if settings.topk_scope == "per_reference"
        else keep(torch.cat(parts, -1))
    )
    total = kept.sum(0)
    mass = total.sum(-1) / (1 if settings.softmax_scope == "joint" else len(references))
    if settings.renormalise:
        total = total / total.sum(-1, keepdim=True)
    return total.float(), None if logarithmic else mass.float()


def scattered(affinity, references):
    tokens = affinity.indices.shape[0]
    dense = torch.zeros(tokens, references * tokens)
    return dense.scatter_add_(1, affinity.indices, affinity.weights)


def features(seed, heads, grid, dim, references):
    generator = torch.Generator().manual_seed(seed)
    shape = (heads, grid[0] * grid[1], dim)
    return torch.randn(shape, generator=generator) * 1.5, [
        torch.randn(shape, generator=generator) * 1.5 for _ in range(references)
    ]


def agree(queries, references, grid, settings, head_weights=None):
    expected, mass = dense_kernel(queries, references, grid, settings, head_weights)
    affinity = compute_affinity(queries, references, grid, settings, head_weights)
    torch.testing.assert_close(scattered(affinity, len(references)), expected, atol=1e-5, rtol=1e-4)
    if mass is not None:
        torch.testing.assert_close(affinity.mass, mass, atol=1e-5, rtol=1e-4)
    if settings.renormalise:
        torch.testing.assert_close(affinity.weights.sum(1), torch.ones(len(expected)))
    assert bool(((affinity.mass >= 0) & (affinity.mass <= 1 + 1e-5)).all())


SCOPES = ("reference", "window", "joint", "none", "survivors")


@pytest.mark.parametrize(
    ("similarity", "scope", "window", "stage", "topk_scope", "renormalise"),
    list(
        itertools.product(
            ("dot", "cosine", "distance"),
            SCOPES,
            ("square", "disc"),
            ("mixed", "per_head"),
            ("joint", "per_reference"),
            (True,),
        )
    )
    + [("dot", scope, "square", "mixed", "joint", False) for scope in SCOPES],
)
def test_every_order_equals_the_dense_formula(similarity, scope, window, stage, topk_scope, renormalise):
    grid = (9, 13)
    queries, references = features(1, 3, grid, 6, 3)
    temperature = {"dot": 1.3, "cosine": 0.2, "distance": 4.0}[similarity]
    settings = KernelSettings(similarity, temperature, scope, window, 3, 5, topk_scope, stage, renormalise)
    agree(queries, references, grid, settings, torch.tensor([0.5, 0.2, 0.3]))


@hypothesis_settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(1, 20), st.integers(1, 20)),
    st.one_of(st.none(), st.integers(1, 25)),
    st.integers(1, 30),
    st.integers(1, 4),
    st.sampled_from(SCOPES),
    st.booleans(),
)
def test_any_grid_window_and_number(grid, radius, topk, references, scope, unrestricted):
    # A softmax over one token is one in every reference: which of equals is kept is not defined.
    assume(grid != (1, 1))
    queries, keys = features(2, 2, grid, 4, references)
    settings = KernelSettings("dot", 1.0, scope, "square", radius, topk, first_frame_unrestricted=unrestricted)
    agree(queries, keys, grid, settings)


@hypothesis_settings(max_examples=40, deadline=None, derandomize=True)
@given(
    st.tuples(st.integers(2, 30), st.integers(2, 30)),
    st.one_of(st.none(), st.integers(1, 9)),
    st.sampled_from(SCOPES),
    st.sampled_from([0.0, 0.02, 0.5, 1.0]),
    st.booleans(),
)
def test_rows_that_are_wanted_are_those_of_the_whole_kernel_to_the_last_bit(grid, radius, scope, share, followed):
    queries, references = features(9, 2, grid, 4, 2)
    settings = KernelSettings("cosine", 0.1, scope, "square", radius, 5)
    tokens = grid[0] * grid[1]
    wanted = torch.rand(tokens, generator=torch.Generator().manual_seed(1)) < share
    places = None
    if followed and radius is not None:
        places = [None, torch.rand(3, tokens, generator=torch.Generator().manual_seed(2))]
    whole = compute_affinity(queries, references, grid, settings, places=places)
    part = compute_affinity(queries, references, grid, settings, places=places, wanted=wanted)
    for mine, other in ((part.indices, whole.indices), (part.weights, whole.weights), (part.mass, whole.mass)):
        assert torch.equal(mine[wanted], other[wanted]) and not mine[~wanted].any()


def test_what_is_not_wanted_is_not_computed(monkeypatch):
    grid, seen = (32, 32), []
    queries, references = features(9, 1, grid, 4, 2)
    keep = undertow.affinity.kernel.keep_best

    def counted(*arguments, **named):
        seen.append(1)
        return keep(*arguments, **named)

    monkeypatch.setattr(undertow.affinity.kernel, "keep_best", counted)
    wanted = torch.zeros(grid, dtype=torch.bool)
    wanted[9, 30] = wanted[10, 25] = wanted[31, 0] = True
    compute_affinity(queries, references, grid, KernelSettings(radius=3), wanted=wanted.flatten())
    assert len(seen) == 2


def test_a_head_of_weight_zero_does_not_count():
    grid = (6, 10)
    queries, references = features(3, 2, grid, 8, 2)
    for scope in SCOPES:
        settings = KernelSettings("dot", 1.0, scope, "square", 2, 4)
        both = compute_affinity(queries, references, grid, settings, torch.tensor([1.0, 0.0]))
        one = compute_affinity(queries[:1], [keys[:1] for keys in references], grid, settings)
        torch.testing.assert_close(scattered(both, 2), scattered(one, 2), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 40.0, 4000.0])
@pytest.mark.parametrize("tokens", [187, 1100])
def test_dense_denominators_equal_logsumexp(scale, tokens):
    # 1100 tokens are several blocks; the largest logits of long vectors are far above those at the same place.
    queries, (keys,) = features(4, 2, (tokens, 1), 16, 1)
    logits = (queries * scale).double() @ keys.double().mT
    expected = torch.logsumexp(logits / LOG2_E, -1) * LOG2_E
    torch.testing.assert_close(log2_denominators(queries * scale, keys).double(), expected, rtol=2e-6, atol=2e-6)
    some = log2_denominators(queries[:, :150] * scale, keys)
    torch.testing.assert_close(some.double(), expected[:, :150], rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("scale", [1.0, 400.0])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.7])
def test_denominators_of_some_queries_are_those_of_all_to_the_last_bit(scale, share):
    queries, (keys,) = features(4, 2, (1100, 1), 128, 1)
    rows = (torch.rand(1100, generator=torch.Generator().manual_seed(1)) < share).nonzero()[:, 0]
    assert torch.equal(
        log2_denominators(queries * scale, keys, rows), log2_denominators(queries * scale, keys)[:, rows]
    )


@pytest.mark.parametrize("scale", [1.0, 40.0])
@pytest.mark.parametrize("matrices", [False, True])
def test_denominators_of_numbers_that_bfloat16_holds_equal_logsumexp(scale, matrices, monkeypatch):
    # Fused attention gives the same everywhere; only with instructions for matrices is it faster.
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: matrices)
    queries, (keys,) = features(4, 2, (1100, 1), 16, 1)
    queries, keys = (queries * scale).bfloat16().float(), keys.bfloat16().float()
    expected = torch.logsumexp(queries.double() @ keys.double().mT / (0.1 * 4), -1) * LOG2_E
    similarity = Similarity(queries, KernelSettings(temperature=0.1))
    torch.testing.assert_close(similarity.log2_denominators(keys).double(), expected, rtol=2e-6, atol=2e-4)
    rows = torch.arange(3, 1100, 5)
    got = similarity.log2_denominators(keys, rows).double()
    torch.testing.assert_close(got, expected[:, rows], rtol=2e-6, atol=2e-4)


def test_distances_lose_no_digits_far_from_the_origin():
    queries, (keys,) = features(5, 1, (6, 6), 27, 1)
    queries, keys = queries * 0.01 + 100, keys * 0.01 + 100
    similarity = Similarity(queries, KernelSettings("distance", 1.0))
    got = (similarity.queries @ similarity.keys(keys).mT).double() / LOG2_E
    exact = -(queries[:, :, None].double() - keys[:, None].double()).square().sum(-1)
    torch.testing.assert_close(got, exact, atol=1e-6, rtol=1e-4)


def test_constant_labels_stay_and_complements_stay_complements():
    grid = (8, 12)
    queries, references = features(6, 2, grid, 8, 3)
    affinity = compute_affinity(queries, references, grid, KernelSettings(radius=3))
    part = torch.rand(3, 1, 96)
    labels = torch.cat([torch.ones(3, 1, 96), part, 1 - part], dim=1)
    carried = affinity.apply(labels)
    torch.testing.assert_close(carried[0], torch.ones(96))
    torch.testing.assert_close(carried[1] + carried[2], torch.ones(96))


def test_apply_is_a_weighted_sum():
    grid = (5, 7)
    queries, references = features(7, 1, grid, 4, 2)
    affinity = compute_affinity(queries, references, grid, KernelSettings(radius=2, topk=3))
    labels = torch.rand(2, 4, 35)
    expected = torch.einsum("sm,nm->ns", scattered(affinity, 2), labels.transpose(0, 1).flatten(1))
    torch.testing.assert_close(affinity.apply(labels), expected)


def test_a_shifted_picture_is_followed():
    grid = (10, 14)
    generator = torch.Generator().manual_seed(0)
    frame = torch.randn(1, *grid, 32, generator=generator) * 3
    moved = frame.roll((1, 2), dims=(1, 2))
    affinity = compute_affinity(moved.flatten(1, 2), [frame.flatten(1, 2)], grid, KernelSettings(radius=3, topk=1))
    y, x = torch.meshgrid(torch.arange(1, 10), torch.arange(2, 14), indexing="ij")
    assert torch.equal(affinity.indices[(y * 14 + x).flatten(), 0], ((y - 1) * 14 + x - 2).flatten())


def test_bfloat16_inputs_are_scored_in_float32():
    grid = (6, 6)
    queries, references = features(8, 2, grid, 8, 2)
    low, lows = queries.bfloat16(), [keys.bfloat16() for keys in references]
    a = compute_affinity(low, lows, grid, KernelSettings(radius=2))
    b = compute_affinity(low.float(), [keys.float() for keys in lows], grid, KernelSettings(radius=2))
    assert torch.equal(a.weights, b.weights) and a.weights.dtype == torch.float32


def test_attention_row_is_one_row_of_the_dense_softmax():
    grid = (6, 9)
    queries, (keys,) = features(9, 3, grid, 8, 1)
    settings = KernelSettings(radius=2, topk=4)
    row = attention_row(queries, keys, 20, grid, settings)
    dense = torch.softmax(dense_logits(queries, keys, settings), -1)
    torch.testing.assert_close(row.per_head, dense[:, 20])
    torch.testing.assert_close(row.mixed, dense[:, 20].mean(0))
    expected, _ = dense_kernel(queries, [keys], grid, settings)
    torch.testing.assert_close(row.kept, expected[20], atol=1e-5, rtol=1e-4)


def test_windows_larger_than_the_grid_are_the_grid():
    grid = (5, 9)
    queries, references = features(10, 2, grid, 8, 2)
    for scope in SCOPES:
        free, wide = (
            compute_affinity(queries, references, grid, KernelSettings(softmax_scope=scope, radius=radius, topk=200))
            for radius in (None, 30)
        )
        assert free.weights.shape == (45, 90)
        torch.testing.assert_close(scattered(free, 2), scattered(wide, 2))


def test_every_size_of_logit_gives_weights():
    # Queries and keys so long that exponentials of their products, and of their differences, leave float32.
    grid = (6, 8)
    queries, references = features(11, 2, grid, 16, 2)
    queries, references = queries * 30, [keys * 30 for keys in references]
    for scope in ("window", "joint", "none", "survivors"):
        settings = KernelSettings(softmax_scope=scope, radius=2, topk=5)
        affinity = compute_affinity(queries, references, grid, settings)
        torch.testing.assert_close(affinity.weights.sum(1), torch.ones(48))
    # A whole reference outweighs a window by more than float32 can say: nothing is carried, and nothing is NaN.
    affinity = compute_affinity(queries, references, grid, KernelSettings(radius=0, topk=5))
    assert bool(affinity.weights.isfinite().all()) and float(affinity.weights.sum(1).max()) <= 1 + 1e-6


def test_the_whole_kernel_has_mass_one():
    grid = (4, 6)
    queries, references = features(12, 2, grid, 8, 3)
    for scope in SCOPES:
        affinity = compute_affinity(
            queries, references, grid, KernelSettings(softmax_scope=scope, radius=None, topk=72)
        )
        torch.testing.assert_close(affinity.mass, torch.ones(24))


def test_keys_need_not_be_contiguous():
    grid = (5, 6)
    queries, references = features(13, 3, grid, 8, 2)
    strided = [keys.transpose(0, 1).contiguous().transpose(0, 1) for keys in references]
    for similarity in ("dot", "cosine", "distance"):
        settings = KernelSettings(similarity, radius=2)
        a, b = (compute_affinity(queries, keys, grid, settings) for keys in (references, strided))
        torch.testing.assert_close(a.weights, b.weights)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_dense_formula(name):
    preset = get_preset(name)
    heads = 3 if preset.source == "attention" else 1
    grid = (30, 34)  # larger than one window
    queries, references = features(14, heads, grid, 8, 2)
    assert preset.name == name and preset.recent >= 1
    if preset.kernel.similarity == "distance":  # patches of colours or latents lie closer than random vectors
        queries, references = queries * 0.2, [keys * 0.2 for keys in references]
    agree(queries, references, grid, preset.kernel)


def test_an_unknown_preset_is_named():
    with pytest.raises(SettingsError, match="drift, dino"):
        get_preset("drfit")


def test_bad_settings_and_shapes_are_named():
    for wrong, word in (
        ({"similarity": "euclid"}, "similarity"),
        ({"softmax_scope": "all"}, "softmax_scope"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"radius": -1}, "radius"),
        ({"topk": 0}, "topk"),
        ({"window": "disc", "radius": 0}, "disc"),
        ({"topk_scope": "each"}, "topk_scope"),
        ({"topk_stage": "late"}, "topk_stage"),
    ):
        with pytest.raises(SettingsError, match=word):
            KernelSettings(**wrong)
    queries, references = features(0, 2, (4, 4), 4, 1)
    with pytest.raises(SettingsError, match="tokens"):
        compute_affinity(queries, references, (4, 5), KernelSettings())
    with pytest.raises(SettingsError, match="at least one"):
        compute_affinity(queries, [], (4, 4), KernelSettings())
    with pytest.raises(SettingsError, match="head weights"):
        compute_affinity(queries, references, (4, 4), KernelSettings(), torch.ones(3))
    with pytest.raises(SettingsError, match="negative"):
        compute_affinity(queries, references, (4, 4), KernelSettings(), torch.tensor([-1.0, 2.0]))
    with pytest.raises(SettingsError, match="reference 1"):
        compute_affinity(queries, [references[0], references[0][:, :8]], (4, 4), KernelSettings())
    with pytest.raises(SettingsError, match="token 16"):
        attention_row(queries, references[0], 16, (4, 4), KernelSettings())
    with pytest.raises(SettingsError, match="labels have 15"):
        compute_affinity(queries, references, (4, 4), KernelSettings()).apply(torch.ones(1, 2, 15))
