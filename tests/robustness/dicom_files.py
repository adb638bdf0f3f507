"""DICOM slices written byte by byte (explicit little endian), so that every tag can be wrong."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np


def element(group: int, number: int, kind: str, data: bytes | str) -> bytes:
    """One tag with its value."""
    data = data.encode("latin-1") if isinstance(data, str) else data
    data += (b"\0" if kind in ("UI", "OB", "OW") else b" ") * (len(data) % 2)
    head = struct.pack("<HH", group, number) + kind.encode()
    if kind in ("OB", "OW"):
        return head + b"\0\0" + struct.pack("<I", len(data)) + data
    return head + struct.pack("<H", len(data)) + data


def short(value: int) -> bytes:
    """A number of 16 bits."""
    return struct.pack("<H", value)


def write_slice(path: Any, pixels: np.ndarray, number: int, **other: Any) -> None:
    """Write one slice of (H, W) uint16 pixels, at ``2 * number`` mm.

    Args:
        path: the file.
        pixels: as they are stored.
        number: from 0.
        other: ``slope``, ``intercept``, ``rows``, ``spacing``, ``z``, ``photometric``, ``series``, ``patient``.
    """
    uid, series = f"1.2.3.4.{number}", other.get("series", "1.2.3.4")
    kind = "1.2.840.10008.5.1.4.1.1.128"
    tags = [
        *((0x0008, 0x0016, "UI", kind), (0x0008, 0x0018, "UI", uid), (0x0008, 0x0060, "CS", "PT")),
        *((0x0010, 0x0020, "LO", other.get("patient", "P1")), (0x0020, 0x000D, "UI", "1.2.3")),
        *((0x0020, 0x000E, "UI", series), (0x0020, 0x0013, "IS", str(number))),
        (0x0020, 0x0032, "DS", f"0\\0\\{other.get('z', 2 * number):g}"),
        *((0x0020, 0x0037, "DS", "1\\0\\0\\0\\1\\0"), (0x0020, 0x0052, "UI", "1.2.3.9")),
        *((0x0028, 0x0002, "US", short(1)), (0x0028, 0x0004, "CS", other.get("photometric", "MONOCHROME2"))),
        (0x0028, 0x0010, "US", short(other.get("rows", pixels.shape[0]))),
        (0x0028, 0x0011, "US", short(pixels.shape[1])),
        *((0x0028, 0x0030, "DS", other.get("spacing", "1\\1")), (0x0028, 0x0100, "US", short(16))),
        *(
            (0x0028, 0x0101, "US", short(16)),
            (0x0028, 0x0102, "US", short(15)),
            (0x0028, 0x0103, "US", short(0)),
        ),
        (0x0028, 0x1052, "DS", f"{other.get('intercept', 0):g}"),
        (0x0028, 0x1053, "DS", f"{other.get('slope', 1):g}"),
        (0x7FE0, 0x0010, "OW", pixels.tobytes()),
    ]
    meta = b"".join(
        element(2, *rest)
        for rest in (
            *((1, "OB", b"\0\1"), (2, "UI", kind), (3, "UI", uid), (16, "UI", "1.2.840.10008.1.2.1")),
            (18, "UI", "1.2.3.4.5"),
        )
    )
    head = bytes(128) + b"DICM" + element(2, 0, "UL", struct.pack("<I", len(meta))) + meta
    path.write_bytes(head + b"".join(element(*tag) for tag in tags))
