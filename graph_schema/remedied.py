"""Changes that KT itself made, and what they made good. Pure."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from graph_schema.model import Change

Did = Literal["done", "taken back"]
REMEDY = "remedy"
"""The kind of a change that KT itself made: no suspect."""
_DETAIL = re.compile(r"(done|taken back) by KT \((\w+)\)")


def detail_of(did: Did, kind: str, detail: str) -> str:
    """What a change of KT's own says; `kind`: the change that it was."""
    return f"{did} by KT ({kind}): {detail}"


def standing(changes: Sequence[Change]) -> list[Change]:
    """Changes that may still do harm, out of all of them with the oldest first: without those that KT has made good.

    A remedy makes good what was changed before it in the same way on the same entity; one that was taken back makes
    nothing good. A restart is a remedy of its own kind: the revision stays.
    """
    over: set[int] = set()
    open_: dict[tuple[str, str], list[int]] = defaultdict(list)
    good: dict[tuple[str, str], list[int]] = {}
    for number, change in enumerate(changes):
        said = _DETAIL.match(change.detail) if change.kind == REMEDY else None
        if said is None:
            open_[change.entity, change.kind].append(number)
            continue
        key = change.entity, said[2]
        if said[1] == "done":
            good[key] = open_.pop(key, [])
            over.update(good[key])
        else:
            back = good.pop(key, [])
            over.difference_update(back)
            open_[key] += back
    return [each for number, each in enumerate(changes) if number not in over]
