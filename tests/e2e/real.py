"""KT installed beside the real cluster: Neo4j, Redis, Prometheus, Alertmanager, Kubernetes, and the shop under load."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, TypeVar

import redis

from kt import rbac
from kt.incident.events import Happened, VerificationStarted
from kt.incident.log import Entry
from kt.pipeline.journey import Journey
from testbed import prometheus, shop
from testbed.kubernetes import cluster
from tests.e2e.installation import ENDED, Installation, until
from verify.experiments import attacks

T = TypeVar("T", bound=Happened)
TOKEN = "only-for-tests"
HEALED_S = 240.0
IDLE_S = 45.0
"""Alerts come within seconds of a fault here."""
SERVERS = ("neo4j", "redis", "kubernetes", "alertmanager", "prometheus", "shop")


class OnRealCluster(Installation):
    """An installation whose cluster, alerts and attacks are real."""

    bearer: ClassVar = {"Authorization": f"Bearer {TOKEN}"}

    def __init__(self, folder: Path, variables: Mapping[str, str], store: Mapping[str, str]) -> None:
        settings = {
            "KT_BROKER_URL": variables["KT_TEST_REDIS_URL"],
            "KT_KUBERNETES__KUBECONFIG": variables["KT_TEST_KUBECONFIG_OF_KT"],
            "KT_PROMETHEUS__URL": variables["KT_TEST_PROMETHEUS_URL"],
            "KT_PROMETHEUS__CALLS_EVERY_S": "2",
            # The testbed scrapes each second, and its rules wait for a tenth of the usual time.
            "KT_DIAGNOSE__LOOK_BACK_S": "360",
            "KT_PIPELINE__AFTERMATH_S": "6",
            "KT_PIPELINE__RECOVERY_S": "60",
            "KT_WEB__TOKEN": TOKEN,
            "KT_GUARD__ENABLED": "true",
            "KT_APPROVAL__MEDIUM": "0",
            "KT_PIPELINE__LEASE_TTL_S": "3",
        }
        super().__init__(folder, {**settings, **store})
        self._over: set[str] = set()

    def turn_the_page(self) -> None:
        """What there was so far counts no more: only incidents that come are looked at."""
        self._over = {entry.incident for entry in self.log.entries()}

    def entries(self) -> list[Entry]:
        found = super().entries()
        # One of before that is open again is about what is going on now.
        self._over -= {each.incident for each in found if each.phase not in ENDED}
        return [each for each in found if each.incident not in self._over]

    def cause(self, entity: str) -> Journey | None:
        """The incident whose first cause is on this entity, or one whose id begins so; of several the one acted for."""
        found = [each for each in self.journeys() if _first(each).startswith(entity)]
        return next((each for each in found if each.state.actions), next(iter(found), None))

    def told(self) -> list[str]:
        """How each incident stands, for a failing test."""
        return [f"{each.state.phase}: {each.state.ended_why}" for each in self.journeys()]


def _first(journey: Journey) -> str:
    cause = next(journey.state.diagnosis.selected(), None) if journey.state.diagnosis else None
    return cause.entity if cause else ""


def grant(namespace: str = shop.NAMESPACE) -> None:
    """Give the user `kt` exactly the rights that `kt rbac` prints, those of a namespace in this one alone."""
    user = [{"kind": "User", "name": "kt", "apiGroup": "rbac.authorization.k8s.io"}]
    manifests = [*rbac.watching(), *rbac.acting(), *rbac.verifying(), *rbac.granted(namespace)]
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        for manifest in manifests:
            # Under names of their own: the manifests of an installation may be tried on the same cluster.
            meta, plural = {**manifest["metadata"]}, manifest["kind"].lower() + "s"
            meta["name"] = f"tests-{meta['name']}"
            manifest = {**manifest, "metadata": meta}
            if "subjects" in manifest:
                role = {**manifest["roleRef"], "name": f"tests-{manifest['roleRef']['name']}"}
                manifest |= {"subjects": user, "roleRef": role}
            where = f"namespaces/{meta['namespace']}/" if "namespace" in meta else ""
            api.apply(f"/apis/{manifest['apiVersion']}/{where}{plural}/{meta['name']}", manifest)


def only_the_shop_opted_in() -> None:
    """Away with what other tests have left opted in: KT has no rights there, and a sick node would hit it as well."""
    with cluster.Api(cluster.kubeconfig("admin")) as api:

        def others() -> list[str]:
            found = api.get("/api/v1/namespaces", labelSelector="kt.io/remediate")["items"]
            return [each["metadata"]["name"] for each in found if each["metadata"]["name"] != shop.NAMESPACE]

        for name in others():
            api.delete(f"/api/v1/namespaces/{name}")
        until(lambda: not others(), "no other namespace is opted in")


@contextmanager
def beside_the_cluster(folder: Path, variables: Mapping[str, str], store: Mapping[str, str]) -> Iterator[OnRealCluster]:
    """Everything runs, the cluster is known, the shop is well and no alert fires; afterwards the shop is mended."""
    redis.Redis.from_url(variables["KT_TEST_REDIS_URL"]).flushall()
    shop.reset()
    grant()
    one = OnRealCluster(folder, variables, store)
    try:
        webhook = one.serve()
        one.start("beat")
        until(lambda: one.knows("Deployment/shop/cart"), "the beat follows the cluster")
        prometheus.wait_until_quiet()
        prometheus.send_to(webhook, TOKEN)
        yield one
    finally:
        prometheus.send_to("")
        print(one.output(), one.story(), sep="\n")
        one.end()
        shop.reset()


def healed(kt: OnRealCluster, entity: str, *faults: str) -> Journey:
    """The incident with that cause, once all incidents have ended; it was healed after an experiment held."""
    idle_since: float | None = None

    def over() -> bool:
        """Every incident has ended, that of the fault or, for a while, others alone: then none is to come any more."""
        nonlocal idle_since
        ended, now = kt.ended(), time.monotonic()
        idle_since = (idle_since or now) if ended else None
        return ended and (kt.cause(entity) is not None or now - (idle_since or now) > IDLE_S)

    # Other alerts may come and go before those of the fault.
    until(over, f"{entity} is named and every incident ends", seconds=HEALED_S)
    journey = kt.cause(entity)
    assert journey is not None, f"{entity} is named; instead: {kt.told()}"
    assert journey.state.diagnosis is not None
    assert next(journey.state.diagnosis.selected()).fault in faults
    assert {each.state.phase for each in kt.journeys()} == {"healed"}, kt.told()
    assert journey.state.verdict is not None
    assert journey.state.verdict.outcome == "held"
    return journey


def events(journey: Journey, kind: type[T]) -> list[T]:
    """All of that kind, the first first."""
    return [record.event for record in journey.records if isinstance(record.event, kind)]


def attacked(journey: Journey) -> bool:
    """Whether the experiment that counts disturbed something; a system that was only watched was not attacked."""
    return attacks(events(journey, VerificationStarted)[-1].experiment)


def actions(journey: Journey) -> list[str]:
    """The actions that were begun, in order."""
    return [action.plan.steps[action.step].action for action in journey.state.actions]
