"""Sentences: several captions of one scene, each a full sentence that is true of its truth."""

from collections.abc import Sequence

import numpy as np

from undertow.world.captions import COUNTS
from undertow.world.claims import Claim, looks_claims, place_claims, relation_claims, shown, size_claims
from undertow.world.expressions import SLOTS
from undertow.world.facts import Facts, scene_facts
from undertow.world.motions import entrance_claims, motion_claims
from undertow.world.scene import Scene


def scene_captions(scene: Scene, count: int = 5, frames: int = 48) -> tuple[str, ...]:
    """Returns up to `count` different full sentences about a scene, in words of `vocabulary_words`.

    Places, relations and counts speak of the first picture, motions of the whole clip; at least one sentence of each
    sort comes before a second of any, as far as the scene has something to say of it.

    Args:
        scene: The scene; its seed decides the choice.
        count: Most sentences.
        frames: Length of the clip in frames.
    """
    facts = scene_facts(scene, frames)
    looks = [*looks_claims(facts), *size_claims(facts, scene.size)]
    objects = [index for index, each in enumerate(facts) if each.label]
    names = {index: _name(looks, index) for index in range(len(facts))}
    present = [index for index in objects if shown(facts[index])]
    places = [
        f"{start} {names[index]} {claim.words}."
        for claim in place_claims(facts, scene.size)
        for index in objects
        if claim.holds[index]
        for start in ("there is a", "the picture shows a")
    ]
    relations = [
        f"a {names[index]} is {claim.words}."
        for anchor in present
        for claim in relation_claims(facts, anchor, f"a {names[anchor]}", scene.size)
        for index in objects
        if claim.holds[index]
    ]
    pairs = [f"the picture shows a {names[a]} and a {names[b]}." for a in present for b in present if a < b]
    events = [
        f"a {names[index]} {claim.words.removeprefix('that ')}."
        for claim in (*motion_claims(facts, scene.size), *entrance_claims(facts, scene.size))
        for index in objects
        if claim.holds[index]
    ]
    random = np.random.default_rng((scene.seed, 19))
    sorts = [_shuffled(random, sort) for sort in (places, events, relations, _counts(facts, looks), pairs)]
    rounds = max(len(sort) for sort in sorts)
    ordered = [sort[turn] for turn in range(rounds) for sort in sorts if turn < len(sort)]
    return tuple(ordered[:count])


def _name(looks: Sequence[Claim], index: int) -> str:
    """Returns all that is true of a layer's looks, such as "large striped red disc"."""
    words = {claim.slot: claim.words for claim in looks if claim.holds[index]}
    return " ".join(words[slot] for slot in SLOTS if slot in words)


def _counts(facts: Sequence[Facts], looks: Sequence[Claim]) -> list[str]:
    """Returns how many of each shape the first picture shows, where all of them are clearly in it."""
    sentences = []
    for claim in looks:
        if claim.slot == "noun":
            there = [shown(each) for each, holds in zip(facts, claim.holds, strict=True) if holds]
            number = sum(each is True for each in there)
            if None not in there and 2 <= number < len(COUNTS):
                sentences.append(f"there are {COUNTS[number]} {claim.words} shapes.")
    return sentences


def _shuffled(random: np.random.Generator, sentences: Sequence[str]) -> list[str]:
    """Returns the sentences in random order, each once."""
    unique = list(dict.fromkeys(sentences))
    return [unique[int(index)] for index in random.permutation(len(unique))]
