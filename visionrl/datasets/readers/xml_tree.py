"""XML as a tree that knows its lines; nothing outside the file is read, and no entity is expanded."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from visionrl.datasets.limits import limit_of


@dataclass
class Node:
    """An element of an XML file.

    Attributes:
        tag: its name.
        where: file and line, for messages.
        text: what stands in it outside its children, without spaces around.
        children: the elements in it.
    """

    tag: str
    where: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def all(self, tag: str) -> list[Node]:
        """The children of a name."""
        return [child for child in self.children if child.tag == tag]

    def one(self, tag: str) -> Node:
        """The only child of a name.

        Raises:
            ValueError: there is none, or more than one.
        """
        found = self.all(tag)
        if len(found) != 1:
            raise ValueError(f"{self.where}: <{self.tag}> must have one <{tag}>, got {len(found)}")
        return found[0]

    def number(self, tag: str) -> float:
        """The only child of a name as a finite number.

        Raises:
            ValueError: it is none.
        """
        child = self.one(tag)
        try:
            value = float(child.text)
        except ValueError as error:
            raise ValueError(f"{child.where}: <{tag}> must be a number, got {child.text!r}") from error
        if not abs(value) < float("inf"):
            raise ValueError(f"{child.where}: <{tag}> must be finite, got {child.text!r}")
        return value


def read_xml(file: Path) -> Node:
    """The root of an XML file.

    Raises:
        ValueError: the file is no well-formed XML, or has a DOCTYPE, which could declare entities.
    """
    builder = _Builder(file)
    try:
        builder.parser.Parse(_bytes(file), True)
    except expat.ExpatError as error:
        raise ValueError(f"{file}, line {error.lineno}: must be well-formed XML: {error}") from error
    return builder.root.children[0]


def _bytes(file: Path) -> bytes:
    """The content of a file in UTF-8, whatever encoding it declares.

    Raises:
        ValueError: the encoding is not known, or is not that of the file, or the file is too large.
    """
    if file.stat().st_size > limit_of("TEXT"):
        raise ValueError(f"{file} must have at most {limit_of('TEXT')} bytes (VISIONRL_TEXT_LIMIT)")
    content = file.read_bytes()
    head = re.match(rb"""(?:\xef\xbb\xbf)?<\?xml[^>]{0,200}?encoding=["']([\w.:-]+)["']""", content)
    name = head[1].decode() if head else ""
    if name.lower() in ("", "utf-8", "utf8", "utf-16"):
        return content
    try:
        text = content.decode(name)
    except (LookupError, UnicodeError) as error:
        raise ValueError(
            f"{file}, line 1: must be in the encoding that it declares, {name!r}: {error}"
        ) from error
    return re.sub("encoding=[\"'][^\"']*[\"']", 'encoding="utf-8"', text, count=1).encode()


class _Builder:
    """Hears expat and grows the tree."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.root = Node("", str(file))
        self.open = [self.root]
        self.parser = expat.ParserCreate()
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = self.end
        self.parser.CharacterDataHandler = self.text
        self.parser.StartDoctypeDeclHandler = self.refuse

    def start(self, tag: str, _: dict[str, str]) -> None:
        node = Node(tag, f"{self.file}, line {self.parser.CurrentLineNumber}")
        self.open[-1].children.append(node)
        self.open.append(node)

    def end(self, _: str) -> None:
        node = self.open.pop()
        node.text = node.text.strip()

    def text(self, data: str) -> None:
        self.open[-1].text += data

    def refuse(self, *_: object) -> None:
        raise ValueError(f"{self.file}, line {self.parser.CurrentLineNumber}: a DOCTYPE is not allowed")
