"""What bears on others without being a part of them: policies on pods, quotas on namespaces, certificates on ingresses.

Also what may be kept of a Secret: its metadata, and of those nothing in which its contents could stand. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from graph_schema.model import Relation
from sense.kubernetes.objects import Object, id_of

ANYWHERE = frozenset({"annotations"})
"""Parts of the metadata that may hold what the Secret holds: `kubectl apply` writes all of it into an annotation."""


def relations_of(thing: Object, known: Mapping[str, Mapping[str, Object]]) -> list[Relation]:
    """The relations of this thing with what it bears on or what bears on it. `known`: kind → id → object."""
    match thing["kind"]:
        case "ResourceQuota":
            return [Relation(id_of(thing), f"Namespace/{_space(thing)}", "APPLIES_TO")]
        case "NetworkPolicy":
            return _joined([thing], known.get("Pod", {}).values())
        case "Pod":
            return _joined(known.get("NetworkPolicy", {}).values(), [thing])
        case "Certificate":
            return _secured([thing], known.get("Ingress", {}).values())
        case "Ingress":
            return _secured(known.get("Certificate", {}).values(), [thing])
    return []


def _joined(policies: Iterable[Object], pods: Iterable[Object]) -> list[Relation]:
    those = list(pods)
    return [
        Relation(id_of(policy), id_of(pod), "APPLIES_TO")
        for policy in policies
        for pod in those
        if _space(policy) == _space(pod) and fits((policy.get("spec") or {}).get("podSelector") or {}, pod)
    ]


def _secured(certificates: Iterable[Object], ingresses: Iterable[Object]) -> list[Relation]:
    those = list(ingresses)
    return [
        Relation(id_of(certificate), id_of(ingress), "SECURES")
        for certificate in certificates
        for ingress in those
        if _space(certificate) == _space(ingress)
        and (certificate.get("spec") or {}).get("secretName")
        in [each.get("secretName") for each in (ingress.get("spec") or {}).get("tls") or []]
    ]


def fits(selector: Object, thing: Object) -> bool:
    """Whether a label selector selects it; an empty one selects everything."""
    labels = thing["metadata"].get("labels") or {}
    plain = all(labels.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return plain and all(_expression(each, labels) for each in selector.get("matchExpressions") or [])


def _expression(each: Object, labels: Mapping[str, str]) -> bool:
    key, values = each.get("key"), each.get("values") or []
    match each.get("operator"):
        case "In":
            return labels.get(str(key)) in values
        case "NotIn":
            return labels.get(str(key)) not in values
        case "Exists":
            return key in labels
    return key not in labels


def _space(thing: Object) -> str:
    return str(thing["metadata"].get("namespace", ""))


def metadata_only(thing: Object) -> Object:
    """A Secret as far as it may be kept, whatever the server sent."""
    kept = {key: value for key, value in thing["metadata"].items() if key not in ANYWHERE}
    return {"kind": thing["kind"], "metadata": kept}
