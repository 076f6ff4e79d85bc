"""The store's indexes give what a look at every object would give, whatever was written before."""

from __future__ import annotations

import random
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from twin.api.selectors import field_test
from twin.objects import Object, Store

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NODES, SPACES = ("", "n1", "n2"), ("a", "b")
writes = st.tuples(
    st.sampled_from(["place", "remove"]), st.sampled_from(SPACES), st.integers(0, 3), st.sampled_from(NODES)
)


@given(st.lists(writes, max_size=20))
def test_pods_are_found_by_node_and_namespace(steps: list[tuple[str, str, int, str]]) -> None:
    store = Store(lambda: NOW, random.Random(1))
    for space in SPACES:
        store.create("Namespace", {"metadata": {"name": space}})
    for what, space, number, node in steps:
        there = store.find("Pod", f"p{number}", space)
        made: Object = {"metadata": {"name": f"p{number}", "namespace": space}, "spec": {"nodeName": node}}
        if what == "remove" and there is not None:
            store.remove("Pod", there)
        elif what == "place":
            store.update("Pod", made) if there is not None else store.create("Pod", made)
    everything = list(store.all("Pod"))
    for node in NODES[1:]:
        test = field_test("Pod", f"spec.nodeName={node}")
        assert list(store.bound(node)) == [each for each in everything if test(each)]
    for space in SPACES:
        mine = [each for each in everything if each["metadata"]["namespace"] == space]
        assert list(store.all("Pod", space)) == mine
