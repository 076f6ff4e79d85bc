"""Amounts as Kubernetes writes them (`250m`, `128Mi`, `1e3`), compared and raised. Pure.

Own, since the Kubernetes client's parser comes with the whole client, which takes seconds to import."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

_SUFFIXES = {
    "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "": Decimal(1),
    "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15),
    "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)$")
_MEBI = Decimal(2**20)


def parse(text: object) -> Decimal:
    """Cores, bytes or a count. Raises `ValueError`."""
    return _parsed(str(text))


@lru_cache(maxsize=4096)
def _parsed(text: str) -> Decimal:
    """The pods of a cluster ask for few different amounts, thousands of times."""
    found = _QUANTITY.match(text.strip())
    if found is None:
        raise ValueError(f"“{text}” is no quantity; 250m, 2, 128Mi are")
    number, exponent, suffix = found.groups()
    return Decimal(number) * (Decimal(10) ** int(exponent) if exponent else _SUFFIXES[suffix or ""])


def written(name: str, amount: Decimal) -> str:
    """An amount of a resource, rounded up to a thousandth of a core, or to a mebibyte."""
    if name == "cpu":
        return f"{math.ceil(amount * 1000)}m"
    return f"{math.ceil(amount / _MEBI)}Mi"


def raised(name: str, text: object, factor: float, most: object | None = None) -> str:
    """`factor` times an amount, at most `most`; the very text where that is no more than it is."""
    now = parse(text)
    wanted = now * Decimal(str(factor))
    if most is not None:
        wanted = min(wanted, parse(most))
    return written(name, wanted) if wanted > now else str(text)


def same(one: Mapping[str, object], other: Mapping[str, object]) -> bool:
    """Whether two lists of amounts by resource say the same, whatever the spelling."""
    return {key: parse(value) for key, value in one.items()} == {key: parse(value) for key, value in other.items()}


def plain(amounts: Mapping[str, object]) -> dict[str, str]:
    """The amounts by resource in one spelling, for comparing."""
    return {key: f"{parse(value).normalize():f}" for key, value in sorted(amounts.items())}
