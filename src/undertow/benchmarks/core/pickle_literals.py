"""The instructions of a pickle that stand for plain values: bytes in, a value out."""

import codecs
import mmap
import struct
from collections.abc import Callable
from typing import Any

# Bytes of an integer, and digits of a written one.
MOST_LONG, MOST_DIGITS = 64, 150
# What values may take, in bytes: more than the largest published annotations do; and a single text.
MOST_MEMORY, MOST_TEXT = 512 << 20, 1 << 26
# What a value takes beside what is in it, and what it takes to remember one.
OBJECT, MEMORY = 64, 96
# From this size on a byte string is a view into the file.
VIEW = 1 << 12


class Refusal(Exception):
    """Why a pickle is not read, in words that begin with "it"."""


class Operands:
    """Reads what follows the instructions of a pickle, and never past its end.

    Attributes:
        at: Place of the next byte.
        memory: Bytes that values may still take.
    """

    def __init__(self, data: bytes | mmap.mmap) -> None:
        self.at = 0
        self.memory = MOST_MEMORY
        self._data = data
        self._view = memoryview(data)

    def code(self) -> int:
        """Returns the next instruction."""
        if self.at >= len(self._data):
            raise Refusal("it ends in the middle; fetch it again")
        self.at += 1
        return self._data[self.at - 1]

    def take(self, count: int) -> bytes:
        """Returns a copy of the next bytes."""
        start = self._advance(count)
        if count > MOST_TEXT:
            raise Refusal(f"it has a text of {count} bytes; {MOST_TEXT} are allowed")
        self.charge(count)
        piece: bytes = self._data[start : self.at]
        return piece

    def charge(self, count: int) -> None:
        """Counts memory that a value takes, before it is taken."""
        self.memory -= count
        if self.memory < 0:
            raise Refusal(f"its values take more than {MOST_MEMORY >> 20} MB, which no published annotations do")

    def data(self, count: int) -> bytes | memoryview:
        """Returns the next bytes; many of them as a read-only view."""
        if count < VIEW:
            return self.take(count)
        start = self._advance(count)
        return self._view[start : self.at].toreadonly()

    def number(self, kind: str) -> Any:
        """Returns the next number, of a type of `struct`."""
        return struct.unpack(kind, self.take(struct.calcsize(kind)))[0]

    def line(self) -> bytes:
        """Returns the bytes up to the next line feed, which is passed over."""
        end = self._data.find(b"\n", self.at)
        if end < 0:
            raise Refusal("it ends in the middle of a line; fetch it again")
        line = self.take(end - self.at)
        self.at += 1
        return line

    def integer(self) -> int:
        """Returns an integer written in a line; Python 2 writes an L behind long ones."""
        line = self.line().removesuffix(b"L")
        if len(line) > MOST_DIGITS:
            raise Refusal(f"it has an integer of {len(line)} digits; {MOST_DIGITS} are allowed")
        return int(line)

    def _advance(self, count: int) -> int:
        start, left = self.at, len(self._data) - self.at
        if not 0 <= count <= left:
            raise Refusal(f"it declares {count} bytes where {left} are left; fetch it again")
        self.at += count
        return start


def _int(read: Operands) -> int | bool:
    """Returns an integer, or a boolean as protocols 0 and 1 write it."""
    before = read.at
    line = read.line()
    if line in (b"00", b"01"):
        return line == b"01"
    read.at = before
    return read.integer()


def _long(read: Operands, count: int) -> int:
    if count > MOST_LONG:
        raise Refusal(f"it has an integer of {count} bytes; {MOST_LONG} are allowed")
    return int.from_bytes(read.take(count), "little", signed=True)


def _string(read: Operands) -> str:
    """Returns a string of Python 2, with quotes and escapes."""
    line = read.line()
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise Refusal("it has a string without quotes; fetch it again")
    return codecs.escape_decode(line[1:-1])[0].decode("latin-1")


def _text(read: Operands, count: int) -> str:
    return read.take(count).decode("utf-8", "surrogatepass")


Literal = Callable[[Operands], Any]

#: From each instruction that pushes a plain value to what reads that value, by the instructions' official names.
LITERALS: dict[int, Literal] = {
    ord("N"): lambda read: None,  # NONE
    0x88: lambda read: True,  # NEWTRUE
    0x89: lambda read: False,  # NEWFALSE
    ord("I"): _int,  # INT
    ord("L"): Operands.integer,  # LONG
    ord("J"): lambda read: read.number("<i"),  # BININT
    ord("K"): lambda read: read.number("B"),  # BININT1
    ord("M"): lambda read: read.number("<H"),  # BININT2
    0x8A: lambda read: _long(read, read.number("B")),  # LONG1
    0x8B: lambda read: _long(read, read.number("<i")),  # LONG4
    ord("F"): lambda read: float(read.line()),  # FLOAT
    ord("G"): lambda read: read.number(">d"),  # BINFLOAT
    ord("S"): _string,  # STRING
    ord("T"): lambda read: read.take(read.number("<i")).decode("latin-1"),  # BINSTRING
    ord("U"): lambda read: read.take(read.number("B")).decode("latin-1"),  # SHORT_BINSTRING
    ord("V"): lambda read: read.line().decode("raw-unicode-escape"),  # UNICODE
    ord("X"): lambda read: _text(read, read.number("<I")),  # BINUNICODE
    0x8C: lambda read: _text(read, read.number("B")),  # SHORT_BINUNICODE
    0x8D: lambda read: _text(read, read.number("<Q")),  # BINUNICODE8
    ord("B"): lambda read: read.data(read.number("<I")),  # BINBYTES
    ord("C"): lambda read: read.take(read.number("B")),  # SHORT_BINBYTES
    0x8E: lambda read: read.data(read.number("<Q")),  # BINBYTES8
    0x96: lambda read: read.data(read.number("<Q")),  # BYTEARRAY8
    ord("]"): lambda read: [],  # EMPTY_LIST
    ord(")"): lambda read: (),  # EMPTY_TUPLE
    ord("}"): lambda read: {},  # EMPTY_DICT
}
