"""The reader of pickles builds what numpy and plain Python write, and nothing else."""

import os
import pickle
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from undertow.base import SettingsError
from undertow.benchmarks.core import pickles as restricted_pickle
from undertow.benchmarks.core.pickles import parse_pickle, read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 70), 1 << 70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text() | st.integers() | st.binary(), inner)
    ),
    max_leaves=20,
)
TYPES = ["?", "u1", "i2", "<i4", ">i8", "f2", "<f4", ">f8", "S3"]


@settings(max_examples=60, deadline=None)
@given(PLAIN, st.integers(0, 5))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert parse_pickle(pickle.dumps(value, protocol)) == value


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(TYPES),
    st.lists(st.integers(0, 4), max_size=4),
    st.integers(0, 5),
    st.sampled_from(["plain", "columns", "swapped", "strided"]),
)
def test_arrays_come_back(kind: str, shape: list[int], protocol: int, order: str) -> None:
    values = np.arange(int(np.prod(shape))).reshape(shape).astype(kind)
    if order == "columns":
        values = np.asfortranarray(values)
    elif order == "swapped" and len(shape) > 1:
        values = values.transpose([1, 0, *range(2, len(shape))])
    elif order == "strided" and shape:
        values = values[::2]
    # The same array and type twice: the second comes from the memo.
    both = parse_pickle(pickle.dumps({"a": values, "b": [values, values.copy()]}, protocol))
    for found in (both["a"], *both["b"]):
        assert found.dtype == values.dtype and found.shape == values.shape
        np.testing.assert_array_equal(found, values)
        assert not found.flags.writeable


@pytest.mark.parametrize("axes", [(1, 0, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1)])
def test_axes_in_any_order(axes: tuple[int, ...]) -> None:
    values = np.arange(24).reshape(2, 3, 4).transpose(axes)
    for protocol in range(6):
        np.testing.assert_array_equal(parse_pickle(pickle.dumps(values, protocol)), values)


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_numbers_come_back(protocol: int) -> None:
    found = parse_pickle(pickle.dumps([np.float32(1.5), np.int64(-3), np.bool_(True)], protocol))
    assert found == [1.5, -3, True] and found[0].dtype == np.float32


def test_long_bytes_are_views_into_the_file(tmp_path: Path) -> None:
    video = np.arange(100_000, dtype=np.uint8).reshape(10, 100, 100)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"video": video, "jpeg": [bytes(5000)]}, 4))
    found = read_pickle(tmp_path / "a.pkl")
    assert not found["video"].flags.owndata and isinstance(found["jpeg"][0], memoryview)
    np.testing.assert_array_equal(found["video"], video)
    assert read_pickle(tmp_path / "a.pkl") is found
    (tmp_path / "a.pkl").write_bytes(pickle.dumps([1]))
    assert read_pickle(tmp_path / "a.pkl") == [1]


def test_python_2_annotations() -> None:
    """The shape that the published RefCOCO annotations have: protocol 0, text strings as Python 2 wrote them."""
    old = (
        b"(lp0\n(dp1\nS'sent_ids'\np2\n(lp3\nI0\naI1\naL7L\nassS'sentences'\np4\n(lp5\n(dp6\nS'raw'\np7\n"
        b"Vthe man \\u00e9\np8\nsS'sent_id'\np9\nI0\nsassS'file_name'\np10\nS'COCO_1.jpg'\np11\nsS'x'\nF1.5\nsa."
    )
    old = old.replace(b"L7L\nass", b"L7L\nas").replace(b"I0\nsass", b"I0\nsas")
    value = [{"sent_ids": [0, 1, 7], "sentences": [{"raw": "the man é", "sent_id": 0}],
              "file_name": "COCO_1.jpg", "x": 1.5}]  # fmt: skip
    assert pickle.loads(old) == value
    assert parse_pickle(old) == value


class Calls:
    """Anything that a pickle can be made to call."""

    def __init__(self, function: Any, *given: Any, state: Any = None) -> None:
        self.made = (function, given) if state is None else (function, given, state)

    def __reduce__(self) -> Any:
        return self.made


