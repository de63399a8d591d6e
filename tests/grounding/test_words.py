"""What counts of an expression: phrases, places with their false friends, plurals, and texts that say nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from undertow.base import CueError
from undertow.grounding import parse_expression
from undertow.grounding.words import STOP_WORDS


def kept(text, **options):
    return " ".join(word.text for word in parse_expression(text, **options).kept)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the red kite", "red kite"),
        ("person wearing a red hat", "person"),
        ("the car parked near the house", "car"),
        ("a cow, standing", "cow"),
        ("the bus that is on the left", "bus"),
        ("on the left, the big dog", "big dog"),
        ("top left microwave black", "microwave black"),
        ("the largest orange gold fish", "largest orange gold fish"),
        ("building", "building"),
        ("the man's left arm", "man's left arm"),
        ("two dogs running", "two dogs"),
        ("second from left", "second"),
        ("the one on the left", "left"),
        ("der rote Drache", "der rote drache"),
        ('"the kite"', "kite"),
        ("T-shirt of the boy", "t-shirt"),
    ],
)
def test_words_of_the_noun_phrase_count(text, words):
    assert kept(text) == words


def test_without_the_phrase_all_but_stop_words_count():
    assert kept("person wearing a red hat", phrase=False) == "person wearing red hat"
    assert kept("person wearing a red hat on the left", phrase=False) == "person wearing red hat"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("giraffe on the right", ("right",)),
        ("top left microwave", ("top", "left")),
        ("animal on far left", ("left",)),
        ("leftmost dog", ("left",)),
        ("woman in middle of picture", ("middle",)),
        ("the upper window", ("top",)),
        ("left of the image", ("left",)),
        ("the man who left", ()),
        ("he left the room", ()),
        ("the man's left arm", ()),
        ("the dog to the left of the tree", ()),
        ("a tank top", ()),
        ("the top hat", ()),
        ("the red kite", ()),
    ],
)
def test_words_of_places(text, places):
    assert parse_expression(text).places == places


def test_words_know_where_they_stand():
    expression = parse_expression("  The RED   kite ")
    assert expression.text == "the red kite"
    assert [(word.text, expression.text[word.start : word.end]) for word in expression.words] == [
        ("the", "the"), ("red", "red"), ("kite", "kite"),
    ]  # fmt: skip


@pytest.mark.parametrize(("text", "plural"), [("two dogs", True), ("all striped discs", True), ("the dog", False)])
def test_several_objects(text, plural):
    assert parse_expression(text).plural is plural


@pytest.mark.parametrize("text", ["", "  \n", "the of a", "😀", "...", "word " * 500])
def test_texts_that_name_nothing_are_refused(text):
    with pytest.raises(CueError, match=r"text|words"):
        parse_expression(text)


@pytest.mark.parametrize("text", ["😀", "..."])
def test_a_text_of_no_words_is_not_said_to_have_some(text):
    with pytest.raises(CueError, match=f"'{text}' has no words"):
        parse_expression(text)


@pytest.mark.parametrize(
    "text",
    [
        "that moves up",
        "which is moving to the left",
        "who quickly leaves",
        "that's growing",
        "what moves",
        "moves up",
        "Moving left",
        "that moves from the left to the right",
        "quickly",
    ],
)
def test_texts_that_say_a_deed_alone_are_refused(text):
    for phrase in (True, False):
        with pytest.raises(CueError, match="says what something does and not what it is; name it"):
            parse_expression(text, phrase=phrase)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the leaves", "leaves"),
        ("leaves on the left", "leaves"),
        ("the leaves that fall", "leaves"),
        ("the drives", "drives"),
        ("running water", "running water"),
        ("the one that moves up", "moves"),
        ("the thing that is growing", "growing"),
        ("the one on the left that leaves", "left leaves"),
        ("the moving thing", "moving"),
        ("something that moves up", "something"),
    ],
)
def test_nouns_that_look_like_verbs_and_things_without_a_name(text, words):
    assert kept(text) == words


def test_no_colour_and_no_place_is_a_stop_word():
    assert not STOP_WORDS & {"red", "black", "white", "left", "right", "top", "bottom", "middle", "two", "big"}


@given(st.text(max_size=80))
def test_any_text_is_taken_apart_or_refused(text):
    try:
        expression = parse_expression(text)
    except CueError:
        return
    assert expression.kept
    for word in expression.words:
        assert expression.text[word.start : word.end] == word.text
