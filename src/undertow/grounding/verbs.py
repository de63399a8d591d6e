"""Verbs of which tracks could tell, and where in a sentence they say what a thing does."""

from collections.abc import Collection, Sequence
from typing import Literal

Deed = Literal["left", "right", "up", "down", "go", "stay", "grow", "shrink", "enter", "leave"]

# As they follow "that", and as they follow a noun.
_VERBS: dict[Deed, str] = {
    "go": "moves goes walks runs drives rides flies swims slides drifts heads travels "
    "moving going walking running driving riding flying swimming sliding drifting heading travelling traveling",
    "up": "rises climbs rising climbing",
    "down": "falls drops sinks falling dropping sinking",
    "stay": "stands stays standing staying",
    "grow": "grows growing",
    "shrink": "shrinks shrinking",
    "enter": "enters appears arrives entering appearing arriving",
    "leave": "leaves exits disappears vanishes leaving exiting disappearing vanishing",
}
DEEDS: dict[str, Deed] = {verb: deed for deed, verbs in _VERBS.items() for verb in verbs.split()}
PRONOUNS = ("that", "which", "who")
# Words between what a thing is called and its verb.
BETWEEN = (
    *(*PRONOUNS, "that's", "who's", "is", "are", "was", "were", "quickly", "slowly"),
    *("starts", "begins", "keeps"),
)
# Right before a verb, perhaps with a word between, they say that it is not done.
_NOT = ("not", "never", "cannot", "hardly", "barely", "scarcely", "rarely", "without", "stops", "stopped")
# What does both may end as it began, so no track tells whether it does one of them.
_OPPOSITES: tuple[set[Deed], ...] = (
    {"left", "right"}, {"up", "down"}, {"grow", "shrink"}, {"enter", "leave"}, {"go", "stay"},
)  # fmt: skip
_DETERMINERS = ("a", "an", "the", "this", "that", "another", "my", "your", "his", "her", "its", "our", "their")
_PICTURE = ("picture", "image", "photo", "frame", "screen", "scene", "view", "video", "clip", "shot")
# "Growing on a wall" says where a plant is.
_WHERE = (
    *("on", "in", "at", "from", "out", "along", "against", "around", "among", "between", "behind", "beside", "by"),
    *("near", "next", "under", "up", "over", "inside", "outside"),
)
# They are no nouns, so that a text may begin with them: "moves up", but not "leaves".
_NEVER_NOUNS = ("moves", "goes", "grows", "shrinks", "enters", "appears", "arrives", "disappears", "vanishes")


def says_a_deed(words: Sequence[str], place: int) -> bool:
    """Returns whether a word is a verb of a known deed, where it says what something does.

    Args:
        words: Of a sentence, in lower case.
        place: Which of them.
    """
    word = words[place]
    if word not in DEEDS:
        return False
    return word.endswith("ing") or any(words[place - 1 : place] == [pronoun] for pronoun in PRONOUNS)


def is_denied(words: Sequence[str], place: int) -> bool:
    """Returns whether a sentence says that something is not done, as in "that is not moving" and "no longer moving".

    Args:
        words: Of a sentence, in lower case.
        place: Which of them is the verb.
    """
    before = words[max(0, place - 2) : place]
    return before == ["no", "longer"] or any(word in _NOT or word.endswith("n't") for word in before)


def is_done_to_the_picture(words: Sequence[str], place: int) -> bool:
    """Returns whether a verb may speak of something's place or size in the picture, as far as the next words tell.

    One enters a picture, but also a house, drops a ball, grows on a wall and appears to be asleep.

    Args:
        words: Of a sentence, in lower case.
        place: Which of them is the verb.
    """
    deed, after = DEEDS[words[place]], words[place + 1 :]
    if deed == "grow" and after[:1] and after[0] in _WHERE:
        return any(word in ("size", "time", *_PICTURE) for word in after)
    if deed in ("enter", "leave") and after[:1] and after[0] in _DETERMINERS:
        return any(word in _PICTURE for word in after)
    if deed == "down":
        return not (after[:1] and after[0] in _DETERMINERS)
    return not (deed == "enter" and after[:1] == ["to"])


def contradict(deeds: Collection[Deed]) -> bool:
    """Returns whether some of the deeds are opposites."""
    return any(opposites.issubset(deeds) for opposites in _OPPOSITES)


def may_name(words: Sequence[str], place: int) -> bool:
    """Returns whether a word may name something; "quickly moves" in "that quickly moves up" does not.

    Args:
        words: Of a sentence, in lower case.
        place: Which of them; none of the stop words.
    """
    word = words[place]
    if word in BETWEEN:
        return False
    follows = place > 0 and words[place - 1] in (*BETWEEN, "what")
    return word not in DEEDS or not (word.endswith("ing") or follows or (place == 0 and word in _NEVER_NOUNS))
