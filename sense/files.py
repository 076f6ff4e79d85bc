"""Files that a person hands in: read line by line, and a mistake is told with file and line."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")

LATEST_S = 253402300799.0
"""The end of the year 9999; later numbers are milliseconds or worse."""


class BadFile(Exception):
    """A file is not what it should be. The message begins with file and line and says what is expected."""

    def __init__(self, path: Path, line: int | None, what: str) -> None:
        super().__init__(f"{path}:{line}: {what}" if line else f"{path}: {what}")


def seconds(text: str) -> float:
    """Seconds since 1970 of RFC 3339 (UTC where no offset is given) or of a number. Raises `ValueError`."""
    try:
        at = float(text)
    except ValueError:
        return parsed(text).timestamp()
    if not (math.isfinite(at) and 0 <= at <= LATEST_S):
        raise ValueError(f"{text} is no time in seconds since 1970")
    return at


def parsed(text: str) -> datetime:
    """RFC 3339, UTC where no offset is given. Raises `ValueError`."""
    at = datetime.fromisoformat(text.strip())
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file with their numbers, empty ones left out. Raises `BadFile`."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if stripped := line.strip():
                    yield number, stripped
    except OSError as error:
        raise BadFile(path, None, f"cannot be read: {error.strerror or error}") from error


def records(path: Path, type_: type[T], expected: str) -> Iterator[tuple[int, T]]:
    """One JSON object a line, checked, with its line's number. Raises `BadFile`."""
    decoder = msgspec.json.Decoder(type_)
    for number, line in lines(path):
        try:
            yield number, decoder.decode(line)
        except msgspec.ValidationError as error:
            raise BadFile(path, number, f"{error}; expected is {expected}") from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BadFile(path, number, f"not JSON: {error}; expected is one JSON object a line") from error
