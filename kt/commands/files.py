"""Writing files for a person: what cannot be written is one clear line."""

from __future__ import annotations

from pathlib import Path

import click


def write(file: Path, content: bytes) -> None:
    """Raises `UsageError`."""
    try:
        file.write_bytes(content)
    except OSError as error:
        raise click.UsageError(f"{file} cannot be written: {error.strerror or error}") from error
