"""YAML that remembers where everything stands, so that a wrong name is an error with file and line."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The one written in C where there is one: ten times as fast, and every command reads the catalogue."""


class BadKnowledge(Exception):
    """A data file of the schema is wrong. The message begins with file and line."""


class Located:
    """A mapping or list of a file with the lines of its parts. Scalars come out as plain values."""

    def __init__(self, file: str, node: yaml.Node) -> None:
        self.file, self._node = file, node

    @property
    def line(self) -> int:
        return int(self._node.start_mark.line) + 1

    @property
    def value(self) -> Any:
        """The whole as plain data."""
        return _plain(self._node)

    def error(self, what: str) -> BadKnowledge:
        return BadKnowledge(f"{self.file}:{self.line}: {what}")

    def items(self) -> Iterator[tuple[str, Located]]:
        """The entries of a mapping; empty when there is nothing. Raises `BadKnowledge` for anything else."""
        if isinstance(self._node, yaml.ScalarNode) and self._node.value == "":
            return
        if not isinstance(self._node, yaml.MappingNode):
            raise self.error("a mapping is expected here")
        seen: set[str] = set()
        for key, value in self._node.value:
            if key.value in seen:
                raise Located(self.file, key).error(f"“{key.value}” is there twice")
            seen.add(key.value)
            yield str(key.value), Located(self.file, value)

    def each(self) -> Iterator[Located]:
        """The entries of a list."""
        if not isinstance(self._node, yaml.SequenceNode):
            raise self.error("a list is expected here")
        for value in self._node.value:
            yield Located(self.file, value)


def read(path: Path, name: str | None = None) -> Located:
    """The content of a YAML file. Raises `BadKnowledge`."""
    file = name or str(path)
    try:
        node = yaml.compose(path.read_text(), Loader=_LOADER)
    except OSError as error:
        raise BadKnowledge(f"{file}: cannot be read: {error.strerror or error}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise BadKnowledge(f"{file}:{line}: not YAML: {error.problem}") from error
    if node is None:
        raise BadKnowledge(f"{file}: is empty")
    return Located(file, node)


def path_of(message: str) -> list[str | int]:
    """Where msgspec says it is: “… - at `$.steps[0].action`”, and the field that it names."""
    at = re.search(r"at `\$(.*?)`", message)
    found: list[str | int] = [
        int(index) if index else name for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", at[1] if at else "")
    ]
    unknown = re.search(r"unknown field `(.+?)`", message)
    return [*found, unknown[1]] if unknown else found


def _plain(node: yaml.Node) -> Any:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(value) for value in node.value]
    return _scalars().yaml_constructors[node.tag](_scalars(), node)


@functools.cache
def _scalars() -> Any:
    """What makes plain values of scalars; making one for each scalar would be most of the time spent."""
    return yaml.SafeLoader("")