TRAP = "touched"
MALICIOUS = {
    "system": Calls(os.system, f"touch {TRAP}"),
    "eval": Calls(eval, f"open('{TRAP}', 'w')"),
    "popen": Calls(subprocess.Popen, ["touch", TRAP]),
    "getattr": Calls(getattr, "", "join"),
    "nested": [{"video": (1, [Calls(os.system, f"touch {TRAP}")])}],
    "numpy load": Calls(np.load, "x.npy", None, True),
    "numpy fromfile": Calls(np.fromfile, "/etc/passwd"),
    "open": Calls(open, TRAP, "w"),
    "a class": Calls(Path, "x"),
    "in an array": np.array([Calls(os.system, f"touch {TRAP}")], object),
    "set": {1, 2},
    "complex": np.zeros(2, complex),
    "fields": np.zeros(2, [("a", "f4")]),
    "dates": np.zeros(2, "M8[s]"),
    "metadata": np.zeros(1, np.dtype("f4", metadata={"a": 1})),
    "a masked array": np.ma.zeros(3),
    "a type": np.float32,
    "a dtype": np.dtype("f4"),
}


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("name", MALICIOUS)
def test_anything_else_is_refused(name: str, protocol: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = pickle.dumps(MALICIOUS[name], protocol)
    with pytest.raises(SettingsError, match=r"the pickle is not read: it .* \(at byte \d+\)"):
        parse_pickle(data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"cos\nsystem\n(S'touch touched'\ntR.", "it asks for 'os.system'"),
        (b"cposix\nsystem\np0\n.", "it asks for 'posix.system'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x04load\x93.", "it asks for 'numpy.load'"),
        (b"\x80\x04\x8c\x05numpy\x8c\x0fndarray.tofile0\x93.", "it asks for 'numpy.ndarray.tofile"),
        (b"(S'ls'\nios\nsystem\n.", "the instruction INST"),
        (b"Pid\n.", "the instruction PERSID"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"\x80\x02]\x81.", "the instruction NEWOBJ"),
        (b"cnumpy\nndarray\n(K\x05tR.", "it calls a class that cannot be built so"),
        (b"cnumpy\nndarray\n.", "neither a plain value nor an array"),
        (b"(lcnumpy\ndtype\na.", "neither a plain value nor an array"),
        (b"(lp0\n}b.", "it sets attributes of something that has none"),
        (b"(l(S'a'\ntR.", "it calls something that is not a name"),
        (b"cnumpy\ndtype\n(S'O8'\nI00\nI01\ntR.", "an array of Python objects"),
        (b"\x80\x09N.", "it is of protocol 9"),
        (b"\x8e" + struct.pack("<Q", 1 << 62) + b"abc.", "it declares 4611686018427387904 bytes where 4 are left"),
        (b"X" + struct.pack("<I", 1 << 30) + b"abc.", "declares 1073741824 bytes"),
        (b"\x8b" + struct.pack("<i", 1 << 20) + b"\1" * (1 << 20) + b".", "an integer of 1048576 bytes"),
        (b"I" + b"9" * 1000 + b"\n.", "an integer of 416 bytes"),
        (b"N", "it ends in the middle"),
        (b"Vabc", "it ends in the middle of a line"),
        (b"NN.", "it does not end with one value"),
        (b"(N.", "it does not end with one value"),
        (b"\xff.", "the instruction 0xff"),
        (b"", "it ends in the middle"),
    ],
)
def test_hostile_programs(data: bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message.replace(".", r"\.")):
        parse_pickle(data)


@pytest.mark.parametrize("data", [b"a.", b"R.", b"g5\n.", b"t.", b"\x86.", b"Ix\n.", b"Fx\n.", b"(Nd.", b"N}s.", b"0."])
def test_damage_is_named(data: bytes) -> None:
    with pytest.raises(SettingsError, match=r"the pickle is (damaged at byte|not read)"):
        parse_pickle(data)


def declared(shape: tuple[int, ...], size: int) -> bytes:
    """An array whose shape and bytes may disagree."""
    parts = b"".join(b"L%dL\n" % length for length in shape)
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(" + parts + b"t"
        b"cnumpy\ndtype\n(S'u1'\nI00\nI01\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntbI00\nB" + struct.pack("<I", size)
        + bytes(size) + b"tb."
    )  # fmt: skip


def test_shapes_are_bounded_by_the_data() -> None:
    assert parse_pickle(declared((2, 3), 6)).shape == (2, 3)
    for shape in [(1 << 40,), (1 << 20, 1 << 20), (7,), (-6,), (-2, -3), (1 << 70,), (0, 1 << 61), (1,) * 17]:
        with pytest.raises(SettingsError, match=r"it (declares an array of shape|has an array of shape)|is damaged"):
            parse_pickle(declared(shape, 6))


def test_deep_and_shared_values_cost_nothing() -> None:
    deep = parse_pickle(b"(" + b"]" * 50_000 + b"a" * 49_999 + b"l.")
    assert len(deep) == 1
    # Thirty lists, each twice in the next: a billion leaves for whoever walks them, thirty lists for us.
    laughs = parse_pickle(b"]" + b"".join(b"p%d\n0]g%d\nag%d\na" % (i, i, i) for i in range(30)) + b".")
    assert len(laughs) == 2 and laughs[0] is laughs[1]


def test_endless_programs_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restricted_pickle, "MOST_INSTRUCTIONS", 1000)
    with pytest.raises(SettingsError, match="more than 1000 instructions"):
        parse_pickle(b"N0" * 2000 + b"N.")


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 400), st.integers(0, 255), st.sampled_from([0, 2, 3, 5]))
def test_damaged_bytes_never_do_more_than_raise(noise: bytes, place: int, byte: int, protocol: int) -> None:
    whole = bytearray(pickle.dumps({"video": np.zeros((2, 3), np.float32), "name": ["é", 1 << 40, None]}, protocol))
    whole[place % len(whole)] = byte
    for data in (noise, bytes(whole), bytes(whole[: place % len(whole)])):
        try:
            parse_pickle(data)
        except SettingsError as error:
            assert "the pickle is" in str(error)


def test_files_that_are_no_pickles(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").write_bytes(b"")
    with pytest.raises(SettingsError, match=r"'.*empty.pkl' is empty"):
        read_pickle(tmp_path / "empty.pkl")
    for path in (tmp_path / "none.pkl", tmp_path):
        with pytest.raises(SettingsError, match="cannot be read"):
            read_pickle(path)
