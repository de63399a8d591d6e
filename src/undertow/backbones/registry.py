"""The registry of models: one dictionary, filled by one decorator."""

from collections.abc import Callable

from undertow.backbones.card import Card
from undertow.base import SettingsError

_CARDS: dict[str, Card] = {}


def register_card(make: Callable[[], Card]) -> Callable[[], Card]:
    """Adds the card that `make` returns to the registry; use as a decorator.

    Raises:
        SettingsError: if another card already has the name.
    """
    card = make()
    if card.name in _CARDS:
        raise SettingsError(f"a model called '{card.name}' is registered already; choose another name")
    _CARDS[card.name] = card
    return make


def get_card(name: str) -> Card:
    """Returns the card called `name`.

    Raises:
        SettingsError: if there is none.
    """
    if name not in _CARDS:
        raise SettingsError(f"no model is called '{name}'; known are {', '.join(_CARDS)}")
    return _CARDS[name]


def list_cards() -> list[Card]:
    """Returns every registered card, in order of registration."""
    return list(_CARDS.values())
