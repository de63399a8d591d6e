"""What can be said of a scene: referring expressions, true of one object or group only, and captions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.random import Generator

from undertow.world.captions import COUNTS
from undertow.world.claims import (
    LEAST,
    Claim,
    Ranking,
    entrance_claims,
    entrance_order,
    looks_claims,
    motion_claims,
    place_claims,
    rankings,
    relation_claims,
    shown,
    size_claims,
)
from undertow.world.scene import Scene
from undertow.world.truth import Facts, scene_facts

KINDS = ("shape", "texture", "colour", "size", "light", "position", "relation", "motion", "entrance", "group")
SLOTS = ("size", "texture", "colour", "noun", "clause")


@dataclass(frozen=True)
class Expression:
    """A phrase such as "the striped disc on the left".

    Attributes:
        text: The phrase, in words of `vocabulary_words`.
        labels: The objects it refers to: one, or all of a group.
        kinds: What it speaks of, from `KINDS`, in order of `KINDS`.
    """

    text: str
    labels: tuple[int, ...]
    kinds: tuple[str, ...]


def scene_expressions(scene: Scene, count: int = 6, frames: int = 48) -> tuple[Expression, ...]:
    """Returns up to `count` expressions for each object of a scene, and for groups that look alike.

    Each is clearly true of what it refers to and clearly untrue of every other object and occluder that is ever seen.
    Places, sizes and relations speak of the first picture, motions and entrances of the whole clip. An object that
    others look exactly like gets expressions of place, relation or motion only, and none if even these fail.

    Args:
        scene: The scene; its seed decides the choice.
        count: Most expressions per object; different kinds come before more of the same kind.
        frames: Length of the clip in frames.
    """
    facts = scene_facts(scene, frames)
    random = np.random.default_rng((scene.seed, 17))
    looks = [*looks_claims(facts), *size_claims(facts, scene.size)]
    relations = [
        claim for anchor, name in _anchors(facts, looks) for claim in relation_claims(facts, anchor, name, scene.size)
    ]
    clauses = [
        *place_claims(facts, scene.size),
        *relations,
        *motion_claims(facts, scene.size),
        *entrance_claims(facts, scene.size),
    ]
    ranks = rankings(facts, scene.size)
    found: list[Expression] = []
    for target, each in enumerate(facts):
        if each.label and each.seen.max() >= LEAST:
            mine = [claim for claim in looks if claim.holds[target]]
            full = [_dressed(random, claims, mine) for claims in _single(target, looks, clauses)]
            phrases = [
                *((_phrase(claims), _kinds(claims)) for claims in full),
                *_superlative(target, looks, clauses, ranks, facts),
            ]
            found += _varied(random, [Expression(text, (each.label,), kinds) for text, kinds in phrases], count)
    return (*found, *_groups(facts, looks))


def _single(target: int, looks: Sequence[Claim], clauses: Sequence[Claim]) -> Iterator[list[Claim]]:
    """Yields sets of claims that together hold for the target alone, none with a claim that could be left out."""
    true = [claim for claim in (*looks, *clauses) if claim.holds[target]]
    kept: list[frozenset[int]] = []
    for length in (1, 2, 3):
        for chosen in combinations(range(len(true)), length):
            claims = [true[index] for index in chosen]
            if len({claim.slot for claim in claims}) < length or any(less <= set(chosen) for less in kept):
                continue
            if _possible(claims) == [target]:
                kept.append(frozenset(chosen))
                yield claims


def _dressed(random: Generator, claims: Sequence[Claim], true: Sequence[Claim]) -> list[Claim]:
    """Returns the claims with some more true looks, as people add: mostly the shape, at times an adjective."""
    dressed = list(claims)
    for more in true:
        wanted = random.random() < (0.7 if more.slot == "noun" else 0.2)
        if wanted and more.slot not in {claim.slot for claim in dressed}:
            dressed.append(more)
    return dressed


def _superlative(
    target: int, looks: Sequence[Claim], clauses: Sequence[Claim], ranks: Sequence[Ranking], facts: Sequence[Facts]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yields phrases such as "the leftmost disc" and "the second object that enters"."""
    shape = next(claim for claim in looks if claim.kind == "shape" and claim.holds[target])
    for claims in ([], [shape]):
        for rank in ranks:
            if rank.first(_possible(claims, len(facts))) == target:
                yield _phrase(claims, rank.words), _kinds(claims, rank.kind)
    enters = next(claim for claim in clauses if claim.words == "that enters")
    for rank in entrance_order(facts):
        if enters.holds[target] and rank.first(_possible([enters])) == target:
            yield _phrase([enters], rank.words), _kinds([enters])


