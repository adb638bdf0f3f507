"""The rows of a CSV file."""

from __future__ import annotations

import csv
from pathlib import Path


def read_rows(file: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every row that is not empty; spaces around a cell are taken off.

    Raises:
        ValueError: the file is no UTF-8 text, or no CSV.
    """
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} must be a CSV file in UTF-8: {error}") from error
    return [(line, row) for line, row in rows if any(row)]
