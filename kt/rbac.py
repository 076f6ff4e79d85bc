"""The rights of KT in a cluster, as RBAC manifests, out of what the code declares that it needs.

Three parts, so that a cluster grants no more than is wanted: watching (read only, everywhere), acting (what each action
declares) and verifying (what experiments do). Rights on objects of a namespace are ClusterRoles without a binding for
the whole cluster: a RoleBinding in each namespace that takes part grants them there and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from remediate.actions import ACTIONS
from remediate.actions.evict import BUDGETS
from remediate.cluster import CLUSTER_WIDE, PATHS
from remediate.playbook import Playbook, load_playbooks
from sense.kubernetes import events, follower, written
from verify import rights

Right = tuple[str, str, str]
"""(API group, resource, verbs separated by spaces)."""
NAMESPACE = "kt"
ACCOUNTS = ("kt-beat", "kt-worker")
"""Who watches; `kt-worker` is also who acts. The web process talks to no cluster."""
WATCH = "get list watch"
VERBS = ("get", "list", "watch", "create", "patch", "update", "delete")
OF_THE_CLUSTER = frozenset(PATHS[kind][1] for kind in CLUSTER_WIDE)


def watched() -> list[Right]:
    """What watching needs, everywhere."""
    return [(*_place(path), WATCH) for path in follower.PATHS.values()]


def used(playbooks: Iterable[Playbook]) -> frozenset[str]:
    """The actions that these playbooks are made of: what no playbook does needs no right."""
    return frozenset(step.action for playbook in playbooks for step in playbook.steps)


def built_in() -> frozenset[str]:
    """The actions of the playbooks that come with KT."""
    return used(load_playbooks(ACTIONS).values())


def acted(actions: Iterable[str], *, of_the_cluster: bool) -> list[Right]:
    """What acting and attacking a fix need, on nodes or on objects of a namespace."""
    needed = _needed(actions)
    mine = [rule for rule in needed if (rule[1] in OF_THE_CLUSTER) == of_the_cluster]
    return mine if of_the_cluster else [*mine, *rights.RIGHTS]


def watching() -> list[dict[str, Any]]:
    """Reading all that the graph is made of, events (`diagnose.events`), and what holds evictions back."""
    role = _role("kt-watch", [*watched(), *events.RIGHTS, BUDGETS])
    return [role, _binding("kt-watch", ACCOUNTS)]


def watching_secrets() -> list[dict[str, Any]]:
    """Listing and watching Secrets, for `kubernetes.secrets`. KT asks for their metadata only; the right shows more."""
    return [
        _role("kt-watch-secrets", [(*_place(follower.SECRETS), "list watch")]),
        _binding("kt-watch-secrets", ("kt-beat",)),
    ]


def reading_logs() -> list[dict[str, Any]]:
    """Reading what containers write, for `diagnose.logs`, where a RoleBinding grants it."""
    return [_role("kt-read-logs", written.RIGHTS)]


def acting(actions: Iterable[str] | None = None) -> list[dict[str, Any]]:
    """Carrying out plans: on nodes in the whole cluster, on anything else where a RoleBinding grants it.

    `actions`: which ones; those of the playbooks that come with KT unless told otherwise."""
    needed = _needed(built_in() if actions is None else actions)
    nodes = [rule for rule in needed if rule[1] in OF_THE_CLUSTER]
    return [
        _role("kt-act", [rule for rule in needed if rule[1] not in OF_THE_CLUSTER]),
        _role("kt-act-nodes", nodes),
        _binding("kt-act-nodes", ("kt-worker",)),
    ]


def verifying() -> list[dict[str, Any]]:
    """Attacking a fix, where a RoleBinding grants it."""
    return [_role("kt-verify", rights.RIGHTS)]


def attacking() -> list[dict[str, Any]]:
    """Chaos made from KT's templates, where a RoleBinding grants it."""
    return [_role("kt-chaos", rights.CHAOS)]


def granted(namespace: str, roles: Iterable[str] = ("kt-act", "kt-verify")) -> list[dict[str, Any]]:
    """The RoleBindings that let KT act and verify in one namespace, or do what these roles say."""
    return [
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": _meta(role) | {"namespace": namespace},
            "roleRef": _reference(role),
            "subjects": _subjects(("kt-worker",)),
        }
        for role in roles
    ]


def _needed(actions: Iterable[str]) -> list[Right]:
    return [rule for name in sorted(actions) for rule in ACTIONS[name].rules]


def _place(path: str) -> tuple[str, str]:
    """API group and resource of a collection's path: /api/v1/pods, /apis/apps/v1/deployments."""
    parts = path.strip("/").split("/")
    return ("" if parts[0] == "api" else parts[1], parts[-1])


def _role(name: str, needed: Iterable[Right]) -> dict[str, Any]:
    verbs: dict[tuple[str, str], set[str]] = {}
    for group, resource, words in needed:
        verbs.setdefault((group, resource), set()).update(words.split())
    alike: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for (group, resource), found in sorted(verbs.items()):
        alike.setdefault((group, tuple(sorted(found, key=VERBS.index))), []).append(resource)
    rules = [
        {"apiGroups": [group], "resources": resources, "verbs": list(found)}
        for (group, found), resources in alike.items()
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": _meta(name),
        "rules": rules,
    }


def _binding(role: str, accounts: Iterable[str]) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": _meta(role),
        "roleRef": _reference(role),
        "subjects": _subjects(accounts),
    }


def _meta(name: str) -> dict[str, Any]:
    return {"name": name, "labels": {"app.kubernetes.io/part-of": "kt"}}


def _reference(role: str) -> dict[str, str]:
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role}


def _subjects(accounts: Iterable[str]) -> list[dict[str, str]]:
    return [{"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE} for name in accounts]
