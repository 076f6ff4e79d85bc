"""How a right that KT lacks is given, in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

_RBAC = re.compile(r'cannot \w+ resource "[^"]+" in API group "[^"]*"(?: in the namespace "([^"]+)")?')
"""What the authorizer says, and admission (a quota, a webhook), whose refusals have the same code, does not."""


def granting(namespaces: Iterable[str] = ()) -> str:
    """`kt rbac` prints what is to be applied: what actions may do, and in which namespaces."""
    commands = ["`kt rbac --act`", *(f"`kt rbac --namespace {each}`" for each in sorted(set(namespaces)) if each)]
    return f"apply what {' and '.join(commands)} print{'s' if len(commands) == 1 else ''} (kubectl apply -f -)"


def hint(message: str) -> str:
    """What to do about a refusal of the API server's; empty for one that is not for want of a right."""
    found = _RBAC.search(message)
    return granting([found[1] or ""]) if found else ""
