"""What KT makes of an API server that hangs, hangs up or talks nonsense: one clear error, nothing done twice."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from kt.runtime import Runtime
from kt.sections import Kubernetes
from kt.settings import Settings
from remediate.cluster import Cluster, ClusterError, OneLook
from tests.unit.remediate.sockets import Listener, answer, hang_up, listening, without_end

WRITES: dict[str, Callable[[Cluster], object]] = {
    "patch": lambda cluster: cluster.patch("Deployment", "cart", "shop", {"spec": {"replicas": 3}}),
    "create": lambda cluster: cluster.create("Job", "shop", {"metadata": {"name": "j"}}),
    "evict": lambda cluster: cluster.evict("cart-1", "shop", uid="u"),
    "delete": lambda cluster: cluster.delete("Pod", "cart-1", "shop", uid="u"),
}
READS: dict[str, Callable[[Cluster], object]] = {
    "get": lambda cluster: cluster.get("Deployment", "cart", "shop"),
    "list": lambda cluster: cluster.list("Pod"),
}
CALLS = pytest.mark.parametrize("call", [*WRITES.values(), *READS.values()], ids=[*WRITES, *READS])


def cluster_at(listener: Listener, folder: Path, timeout_s: float = 0.2) -> Cluster:
    """As every process of KT gets it."""
    kubernetes = Kubernetes(kubeconfig=listener.kubeconfig(folder), timeout_s=timeout_s)
    return Runtime(Settings(data_dir=str(folder), broker_url="memory://", kubernetes=kubernetes)).cluster


@CALLS
def test_a_server_that_never_answers_is_asked_once(tmp_path: Path, call: Callable[[Cluster], object]) -> None:
    with listening() as silent:
        cluster = cluster_at(silent, tmp_path)
        with pytest.raises(ClusterError, match=r"did not answer within 0\.2 s") as error:
            call(cluster)
        assert (error.value.code, error.value.later) == (0, True)
        assert silent.connections == 1


@CALLS
def test_an_answer_without_end_is_given_up(tmp_path: Path, call: Callable[[Cluster], object]) -> None:
    with listening(without_end) as endless:
        cluster = cluster_at(endless, tmp_path)
        with pytest.raises(ClusterError, match=r"did not answer within 0\.2 s"):
            call(cluster)
        assert len(endless.asked) == 1


@pytest.mark.parametrize("call", WRITES.values(), ids=WRITES)
def test_a_write_is_not_repeated_when_the_connection_breaks(tmp_path: Path, call: Callable[[Cluster], object]) -> None:
    with listening(hang_up) as rude:
        cluster = cluster_at(rude, tmp_path, 10.0)
        with pytest.raises(ClusterError) as error:
            call(cluster)
        assert error.value.later
        assert len(rude.asked) == 1


@pytest.mark.parametrize("call", READS.values(), ids=READS)
def test_a_read_is_repeated_once_when_the_connection_breaks(tmp_path: Path, call: Callable[[Cluster], object]) -> None:
    with listening(hang_up) as rude:
        cluster = cluster_at(rude, tmp_path, 10.0)
        with pytest.raises(ClusterError):
            call(cluster)
        assert len(rude.asked) == 2


@CALLS
def test_a_server_that_asks_for_patience_is_not_asked_again_behind_our_back(
    tmp_path: Path, call: Callable[[Cluster], object]
) -> None:
    with listening(answer(429, "{}", "Retry-After: 1")) as busy:
        cluster = cluster_at(busy, tmp_path, 10.0)
        with pytest.raises(ClusterError) as error:
            call(cluster)
        assert (error.value.code, error.value.later) == (429, True)
        assert len(busy.asked) == 1


def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    with listening(answer(200, '{"metadata": {"name": "cart"}}')) as well:
        cluster = cluster_at(well, tmp_path, 10.0)
        for _ in range(5):
            assert cluster.get("Deployment", "cart", "shop") == {"metadata": {"name": "cart"}}
        assert (well.connections, len(well.asked)) == (1, 5)


def test_one_look_asks_for_nothing_twice_and_writes_each_time(tmp_path: Path) -> None:
    with listening(answer(200, '{"metadata": {"name": "cart"}, "items": []}')) as well:
        cluster = cluster_at(well, tmp_path, 10.0)
        look = OneLook(cluster)
        for _ in range(3):
            look.get("Deployment", "cart", "shop")
            look.list("Pod", "shop", fields="spec.nodeName=n")
        assert len(well.asked) == 2
        look.list("Pod", "shop", fields="spec.nodeName=m")
        cluster.get("Deployment", "cart", "shop")
        OneLook(cluster).get("Deployment", "cart", "shop")
        for _ in range(2):
            look.patch("Deployment", "cart", "shop", {})
        assert len(well.asked) == 7


def test_after_a_write_that_was_refused_one_look_looks_anew(tmp_path: Path) -> None:
    def talk(one: socket.socket) -> None:
        answer(409 if served.asked[-1].startswith("PATCH") else 200, '{"metadata": {"name": "cart"}}')(one)

    with listening(talk) as served:
        look = OneLook(cluster_at(served, tmp_path, 10.0))
        look.get("Deployment", "cart", "shop")
        with pytest.raises(ClusterError):
            look.patch("Deployment", "cart", "shop", {}, dry=True)
        look.get("Deployment", "cart", "shop")
        assert [line.partition(" ")[0] for line in served.asked] == ["GET", "PATCH", "GET"]


@pytest.mark.parametrize(("allowed", "asked"), [("true", 3), ("false", 5)])
def test_a_yes_may_be_remembered_for_a_while_and_a_no_never(tmp_path: Path, allowed: str, asked: int) -> None:
    with listening(answer(201, f'{{"status": {{"allowed": {allowed}}}}}')) as server:
        cluster = cluster_at(server, tmp_path, 10.0)
        for known_s in (0.0, 60.0):
            assert cluster.allowed("create", "", "pods", "shop", known_s=known_s) is (allowed == "true")
        assert OneLook(cluster).allowed("create", "", "pods", "shop", known_s=60.0) is (allowed == "true")
        cluster.allowed("create", "", "pods", "other", known_s=60.0)
        cluster.allowed("create", "", "pods", "shop")
        assert len(server.asked) == asked


def test_a_redirect_is_not_followed(tmp_path: Path) -> None:
    with listening() as elsewhere:
        to = answer(302, "{}", f"Location: http://127.0.0.1:{elsewhere.port}/")
        with listening(to) as first, pytest.raises(ClusterError) as error:
            cluster_at(first, tmp_path, 10.0).list("Pod")
        assert (error.value.code, elsewhere.connections) == (302, 0)


def test_what_is_no_kubernetes_api_is_said_to_be_none(tmp_path: Path) -> None:
    with listening(answer(200, "<html>")) as page, pytest.raises(ClusterError, match="is no Kubernetes API"):
        cluster_at(page, tmp_path, 10.0).list("Pod")


def test_a_port_where_nobody_listens_is_told(tmp_path: Path) -> None:
    with listening() as gone:
        pass
    with pytest.raises(ClusterError, match="refused") as error:
        cluster_at(gone, tmp_path, 10.0).list("Pod")
    assert error.value.later
