"""The pixels of an uncompressed DICOM file, counted: GDCM reads what is there when a header claims other sides."""

from __future__ import annotations

import re
from pathlib import Path

PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # transfer syntaxes: little endian, not compressed
SYNTAX = re.compile(rb"\x02\x00\x10\x00UI(..)([0-9.]+)", re.DOTALL)
PIXELS = re.compile(rb"\xe0\x7f\x10\x00(?:O[WB]\x00\x00)?(.{4})", re.DOTALL)
BITS = re.compile(rb"\x28\x00\x00\x01(?:US..|\x02\x00\x00\x00)(..)", re.DOTALL)
LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
OTHERS = ("1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")  # big endian, deflated
META, SYNTAX_TAG = 2, b"\x02\x00\x10\x00"
KIND, UNKNOWN = rb"[A-Z]{2}|\?\?|\x00\x00", (b"??", b"\0\0")
UNDEFINED = 0xFFFFFFFF  # length of what ends at a mark
HEADER = 1 << 12  # bytes in which the transfer syntax stands


def check_pixels(file: Path, columns: int, rows: int) -> None:
    """Refuses a file whose pixels are not as many as rows and columns say; compressed ones are not looked at.

    Raises:
        ValueError: they are more or fewer.
    """
    content = file.read_bytes()
    syntax, bits = SYNTAX.search(content[:HEADER]), BITS.search(content)
    if not syntax or not bits or syntax[2].decode() not in PLAIN:
        return
    wanted = columns * rows * (int.from_bytes(bits[1], "little") // 8)
    found = [int.from_bytes(match[1], "little") for match in PIXELS.finditer(content)]
    if found and not {wanted, wanted + wanted % 2} & set(found):
        raise ValueError(
            f"{file} must have {rows} x {columns} pixels of {wanted} bytes, got {found[-1]} bytes"
        )


def check_lengths(file: Path) -> None:
    """Refuses a file with a value that ends behind the end of the file: GDCM takes memory for it first.

    Values are followed from the first to the pixels, or to the first that holds others; big endian and deflated files
    are not looked at.

    Raises:
        ValueError: a value is longer than the file, or has no kind.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        if stream.read(132)[128:] != b"DICM":
            return
        syntax = PLAIN[1]
        while len(head := stream.read(8)) == 8:
            group, tag = int.from_bytes(head[:2], "little"), head[:4]
            if group != META and syntax in OTHERS:
                return
            explicit, kind = group == META or syntax != PLAIN[0], head[4:6]
            if explicit and not re.fullmatch(KIND, kind):
                raise ValueError(f"{file} is damaged: tag {_name(tag)} has no kind of value, got {kind!r}")
            if explicit and kind in UNKNOWN:
                return
            length = int.from_bytes(head[6:8] if explicit else head[4:], "little")
            if explicit and kind in LONG:
                length = int.from_bytes(stream.read(4), "little")
            if length == UNDEFINED:
                return
            if stream.tell() + length > size:
                raise ValueError(
                    f"{file} is truncated or damaged: tag {_name(tag)} has {length} bytes, the file {size}"
                )
            if tag == SYNTAX_TAG:
                syntax = stream.read(length).rstrip(b"\0 ").decode("latin-1")
            else:
                stream.seek(length, 1)


def _name(tag: bytes) -> str:
    """A tag as it is usually written."""
    return f"{int.from_bytes(tag[:2], 'little'):04x}|{int.from_bytes(tag[2:], 'little'):04x}"
