"""docs/settings.md, made out of the settings themselves: `python -m kt.settings_reference > docs/settings.md`."""

from __future__ import annotations

import ast
import inspect
import sys
from typing import Any

import msgspec

from kt import sections, settings

HEAD = """# Settings

Made out of `kt/sections.py` by `make docs`; change it there. A TOML file (`kt --config kt.toml`, or KT_CONFIG), under
environment variables: `cooldown_s` of `[guard]` is KT_GUARD__COOLDOWN_S. With `_FILE` behind it the variable names a
file that holds the value. Unknown keys are errors. `kt doctor --settings` prints those in force.
"""


def reference() -> str:
    """The whole page."""
    words = _words()
    top, grouped = [], []
    for field in msgspec.structs.fields(settings.Settings):
        if isinstance(field.default, sections.Section):
            grouped.append((field.name, type(field.default)))
        else:
            top.append(field)
    parts = [HEAD, *_table("", top, words["Settings"])]
    for name, section in grouped:
        about = words[section.__name__].get("", "")
        parts += [f"\n## [{name}]\n", *([f"{about}\n"] if about else [])]
        parts += _table(name, msgspec.structs.fields(section), words[section.__name__])
    return "\n".join(parts) + "\n"


def _table(section: str, fields: Any, words: dict[str, str]) -> list[str]:
    rows = ["| key | default | meaning | variable |", "|---|---|---|---|"]
    for field in fields:
        variable = (
            f"{settings.PREFIX}{section.upper()}__{field.name.upper()}" if section else f"KT_{field.name.upper()}"
        )
        meaning = " ".join([words.get(field.name, ""), _allowed(field.type)]).strip()
        rows.append(f"| `{field.name}` | `{_value(field.default)}` | {meaning} | `{variable}` |")
    return rows


def _value(default: Any) -> str:
    return msgspec.json.encode(default).decode()


def _allowed(kind: Any) -> str:
    """What the type itself says of the values."""
    made = msgspec.json.schema(kind)
    limits = [
        f"{word} {made[key]}"
        for key, word in (("exclusiveMinimum", "above"), ("minimum", "at least"), ("maximum", "at most"))
        if key in made
    ]
    if "enum" in made:
        limits.append("one of " + ", ".join(str(each) for each in made["enum"]))
    return f"({', '.join(limits)})" if limits else ""


def _words() -> dict[str, dict[str, str]]:
    """Section → field → the text under it in the source; the section's own text under the empty name."""
    found: dict[str, dict[str, str]] = {}
    for node in [node for module in (settings, sections) for node in ast.parse(inspect.getsource(module)).body]:
        if not isinstance(node, ast.ClassDef):
            continue
        words = {"": _flat(ast.get_docstring(node) or "")}
        for before, after in zip(node.body, node.body[1:], strict=False):
            if not isinstance(after, ast.Expr) or not isinstance(after.value, ast.Constant):
                continue
            if isinstance(before, ast.AnnAssign) and isinstance(before.target, ast.Name):
                words[before.target.id] = _flat(str(after.value.value))
        found[node.name] = words
    return found


def _flat(text: str) -> str:
    return " ".join(text.split())


if __name__ == "__main__":
    sys.stdout.write(reference())
