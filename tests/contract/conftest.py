"""The clusters that contracts of the Kubernetes API are held against: the twin, and a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.clusters import REAL, TWIN, Nursery, Place, place_in
from twin.server import Twin

FEW = frozenset({"scale-out", "roll-back", "cordon", "terminate-pod"})
"""Actions on a workload's size, its template, a node and a pod: for the promises that are KT's own code alone, these on
the real cluster are enough."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what `few_real` says of the real cluster."""
    left_out = {item for item in items if item.get_closest_marker("few_real") and _one_of_many(item)}
    if left_out:
        config.hook.pytest_deselected(items=sorted(left_out, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in left_out]


def _one_of_many(item: pytest.Item) -> bool:
    given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    real, mark = "real" in (given.get("place"), given.get("planted")), item.get_closest_marker("few_real")
    return real and given.get("case") not in (mark.args if mark and mark.args else FEW)


def _of_nodes(request: pytest.FixtureRequest) -> bool:
    """Whether the test may change nodes, which are everybody's."""
    return request.node.get_closest_marker("whole_cluster") is not None


@pytest.fixture(scope="session")
def the_twin() -> Iterator[Twin]:
    twin = Twin(speed=20).start()
    yield twin
    twin.stop()


@pytest.fixture(scope="session")
def twin_kubeconfig(the_twin: Twin) -> str:
    return str(the_twin.kubeconfig)


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real("kubernetes"))])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own."""
    if request.param == "twin":
        with place_in(request.getfixturevalue("twin_kubeconfig"), TWIN, nodes=True) as here:
            yield here
    else:
        with place_in(request.getfixturevalue("kubeconfig"), REAL, nodes=_of_nodes(request)) as here:
            yield here


@pytest.fixture(scope="session")
def nursery(kubeconfig: str) -> Iterator[Nursery]:
    one = Nursery(kubeconfig, REAL)
    yield one
    one.close()


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real("kubernetes"))])
def planted(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own; on the real cluster its Deployment is on its way."""
    if request.param == "twin":
        with place_in(request.getfixturevalue("twin_kubeconfig"), TWIN, nodes=True) as here:
            yield here
    else:
        with request.getfixturevalue("nursery").place(nodes=_of_nodes(request)) as here:
            yield here


@pytest.fixture
def maps(place: Place) -> str:
    """The path of the ConfigMaps there."""
    return f"{place.core}/configmaps"
