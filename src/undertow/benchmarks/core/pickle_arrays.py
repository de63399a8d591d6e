"""How a pickle asks for a numpy array, and the array: its own constructors of the few names that it may use."""

import re
from collections.abc import Callable
from enum import Enum
from math import prod
from typing import Any

import numpy as np

MOST_AXES = 16
_CODE = re.compile(r"(?:b1|[iuf][1248]|S[1-9]\d{0,8})\Z")


class Refusal(Exception):
    """Why a pickle is not read, in words that begin with "it"."""


class Name(Enum):
    """What a looked-up name stands for; it is compared, never called."""

    RECONSTRUCT, FROM_BUFFER, SCALAR, ARRAY, DTYPE, ENCODE, BYTES = range(7)


#: The only names a pickle may look up, by module and name; numpy 2 has moved some.
NAMES = {
    ("numpy", "ndarray"): Name.ARRAY,
    ("numpy", "dtype"): Name.DTYPE,
    ("_codecs", "encode"): Name.ENCODE,
    ("__builtin__", "bytes"): Name.BYTES,
    ("builtins", "bytes"): Name.BYTES,
    **{(f"{core}.multiarray", "_reconstruct"): Name.RECONSTRUCT for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.multiarray", "scalar"): Name.SCALAR for core in ("numpy.core", "numpy._core")},
    **{(f"{core}.numeric", "_frombuffer"): Name.FROM_BUFFER for core in ("numpy.core", "numpy._core")},
}


class Unfinished:
    """An array, or the number type `code`, whose contents come later; `keys` are its places in the memo."""

    def __init__(self, code: str | None = None) -> None:
        self.code = code
        self.keys: list[int] = []

    def finish(self, state: tuple[Any, ...]) -> Any:
        """Returns the array or number type that a state describes."""
        return _filled(*state) if self.code is None else _number_type(self.code, *state)


def make(name: object, given: object) -> Any:
    """Returns what a name makes of its arguments.

    Raises:
        Refusal: if it is no name that makes anything, or the arguments are not what numpy writes.
        TypeError: if there are more or fewer arguments.
    """
    if not isinstance(name, Name) or not isinstance(given, tuple):
        raise Refusal("it calls something that is not a name")
    if name not in _MAKERS:
        raise Refusal("it calls a class that cannot be built so")
    return _MAKERS[name](*given)


def _started(kind: Any, shape: Any, code: Any) -> Unfinished:
    if kind is not Name.ARRAY:
        raise Refusal("it has an array of another class")
    return Unfinished()


def _started_type(code: Any, *flags: Any) -> Unfinished:
    if isinstance(code, str) and code.startswith("O"):
        raise Refusal("it has an array of Python objects; write its rows as lists of numbers or bytes")
    if not isinstance(code, str) or not _CODE.match(code):
        raise Refusal(f"it has an array of type {code!r:.40}; booleans, integers, floats and bytes are read")
    return Unfinished(code)


def _number_type(code: str, version: Any, order: Any, *rest: Any) -> np.dtype[Any]:
    # The next three are a subarray, field names and fields; a ninth is metadata.
    if order not in ("<", ">", "|", "=") or any(value is not None for value in rest[:3]) or len(rest) > 6:
        raise Refusal("it has an array with fields or metadata")
    return np.dtype(code if order == "|" else order + code)


def _filled(version: Any, shape: Any, kind: Any, by_columns: Any, data: Any) -> np.ndarray:
    return _array(data, kind, shape, "F" if by_columns else "C")


def _from_buffer(data: Any, kind: Any, shape: Any, order: Any, axes: Any = None) -> np.ndarray:
    if order != "K":
        return _array(data, kind, shape, order)
    # Buffer and `shape` are in the order of memory; `axes` says which of its axes each of the array's is.
    stored = _array(data, kind, shape, "C")
    if not isinstance(axes, tuple) or sorted(axes) != list(range(stored.ndim)):
        raise Refusal("it has an array whose axes are in no order")
    return stored.transpose(axes)


def _scalar(kind: Any, data: Any) -> Any:
    return _array(data, kind, (), "C")[()]


def _encoded(text: Any, codec: Any) -> bytes:
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise Refusal("it encodes something other than bytes")
    return text.encode("latin-1")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    """Returns a read-only array over `data`, which must be exactly as long as the shape says."""
    if isinstance(data, str):
        # A byte string of Python 2.
        data = data.encode("latin-1")
    whole = isinstance(shape, tuple) and len(shape) <= MOST_AXES
    if not whole or not all(type(length) is int and 0 <= length < 1 << 62 for length in shape):
        raise Refusal(f"it has an array of shape {shape!r:.40}")
    if not isinstance(kind, np.dtype) or not isinstance(data, bytes | memoryview) or order not in ("C", "F"):
        raise Refusal("it has an array that is not made of a type and its bytes")
    if prod(shape) * kind.itemsize != len(data):
        raise Refusal(f"it declares an array of shape {shape} and type {kind}, but has {len(data)} bytes of it")
    if kind == np.bool_:
        # Bytes other than 0 and 1 would be booleans that are neither.
        array = np.asarray(np.ndarray(shape, np.uint8, data, order=order) != 0)
    else:
        array = np.ndarray(shape, kind, data, order=order)
    array.flags.writeable = False
    return array


_MAKERS: dict[Name, Callable[..., Any]] = {
    Name.RECONSTRUCT: _started,
    Name.DTYPE: _started_type,
    Name.FROM_BUFFER: _from_buffer,
    Name.SCALAR: _scalar,
    Name.ENCODE: _encoded,
    Name.BYTES: lambda: b"",
}
