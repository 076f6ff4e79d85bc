"""Who may do what: everything but what the cluster denies, and SelfSubjectAccessReviews that tell."""

from __future__ import annotations

from typing import Any

from twin import errors
from twin.api.asked import Asked
from twin.api.backend import Backend

REVIEWS = ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]
_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


def check(backend: Backend, method: str, what: Asked, *, watch: bool) -> None:
    """Raises 403 for what is denied."""
    if not backend.denied:
        return
    resource = what.kind.plural + (f"/{what.subresource}" if what.subresource else "")
    verb = _VERBS.get(method) or ("watch" if watch else "get" if what.name else "list")
    if method == "DELETE" and not what.name:
        verb = "deletecollection"
    if (what.namespace or "", what.kind.group, resource, verb) in backend.denied:
        place = f' in the namespace "{what.namespace}"' if what.namespace else " at the cluster scope"
        why = f'User "kt" cannot {verb} resource "{resource}" in API group "{what.kind.group}"{place}'
        raise errors.forbidden(what.kind.plural, what.kind.group, what.name, why)


def review(backend: Backend, body: Any) -> dict[str, Any]:
    """The answer to a SelfSubjectAccessReview. Asked of all namespaces, one where it is denied is enough for no."""
    asked = ((body or {}).get("spec") or {}).get("resourceAttributes") or {}
    resource = asked.get("resource", "") + (f"/{asked['subresource']}" if asked.get("subresource") else "")
    about, namespace = (asked.get("group", ""), resource, asked.get("verb", "")), asked.get("namespace", "")
    denied = any(right[1:] == about and namespace in ("", right[0]) for right in backend.denied)
    return {**body, "metadata": {}, "status": {"allowed": not denied}}
