"""Reads pickles of plain values and numpy arrays, and can do nothing else that a pickle may ask for.

A pickle is a program for a small stack machine. This one knows the instructions that build `None`, numbers, strings,
bytes, lists, tuples, dictionaries and numpy arrays. Names it looks up are compared with a fixed list and stand for
themselves: no module is imported and no function of a file's choice is called. Whatever else a pickle holds is refused
by name, and nothing of it has run by then.

The file is mapped, not read. Large byte strings and arrays are read-only views into it, so that a pickle of several
gigabytes of frames costs no memory until frames are looked at.

Python's `pickletools` says which instructions there are and reads what follows them; it runs nothing.
"""

import codecs
import io
import mmap
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from pickletools import (
    TAKEN_FROM_ARGUMENT1,
    TAKEN_FROM_ARGUMENT4,
    TAKEN_FROM_ARGUMENT4U,
    TAKEN_FROM_ARGUMENT8U,
    UP_TO_NEWLINE,
    opcodes,
)
from typing import Any

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.pickle_arrays import NAMES, Name, Refusal, Unfinished, make

PROTOCOLS = 5
# More than any published annotation has; it bounds the time that a file of tiny instructions can take.
MOST_INSTRUCTIONS = 1 << 24
# Bytes of an integer. What values may take, in bytes: more than the largest published annotations do.
MOST_LONG, MOST_MEMORY = 64, 512 << 20
# What a value takes beside what is in it, and what it takes to remember one.
OBJECT, MEMORY = 64, 96
# From this size on a byte string is a view into the file.
VIEW = 1 << 12

_INSTRUCTIONS = {each.code: each for each in opcodes}
#: Instructions that push a plain value, which stands behind them.
_LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_BYTES = ("BINBYTES", "BINBYTES8", "BYTEARRAY8")
#: How a count is written that says how many bytes follow it.
_COUNTS = {
    TAKEN_FROM_ARGUMENT1: "<B", TAKEN_FROM_ARGUMENT4: "<i",
    TAKEN_FROM_ARGUMENT4U: "<I", TAKEN_FROM_ARGUMENT8U: "<Q",
}  # fmt: skip


def read_pickle(path: Path | str) -> Any:
    """Returns the value in a pickle file; the last file read is kept.

    Returns:
        `None`, bool, int, float, str, bytes (a read-only memoryview if long), list, tuple, dict with keys of str, int
        or bytes, numpy arrays and numpy numbers. Arrays are read-only. Byte strings of Python 2 come as str.

    Raises:
        SettingsError: naming the file, if it is missing, damaged, or asks for anything else, such as running a
            function; in that case nothing of it has run.
    """
    path = Path(path)
    try:
        facts = path.stat()
    except OSError as error:
        raise SettingsError(f"'{path}' cannot be read ({error.strerror}); check the path") from error
    return _read(path, facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=1)
def _read(path: Path, size: int, changed: int) -> Any:
    """Returns the value of a file of this state; one file is kept, because its frames are asked for one by one."""
    try:
        with path.open("rb") as handle:
            data = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    except ValueError as error:
        raise SettingsError(f"'{path}' is empty; fetch it again") from error
    except OSError as error:
        raise SettingsError(f"'{path}' cannot be read ({error.strerror}); check the path") from error
    return parse_pickle(data, f"'{path}'")


