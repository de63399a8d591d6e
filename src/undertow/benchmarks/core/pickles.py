"""Reads pickles of plain values and numpy arrays, and can do nothing else that a pickle may ask for.

A pickle is a program for a small stack machine. This one knows the instructions that build `None`, numbers, strings,
bytes, lists, tuples, dictionaries and numpy arrays. Names it looks up are compared with a fixed list and stand for
themselves: no module is imported and no function of a file's choice is called. Whatever else a pickle holds is refused
by name, and nothing of it has run by then.

The file is mapped, not read. Large byte strings and arrays are read-only views into it, so that a pickle of several
gigabytes of frames costs no memory until frames are looked at.

Source: the instructions of protocols 0 to 5 as Python's `pickletools` documents them.
"""

import mmap
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from undertow.base import SettingsError
from undertow.benchmarks.core.pickle_arrays import NAMES, Name, Unfinished, make
from undertow.benchmarks.core.pickle_literals import LITERALS, MEMORY, OBJECT, Operands, Refusal

PROTOCOLS = 5
# More than any published annotation has; it bounds the time that a file of tiny instructions can take.
MOST_INSTRUCTIONS = 1 << 24
STOP = ord(".")

#: Instructions that can make something other than plain values, by their official names.
_REFUSED = {
    0x50: "PERSID", 0x51: "BINPERSID", 0x69: "INST", 0x6F: "OBJ", 0x81: "NEWOBJ", 0x82: "EXT1", 0x83: "EXT2",
    0x84: "EXT4", 0x8F: "EMPTY_SET", 0x90: "ADDITEMS", 0x91: "FROZENSET", 0x92: "NEWOBJ_EX", 0x97: "NEXT_BUFFER",
    0x98: "READONLY_BUFFER",
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
    machine = _Machine(data)
    try:
        return machine.run()
    except Refusal as refusal:
        raise SettingsError(f"{source} is not read: {refusal} (at byte {machine.last})") from None
    except (LookupError, ValueError, TypeError, OverflowError, struct.error) as error:
        raise SettingsError(
            f"{source} is damaged at byte {machine.last} ({type(error).__name__}); fetch it again"
        ) from error


class _Machine:
    """The stack machine; `last` is the place of the instruction it is at."""

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.last = 0
        self._read = Operands(data)
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Returns the value; raises `Refusal`, or whatever error damage leads to."""
        read, actions = self._read, self._actions()
        for _ in range(MOST_INSTRUCTIONS):
            self.last = read.at
            code = read.code()
            if (literal := LITERALS.get(code)) is not None:
                read.charge(OBJECT)
                self._stack.append(literal(read))
            elif (action := actions.get(code)) is not None:
                action()
            elif code == STOP:
                if self._marks or len(self._stack) != 1:
                    raise Refusal("it does not end with one value")
                return _plain(self._stack[0])
            else:
                name = _REFUSED.get(code, f"0x{code:02x}")
                raise Refusal(f"it has the instruction {name}, which plain values and arrays do not need")
        raise Refusal(f"it has more than {MOST_INSTRUCTIONS} instructions")

    def _actions(self) -> dict[int, Callable[[], object]]:
        """Returns what each instruction that is no plain value does, by the instructions' official names."""
        read = self._read
        return {
            0x80: self._protocol,  # PROTO
            0x95: lambda: read.number("<Q"),  # FRAME
            ord("("): self._mark,  # MARK
            ord("0"): self._pop,  # POP
            ord("1"): self._marked,  # POP_MARK
            ord("2"): lambda: self._push(self._stack[-1]),  # DUP
            ord("l"): lambda: self._push([_plain(value) for value in self._marked()]),  # LIST
            ord("a"): lambda: self._extend([self._stack.pop()]),  # APPEND
            ord("e"): lambda: self._extend(self._marked()),  # APPENDS
            ord("t"): lambda: self._push(tuple(self._marked())),  # TUPLE
            0x85: lambda: self._tuple(1),  # TUPLE1
            0x86: lambda: self._tuple(2),  # TUPLE2
            0x87: lambda: self._tuple(3),  # TUPLE3
            ord("d"): self._dict,  # DICT
            ord("s"): lambda: self._fill([self._stack.pop(), self._stack.pop()][::-1]),  # SETITEM
            ord("u"): lambda: self._fill(self._marked()),  # SETITEMS
            ord("p"): lambda: self._keep(read.integer()),  # PUT
            ord("q"): lambda: self._keep(read.number("B")),  # BINPUT
            ord("r"): lambda: self._keep(read.number("<I")),  # LONG_BINPUT
            0x94: lambda: self._keep(len(self._memo)),  # MEMOIZE
            ord("g"): lambda: self._push(self._memo[read.integer()]),  # GET
            ord("h"): lambda: self._push(self._memo[read.number("B")]),  # BINGET
            ord("j"): lambda: self._push(self._memo[read.number("<I")]),  # LONG_BINGET
            ord("c"): lambda: self._look_up(read.line().decode(), read.line().decode()),  # GLOBAL
            0x93: lambda: self._look_up(*[self._stack.pop(), self._stack.pop()][::-1]),  # STACK_GLOBAL
            ord("R"): lambda: self._made(make(*[self._stack.pop(), self._stack.pop()][::-1])),  # REDUCE
            ord("b"): self._build,  # BUILD
        }

    def _protocol(self) -> None:
        if (version := self._read.number("B")) > PROTOCOLS:
            raise Refusal(f"it is of protocol {version}; write it again with protocol {PROTOCOLS}")

    def _push(self, value: Any) -> None:
        self._read.charge(OBJECT)
        self._stack.append(value)

    def _made(self, value: Any) -> None:
        """Takes bytes or an array, which take memory of their own unless they are a view into the file."""
        base = value
        while isinstance(base, np.ndarray):
            base = base.base
        if isinstance(value, bytes):
            self._read.charge(len(value))
        elif isinstance(value, np.ndarray) and not isinstance(base, memoryview):
            self._read.charge(value.nbytes)
        self._push(value)

    def _pop(self) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._marked()

    def _mark(self) -> None:
        self._read.charge(OBJECT)
        self._marks.append(self._stack)
        self._stack = []

    def _marked(self) -> list[Any]:
        """Returns the values since the last mark, and goes back to what was before it."""
        values, self._stack = self._stack, self._marks.pop()
        return values

    def _extend(self, values: list[Any]) -> None:
        _of(list, self._stack[-1]).extend([_plain(value) for value in values])

    def _tuple(self, count: int) -> None:
        if len(self._stack) < count:
            raise Refusal("it takes more values than it gave; fetch it again")
        self._read.charge(OBJECT)
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _dict(self) -> None:
        values = self._marked()
        self._push({})
        self._fill(values)

    def _fill(self, values: list[Any]) -> None:
        target = _of(dict, self._stack[-1])
        for key, value in zip(values[::2], values[1::2], strict=True):
            if not isinstance(key, str | int | bytes):
                raise Refusal(f"it has a dictionary key of type {type(key).__name__}")
            self._read.charge(OBJECT)
            target[key] = _plain(value)

    def _keep(self, key: int) -> None:
        self._read.charge(MEMORY)
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
        state, target = self._stack.pop(), self._stack.pop()
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
