"""Processes of this machine, as /proc tells of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def told_of(what: str, words: bytes) -> Iterator[int]:
    """The ids of those whose `what` (cmdline, environ) has these words; some end while they are looked at."""
    for entry in Path("/proc").glob(f"[0-9]*/{what}"):
        try:
            found = words in entry.read_bytes()
        except OSError:
            continue
        if found:
            yield int(entry.parent.name)
