"""Counts as the rows that both stores keep: part (seen, accepted, forgotten), key, site, count."""

from __future__ import annotations

from collections.abc import Iterable

from diagnose.learning import Counter, Counts

Row = tuple[str, str, str, int]


def rows_of(counts: Counts) -> list[Row]:
    return [
        (part, key, site, count)
        for part, counter in (("seen", counts.seen), ("accepted", counts.accepted), ("forgotten", counts.forgotten))
        for key, by_site in sorted(counter.items())
        for site, count in sorted(by_site.items())
    ]


def counts_of(rows: Iterable[Row]) -> Counts:
    parts: dict[str, Counter] = {"seen": {}, "accepted": {}, "forgotten": {}}
    for part, key, site, count in sorted(rows):
        parts[part].setdefault(key, {})[site] = count
    return Counts(**parts)
