"""Label selectors take what Kubernetes says they take."""

from __future__ import annotations

from typing import Any

import pytest

from remediate.labels import selects

LABELS = {"app": "cart", "tier": "1"}


def where(key: str, operator: str, *values: str) -> dict[str, Any]:
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(values)}]}


@pytest.mark.parametrize(
    ("selector", "takes"),
    [
        (None, False), ({}, True), ({"matchLabels": {"app": "cart"}}, True), ({"matchLabels": {"app": "mail"}}, False),
        ({"matchLabels": {"app": "cart", "zone": "a"}}, False), (where("app", "In", "cart", "mail"), True),
        (where("zone", "In", "a"), False), (where("app", "NotIn", "mail"), True), (where("zone", "NotIn", "a"), True),
        (where("app", "NotIn", "cart"), False), (where("tier", "Exists"), True), (where("zone", "Exists"), False),
        (where("zone", "DoesNotExist"), True), (where("tier", "DoesNotExist"), False), (where("tier", "Near"), False),
        ({"matchLabels": {"app": "cart"}, **where("tier", "In", "2")}, False),
    ],
)  # fmt: skip
def test_a_selector_takes_what_all_of_it_takes(selector: dict[str, Any] | None, takes: bool) -> None:
    assert selects(selector, LABELS) is takes
