"""The registry of models: one dictionary, filled by one decorator."""

from collections.abc import Callable

from undertow.backbones.cards.card import Card
from undertow.backbones.cards.card_file import user_cards
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
        raise SettingsError(f"no registered model is called '{name}'; see `undertow models` for those that are")
    return _CARDS[name]


def list_cards() -> list[Card]:
    """Returns every registered card, in order of registration, and then those in the user's folder of cards.

    Raises:
        SettingsError: if a file in that folder is no card, or has the name of a registered one.
    """
    users = user_cards()
    for name in users.keys() & _CARDS.keys():
        raise SettingsError(f"card '{users[name].path}' has the name of another model, '{name}'; change it")
    return [*_CARDS.values(), *(user.card for user in users.values())]
