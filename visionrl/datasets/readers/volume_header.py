"""Headers of NRRD and MetaImage files, read before ITK sees them: what they claim is held against the file.

ITK believes a header: it allocates what it says, follows any path to the voxels, ends the interpreter at 99 axes, and
does not compare checksums of deflated voxels.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from visionrl.datasets.limits import check_volume_size
from visionrl.datasets.readers.files import check_inside
from visionrl.datasets.readers.scan_grid import unit_mm

HEADER_BYTES = 1 << 16
BLOCK = 1 << 20
META_BYTES = {
    **dict.fromkeys(("MET_CHAR", "MET_UCHAR"), 1),
    **dict.fromkeys(("MET_SHORT", "MET_USHORT"), 2),
    **dict.fromkeys(("MET_INT", "MET_UINT", "MET_LONG", "MET_ULONG", "MET_FLOAT"), 4),
    **dict.fromkeys(("MET_LONG_LONG", "MET_ULONG_LONG", "MET_DOUBLE"), 8),
}
NRRD_BYTES = {
    1: "signed char|int8|int8_t|uchar|unsigned char|uint8|uint8_t",
    2: "short|short int|signed short|signed short int|int16|int16_t|ushort|unsigned short|unsigned short int"
    "|uint16|uint16_t",
    4: "int|signed int|int32|int32_t|uint|unsigned int|uint32|uint32_t|float",
    8: "longlong|long long|long long int|signed long long|signed long long int|int64|int64_t|ulonglong"
    "|unsigned long long|unsigned long long int|uint64|uint64_t|double",
}


@dataclass(frozen=True)
class Header:
    """Entries of a header.

    Attributes:
        file: of the header.
        data: of the voxels; None where they lie in several files.
        offset: bytes in front of the voxels in ``data``; None where unknown.
        shape: (I, J, K).
        item_bytes: of a voxel; 0 where the voxels are text.
        wrapper: "zlib", "gzip", or "" where they are not deflated.
        factor: millimetres in its unit of length.
    """

    file: Path
    data: Path | None
    offset: int | None
    shape: tuple[int, ...]
    item_bytes: int
    wrapper: str
    factor: float

    @property
    def bytes(self) -> int:
        """Bytes of all voxels."""
        return int(np.prod(self.shape, dtype=object)) * self.item_bytes


def read_header(file: Path) -> Header:
    """The header of a file, held against what is there.

    Raises:
        ValueError: it is no such header, states no spacing, or claims what cannot be.
    """
    with file.open("rb") as stream:
        content = stream.read(HEADER_BYTES)
    header = (_nrrd if file.suffix.lower() in (".nrrd", ".nhdr") else _meta)(file, content)
    if len(header.shape) != 3:
        raise ValueError(f"{file} must hold one volume of 3 axes, got shape {header.shape}")
    stored = 1 << 62
    if header.data is not None:
        if not header.data.is_file():
            raise ValueError(f"{file}: its voxels must be in {header.data}, which is not there")
        stored = header.data.stat().st_size - (header.offset or 0)
    check_volume_size(file, header.shape, header.item_bytes, stored, bool(header.wrapper))
    return header


def check_voxels(header: Header) -> None:
    """Compares the deflated voxels of a file with their length and checksum.

    Raises:
        ValueError: they are damaged.
    """
    if not header.wrapper or header.data is None or header.offset is None or not header.item_bytes:
        return
    total = 0
    try:
        for block in _inflated(header):
            total += len(block)
            if total > header.bytes:
                break
    except zlib.error as error:
        raise ValueError(f"{header.data} is damaged, its deflated voxels cannot be read: {error}") from error
    if total != header.bytes:
        raise ValueError(
            f"{header.data} is truncated or damaged: its header says {header.bytes} bytes of voxels, got {total}"
        )


def _inflated(header: Header) -> Iterator[bytes]:
    """The blocks of the deflated voxels; zlib compares the checksum at their end."""
    assert header.data is not None and header.offset is not None
    inflate = zlib.decompressobj(31 if header.wrapper == "gzip" else 15)
    with header.data.open("rb") as stream:
        stream.seek(header.offset)
        rest = stream.read(BLOCK)
        while rest:
            yield inflate.decompress(rest, BLOCK)
            rest = inflate.unconsumed_tail or (b"" if inflate.eof else stream.read(BLOCK))
    if not inflate.eof:
        raise zlib.error("the end is missing")


def _lines(file: Path, content: bytes, end: str) -> tuple[list[str], int]:
    """The lines of a header, up to the first that matches, and the byte behind them."""
    lines, at = [], 0
    while at < len(content):
        stop = content.find(b"\n", at)
        if stop < 0 and len(content) == HEADER_BYTES:
            break
        line = _decoded(content[at : stop if stop >= 0 else len(content)]).rstrip("\r")
        at = stop + 1 if stop >= 0 else len(content)
        lines.append(line)
        if re.fullmatch(end, line):
            return lines, at
    if file.suffix.lower() == ".nhdr":
        return lines, at
    raise ValueError(f"{file} must be a {file.suffix} file: the end of its header is missing")


def _decoded(line: bytes) -> str:
    """The text of a line, in UTF-8 or else in Latin-1."""
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("latin-1")


def _whole(text: str, file: Path, what: str) -> tuple[int, ...]:
    """Whole numbers apart by spaces, none absurd."""
    words = text.split()
    if not words or len(words) > 4 or not all(re.fullmatch(r"-?\d{1,18}", word, re.ASCII) for word in words):
        raise ValueError(f"{file}: {what} must be whole numbers, got {text!r:.100}")
    return tuple(map(int, words))


def _meta(file: Path, content: bytes) -> Header:
    """The header of a MetaImage file."""
    lines, offset = _lines(file, content, r"\s*ElementDataFile\s*=.*")
    fields = {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}
    if "ElementSpacing" not in fields:
        raise ValueError(f"{file} must state its affine, there is no 'ElementSpacing' in its header")
    (axes,) = _whole(fields.get("NDims", ""), file, "NDims")[:1]
    shape = _whole(fields.get("DimSize", ""), file, "DimSize")
    if axes != len(shape):
        raise ValueError(f"{file}: DimSize must have NDims numbers, {axes}, got {shape}")
    if fields.get("ElementNumberOfChannels", "1") != "1":
        raise ValueError(f"{file} must hold one number a voxel, got {fields['ElementNumberOfChannels']}")
    kind = fields.get("ElementType", "")
    if kind not in META_BYTES:
        raise ValueError(f"{file}: ElementType must be one of {', '.join(META_BYTES)}, got {kind!r:.50}")
    _check_spacing(fields["ElementSpacing"], axes, file)
    _check_slope(fields.get("ElementToIntensityFunctionSlope", "1"), file)
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    skip = fields.get("HeaderSize", "0")
    data = file if local else _beside(file, name)
    deflated = fields.get("CompressedData", "False").lower() in ("true", "1")
    text = fields.get("BinaryData", "True").lower() == "false"
    unit = fields.get("DistanceUnits", "mm")
    factor = 1.0 if unit == "?" else unit_mm(unit, file)
    start = offset if local else int(skip) if skip.isdecimal() else None
    return Header(
        file, data, start, shape, 0 if text else META_BYTES[kind], "zlib" if deflated else "", factor
    )


def _nrrd(file: Path, content: bytes) -> Header:
    """The header of a NRRD file."""
    if not content.startswith(b"NRRD000"):
        raise ValueError(f"{file} must be a {file.suffix} file: it does not begin with NRRD")
    lines, offset = _lines(file, content, "")
    pairs = (line.partition(":") for line in lines[1:] if not line.startswith("#") and ":=" not in line)
    fields = {key.strip().lower(): value.strip() for key, _, value in pairs}
    if "space directions" not in fields:
        raise ValueError(f"{file} must state its affine, there is no 'space directions:' in its header")
    shape = _whole(fields.get("sizes", ""), file, "sizes")
    if fields.get("dimension") != str(len(shape)):
        raise ValueError(f"{file}: sizes must have dimension numbers, {fields.get('dimension')}, got {shape}")
    kind = fields.get("type", "").lower()
    size = next((size for size, names in NRRD_BYTES.items() if kind in names.split("|")), None)
    if size is None:
        raise ValueError(f"{file}: type must be a number of 8 to 64 bits, got {kind!r:.50}")
    encoding = fields.get("encoding", "raw").lower()
    wrapper = "gzip" if encoding in ("gzip", "gz") else ""
    name = fields.get("data file", fields.get("datafile"))
    data = file if name is None else _beside(file, name)
    skips = {
        fields.get("byte skip", fields.get("byteskip", "0")),
        fields.get("line skip", fields.get("lineskip", "0")),
    }
    start = (offset if name is None else 0) if skips == {"0"} else None
    if encoding in ("bzip2", "bz2", "txt", "text", "ascii", "hex"):
        size = 0  # the length of the file does not say
    return Header(file, data, start, shape, size, wrapper, _nrrd_unit(fields.get("space units", ""), file))


def _check_slope(text: str, file: Path) -> None:
    """Refuses a slope of intensities that is not > 0: ITK does not heed it, and grey would be upside down."""
    try:
        good = 0 < float(text) < float("inf")
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{file}: ElementToIntensityFunctionSlope must be > 0, got {text!r:.50}")


def _nrrd_unit(text: str, file: Path) -> float:
    """Millimetres in the unit of a NRRD file's axes."""
    units = {unit for unit in re.findall(r'"([^"]*)"', text) if unit}
    if len(units) > 1:
        raise ValueError(f"{file}: space units must be one unit, got {text!r:.100}")
    return unit_mm(units.pop(), file) if units else 1.0


def _check_spacing(text: str, axes: int, file: Path) -> None:
    """Refuses a spacing that is not > 0 along each axis: ITK takes it without its sign."""
    try:
        good = len(text.split()) == axes and all(0 < float(word) < float("inf") for word in text.split())
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{file} must have a spacing > 0 along each axis, got {text!r:.100}")


def _beside(file: Path, name: str) -> Path | None:
    """The file of the voxels, in the header's folder; None where they lie in several.

    Raises:
        ValueError: it leads out of the folder.
    """
    first = name.split()[0] if name.split() else name
    several = first.upper() == "LIST" or "%" in name
    check_inside(file.parent / (first if several else name), file.parent, where=file)
    if first.upper() == "LIST":
        raise ValueError(f"{file} must hold its voxels in one file, got a list of files")
    return None if several else file.parent / name
