import json
from collections import deque

import numpy as np
import pytest

from undertow.base import SettingsError
from undertow.masks import VOID
from undertow.parsing.naming import ClassEntry, MapEditor, NameTable
from undertow.parsing.regions import RegionTracks, connected_regions


def flood(inside: np.ndarray) -> np.ndarray:
    """Regions the plain way: from every pixel in reading order, all that can be reached through sides."""
    regions = np.zeros(inside.shape, np.int32)
    count = 0
    for start in zip(*np.nonzero(inside), strict=True):
        if regions[start]:
            continue
        count += 1
        regions[start], queue = count, deque([start])
        while queue:
            row, column = queue.popleft()
            for place in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                within = 0 <= place[0] < inside.shape[0] and 0 <= place[1] < inside.shape[1]
                if within and inside[place] and not regions[place]:
                    regions[place] = count
                    queue.append(place)
    return regions


@pytest.mark.parametrize("share", [0.0, 0.35, 0.55, 0.65, 1.0])
def test_regions_are_those_of_a_flood_fill(share):
    random = np.random.default_rng(int(100 * share))
    for shape in ((13, 17), (1, 9), (9, 1)):
        inside = random.random(shape) < share
        regions, count = connected_regions(inside)
        np.testing.assert_array_equal(regions, flood(inside))
        assert count == regions.max(initial=0)


def two_movers(frames: int = 5) -> list[np.ndarray]:
    """Class 3: a large square goes right, a small one stays, a speck blinks once; class 1 elsewhere, a void corner."""
    maps = []
    for time in range(frames):
        labels = np.ones((20, 40), np.uint16)
        labels[2:10, 2 + 3 * time : 10 + 3 * time] = 3
        labels[14:18, 30:34] = 3
        if time == 2:
            labels[0, 39] = 3
        labels[19, 0] = VOID
        maps.append(labels)
    return maps


def test_a_class_is_split_into_regions_that_are_followed_through_time():
    maps = two_movers()
    table = NameTable((ClassEntry(1, "ground"), ClassEntry(3, "square", split=2)))
    editor = MapEditor(table, [1, 3])
    for labels in maps:
        editor.follow(labels)
    for place, labels in enumerate(maps):
        edited = editor.edit(place, labels)
        wanted = labels.copy()
        wanted[14:18, 30:34] = 4
        # The speck is in neither of the two largest regions and keeps the id.
        np.testing.assert_array_equal(edited, wanted)
    assert editor.names() == {1: "ground", 3: "square", 4: "square 2"}
    named = NameTable((*table.entries, ClassEntry(4, "pebble")))
    assert MapEditor(named, [1, 3]).names() == {1: "ground", 3: "square", 4: "pebble"}


def test_regions_that_touch_at_some_time_are_one():
    regions = RegionTracks()
    apart, together = np.zeros((3, 9), bool), np.ones((3, 9), bool)
    apart[:, :4] = apart[:, 5:] = True
    for inside in (apart, together, apart):
        regions.add(inside)
    found = dict(regions.largest(0, apart, 2))
    assert list(found) == [0]
    ranks = [rank for rank, _ in regions.largest(0, apart, 5)]
    assert ranks == [0, 0]


def test_ids_are_merged_through_chains_and_void_stays():
    table = NameTable(
        (ClassEntry(1, "a", merge=2), ClassEntry(2, "b", merge=5), ClassEntry(5, "c"), ClassEntry(7, "d"))
    )
    editor = MapEditor(table, [1, 2, 7])
    labels = np.array([[1, 2, 5, 7, VOID]], np.uint16)
    np.testing.assert_array_equal(editor.edit(0, labels), [[5, 5, 5, 7, VOID]])
    assert editor.names() == {5: "c", 7: "d"}
    np.testing.assert_array_equal(labels, [[1, 2, 5, 7, VOID]])


