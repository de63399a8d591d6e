"""Mask files as other programs write them; the whole sweep is benchmarks/faults/masks.py."""

import warnings

import pytest

from masks import by_convert, by_pillow, has_convert, outcome

FILES = [*by_pillow(), *(list(by_convert())[::9] if has_convert() else ())]


@pytest.mark.parametrize(("kind", "name", "write"), FILES, ids=[f"{kind} {name}" for kind, name, _ in FILES])
def test_ids_are_right_or_the_option_is_named(tmp_path, kind, name, write):
    with warnings.catch_warnings(action="ignore"):
        try:
            path = write(tmp_path)
        except (OSError, ValueError) as error:
            pytest.skip(f"cannot be made here: {error}")
    right, what = outcome(path, kind)
    assert right, what
