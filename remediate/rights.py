"""What KT may do in which namespaces, asked of the API server before anything is done there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from remediate.cluster import Cluster

Right = tuple[str, str, str]
"""(API group, resource, verb); the resource may be `pods/eviction`."""
EVICT: Right = ("", "pods/eviction", "create")
DELETE: Right = ("", "pods", "delete")


def lacking(
    cluster: Cluster, needed: Sequence[Right], namespaces: Iterable[str], *, known_s: float = 0.0
) -> dict[str, str]:
    """Namespace → the rights that this account lacks there, as `create pods/eviction`; nothing of an API server that
    cannot be asked. What is granted everywhere is asked once. `known_s`: how old a yes may be; for who only plans.

    Raises `ClusterError`."""
    spaces = sorted(set(namespaces))
    if len(spaces) > 1:
        needed = [each for each in needed if not _allowed(cluster, each, "", known_s)]
    found: dict[str, str] = {}
    for space in spaces:
        missing = [f"{verb} {resource}" for group, resource, verb in needed
                   if cluster.allowed(verb, group, resource, space, known_s=known_s) is False]  # fmt: skip
        if missing:
            found[space] = ", ".join(missing)
    return found


def in_words(without: Mapping[str, str]) -> str:
    """`create pods/eviction in shop; delete pods in other`."""
    return "; ".join(f"{rights} in {space}" for space, rights in sorted(without.items()))


def _allowed(cluster: Cluster, right: Right, namespace: str, known_s: float) -> bool:
    """Whether it is allowed, or cannot be asked."""
    group, resource, verb = right
    return cluster.allowed(verb, group, resource, namespace, known_s=known_s) is not False
