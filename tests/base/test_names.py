import doctest
import math
import os
from pathlib import Path

import pytest

from undertow.base import SettingsError, inside, names, whole, write_text

HOSTILE_NAMES = [
    "..",
    "../bear",
    "../../etc/passwd",
    "bear/../../cow",
    "bear/..",
    "bear/../cow",
    "a/b/c/../../../../d",
    "/bear",
    "//bear",
    "//server/share/bear",
    "/",
    "/etc/passwd",
    "/proc/self/mem",
    "",
    ".",
    "./bear",
    "bear/.",
    "bear/./00000",
    "bear/",
    "bear//00000",
    "a//",
    "\0",
    "bear\0",
    "bear\0.png",
    "\0/../bear",
    "\n",
    "bear\n",
    "bear\r\ncow",
    "bear\tcow",
    "\x1b[2Jbear",
    "\x1b]0;title\x07",
    "bear\x7f",
    "\x08\x08\x08",
    "..\\bear",
    "..\\..\\bear",
    "bear\\..\\..\\cow",
    "bear\\..",
    "bear/..\\..\\cow",
    "\\bear",
    "\\\\server\\share",
    "\\\\?\\C:\\bear",
    "C:\\bear",
    "C:/bear",
    "c:bear",
    "C:..\\bear",
    "x" * 252,
    "x" * 256,
    "x" * 4096,
    "x" * 1_000_000,
    "é" * 126,
    "😀" * 64,
    "bear/" + "x" * 256,
    "x" * 256 + "/bear",
    "/".join("x" * 600),
    "/".join(["x" * 200] * 6),
    "../" * 100_000,
    "\ud800",
    "bear\udfff",
    "\ud83d",
    None,
    True,
    7,
    1.5,
    math.nan,
    b"bear",
    ["bear"],
    {"bear": 1},
    ("bear",),
    Path("bear"),
]
HARMLESS_NAMES = [
    "bear",
    "bear/00000",
    "a/b/c",
    "a b",
    "..bear",
    "bear..",
    "...",
    ".bear",
    "davis-a$\\frac{$",
    "a|b<c>&\"'`*?#%",
    "~",
    "~/bear",
    "$HOME",
    "-rf",
    "schwäne",
    "熊",
    "x" * 251,
    "\udcff0",
]
HOSTILE_COUNTS = [
    -1,
    0,
    65,
    10**9,
    2**31,
    2**63,
    2**64,
    -(2**63),
    10**100,
    10**5000,
    1 << 10_000_000,
    1.0,
    1.5,
    1e9,
    1e308,
    math.inf,
    -math.inf,
    math.nan,
    True,
    False,
    None,
    "",
    " ",
    "-",
    "--1",
    "-1",
    "0",
    "65",
    "1e9",
    "1000000000",
    "0x10",
    "1_0",
    " 8 ",
    "+8",
    "8\n",
    "٣",
    "²",
    "9" * 5000,
    "9" * 1_000_000,
    "nan",
    "twelve",
    b"8",
    [8],
    {"split": 8},
    (8,),
    1j,
]


def test_the_tables_are_as_large_as_they_should_be():
    assert len(HOSTILE_NAMES) >= 60 and len(HOSTILE_COUNTS) >= 40


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_hostile_name_is_refused_in_one_short_line(name, tmp_path):
    with pytest.raises(SettingsError) as caught:
        inside(tmp_path, name, suffix=".png", source="val.txt")
    sentence = str(caught.value)
    assert len(sentence) < 300 + len(str(tmp_path)) and sentence.isprintable() and "val.txt" in sentence


@pytest.mark.parametrize("name", HARMLESS_NAMES)
def test_any_other_name_becomes_a_file_in_the_folder(name, tmp_path):
    path = inside(tmp_path, name, suffix=".txt")
    write_text(path, "here")
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert os.fsencode(path).endswith(os.fsencode(name) + b".txt") and path.read_text() == "here"


def test_a_single_name_has_no_slash():
    assert inside("out", "bear", single=True) == Path("out/bear")
    with pytest.raises(SettingsError, match="slash"):
        inside("out", "bear/00000", single=True)


def test_nothing_is_written_through_a_link(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    out = tmp_path / "out"
    (out / "bear").mkdir(parents=True)
    (out / "masks").symlink_to(elsewhere)
    (out / "bear" / "00000.png").symlink_to(elsewhere / "file")
    assert inside(out, "masks/00000", suffix=".png") == out / "masks" / "00000.png"
    for name in ("masks/00000", "masks", "bear/00000.png"):
        with pytest.raises(SettingsError, match="link"):
            inside(out, name, links=False)
    assert inside(out, "bear/00001", links=False) == out / "bear" / "00001"
    # The folder itself is what a person named.
    (tmp_path / "short").symlink_to(out)
    assert inside(tmp_path / "short", "bear", links=False)


@pytest.mark.parametrize("value", HOSTILE_COUNTS, ids=range(len(HOSTILE_COUNTS)))
def test_a_hostile_count_is_refused_in_one_short_line(value):
    with pytest.raises(SettingsError) as caught:
        whole(value, "split", least=1, most=64, source="names.json")
    sentence = str(caught.value)
    assert len(sentence) < 300 and sentence.isprintable() and "split" in sentence and "1 to 64" in sentence


def test_counts_in_range_are_returned():
    assert [whole(each, "split", least=-2, most=64) for each in (-2, 0, 64, "-2", "07", "64")] == [-2, 0, 64, -2, 7, 64]


def test_examples():
    assert doctest.testmod(names).failed == 0
