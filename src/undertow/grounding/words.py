"""What an expression says: which of its words count, what phrase names the object, and where it should be.

RefAM (arXiv 2509.22650) reads attention at the words of the noun phrase, leaves out stop words, which draw attention
for no reason of their own, and multiplies by a ramp where a word speaks of a place. The paper parses with spaCy; the
rules here need no model: a noun phrase ends at the first preposition, pronoun, verb form or comma after its noun.
"""

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal

from undertow.base import CueError
from undertow.grounding.verbs import may_name

LONGEST = 100

Place = Literal["left", "right", "top", "bottom", "middle"]
Role = Literal["kept", "stop", "place", "outside"]


def _listed(words: str) -> frozenset[str]:
    return frozenset(words.split())


# Words without a picture. Colours, numbers and places are no stop words: they tell objects apart.
STOP_WORDS = _listed(
    """
    a about above across after again against all along also am among an and another any are around as at be
    because been before behind being below beneath beside besides between beyond both but by can could did do
    does doing down during each either else ever every few for from front further had has have having he her
    here hers herself him himself his how i if in inside into is it its itself just less like many me more most
    much my myself near next no nor not now of off on once one ones only onto or other others our ours out
    outside over own part per picture image photo please same shall she should side since so some such than that
    the their theirs them themselves then there these they thing things this those through to together too
    toward towards under until up upon us very via was we were what when where which while who whom whose why
    will with within without would you your yours
    """
)
# Those of them that stand for whatever does something, as in "the one that leaves".
THINGS = ("thing", "things", "one", "ones")
_DETERMINERS = _listed(
    """
    a an the this that these those my your his her its our their some any each every both
    """
)
_PREPOSITIONS = _listed(
    """
    about above across after against along among around at before behind below beneath beside besides between
    beyond by down during for from in inside into near next of off on onto out outside over past through to
    toward towards under up upon via with within without
    """
)
_BREAKS = _listed(
    """
    and or but who whom whose which that where when while is are was were be being been has have had does do did
    can could will would should may might must he she it they as than
    """
)
# Verb forms that follow the noun they speak of; other words in -ing, such as "ceiling", are nouns.
_NOUNS_IN_ING = _listed(
    """
    building ceiling clothing king lightning painting ring string thing wing wedding
    """
)
_FORMS = _listed(
    """
    seen shown worn held made left parked dressed covered seated facing
    """
)

_PLACES: dict[str, Place] = {
    "left": "left", "leftmost": "left", "lefthand": "left",
    "right": "right", "rightmost": "right", "righthand": "right",
    "top": "top", "topmost": "top", "upper": "top", "uppermost": "top",
    "bottom": "bottom", "bottommost": "bottom", "lower": "bottom", "lowest": "bottom",
    "middle": "middle", "center": "middle", "centre": "middle", "central": "middle",
}  # fmt: skip
# What is called left or right of a body, and what is called top or bottom without being at a place.
_PARTS = _listed(
    """
    arm arms hand hands leg legs foot feet eye eyes ear ears shoulder shoulders knee knees elbow wing wings
    wheel hat coat
    """
)
_SUBJECTS = _listed(
    """
    who that which has have had he she it they just
    """
)
_PUNCTUATION = re.compile(r"[^\w'’-]+")


@dataclass(frozen=True)
class Word:
    """A word of an expression.

    Attributes:
        text: As it stands there, in lower case.
        start: Where it begins in `Expression.text`, in characters.
        end: Where it ends.
        role: Why it counts or not: a `stop` word, a `place` that becomes a ramp, `outside` of the noun phrase, or
            `kept`.
    """

    text: str
    start: int
    end: int
    role: Role


@dataclass(frozen=True)
class Expression:
    """An expression taken apart.

    Attributes:
        text: What the model reads: lower case, spaces made single.
        words: Its words in order.
        places: Where in the picture the object is said to be, such as ("top", "left"); empty if nowhere.
        plural: Whether it names several objects, such as "two dogs" or "all cars".
    """

    text: str
    words: tuple[Word, ...]
    places: tuple[Place, ...] = ()
    plural: bool = False

    @property
    def kept(self) -> tuple[Word, ...]:
        """The words whose maps are summed."""
        return tuple(word for word in self.words if word.role == "kept")


