"""The pixels of an uncompressed DICOM file, counted: GDCM reads what is there when a header claims other sides."""

from __future__ import annotations

import re
from pathlib import Path

PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")  # transfer syntaxes: little endian, not compressed
SYNTAX = re.compile(rb"\x02\x00\x10\x00UI(..)([0-9.]+)", re.DOTALL)
PIXELS = re.compile(rb"\xe0\x7f\x10\x00(?:O[WB]\x00\x00)?(.{4})", re.DOTALL)
BITS = re.compile(rb"\x28\x00\x00\x01(?:US..|\x02\x00\x00\x00)(..)", re.DOTALL)
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
