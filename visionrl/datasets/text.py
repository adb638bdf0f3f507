"""Text files of data sets: the only functions that open one, whatever its encoding and newlines.

UTF-8 is read with or without a byte order mark, UTF-16 and UTF-32 with one (as editors and shells of Windows write
them). Anything else is refused, except in files of numbers, where other bytes can only stand in comments. Lines end in
LF, CR LF or CR. A file may have 1024 MiB, or as many as the variable VISIONRL_TEXT_LIMIT says.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from visionrl.datasets.limits import limit_of

MARKS = (  # the longer first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
DELIMITERS = (",", ";", "\t")
DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+(?:[eE][-+]?\d+)?", re.ASCII)
DECIMAL_POINT = re.compile(r"[-+]?\d+\.\d+(?:[eE][-+]?\d+)?", re.ASCII)
DEEPEST = 64  # levels of a JSON or YAML file


def read_text(file: Path, numeric: bool = False) -> str:
    """The text of a file, with LF for every newline.

    Args:
        file: its path.
        numeric: what counts in it are numbers, so that bytes of another encoding, in a comment, do no harm.

    Raises:
        ValueError: it is no text in UTF-8, UTF-16 or UTF-32, holds a zero byte, or is larger than the limit.
    """
    limit = limit_of("TEXT")
    size = file.stat().st_size
    if size > limit:
        raise ValueError(f"{file} must have at most {limit} bytes (VISIONRL_TEXT_LIMIT), got {size}")
    content = file.read_bytes()
    encoding = next((name for mark, name in MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        if not numeric or encoding != "utf-8":
            line = content[: error.start].count(b"\n") + 1
            raise ValueError(
                f"{file}, line {line}: must be text in UTF-8 (or UTF-16 with its mark), got {error}"
            ) from error
        text = content.decode("latin-1")
    if "\0" in text:
        raise ValueError(f"{file} must be text, it holds a zero byte")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(file: Path, numeric: bool = False) -> list[tuple[int, str]]:
    """(line number, line without spaces around it) of every line that is not empty; errors as ``read_text``."""
    lines = enumerate(read_text(file, numeric).split("\n"), 1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_json(file: Path) -> Any:
    """The content of a JSON file.

    Raises:
        ValueError: it is no JSON, has an object with one key twice, or is nested deeper than 64 levels.
    """
    text = read_text(file)
    try:
        content = json.loads(text, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise ValueError(f"{file}, line {error.lineno}: must be valid JSON: {error}") from error
    except RecursionError as error:
        raise ValueError(f"{file}: JSON must be nested at most {DEEPEST} levels deep") from error
    except ValueError as error:
        raise ValueError(f"{file} must be valid JSON: {error}") from error
    level = [content]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return content
    raise ValueError(f"{file}: JSON must be nested at most {DEEPEST} levels deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON whose keys differ."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"an object must have each key once, got {twice!r:.100} twice")
    return found


def read_yaml(file: Path, plain: bool = False) -> Any:
    """The content of a YAML file, without anchors and aliases, which can stand for more than memory holds.

    Args:
        file: its path.
        plain: every scalar stays the text that it is, so that ``no`` and ``010`` are neither False nor 8.

    Raises:
        ValueError: it is no YAML, has an anchor or an alias, a mapping with one key twice, or is nested deeper than 64
            levels.
    """
    import yaml

    text = read_text(file)
    try:
        depth = 0
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise ValueError(
                    f"{file}, line {event.start_mark.line + 1}: anchors and aliases are not read"
                )
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > DEEPEST:
                raise ValueError(f"{file}: YAML must be nested at most {DEEPEST} levels deep")
        _refuse_twice(yaml.compose(text, Loader=yaml.SafeLoader), file)
        return _load_yaml(text, file, yaml.BaseLoader if plain else yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError, TypeError) as error:
        raise ValueError(f"{file} must be valid YAML: {' '.join(str(error).split())}") from error


def _load_yaml(text: str, file: Path, loader: Any) -> Any:
    """The content of a text, once it is known to be harmless; a date or a number may still be none."""
    import yaml

    try:
        return yaml.load(text, Loader=loader)
    except ValueError as error:
        raise ValueError(f"{file} must be valid YAML: {error}") from error


def _refuse_twice(node: Any, file: Path) -> None:
    """Refuses a mapping of YAML that has one key twice, below a node."""
    kind = "" if node is None else node.id
    pairs = node.value if kind == "mapping" else []
    keys = [str(key.value) for key, _ in pairs]
    if len(set(keys)) < len(keys):
        twice = next(key for key, _ in pairs if keys.count(str(key.value)) > 1)
        line = twice.start_mark.line + 1
        raise ValueError(
            f"{file}, line {line}: a mapping must have each key once, got {twice.value!r:.100} twice"
        )
    for one in node.value if kind == "sequence" else [value for _, value in pairs]:
        _refuse_twice(one, file)


def read_rows(file: Path) -> list[tuple[int, list[str]]]:
    """(line number, cells) of every row of a CSV file that is not empty; spaces around a cell are taken off.

    Cells are apart by comma, or by semicolon or tab where the first row has more of these; they may be quoted. With the
    last two, numbers may have a decimal comma, which becomes a point. Lines in front that begin with # and have fewer
    cells than the first row, and Excel's ``sep=;``, are left out.

    Raises:
        ValueError: the file is no UTF-8 text, or no CSV; a quoted cell does not end; some numbers have a decimal comma,
            others a point.
    """
    try:
        text = read_text(file)
    except ValueError as error:
        raise ValueError(f"{file} must be a CSV file in UTF-8: {error}") from error
    text, delimiter = _without_front(text)
    rows = split_rows(text, file, delimiter)
    return rows if delimiter == "," else _decimal_points(rows, file)


def _without_front(text: str) -> tuple[str, str]:
    """A text with comments in front and ``sep=`` as empty lines, and its delimiter."""
    lines = text.split("\n")
    front = next((k for k, line in enumerate(lines) if line.strip() and not line.startswith("#")), 0)
    if match := re.fullmatch(r"sep=([,;\t])\s*", lines[front], re.IGNORECASE):
        return "\n".join(["", *[""] * front, *lines[front + 1 :]]), match[1]
    delimiter = max(DELIMITERS, key=lines[front].count)
    if any(
        line.startswith("#") and line.count(delimiter) >= lines[front].count(delimiter)
        for line in lines[:front]
    ):
        return text, _delimiter(text)
    return "\n".join([*[""] * front, *lines[front:]]), delimiter


def _decimal_points(rows: list[tuple[int, list[str]]], file: Path) -> list[tuple[int, list[str]]]:
    """The rows with decimal commas as points."""
    commas = [line for line, row in rows if any(DECIMAL_COMMA.fullmatch(cell) for cell in row)]
    points = [line for line, row in rows if any(DECIMAL_POINT.fullmatch(cell) for cell in row)]
    if commas and points:
        raise ValueError(
            f"{file}: numbers must have decimal commas or points, got a comma in line {commas[0]} and a point in "
            f"line {points[0]}"
        )
    return rows if not commas else [(line, [decimal_point(cell) for cell in row]) for line, row in rows]


def decimal_point(cell: str) -> str:
    """A cell, with a point in the place of the comma if it is a number with a decimal comma."""
    return cell.replace(",", ".") if DECIMAL_COMMA.fullmatch(cell) else cell


def split_rows(text: str, file: Path, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a text, as ``read_rows``; ``file`` is named in messages."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
    )
    try:
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except csv.Error as error:
        raise ValueError(f"{file}, line {reader.line_num}: must be a CSV file in UTF-8: {error}") from error
    return [(line, row) for line, row in rows if any(row)]


def split_line(line: str, where: str, delimiter: str = ",") -> list[str]:
    """The cells of one line of a CSV file, which may be quoted; spaces around a cell are taken off.

    Raises:
        ValueError: a quoted cell does not end, or goes on after its quote; ``where`` names file and line.
    """
    try:
        rows = list(csv.reader([line], delimiter=delimiter, skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise ValueError(f"{where}: must be cells apart by {delimiter!r}, quoted or not: {error}") from error
    return [cell.strip() for cell in rows[0]] if rows else []


def _delimiter(text: str) -> str:
    """The delimiter of which the first line has most, a comma in doubt."""
    first = next((line for line in text.split("\n") if line.strip()), "")
    return max(DELIMITERS, key=first.count)