def parse_pickle(data: bytes | mmap.mmap, source: str = "the pickle") -> Any:
    """Returns the value that a pickle in memory holds, see `read_pickle`.

    Args:
        data: The pickle.
        source: What to call it in an error.

    Raises:
        SettingsError: if it is damaged or asks for anything but plain values and numpy arrays.
    """
    machine = Machine(data)
    try:
        return machine.run()
    except Refusal as refusal:
        raise SettingsError(f"{source} is not read: {refusal} (at byte {machine.last})") from None
    except (LookupError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise SettingsError(
            f"{source} is damaged at byte {machine.last} ({type(error).__name__}); fetch it again"
        ) from error


class Machine:
    """The stack machine; `last` is the place of the instruction it is at."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.last = 0
        self._data, self._view = data, memoryview(data)
        self._read = data if isinstance(data, mmap.mmap) else io.BytesIO(data)
        self._memory = MOST_MEMORY
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Returns the value; raises `Refusal`, or whatever error damage leads to."""
        actions = self._actions()
        for _ in range(MOST_INSTRUCTIONS):
            self.last = self._read.tell()
            code = self._read.read(1)
            if not code:
                raise Refusal("it ends in the middle; fetch it again")
            instruction = _INSTRUCTIONS.get(code.decode("latin-1"))
            name = f"0x{code.hex()}" if instruction is None else instruction.name
            if name == "STOP":
                if self._marks or len(self._stack) != 1:
                    raise Refusal("it does not end with one value")
                return _plain(self._stack[0])
            if instruction is None or (name not in _LITERALS and name not in actions):
                raise Refusal(f"it has the instruction {name}, which plain values and arrays do not need")
            given = () if instruction.arg is None else (self._argument(name, instruction.arg),)
            (self._push if name in _LITERALS else actions[name])(*given)
        raise Refusal(f"it has more than {MOST_INSTRUCTIONS} instructions")

    def _argument(self, name: str, kind: Any) -> Any:
        """Returns what follows an instruction; nothing is copied before it is known to be there and to fit."""
        start, data = self._read.tell(), self._data
        if kind.n in _COUNTS:
            (count,) = struct.unpack_from(_COUNTS[kind.n], data, start)
            first = start + struct.calcsize(_COUNTS[kind.n])
            if not 0 <= count <= len(data) - first:
                raise Refusal(f"it declares {count} bytes where {len(data) - first} are left; fetch it again")
            if name in _BYTES and count >= VIEW:
                self._read.seek(first + count)
                return self._view[first : first + count].toreadonly()
            self._charge(count)
        elif kind.n == UP_TO_NEWLINE:
            end = data.find(b"\n", start)
            if name == "GLOBAL" and end >= 0:
                end = data.find(b"\n", end + 1)
            if end < 0:
                raise Refusal("it ends in the middle of a line; fetch it again")
            self._charge(end - start)
            if name == "STRING":
                return _string(self._read.readline())
        value = kind.reader(self._read)
        if isinstance(value, int) and value.bit_length() > 8 * MOST_LONG:
            raise Refusal(f"it has an integer of {value.bit_length() // 8 + 1} bytes; {MOST_LONG} are allowed")
        return bytes(value) if isinstance(value, bytearray) else value

    def _actions(self) -> dict[str, Callable[..., object]]:
        """Returns what each instruction that is no plain value does, by the instructions' official names."""
        stack, memo, keep = self._popped, self._memo, self._keep
        return {
            "PROTO": self._protocol,
            "FRAME": lambda size: None,
            "NONE": lambda: self._push(None),
            "NEWTRUE": lambda: self._push(True),
            "NEWFALSE": lambda: self._push(False),
            "EMPTY_LIST": lambda: self._push([]),
            "EMPTY_TUPLE": lambda: self._push(()),
            "EMPTY_DICT": lambda: self._push({}),
            "MARK": self._mark,
            "POP": self._pop,
            "POP_MARK": self._marked,
            "DUP": lambda: self._push(self._stack[-1]),
            "LIST": lambda: self._push([_plain(value) for value in self._marked()]),
            "APPEND": lambda: self._extend(stack(1)),
            "APPENDS": lambda: self._extend(self._marked()),
            "TUPLE": lambda: self._push(tuple(self._marked())),
            "TUPLE1": lambda: self._push(tuple(stack(1))),
            "TUPLE2": lambda: self._push(tuple(stack(2))),
            "TUPLE3": lambda: self._push(tuple(stack(3))),
            "DICT": self._dict,
            "SETITEM": lambda: self._fill(stack(2)),
            "SETITEMS": lambda: self._fill(self._marked()),
            "PUT": keep,
            "BINPUT": keep,
            "LONG_BINPUT": keep,
            "MEMOIZE": lambda: keep(len(memo)),
            "GET": lambda key: self._push(memo[key]),
            "BINGET": lambda key: self._push(memo[key]),
            "LONG_BINGET": lambda key: self._push(memo[key]),
            "GLOBAL": lambda names: self._look_up(*names.split(" ", 1)),
            "STACK_GLOBAL": lambda: self._look_up(*stack(2)),
            "REDUCE": lambda: self._made(make(*stack(2))),
            "BUILD": self._build,
        }

    def _charge(self, count: int) -> None:
        """Counts memory that a value takes, before it is taken."""
        self._memory -= count
        if self._memory < 0:
            raise Refusal(f"its values take more than {MOST_MEMORY >> 20} MB, which no published annotations do")

    def _protocol(self, version: int) -> None:
        if version > PROTOCOLS:
            raise Refusal(f"it is of protocol {version}; write it again with protocol {PROTOCOLS}")

    def _push(self, value: Any) -> None:
        self._charge(OBJECT)
        self._stack.append(value)

    def _made(self, value: Any) -> None:
        """Takes bytes or an array, which take memory of their own unless they are a view into the file."""
        base = value
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(value, bytes):
            self._charge(len(value))
        elif isinstance(value, np.ndarray) and not isinstance(base, memoryview):
            self._charge(value.nbytes)
        self._push(value)

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _popped(self, count: int) -> list[Any]:
        """Returns the last values in their order, which are then no longer on the stack."""
        if len(self._stack) < count:
            raise Refusal("it takes more values than it gave; fetch it again")
        values = self._stack[-count:]
        del self._stack[-count:]
        return values

    def _mark(self) -> None:
        self._charge(OBJECT)
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """Returns the values since the last mark, and goes back to what was before it."""
        values, self._stack = self._stack, self._marks.pop()
        return values

    def _extend(self, values: list[Any]) -> None:
        _of(list, self._stack[-1]).extend([_plain(value) for value in values])

    def _dict(self) -> None:
        values = self._marked()
        self._push({})
        self._fill(values)

    def _fill(self, values: list[Any]) -> None:
        target = _of(dict, self._stack[-1])
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | bytes):
                raise Refusal(f"it has a dictionary key of type {type(key).__name__}")
            self._charge(OBJECT)
            target[key] = _plain(value)

    def _keep(self, key: int) -> None:
        self._charge(MEMORY)
        value = self._stack[-1]
        if isinstance(value, Unfinished):
            value.keys.append(key)
        self._memo[key] = value

    def _look_up(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)) or (module, name) not in NAMES:
            words = f"{module}.{name}"[:80]
            raise Refusal(f"it asks for '{words}', and only numpy arrays are built; do not open it with anything else")
        self._push(NAMES[module, name])

    def _build(self) -> None:
        """Fills an array or number type, everywhere it is known."""
        target, state = self._popped(2)
        if not isinstance(target, Unfinished) or not isinstance(state, tuple):
            raise Refusal("it sets attributes of something that has none")
        made = target.finish(state)
        for key in target.keys:
            self._memo[key] = made
        self._made(made)


def _plain(value: Any) -> Any:
    """Returns a value that may lie in a list or dictionary, or be the result."""
    if isinstance(value, Name | Unfinished | np.dtype):
        raise Refusal("it keeps something that is neither a plain value nor an array")
    return value


def _of(kind: type, value: Any) -> Any:
    if type(value) is not kind:
        raise Refusal(f"it fills a {type(value).__name__} as if it were a {kind.__name__}")
    return value


def _string(line: bytes) -> str:
    """Returns a string of Python 2, with quotes and escapes; its bytes need not be ASCII."""
    line = line.removesuffix(b"\n")
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Refusal("it has a string without quotes; fetch it again")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")
