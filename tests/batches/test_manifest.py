"""Tables of clips: what they may say, and one sentence, naming the line, for whatever is wrong with them."""

import re

import pytest

from undertow.base import SettingsError
from undertow.batches import BatchSettings, read_manifest


@pytest.fixture
def read(tmp_path):
    """Reads a manifest that holds a text or bytes."""

    def read(content, name="m.csv", **options):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_manifest(path, BatchSettings(tmp_path / "out", **options))

    return read


def test_both_forms_ask_for_the_same(read, tmp_path):
    table = read(
        "﻿clip,mask,mask,start,tokens,lost,out\r\na.mp4,a.png,fix.png@30,4.5s,900,,\r\n\r\n"
        'b/frames,b.png,,,,keep,"deep/b, 2"\r\n'
    )
    lines = read(
        '{"clip": "a.mp4", "mask": ["a.png", "fix.png@30"], "start": "4.5s", "tokens": 900}\n\n'
        '{"clip": "b/frames", "mask": "b.png", "lost": "keep", "tokens": null, "out": "deep/b, 2"}\n'
    )
    assert [(row.out, row.request) for row in table] == [(row.out, row.request) for row in lines]
    first, second = table
    assert (first.line, first.out, second.line, second.out) == (2, "a", 4, "deep/b, 2")
    assert first.request.video == str(tmp_path / "a.mp4")
    assert first.request.cues == (("mask", str(tmp_path / "a.png")), ("mask", f"{tmp_path / 'fix.png'}@30"))
    assert first.request.settings.tokens == 900 and second.request.settings.lost == "keep"


def test_settings_of_the_batch_give_way_to_those_of_a_row(read):
    usual = {"assignments": ("batch=3", "crf.steps=4"), "views": "overlay", "task": "parse"}
    rows = read("clip,batch,crf.steps,views\na.mp4,2,7,none\nb.mp4,,,\n", **usual)
    assert [(row.request.settings.batch, row.request.settings.crf.steps) for row in rows] == [(2, 7), (3, 4)]
    assert [row.request.views for row in rows] == [(), ("overlay.mp4",)]


def test_what_is_no_path_of_a_cue_is_left_as_it_is(read, tmp_path):
    (row,) = read('{"clip": "a", "box": ["1,2,30,40@4#2", "boxes.json"], "text": "kite"}')
    assert row.request.cues == (
        ("box", "1,2,30,40@4#2"), ("box", str(tmp_path / "boxes.json")), ("text", "kite"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "has no rows; give one for each clip"),
        ("clip,mask\n", "has no rows; give one for each clip"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is no text in UTF-8; give CSV or JSON lines"),
        (b"clip\na\0b\n", "line 2 of '.*' holds a NUL; give a table that is text"),
        ("video\na\n", "has no column 'clip'; name the columns in its first line"),
        ("clip,maks\na,b\n", "line 2 of '.*' has a column 'maks', which is no option of track; the nearest is 'mask'"),
        ("clip,cache\na,b\n", "column 'cache', which is one for all clips; give --set cache=... instead"),
        ("clip,model\na,b\n", "column 'model', which is one for all clips; give --model instead"),
        ("clip,out\na,x\nb,x\n", "lines 2 and 3 of '.*' both write to 'x'; give each row an out of its own"),
        ("clip\nx/a.mp4\ny/a.mp4\n", "lines 2 and 3 of '.*' both write to 'a'"),
        ("clip,out\na,x\nb,x/y\n", "line 3 of '.*' writes to 'x/y', inside the run of line 2; choose another out"),
        ("clip,out\na,../x\n", "m.csv, line 2' names '../x', which leads out of '.*out'; correct it"),
        ("clip,out\na,/x\n", "m.csv, line 2' names '/x', which leads out of"),
        ("clip,out\na,failures.jsonl\n", "line 2 of '.*' writes to 'failures.jsonl', a name of the batch's own"),
        ("clip,out\na,.batch/x\n", "a name of the batch's own; rename it"),
        ("clip\n../a.mp4\n", "m.csv, line 2' names '../a.mp4', which leads out of"),
        ("clip\n/etc/passwd\n", "m.csv, line 2' names '/etc/passwd', outside '.*'; give --root for another folder"),
        ("clip,mask\na,/etc/passwd\n", "names '/etc/passwd', outside"),
        ("clip,box\na,/etc/passwd\n", "names '/etc/passwd', outside"),
        ("clip,tokens\na,few\n", "line 2 of '.*': tokens is 'few'; give 16 or more"),
        ("clip,every\na,0\n", "line 2 of '.*': every is '0'; give a whole number from 1"),
        ("clip,mask\na\n", "line 2 of '.*' has 1 cells where 2 columns are named; quote cells that hold commas"),
        ('clip\n"a\n', "is no CSV"),
        ("clip,tokens\n,900\n", "line 2 of '.*' names no clip; fill in its column 'clip'"),
        ('{"clip": "a"}\n{"clip": \n', "line 2 of '.*' is no JSON; write one object to a line"),
        ('{"clip": "a"}\n[1]\n', "line 2 of '.*' is a list; write one object to a line"),
        ('{"clip": {"a": 1}}\n', "line 1 of '.*' has a dict for 'clip'; give a text or a number"),
        ("{" + '"a":{' * 10**5, "line 1 of '.*' is no JSON"),
    ],
)  # fmt: skip
def test_whatever_is_wrong_is_one_sentence(read, content, message):
    with pytest.raises(SettingsError, match=message) as caught:
        read(content)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_too_many_rows_are_refused(tmp_path, read, monkeypatch):
    with pytest.raises(SettingsError, match=r"manifest '.*' is not a file"):
        read_manifest(tmp_path / "none.csv", BatchSettings(tmp_path / "out"))
    monkeypatch.setattr("undertow.batches.manifest.MOST_ROWS", 3)
    assert len(read("clip\n1\n2\n3\n")) == 3
    with pytest.raises(SettingsError, match="has more than 3 rows; split it into several"):
        read("clip\n1\n2\n3\n4\n")


def test_a_folder_given_is_where_clips_may_lie(read, tmp_path):
    (row,) = read(f"clip\n{tmp_path / 'elsewhere' / 'a.mp4'}\n", root=tmp_path)
    assert row.request.video == str(tmp_path / "elsewhere/a.mp4") and row.out == "a"
    with pytest.raises(SettingsError, match="is not a folder; give the one that the clips lie in"):
        read("clip\na\n", root=tmp_path / "none")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "fly"}, "task 'fly' is not one of track, points, parse, refer"),
        ({"engine": "spark"}, "engine 'spark' is not one of local, ray"),
        ({"workers": 0}, "workers is 0; give 1 to 4096"),
        ({"shard": (3, 2)}, re.escape("shard is 3/2; number the shards from 1/2 to 2/2")),
        ({"attempts": 0}, "attempts is 0; give 1 to 100"),
        ({"threads": 0}, "threads is 0; give 1 or more"),
        ({"retry": True, "overwrite": True}, "retry and overwrite exclude each other; give one of them"),
    ],
)
def test_bad_options_are_refused(tmp_path, options, message):
    with pytest.raises(SettingsError, match=message):
        BatchSettings(tmp_path, **options)
