"""Writing much into Neo4j: in transactions of a bounded size, relations beside the entities that come after theirs.

Relations are written by one session only. Whoever adds one to an entity locks those beside it there, too, whose other
ends are anywhere: sessions at once locked each other out, also where they had no entity in common.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")
Row = dict[str, Any]
"""Of an entity: id, kind, name, namespace, body; of a relation: source, kind, target."""
Write = Callable[[Sequence[Row]], None]
AT_ONCE = 5000
"""Entities or relations of one transaction: what it changes is kept in the server's memory until it ends."""
OF_SOURCES = 500
"""Entities of one transaction whose relations are all replaced: of one there can be many."""


def write_all(things: Sequence[Row], edges: Sequence[Row], put: Write, relate: Write) -> None:
    """Each relation once both of its ends are written, if they are among the things. Raises what a part raised first.

    What was written before it stays; writing all again completes it.
    """
    under_way: list[Future[None]] = []
    ready: list[Row] = []
    with ThreadPoolExecutor(1, thread_name_prefix="kt relations") as behind:
        try:
            for part, its_edges in _in_step(things, edges):
                if part:
                    put(part)
                ready += its_edges
                for each in under_way:
                    if each.done():
                        each.result()
                whole = len(ready) // AT_ONCE * AT_ONCE
                under_way += [behind.submit(relate, each) for each in parts(ready[:whole])]
                ready = ready[whole:]
            under_way += [behind.submit(relate, each) for each in parts(ready)]
            for each in under_way:
                each.result()
        finally:
            behind.shutdown(cancel_futures=True)


def _in_step(things: Sequence[Row], edges: Iterable[Row]) -> Iterator[tuple[Sequence[Row], list[Row]]]:
    """First the relations that wait for nothing; then part by part the things, and the relations that they complete."""
    place = {each["id"]: number // AT_ONCE for number, each in enumerate(things)}
    waiting = defaultdict[int, list[Row]](list)
    for each in edges:
        waiting[max(place.get(each["source"], -1), place.get(each["target"], -1))].append(each)
    yield (), waiting[-1]
    for number, part in enumerate(parts(things)):
        yield sorted(part, key=lambda each: str(each["id"])), waiting[number]


def parts(things: Sequence[T], most: int = AT_ONCE) -> Iterator[Sequence[T]]:
    return (things[start : start + most] for start in range(0, len(things), most))
