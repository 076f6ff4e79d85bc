"""The clusters that contracts of the Kubernetes API are held against: the twin, and a real one where there is one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.clusters import REAL, TWIN, Nursery, Place, place_in
from twin.server import Twin


@pytest.fixture(scope="session")
def twin_kubeconfig() -> Iterator[str]:
    twin = Twin(speed=20).start()
    yield str(twin.kubeconfig)
    twin.stop()


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real("kubernetes"))])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """A namespace of the test's own."""
    if request.param == "twin":
        with place_in(request.getfixturevalue("twin_kubeconfig"), TWIN) as here:
            yield here
    else:
        with place_in(request.getfixturevalue("kubeconfig"), REAL) as here:
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
        with place_in(request.getfixturevalue("twin_kubeconfig"), TWIN) as here:
            yield here
    else:
        with request.getfixturevalue("nursery").place() as here:
            yield here
