"""Run lengths of masks, as COCO stores them: column by column, the first run outside the mask.

Source: Lin et al. (2014), "Microsoft COCO"; the compressed text is that of its ``pycocotools``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

OFFSET = 48  # character of the digit 0
LONGEST = 60  # bits of a number
SHIFT = 5  # bits of the number in one character
CONTINUES = 32  # bit of a character after which the number goes on
NEGATIVE = 16  # bit of the last character of a number below 0


def run_lengths(mask: np.ndarray) -> list[int]:
    """The run lengths of an (H, W) bool mask, outside and inside in turn, down the columns."""
    flat = np.asarray(mask, bool).ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def mask_of_runs(counts: Sequence[int], height: int, width: int) -> np.ndarray:
    """(height, width) bool of its run lengths.

    Raises:
        ValueError: they are no whole numbers >= 0 whose sum is height x width.
    """
    numbers = list(counts)
    for one in numbers:
        if type(one) is not int or not 0 <= one < 1 << LONGEST:
            got = f"one of {one.bit_length()} bits" if type(one) is int and one > 0 else repr(one)[:100]
            raise ValueError(f"counts must be whole numbers >= 0 whose sum is {height} x {width}, got {got}")
    if sum(numbers) != height * width:
        raise ValueError(
            f"counts must add up to {height} x {width} = {height * width} pixels, got {sum(numbers)}"
        )
    inside = np.arange(len(numbers)) % 2 == 1
    return np.repeat(inside, numbers).reshape((height, width), order="F")


def runs_of_text(text: str) -> list[int]:
    """The run lengths of COCO's compressed text: numbers in base 32, each from the third on less the one two before.

    Raises:
        ValueError: a character is none of the 64, a number has more than 60 bits, or the last one does not end.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for letter in text:
        code = ord(letter) - OFFSET
        if not 0 <= code < 64:
            raise ValueError(f"counts must be characters from '0' to 'o', got {letter!r}")
        if shift >= LONGEST:
            raise ValueError(f"counts must be numbers below 2 to the power of {LONGEST}")
        value |= (code & (CONTINUES - 1)) << shift
        shift += SHIFT
        if code & CONTINUES:
            continue
        if code & NEGATIVE:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("counts must end with a whole number, the last one does not end")
    return numbers
