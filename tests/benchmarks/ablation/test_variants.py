"""What is compared: every variant changes what it says, and no two are the same."""

import json

import pytest

from undertow.backbones import get_card
from undertow.base import SettingsError
from undertow.benchmarks.ablation.methods import DAVIS, ObjectTexts, texts_of
from undertow.benchmarks.ablation.running import EXTRAS, choose, narrowed
from undertow.benchmarks.ablation.tables import PAPER
from undertow.benchmarks.ablation.variants import MOST_STEPS, Scale, head_sites, level, make_ablations
from undertow.benchmarks.masks.sample import MaskSample
from undertow.world import SUITES


@pytest.mark.parametrize("model", ["tiny", "sd-2.1", "sd-1.5"])
def test_no_two_variants_are_the_same_and_each_changes_something(model):
    card = get_card(model)
    ablations = make_ablations(card)
    assert set(ablations) | set(EXTRAS) == set(PAPER)
    variants = {each.name: each for ablation in ablations.values() for each in ablation.variants}
    facts = {name: json.dumps(each.facts(), default=str, sort_keys=True) for name, each in variants.items()}
    # The default of the prompts is one point of their grid.
    alike = {name for name in facts if list(facts.values()).count(facts[name]) > 1}
    assert alike <= {"sam", "sam-n2-p40"}
    default = variants["default"]
    for name, each in variants.items():
        if name != "default":
            assert each.facts() != default.facts()
    # What is left out of the components is what the model does anyway.
    assert f"latents-{card.noising.kind}" not in variants
    for each in variants.values():
        own = each.card(card)
        if own.noising.kind == "invert":
            assert own.noising.steps_grid[-1] == own.noising.timestep and len(own.noising.steps_grid) <= MOST_STEPS
        assert (own.sites["track"] != card.sites["track"]) == bool(each.sites and each.sites != card.sites["track"])


def test_inversion_takes_the_papers_steps_where_they_are_few():
    card = get_card("sd-2.1")
    assert level(card, "invert", 41).steps_grid == (1, 21, 41)
    assert level(card, "invert", 201).steps_grid == (34, 67, 100, 134, 168, 201)


def test_heads_are_those_of_the_model_or_of_three_attentions():
    assert sum(site.heads for site in head_sites(get_card("sd-2.1"))[0]) == 5
    sites, temperature = head_sites(get_card("tiny"))
    assert len(sites) == 3 and temperature == 0.07


def test_fewer_steps_have_names_of_their_own():
    card = get_card("tiny")
    names = {each.name: each for each in make_ablations(card, Scale(tuning_steps=60))["conditioning"].variants}
    assert names["learned-paper-60"].tuning.steps == names["learned-fast-60"].tuning.steps == 60
    usual = {each.name: each for each in make_ablations(card)["conditioning"].variants}
    assert usual["learned-paper"].tuning.steps == 3500 and usual["learned-fast"].tuning.steps == 200


def test_ablations_are_chosen_by_name_or_by_what_they_repeat():
    every = make_ablations(get_card("tiny"))
    chosen, extras = choose(every, ["table1", "Figure 4", "table6", "refiners"])
    assert list(chosen) == ["conditioning", "refiners", "noising"] and extras == ("models",)
    assert choose(every, []) == (every, EXTRAS)
    with pytest.raises(SettingsError, match=r"'tables'.*conditioning"):
        choose(every, ["tables"])


def test_rows_are_chosen_beside_the_first():
    every = make_ablations(get_card("tiny"))
    assert narrowed(every, []) is every
    chosen = narrowed(every, ["minmax", "heads-fast"])
    assert {name: [each.name for each in found.variants] for name, found in chosen.items()} == {
        "heads": ["heads-equal", "heads-fast"],
        "components": ["default", "minmax"],
    }
    with pytest.raises(SettingsError, match=r"'maxmin'.*minmax"):
        narrowed(every, ["maxmin"])


def sample(dataset, name, ids=(1,)):
    return MaskSample(dataset=dataset, name=name, video=None, frames=(), size=(1, 1), masks={}, ids=ids)


def test_objects_of_worlds_are_called_what_they_are():
    clip = SUITES["world-hard"][0]
    things = clip.scene().things
    texts = texts_of(sample("world-hard", clip.name, ids=(1, 2)))
    for number in (1, 2):
        kind = things[number - 1].shape.kind
        assert texts[number].class_name == kind and kind in texts[number].caption.split()
    assert texts_of(sample("davis-2017", "camel")) == {1: ObjectTexts(*DAVIS["camel"])}
    assert texts_of(sample("my-videos", "party")) == {}