def test_a_table_reads_back_and_takes_short_forms(tmp_path):
    table = NameTable(
        (ClassEntry(0, "sky", "#ff0080"), ClassEntry(4, "Straße", merge=0), ClassEntry(9, "car", split=3))
    )
    table.write(tmp_path / "names.json")
    assert NameTable.read(tmp_path / "names.json") == table
    assert table.colours == {0: (255, 0, 128)} and table.edits and table.splits == {9: 3}
    short = tmp_path / "short.json"
    for value in (["sky", "road"], {"0": "sky", "1": "road"}, {"classes": ["sky", "road"], "colours": [[0, 0, 0]]}):
        short.write_text(json.dumps(value))
        assert NameTable.read(short).names == {0: "sky", 1: "road"}
    assert NameTable.of([3, 1]).names == {1: "cluster 1", 3: "cluster 3"}
    extended = NameTable.read(short).extended(NameTable.of([1, 2]))
    assert extended.names == {0: "sky", 1: "road", 2: "cluster 2"} and not extended.edits


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("[", "are not JSON"),
        (3, "give a list of names, names by id"),
        ([{"id": 1}], "row 0 has no id and name"),
        ([{"id": 1, "name": "a", "colur": "#000000"}], "row 0 has 'colur', which is not one of"),
        ([{"id": "one", "name": "a"}], "'id' of row 0 is 'one'; give a whole number"),
        ([{"id": True, "name": "a"}], "'id' of row 0 is True"),
        ({"one": "a"}, "'id' of row 0 is 'one'"),
        ([{"id": 1, "name": "a", "colour": "red"}], "colour of id 1 is 'red'; give #rrggbb"),
        ([{"id": 1, "name": "a", "colour": 7}], "colour of row 0 is 7"),
        ([{"id": 70000, "name": "a"}], "is 70000; give a whole number"),
        ([{"id": 1, "name": ""}], "id 1 is called ''"),
        ([{"id": 1, "name": "a", "split": 1}], "is 1; give a whole number from 2"),
        ([{"id": 1, "name": "a", "split": 2, "merge": 3}], "id 1 is both merged and split"),
        ([{"id": 1, "name": "a"}, {"id": 1, "name": "b"}], "id 1 is listed twice"),
        ([{"id": 1, "name": "a", "merge": 2}, {"id": 2, "name": "b", "merge": 1}], "id 1 is merged into itself"),
    ],
)
def test_what_is_no_table_is_refused_with_the_file_and_the_reason(tmp_path, value, words):
    path = tmp_path / "names.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    with pytest.raises(SettingsError, match=words) as caught:
        NameTable.read(path)
    assert "names.json" in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"no\.json' cannot be read"):
        NameTable.read(tmp_path / "no.json")
    with pytest.raises(SettingsError, match="splitting makes more than 65535 ids"):
        MapEditor(NameTable((ClassEntry(1, "a", split=2),)), [65534])


@pytest.mark.parametrize("split", [10**9, 1025, 2**70, -1, 0, 1.5, True, 1e999, "many", [2], {"parts": 2}])
def test_a_number_of_parts_without_bounds_is_refused_before_anything_is_built(split, tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"classes": [{"id": 1, "name": "x", "split": split}]}))
    with pytest.raises(SettingsError, match=r"'split' of row 0 .*give a whole number from 2 to 1024"):
        NameTable.read(path)


def test_a_long_chain_of_merges_ends_where_it_ends():
    rows = [ClassEntry(number, "road", merge=number + 1) for number in range(20_000)]
    assert set(NameTable((*rows, ClassEntry(20_000, "road"))).mapping().values()) == {20_000}
    with pytest.raises(SettingsError, match="merged into itself"):
        NameTable((*rows, ClassEntry(20_000, "road", merge=19_999)))


def test_a_name_of_a_hundred_thousand_letters_is_refused_in_a_short_sentence():
    with pytest.raises(SettingsError, match="give up to 200 printable letters") as caught:
        ClassEntry(0, "r" * 100_000)
    assert len(str(caught.value)) < 120
