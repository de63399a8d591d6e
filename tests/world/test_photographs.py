import csv
import re

import numpy as np
import pytest
from PIL import Image

from undertow.base import SettingsError
from undertow.world.photographs import COLUMNS, credits, list_photographs, read_photograph


@pytest.fixture
def folder(tmp_path):
    """Five pictures; the third is not free, the fourth cannot be credited, the fifth is listed only."""
    rows = [
        ("b.png", "Ann|Lee", "CC-BY-4.0", "https://example.org/b"),
        ("a.png", "", "CC0-1.0", ""),
        ("c.png", "Kim", "CC-BY-NC-4.0", "https://example.org/c"),
        ("d.png", "", "CC-BY-SA-3.0", "https://example.org/d"),
        ("e.png", "Lou", "PD", ""),
    ]
    for number, row in enumerate(rows[:4]):
        Image.new("RGB", (90 + number, 60), (40 * number, 100, 50)).save(tmp_path / row[0])
    write_sources(tmp_path, rows)
    return tmp_path


def write_sources(folder, rows, columns=COLUMNS):
    with (folder / "SOURCES.csv").open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(columns)
        writer.writerows([file, "set", "1234", file, author, licence, url] for file, author, licence, url in rows)


def test_what_is_free_and_credited_is_listed_in_order(folder):
    assert [photograph.path.name for photograph in list_photographs(folder)] == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("licence", "usable"),
    [
        ("PD", True),
        ("PD-USGov", True),
        ("CC0-1.0", True),
        ("CC-BY-2.0", True),
        ("CC-BY-SA-4.0", True),
        ("CC-BY-ND-4.0", False),
        ("CC-BY-NC-SA-4.0", False),
        ("PDX", False),
        ("all rights reserved", False),
        ("", False),
    ],
)
def test_licences(tmp_path, licence, usable):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    write_sources(tmp_path, [("a.png", "Ann", licence, "")])
    if usable:
        assert len(list_photographs(tmp_path)) == 1
    else:
        with pytest.raises(SettingsError, match="lists no photograph"):
            list_photographs(tmp_path)


def test_tables_that_cannot_be_used(tmp_path):
    with pytest.raises(SettingsError, match="cannot be read"):
        list_photographs(tmp_path)
    write_sources(tmp_path, [("a.png", "Ann", "PD", "")], [*COLUMNS[:-1], "address"])
    with pytest.raises(SettingsError, match="no column url"):
        list_photographs(tmp_path)
    write_sources(tmp_path, [("../a.png", "Ann", "PD", "")])
    with pytest.raises(SettingsError, match="plain names"):
        list_photographs(tmp_path)
    (tmp_path / "SOURCES.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="cannot be read"):
        list_photographs(tmp_path)


def test_a_tenth_is_held_out_whatever_else_is_there(folder):
    rows = [(f"{number:04d}.png", "", "PD", "") for number in range(400)]
    for row in rows:
        (folder / row[0]).touch()
    write_sources(folder, rows)
    names = {photograph.path.name for photograph in list_photographs(folder) if photograph.held_out}
    assert 20 < len(names) < 60
    write_sources(folder, rows[::2])
    assert {p.path.name for p in list_photographs(folder) if p.held_out} == {n for n in names if int(n[:4]) % 2 == 0}


def test_photographs_are_read_at_one_size(folder):
    image = read_photograph(folder / "b.png", 30)
    assert image.shape == (30, 45, 3) and image.dtype == np.uint8
    (folder / "b.png").write_text("no picture")
    with pytest.raises(SettingsError, match="cannot be read as a picture"):
        read_photograph(folder / "b.png", 30)


def test_credits_name_everybody(folder):
    text = credits(list_photographs(folder))
    assert "| set | 2 | CC-BY-4.0 (1), CC0-1.0 (1) |" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| b.png")]
    assert "Ann\\|Lee" in row and "https://example.org/b" in row
    assert len(re.findall(r"(?<!\\)\|", row)) == 6
