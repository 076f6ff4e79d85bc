"""Ten ways to break the real shop, one after the other under one KT: each is named, repaired, and the repair attacked.

None is among the three of `test_real_cluster`. KT leaves the shop as it was, so nothing is taken back in between.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.campaign.faults import named as injection
from bench.campaign.faults import take_back
from testbed import shop
from testbed.kubernetes import cluster
from tests.conftest import Servers, emptied, in_neo4j
from tests.e2e.installation import until
from tests.e2e.real import SERVERS, OnRealCluster, actions, attacked, beside_the_cluster, healed

pytestmark = pytest.mark.real(*SERVERS)
# Faults follow each other within minutes here, and hit the same things again.
PATIENT = {"KT_GUARD__COOLDOWN_S": "0", "KT_GUARD__MAX_ACTIONS_PER_HOUR_PER_TARGET": "20"}
KINDS = {
    "missing-image-front": ["roll-back"],
    "wrong-command-store": ["roll-back"],
    "probe-wrong-cart": ["roll-back"],
    "slow-revision-front": ["roll-back"],
    "scaled-to-zero-cart": ["wake"],
    "init-fails-store": ["roll-back"],
    "pod-stands-still-catalogue": ["restart"],
    "limit-too-low-catalogue": ["scale-up"],
    "config-wrong-catalogue": ["restore-config", "restart-users"],
    "scaled-down-catalogue": ["scale-out"],
}
"""What is done, and what KT has to do about it."""


@pytest.fixture(scope="module")
def kt(tmp_path_factory: pytest.TempPathFactory, servers: Servers) -> Iterator[OnRealCluster]:
    folder, variables = tmp_path_factory.mktemp("kt"), servers(*SERVERS)
    memory = in_neo4j(emptied(variables["KT_TEST_NEO4J_URI"]))
    with beside_the_cluster(folder, variables, memory | PATIENT) as one:
        one.start("worker")
        until(one.swept, "a worker works")
        yield one
        with cluster.Api(cluster.kubeconfig("admin")) as api:
            take_back(api)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_named_repaired_and_attacked(kt: OnRealCluster, kind: str) -> None:
    done = injection(kind)
    kt.turn_the_page()
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        if done.prepare:
            done.prepare(api)
            until(lambda: shop.ready(api), "the shop is ready")
            until(lambda: all(kt.knows(entity) for entity in done.truth.entities), "KT knows what is there")
        done.do(api)
        journey = healed(kt, done.truth.entities[0], *done.truth.modes)
        assert actions(journey) == KINDS[kind]
        assert attacked(journey)
        assert shop.ready(api)
        assert kt.writes()
