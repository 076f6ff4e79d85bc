"""Label and field selectors, as query parameters and as objects write them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from twin import errors
from twin.objects import Object

Test = Callable[[Object], bool]

_TERM = re.compile(
    r"^\s*(?:(?P<absent>!)\s*(?P<missing>[\w./-]+)"
    r"|(?P<key>[\w./-]+)\s*(?:(?P<op>==|=|!=)\s*(?P<value>[\w./-]*)"
    r"|\s(?P<set>in|notin)\s*\((?P<values>[^)]*)\))?)\s*$"
)


def labels_of(given: Object) -> dict[str, str]:
    return given["metadata"].get("labels") or {}


def label_test(text: str) -> Test:
    """`a=b,c!=d,e in (f,g),h,!i` as a test of an object. Raises 400 for what cannot be parsed."""
    terms = [_label_term(term) for term in _split(text)]
    return lambda given: all(term(labels_of(given)) for term in terms)


def _split(text: str) -> list[str]:
    """Split at the commas that stand outside of parentheses."""
    return [term for term in re.split(r",(?![^(]*\))", text) if term.strip()]


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    match = _TERM.match(term)
    if match is None:
        raise errors.bad_request(f"unable to parse requirement: {term!r}")
    if match["absent"]:
        return lambda labels: match["missing"] not in labels
    key = match["key"]
    if match["op"] in ("=", "=="):
        return lambda labels: labels.get(key) == match["value"]
    if match["op"] == "!=":
        return lambda labels: labels.get(key) != match["value"]
    if match["set"]:
        values = {value.strip() for value in match["values"].split(",")}
        if match["set"] == "in":
            return lambda labels: key in labels and labels[key] in values
        return lambda labels: labels.get(key) not in values
    return lambda labels: key in labels


def selects(selector: dict[str, Any] | None, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector (matchLabels, matchExpressions) of an object takes these labels; None takes nothing."""
    if selector is None:
        return False
    for key, value in (selector.get("matchLabels") or {}).items():
        if labels.get(key) != value:
            return False
    return all(_expression(each, labels) for each in selector.get("matchExpressions") or [])


def _expression(given: dict[str, Any], labels: dict[str, str]) -> bool:
    key, values = given["key"], given.get("values") or []
    match given["operator"]:
        case "In":
            return key in labels and labels[key] in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels


_FIELDS: dict[str, frozenset[str]] = {
    "Pod": frozenset({"spec.nodeName", "spec.restartPolicy", "spec.schedulerName", "spec.serviceAccountName",
                      "status.phase", "status.podIP", "status.nominatedNodeName"}),
    "Node": frozenset({"spec.unschedulable"}),
    "Namespace": frozenset({"status.phase"}),
    "Secret": frozenset({"type"}),
    "ReplicaSet": frozenset({"status.replicas"}),
    "ReplicationController": frozenset({"status.replicas"}),
    "Job": frozenset({"status.successful"}),
    "Event": frozenset({"involvedObject.kind", "involvedObject.namespace", "involvedObject.name",
                        "involvedObject.uid", "involvedObject.apiVersion", "involvedObject.resourceVersion",
                        "involvedObject.fieldPath", "reason", "reportingComponent", "source", "type"}),
}  # fmt: skip


def field_test(kind: str, text: str) -> Test:
    """`status.phase=Running,spec.nodeName!=n` as a test. Raises 400 for a field that cannot be selected by."""
    tests = [_field_term(kind, term) for term in _split(text)]
    return lambda given: all(test(given) for test in tests)


def _field_term(kind: str, term: str) -> Test:
    match = re.match(r"^\s*(?P<path>[\w.]+)\s*(?P<op>==|=|!=)\s*(?P<value>.*?)\s*$", term)
    if match is None:
        raise errors.bad_request(f"invalid selector: {term!r}; can't understand {term!r}")
    path, wanted = match["path"], match["value"]
    if path not in ("metadata.name", "metadata.namespace") and path not in _FIELDS.get(kind, frozenset()):
        if kind in _FIELDS:
            raise errors.bad_request(f"field label not supported: {path}")
        known = '"metadata.name", "metadata.namespace"'
        raise errors.bad_request(f'"{path}" is not a known field selector: only {known}')
    equal = match["op"] != "!="
    return lambda given: (_text(given, path) == wanted) is equal


def _text(given: Object, path: str) -> str:
    value: Any = given
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "spec.unschedulable":
        return "true" if value else "false"
    return "" if value is None else str(value)
