"""What a PromQL expression asks for, as far as its words tell: no parser, for comparing expressions only."""

from __future__ import annotations

import re

_LEFT_OUT = re.compile(
    r'"(?:[^"\\]|\\.)*"' r"|\{[^}]*\}" r"|\[[^\]]*\]"
    r"|\b(?:by|without|on|ignoring|group_left|group_right)\b\s*(?:\([^)]*\))?"
)  # fmt: skip
_NAME = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")
_WORDS = frozenset({"and", "or", "unless", "bool", "offset", "inf", "nan", "start", "end", "atan2"})


def metrics_in(expression: str) -> frozenset[str]:
    """The names of the metrics in it."""
    text = _LEFT_OUT.sub(" ", re.sub(r'"(?:[^"\\]|\\.)*"', "", expression))
    return frozenset(name for name in _NAME.findall(text) if name.lower() not in _WORDS)