def _groups(facts: Sequence[Facts], looks: Sequence[Claim]) -> list[Expression]:
    """Returns phrases such as "the two red disc shapes", for claims that are clear of every layer."""
    groups = []
    nouns = [claim for claim in looks if claim.slot == "noun"]
    for noun in nouns:
        for more in ([], *([claim] for claim in looks if claim.slot in ("texture", "colour"))):
            claims = [*more, noun]
            possible = _possible(claims)
            certain = all(claim.holds[index] for claim in claims for index in possible)
            labels = tuple(sorted(facts[index].label for index in possible))
            if certain and 2 <= len(possible) < len(COUNTS) and labels[0] and all(facts[i].seen[0] for i in possible):
                words = f"the {COUNTS[len(possible)]} {' '.join(claim.words for claim in claims)} shapes"
                groups.append(Expression(words, labels, _kinds(claims, "group")))
    unique: dict[tuple[int, ...], Expression] = {}
    for group in groups:
        unique.setdefault(group.labels, group)
    return list(unique.values())


def _anchors(facts: Sequence[Facts], looks: Sequence[Claim]) -> list[tuple[int, str]]:
    """Returns the layers of the first picture that a short phrase of looks names, with that phrase."""
    anchors = []
    for index, each in enumerate(facts):
        if each.seen[0] >= LEAST:
            name = next(_single(index, [claim for claim in looks if claim.kind != "size"], ()), None)
            if name is not None:
                anchors.append((index, _phrase(name)))
    return anchors


def _possible(claims: Sequence[Claim], count: int | None = None) -> list[int]:
    """Returns the layers of which no claim is clearly false, out of `count` if there is no claim."""
    layers = range(count if not claims and count is not None else len(claims[0].holds))
    return [index for index in layers if all(claim.holds[index] is not False for claim in claims)]


def _phrase(claims: Sequence[Claim], superlative: str = "") -> str:
    """Returns the words of claims in English order; a phrase without a shape speaks of an object."""
    slots = {claim.slot: claim.words for claim in claims}
    slots.setdefault("noun", "object")
    words = ["the", superlative, *(slots.get(slot, "") for slot in SLOTS)]
    return " ".join(word for word in words if word)


def _kinds(claims: Sequence[Claim], *more: str) -> tuple[str, ...]:
    found = {*(claim.kind for claim in claims), *more}
    return tuple(kind for kind in KINDS if kind in found)


def _varied(random: Generator, pool: Sequence[Expression], count: int) -> list[Expression]:
    """Returns up to `count` of the pool in random order, those that add a new combination of kinds first."""
    order = [pool[int(index)] for index in random.permutation(len(pool))]
    first: dict[tuple[str, ...], Expression] = {}
    for each in order:
        first.setdefault(each.kinds, each)
    # Short ones first among the different kinds: they are what a person would say.
    chosen = sorted(first.values(), key=lambda each: len(each.kinds))
    return [*chosen, *(each for each in order if each not in chosen)][:count]


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


def _shuffled(random: Generator, sentences: Sequence[str]) -> list[str]:
    """Returns the sentences in random order, each once."""
    unique = list(dict.fromkeys(sentences))
    return [unique[int(index)] for index in random.permutation(len(unique))]
