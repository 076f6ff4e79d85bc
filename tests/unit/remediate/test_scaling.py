"""To how many replicas a workload is scaled out."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from graph_schema.model import Entity, HistoryEntry
from kt.runtime import Runtime
from kt.sections import Kubernetes
from kt.settings import Settings
from remediate.actions import ACTIONS
from remediate.cluster import Cluster
from twin.server import Twin

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
CART = "Deployment/shop/cart"


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    twin = Twin(seed=3, speed=1.0).start()
    yield Runtime(Settings(kubernetes=Kubernetes(kubeconfig=str(twin.kubeconfig)), broker_url="memory://")).cluster
    twin.stop()


def versions(*counts: tuple[float, int]) -> list[HistoryEntry]:
    """(minutes ago, replicas), the oldest first."""
    return [
        HistoryEntry(
            at=NOW - timedelta(minutes=ago),
            entity=Entity(id=CART, kind="Deployment", name="cart", namespace="shop", properties={"replicas": count}),
        )
        for ago, count in counts
    ]


def scaled_to(cluster: Cluster, replicas: int, history: list[HistoryEntry] | None, **more: Any) -> int:
    target = cluster.get("Deployment", "cart", "shop")
    assert target
    target = {"kind": "Deployment", **target, "spec": {**target["spec"], "replicas": replicas}}
    given = {"now": NOW.isoformat(), **({"history": lambda _: history} if history is not None else {}), **more}
    return int(ACTIONS["scale-out"].prepare(cluster, target, given).parameters["to"])


def test_by_its_factor_and_by_one_at_least(cluster: Cluster) -> None:
    assert scaled_to(cluster, 10, None, factor=1.6) == 16
    assert scaled_to(cluster, 1, []) == 2


def test_what_was_taken_away_lately_is_given_back(cluster: Cluster) -> None:
    assert scaled_to(cluster, 1, versions((90, 3), (50, 9), (10, 1), (5, 1))) == 9
    assert scaled_to(cluster, 1, versions((90, 9), (61, 1), (5, 1))) == 2
    assert scaled_to(cluster, 4, versions((90, 2), (10, 4)), factor=1.5) == 6


def test_from_nothing_it_gets_all_back_however_long_ago_within_the_limit(cluster: Cluster) -> None:
    assert scaled_to(cluster, 0, versions((9000, 8), (6000, 0))) == 8
    assert scaled_to(cluster, 0, versions((9000, 80), (6000, 0)), max_replicas=20) == 20
