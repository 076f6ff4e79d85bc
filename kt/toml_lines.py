"""In which line of a TOML file something stands: its parser keeps no places, and a person wants them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_HEADER = re.compile(r"\s*(\[\[?)\s*([\w.\-\"' ]+?)\s*\]\]?")
_KEY = re.compile(r"\s*([\w.\-\"']+)\s*=")
Path = Sequence[str | int]


def line_of(text: str, path: Path) -> int:
    """The line of the deepest part of `path` (keys, and indices of arrays of tables) that the text has; 1 if none."""
    table: list[str | int] = []
    counts: Counter[str] = Counter()
    best, line = 0, 1
    for number, row in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(row):
            name = header[2]
            table = [*_parts(name)]
            if header[1] == "[[":
                table.append(counts[name])
                counts[name] += 1
            here = table
        elif key := _KEY.match(row):
            here = [*table, *_parts(key[1])]
        else:
            continue
        depth = _common(here, path)
        if depth == len(here) and depth > best:
            best, line = depth, number
    return line


def _parts(name: str) -> list[str]:
    return [part.strip().strip("\"'") for part in name.split(".")]


def _common(here: Path, path: Path) -> int:
    return next((depth for depth, pair in enumerate(zip(here, path, strict=False)) if pair[0] != pair[1]),
                min(len(here), len(path)))  # fmt: skip
