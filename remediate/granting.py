"""How a right that KT lacks is given, in words. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_RBAC = re.compile(r'cannot (\w+) resource "([^"]+)" in API group "[^"]*"(?: in the namespace "([^"]+)")?')
"""What the authorizer says, and admission (a quota, a webhook), whose refusals have the same code, does not."""
LOGS = "pods/log"
READING = frozenset({"get", "list", "watch"})


def granting(namespaces: Iterable[str] = (), *, logs: bool = False) -> str:
    """`kt rbac` prints what is to be applied: what actions may do, and in which namespaces; or reading `logs`."""
    part = "--logs --namespace" if logs else "--namespace"
    spaces = [f"`kt rbac {part} {each}`" for each in sorted(set(namespaces)) if each]
    return _applied([f"`kt rbac --{'logs' if logs else 'act'}`", *spaces])


def _applied(commands: Sequence[str]) -> str:
    return f"apply what {' and '.join(commands)} print{'s' if len(commands) == 1 else ''} (kubectl apply -f -)"


def hint(message: str) -> str:
    """What to do about a refusal of the API server's; empty for one that is not for want of a right."""
    found = _RBAC.search(message)
    if not found:
        return ""
    verb, resource, namespace = found.groups()
    if verb in READING and not namespace:
        # What is read of the whole cluster is what the graph is made of.
        return _applied(["`kt rbac`"])
    return granting([namespace or ""], logs=resource == LOGS)