def parse_expression(text: str, *, phrase: bool = True) -> Expression:
    """Returns what an expression says.

        >>> [word.text for word in parse_expression("the red kite on the left of the beach").kept]
        ['red', 'kite']
        >>> parse_expression("top left microwave").places
        ('top', 'left')
        >>> parse_expression("the man who left").places
        ()

    Args:
        text: What a person typed.
        phrase: Whether only words of the first noun phrase count; otherwise all but stop words do.

    Raises:
        CueError: if the text is empty, longer than a hundred words, or has no word that names something.
    """
    clean = " ".join(unicodedata.normalize("NFC", text).lower().split())
    if not clean:
        raise CueError("the text is empty; say what to look for, such as 'the red kite'")
    spans = [(clean[a:b], a, b) for a, b in _word_spans(clean)]
    if len(spans) > LONGEST:
        raise CueError(f"the text has {len(spans)} words; give at most {LONGEST}")
    plain = [_bare(word) for word, _, _ in spans]
    breaks = [bool(_PUNCTUATION.search(clean[spans[i - 1][2] : spans[i][1]].strip())) for i in range(1, len(spans))]
    inside = _first_phrase(plain, [False, *breaks]) if phrase else set(range(len(plain)))
    places = {i: place for i, word in enumerate(plain) if (place := _place(plain, i, word)) is not None}
    words = tuple(
        Word(word, start, end, _role(plain[i], i, inside, places)) for i, (word, start, end) in enumerate(spans)
    )
    kept = [i for i, word in enumerate(words) if word.role == "kept"]
    if not any(may_name(plain, i) for i in kept):
        deed = kept[0] if kept else len(words)
        if kept and not any(i in places for i in range(deed)) and not any(word in THINGS for word in plain):
            raise CueError(
                f"'{clean}' says what something does and not what it is; name it, such as 'the object that moves up'"
            )
        if not words:
            raise CueError(f"'{clean}' has no words; name what to look for")
        if not kept and not places:
            raise CueError(f"'{clean}' has only words such as 'the' and 'of'; name what to look for")
        # "The one on the left": nothing but places. "The one on the left that leaves": what it does is no name.
        words = tuple(
            Word(word.text, word.start, word.end, "kept") if i in places and i < deed else word
            for i, word in enumerate(words)
        )
    return Expression(clean, words, tuple(dict.fromkeys(places.values())), _is_plural(plain, inside))


def is_within_phrase(expression: Expression, place: int) -> bool:
    """Returns whether a word stands before any preposition, pronoun or verb, and so speaks of what is named."""
    words = [_bare(word.text) for word in expression.words[: place + 1]]
    return not any(word in _PREPOSITIONS or word in _BREAKS for word in words)


def _word_spans(text: str) -> list[tuple[int, int]]:
    """Returns (start, end) of every word: letters, digits, and apostrophes or hyphens within."""
    return [match.span() for match in re.finditer(r"\w+(?:['’-]\w+)*", text)]


def _bare(word: str) -> str:
    """Returns a word without hyphens and possessive endings, by which the lists know it."""
    return re.sub(r"['’]s?$", "", word).replace("-", "")


def _first_phrase(plain: list[str], after_break: list[bool]) -> set[int]:
    """Returns the places of the words of the first noun phrase that names something."""
    phrase: list[int] = []
    for i, word in enumerate(plain):
        named = any(plain[j] not in STOP_WORDS and plain[j] not in _PLACES for j in phrase)
        ends = word in _PREPOSITIONS or word in _BREAKS or after_break[i] or (named and _is_verb_form(plain, i))
        if ends and named and not (word in _DETERMINERS and not phrase):
            return set(phrase)
        if ends and not named:
            phrase = [] if word in _PREPOSITIONS or word in _BREAKS else [i]
        else:
            phrase.append(i)
    if any(plain[j] not in STOP_WORDS for j in phrase):
        return set(phrase)
    return set(range(len(plain)))


def _is_verb_form(plain: list[str], i: int) -> bool:
    """Returns whether a word after a noun is a form such as "wearing" or "parked"."""
    word = plain[i]
    last = i == len(plain) - 1
    if not last and plain[i + 1] in _PARTS:  # "the man's left arm"
        return False
    return word in _FORMS or (word.endswith("ing") and word not in _NOUNS_IN_ING and not (last and i == 0))


def _place(plain: list[str], i: int, word: str) -> Place | None:
    """Returns the place that a word stands for, unless it is a verb, a part of a body, or relative to another thing."""
    place = _PLACES.get(word)
    if place is None:
        return None
    before, after = plain[i - 1] if i else "", plain[i + 1] if i + 1 < len(plain) else ""
    if word == "left" and before in _SUBJECTS:
        return None
    if after in _PARTS or before == "tank":
        return None
    if after == "of":
        # "Left of the picture" is a place in it, "left of the tree" is not.
        rest = [each for each in plain[i + 2 :] if each not in _DETERMINERS]
        return place if rest[:1] and rest[0] in ("picture", "image", "photo", "frame", "screen", "scene") else None
    return place


def _role(word: str, i: int, inside: set[int], places: dict[int, Place]) -> Role:
    if i in places:
        return "place"
    if word in STOP_WORDS:
        return "stop"
    return "kept" if i in inside else "outside"


def _is_plural(plain: list[str], inside: set[int]) -> bool:
    """Returns whether the phrase counts several: "all", "both", "two", or a noun in -s after a plain plural article."""
    many = {"all", "both", "two", "three", "four", "five", "six", "several", "many", "these", "those", "few", "some"}
    return any(plain[i] in many for i in inside)
