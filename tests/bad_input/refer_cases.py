"""Texts that name nothing."""

from .kitchen import Case, Kitchen


def refer(kitchen: Kitchen, *given: object) -> list[object]:
    return [
        "refer",
        kitchen.clip,
        "--out",
        kitchen.out,
        "--size",
        "tokens=192",
        "--no-overlay",
        "--threads",
        "2",
        *given,
    ]


CASES = [
    Case("no text", lambda k: refer(k), "no text was given"),
    Case("an empty text", lambda k: refer(k, "--text", " "), "--text is ' '"),
    Case("a text of words such as the", lambda k: refer(k, "--text", "one of them"), "'one of them' has only words"),
    Case("a text of 500 words", lambda k: refer(k, "--text", "disc " * 500), "the text has 500 words"),
    Case("a text that says a deed and no name", lambda k: refer(k, "--text", "that moves up"), "'that moves up' says"),
]
