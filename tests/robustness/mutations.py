"""Seeded faults of files: bytes, lines, fields, numbers, encodings, places."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

NUMBERS = (
    "NaN",
    "inf",
    "-1",
    "0",
    "1e300",
    "-1e9",
    "1000000000000",
    "9" * 5000,
    "",
    "x",
    "1_0",
    "0x10",
    "1.5",
    "\u0663",
)
WORDS = (
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "a\0b",
    "x" * 3000,
    "\u202e",
    "None",
    "{}",
    "[[[[",
    "&a *a",
    "%s%n",
)
Fault = Callable[[Path, np.random.Generator], None]
FAULTS: dict[str, Fault] = {}


def fault(change: Fault) -> Fault:
    """Make a fault known under its name."""
    FAULTS[change.__name__] = change
    return change


def some(rng: np.random.Generator, content: bytes) -> int:
    """A place in a file; every second time among its first 400 bytes, where headers are."""
    return int(rng.integers(0, max(1, min(len(content), 400) if rng.random() < 0.5 else len(content))))


@fault
def truncate(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: some(rng, content)])


@fault
def empty(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(b"")


@fault
def flip_bytes(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes() or b"x")
    for _ in range(int(rng.integers(1, 9))):
        content[some(rng, bytes(content))] ^= int(rng.integers(1, 256))
    file.write_bytes(bytes(content))


@fault
def flip_one_bit(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes() or b"x")
    content[some(rng, bytes(content))] ^= 1 << int(rng.integers(0, 8))
    file.write_bytes(bytes(content))


@fault
def cut_out(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    at = some(rng, content)
    file.write_bytes(content[:at] + content[at + int(rng.integers(1, 40)) :])


@fault
def put_in(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    at = some(rng, content)
    file.write_bytes(content[:at] + rng.bytes(int(rng.integers(1, 40))) + content[at:])


@fault
def repeat(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(file.read_bytes() * int(rng.integers(2, 4)))


@fault
def noise(file: Path, rng: np.random.Generator) -> None:
    file.write_bytes(rng.bytes(int(rng.integers(1, 3000))))


@fault
def zeros(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: some(rng, content)].ljust(len(content), b"\0"))


@fault
def huge_words(file: Path, rng: np.random.Generator) -> None:
    content = bytearray(file.read_bytes().ljust(8, b"\0"))
    at = min(some(rng, bytes(content)), len(content) - 4)
    content[at : at + 4] = (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\0\0\xc0\x7f", b"\0\0\0\x80")[
        int(rng.integers(4))
    ]
    file.write_bytes(bytes(content))


def lines_of(file: Path) -> list[str]:
    """The lines of a file as if it were text."""
    return file.read_bytes().decode("latin-1").split("\n")


def save(file: Path, lines: list[str]) -> None:
    """Write lines; as UTF-8 where they hold what Latin-1 cannot."""
    text = "\n".join(lines)
    try:
        file.write_bytes(text.encode("latin-1"))
    except UnicodeEncodeError:
        file.write_bytes(text.encode("utf-8", "surrogatepass"))


@fault
def other_number(file: Path, rng: np.random.Generator) -> None:
    text = "\n".join(lines_of(file))
    found = list(re.finditer(r"-?\d+(?:\.\d+)?", text))
    if found:
        match = found[int(rng.integers(len(found)))]
        text = text[: match.start()] + NUMBERS[int(rng.integers(len(NUMBERS)))] + text[match.end() :]
    save(file, text.split("\n"))


@fault
def other_word(file: Path, rng: np.random.Generator) -> None:
    text = "\n".join(lines_of(file))
    found = list(re.finditer(r"[A-Za-z_./]{2,}", text))
    if found:
        match = found[int(rng.integers(len(found)))]
        text = text[: match.start()] + WORDS[int(rng.integers(len(WORDS)))] + text[match.end() :]
    save(file, text.split("\n"))


@fault
def swap_fields(file: Path, rng: np.random.Generator) -> None:
    lines = lines_of(file)
    k = int(rng.integers(len(lines)))
    cells = re.split(r"([,;:\s]+)", lines[k])
    words = cells[::2]
    rng.shuffle(words)
    cells[::2] = words
    save(file, [*lines[:k], "".join(cells), *lines[k + 1 :]])


@fault
def lose_line(file: Path, rng: np.random.Generator) -> None:
    lines = lines_of(file)
    del lines[int(rng.integers(len(lines)))]
    save(file, lines)


@fault
def double_line(file: Path, rng: np.random.Generator) -> None:
    lines = lines_of(file)
    k = int(rng.integers(len(lines)))
    save(file, [*lines[:k], *[lines[k]] * int(rng.integers(2, 4)), *lines[k + 1 :]])


@fault
def swap_lines(file: Path, rng: np.random.Generator) -> None:
    lines = lines_of(file)
    rng.shuffle(lines)
    save(file, lines)


@fault
def quote(file: Path, rng: np.random.Generator) -> None:
    lines = lines_of(file)
    k = int(rng.integers(len(lines)))
    save(file, [*lines[:k], '"' + lines[k], *lines[k + 1 :]])


@fault
def nest(file: Path, rng: np.random.Generator) -> None:
    depth = int(rng.choice([70, 500, 100_000]))
    save(file, [*lines_of(file)[: int(rng.integers(3))], "[" * depth])


@fault
def encode(file: Path, rng: np.random.Generator) -> None:
    text = "\n".join(lines_of(file))
    name = ("utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037", "utf-7")[int(rng.integers(6))]
    file.write_bytes(text.encode(name, "replace"))


@fault
def strange_letters(file: Path, rng: np.random.Generator) -> None:
    content = file.read_bytes()
    at = some(rng, content)
    letters = (b"\xff\xfe", b"\xe9", b"\0", b"\xed\xa0\x80", b"\xe2\x80\xa8", b"\x0c", b"\x1a")[
        int(rng.integers(7))
    ]
    file.write_bytes(content[:at] + letters + content[at:])


@fault
def lose_file(file: Path, rng: np.random.Generator) -> None:
    file.unlink()


@fault
def rename_file(file: Path, rng: np.random.Generator) -> None:
    file.rename(file.with_name(("x", "\u00b22", "a b", "-", "9" * 200)[int(rng.integers(5))] + file.suffix))


@fault
def folder_in_place(file: Path, rng: np.random.Generator) -> None:
    file.unlink()
    file.mkdir()


@fault
def copy_of_a_neighbour(file: Path, rng: np.random.Generator) -> None:
    others = sorted(other for other in file.parent.iterdir() if other.is_file())
    shutil.copy(others[int(rng.integers(len(others)))], file.with_name(f"copy{file.suffix}"))


@fault
def content_of_another(file: Path, rng: np.random.Generator) -> None:
    root = file.parents[1]
    others = sorted(other for other in root.rglob("*") if other.is_file())
    file.write_bytes(others[int(rng.integers(len(others)))].read_bytes())


@fault
def link_to_nowhere(file: Path, rng: np.random.Generator) -> None:
    file.unlink()
    file.symlink_to(("nowhere", file.name, "/etc/passwd")[int(rng.integers(3))])
