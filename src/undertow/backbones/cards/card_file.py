"""The models that are known by name: registered by one decorator, or described in card files.

A card file tells undertow of a model, or of another place to look in a known one. It is JSON, with a `name` of its
own; `like`, the card that it starts from; and any attribute of `Card` that differs. The weights are those of the card
it is like, unless it names `hub_ids` or a `folder` in the diffusers layout (relative to the file). `undertow analyze`
writes such files. One is used as `--model FILE.json`, or by its name if it lies in the folder that
UNDERTOW_CARDS names.

    {"name": "my-model", "like": "sd-2.1", "folder": "weights",
     "sites": {"points": [{"path": "up_blocks.2.attentions.1.transformer_blocks.0.attn1", "kind": "self",
                           "heads": 10, "head_dim": 64, "stride": 16}]},
     "noising": {"kind": "clean", "timestep": 41}}
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache
from math import inf
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from undertow.backbones.cards.card import Card, Noising, Site, inversion_steps
from undertow.base import SettingsError, whole, write_json

FOLDER_VARIABLE = "UNDERTOW_CARDS"
_CARDS: dict[str, Card] = {}
# Entries of a file that are not attributes of the card: what it starts from, where weights are, and remarks.
_EXTRA = ("like", "folder", "measured")
# The least that each number of a card may be, and the most that any may.
_LEAST = {"token_budget": 1, "latent_stride": 1, "window_radius": 0, "topk": 1, "recent": 0, "chunk": 1}
MOST = 1_000_000


@dataclass(frozen=True)
class UserCard:
    """What a card file says.

    Attributes:
        card: The model's card.
        folder: Where its weights are; `None` if the card's repositories or the package have them.
        path: Of the file.
    """

    card: Card
    folder: Path | None
    path: Path


def register_card(make: Callable[[], Card]) -> Callable[[], Card]:
    """Adds the card that `make` returns to the registry; use as a decorator.

    Raises:
        SettingsError: if another card already has the name.
    """
    add_card(make())
    return make


def add_card(card: Card) -> None:
    """Adds a card to the registry.

    Raises:
        SettingsError: if another card already has the name.
    """
    if card.name in _CARDS:
        raise SettingsError(f"a model called '{card.name}' is registered already; choose another name")
    _CARDS[card.name] = card


def get_card(name: str) -> Card:
    """Returns the card called `name`: a registered one, or one in the user's folder of cards.

    Raises:
        SettingsError: if there is none.
    """
    known = {card.name: card for card in list_cards()}
    if name not in known:
        raise SettingsError(f"no model is called '{name}'; known are {', '.join(known)}")
    return known[name]


def registered_card(name: str) -> Card:
    """Returns the registered card called `name`, whatever lies in the user's folder.

    Raises:
        SettingsError: if there is none.
    """
    if name not in _CARDS:
        raise SettingsError(f"no registered model is called '{name}'; see `undertow models`")
    return _CARDS[name]


def list_cards() -> list[Card]:
    """Returns every registered card, in order of registration, and then those in the user's folder of cards.

        [card.name for card in list_cards()]

    Raises:
        SettingsError: if a file in that folder is not a card, or has the name of a registered one.
    """
    users = user_cards()
    for name in users.keys() & _CARDS.keys():
        raise SettingsError(f"card '{users[name].path}' has the name of another model, '{name}'; change it")
    return [*_CARDS.values(), *(user.card for user in users.values())]


def read_card_file(path: Path | str) -> UserCard:
    """Returns the card in a JSON file.

    Raises:
        SettingsError: naming the file, if it cannot be read, has unknown or missing entries, or one of a wrong kind.
    """
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"card '{path}' cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"card '{path}' is not valid JSON ({error}); change it, or write it again") from error
    if not isinstance(content, dict):
        raise SettingsError(f"card '{path}' holds no JSON object; give one with a name")
    known = [field.name for field in fields(Card)]
    if unknown := sorted(set(content) - {*known, *_EXTRA}):
        raise SettingsError(f"card '{path}' has an unknown entry '{unknown[0]}'; known are {', '.join(known)}")
    values = {name: _value(name, content[name], path) for name in known if name in content}
    if not values.get("name"):
        raise SettingsError(f"card '{path}' has no name; add one that no other model has")
    for extra in ("like", "folder"):
        if not isinstance(content.get(extra, ""), str):
            raise SettingsError(f"card '{path}' has {extra} {content[extra]!r}; give text")
    like = content.get("like")
    if like is not None:
        card = _derived(registered_card(like), values, weights="folder" in content or "hub_ids" in content)
    else:
        needed = [f.name for f in fields(Card) if f.default is MISSING and f.default_factory is MISSING]
        if missing := [name for name in needed if name not in values]:
            raise SettingsError(f"card '{path}' lacks {', '.join(missing)}; add them, or say which model it is like")
        card = Card(**values)
    for name, least in _LEAST.items():
        whole(getattr(card, name), name, least=least, most=MOST, source=path)
    for purpose, budget in card.budgets.items():
        whole(budget, f"budget of '{purpose}'", least=1, most=MOST, source=path)
    for side in card.window_grid:
        whole(side, "window_grid", least=1, most=MOST, source=path)
    for site in (site for sites in card.sites.values() for site in sites):
        for name in ("heads", "head_dim", "stride"):
            whole(getattr(site, name), f"{name} of a site", least=1, most=MOST, source=path)
    if any(not 0 < each < inf for each in card.temperatures.values()):
        raise SettingsError(f"card '{path}' has a temperature that is not above 0; correct it")
    for purpose, sites in card.sites.items():
        if not sites:
            raise SettingsError(f"card '{path}' names no site for '{purpose}'; give one or more, or leave it out")
    if "track" not in card.sites:
        raise SettingsError(f"card '{path}' has no site for 'track'; add it, or say which model it is like")
    folder = path.parent / Path(content["folder"]).expanduser() if content.get("folder") else None
    return UserCard(card, folder, path)


def write_card_file(path: Path | str, card: Card, *, like: Card | None = None, **extra: Any) -> None:
    """Writes a card as a file: only what differs from the card it is like, or whole.

    Entries beside the card's are its `folder`, and `measured` for what it rests on.
    """
    start = asdict(like) if like is not None else {}
    own = {name: value for name, value in asdict(card).items() if name == "name" or start.get(name) != value}
    named = {} if like is None else {"like": like.name}
    first = {"name": own.pop("name"), **named}
    if like is not None and "sites" in own:
        own["sites"] = {
            purpose: sites for purpose, sites in own["sites"].items() if start["sites"].get(purpose) != sites
        }
    write_json(path, {**first, **{name: value for name, value in own.items() if like or value != ""}, **extra})


def user_cards() -> Mapping[str, UserCard]:
    """Returns the cards in the folder that UNDERTOW_CARDS names, by their names; none if it is not set.

    Raises:
        SettingsError: if a file there is no card, or two have one name.
    """
    folder = os.environ.get(FOLDER_VARIABLE, "")
    return _cards_in(folder) if folder else {}


def folder_of(card: Card) -> Path | None:
    """Returns where a card file says that the weights of `card` are, or `None`."""
    found = user_cards().get(card.name)
    return found.folder if found is not None else None


@cache
def _cards_in(folder: str) -> Mapping[str, UserCard]:
    found: dict[str, UserCard] = {}
    for path in sorted(Path(folder).expanduser().glob("*.json")):
        user = read_card_file(path)
        if user.card.name in found:
            raise SettingsError(f"cards '{path}' and '{found[user.card.name].path}' have one name; change one of them")
        found[user.card.name] = user
    return found


def _derived(like: Card, values: Mapping[str, Any], *, weights: bool) -> Card:
    """Returns a card like another but for some values; what was pinned or measured of other weights is left out."""
    sites = {**like.sites, **values.get("sites", {})}
    changed = {**values, "sites": sites}
    if "token_budget" in values:
        changed = {"budgets": {}, **changed}
    if weights:
        changed = {"hub_ids": (), "sha256": {}, "embedded": "", "revision": None, "calibrated": (), **changed}
    return replace(like, **changed)


def _value(name: str, given: Any, path: Path) -> Any:
    """Returns the value of an attribute of `Card` as the file gives it."""
    try:
        if name == "sites":
            return {purpose: tuple(Site(**_checked(Site, site)) for site in sites) for purpose, sites in given.items()}
        if name == "noising":
            return _noising(given)
        if name == "levels":
            return {purpose: _noising(level) for purpose, level in given.items()}
        return _checked(Card, {name: given})[name]
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise SettingsError(f"card '{path}' has an entry '{name}' that cannot be used ({error}); change it") from error


def _noising(given: Any) -> Noising:
    """Returns a noise level; steps of an inversion that are not given are every twentieth timestep."""
    values = _checked(Noising, given)
    timestep = values.get("timestep", Noising().timestep)
    return Noising(**{"steps_grid": inversion_steps(timestep) if timestep > 1 else (timestep,), **values})


def _checked(kind: type, given: Any) -> dict[str, Any]:
    """Returns the entries of a JSON object as arguments of a dataclass, lists as tuples.

    Raises:
        TypeError: if there is an unknown entry or one of another type, as half a sentence.
    """
    hints = get_type_hints(kind)
    values = {}
    for name, value in dict(given).items():
        if name not in hints:
            raise TypeError(f"there is nothing called {name}")
        value = tuple(value) if isinstance(value, list) else value
        if not _is_a(value, hints[name]):
            raise TypeError(f"{name} is {value!r}")
        values[name] = value
    return values


def _is_a(value: Any, hint: Any) -> bool:
    """Returns whether a value has one of the few types that cards are made of."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(_is_a(value, each) for each in arguments)
    if origin is tuple:
        kinds = [arguments[0]] * len(value) if isinstance(value, tuple) and arguments[-1] is Ellipsis else arguments
        return isinstance(value, tuple) and len(value) == len(kinds) and all(map(_is_a, value, kinds))
    if origin is not None:
        return isinstance(value, dict) and all(
            _is_a(k, arguments[0]) and _is_a(v, arguments[1]) for k, v in value.items()
        )
    if hint is type(None):
        return value is None
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
