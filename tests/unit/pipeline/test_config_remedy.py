"""A wrong edit of a ConfigMap: taken back on the twin, its users started anew."""

from __future__ import annotations

import threading
from datetime import timedelta

from graph_schema.config_versions import ConfigVersion, keep, kept
from kt.incident.events import (
    Verified,
)
from remediate.cluster import Object
from tests.unit.pipeline.desk import CART, T0, Desk, wait
from verify.verdict import Verdict


class TestConfig:
    def make(self, desk: Desk, data: dict[str, str]) -> None:
        with desk.twin.cluster.lock:
            made = {"metadata": {"name": "cart", "namespace": "shop"}, "data": data}
            desk.twin.cluster.store.create("ConfigMap", made)

    def test_a_wrong_edit_is_taken_back_and_its_users_start_anew(self, desk: Desk) -> None:
        self.make(desk, {"TIMEOUT": "0"})
        container = {"name": "cart", "envFrom": [{"configMapRef": {"name": "cart"}}]}

        def read_it(draft: Object) -> None:
            draft["spec"]["template"]["spec"]["containers"][0] |= container

        with desk.twin.cluster.lock:
            desk.twin.cluster.store.edit("Deployment", "cart", "shop", read_it)
        for number, data in enumerate(({"TIMEOUT": "5"}, {"TIMEOUT": "0"})):
            version = ConfigVersion(version=str(number), at=T0 + timedelta(seconds=number), data=data)
            keep(desk.runtime.graph, "shop", "cart", version)
        desk.open("ConfigMap/shop/cart", "ConfigMap.Wrong")
        state = desk.visit().state
        assert state.phase == "verifying", state.ended_why
        found = desk.runtime.cluster.get("ConfigMap", "cart", "shop")
        cart = desk.runtime.cluster.get("Deployment", "cart", "shop")
        assert found is not None
        assert cart is not None
        assert found["data"] == {"TIMEOUT": "5"}
        assert "kubectl.kubernetes.io/restartedAt" in cart["spec"]["template"]["metadata"]["annotations"]
        assert state.plan is not None
        assert CART in state.plan.blast_radius
        desk.say(Verified(at=T0, verdict=Verdict(outcome="regressed", why="no better")))
        desk.visit()
        found = desk.runtime.cluster.get("ConfigMap", "cart", "shop")
        assert found is not None
        assert found["data"] == {"TIMEOUT": "0"}

    def test_without_an_earlier_version_a_person_is_asked(self, desk: Desk) -> None:
        self.make(desk, {"TIMEOUT": "0"})
        desk.open("ConfigMap/shop/cart", "ConfigMap.Wrong")
        assert "no other version of it was seen" in desk.visit().state.ended_why

    def test_the_follower_keeps_versions_where_kt_may_act_and_of_no_secret(self, desk: Desk) -> None:
        from kt.processes import follower

        self.make(desk, {"TIMEOUT": "5"})
        with desk.twin.cluster.lock:
            store = desk.twin.cluster.store
            store.create("Namespace", {"metadata": {"name": "other"}})
            store.create("ConfigMap", {"metadata": {"name": "cart", "namespace": "other"}, "data": {"a": "b"}})
            store.create("Secret", {"metadata": {"name": "cart", "namespace": "shop"}, "data": {"a": "Yg=="}})
        stop = threading.Event()
        thread = threading.Thread(target=follower(desk.runtime).run, args=(stop,), daemon=True)
        thread.start()
        wait(lambda: len(kept(desk.runtime.graph, "shop", "cart")) == 1)
        with desk.twin.cluster.lock:
            store.edit("ConfigMap", "cart", "shop", lambda draft: draft.update({"data": {"TIMEOUT": "0"}}))
        wait(lambda: len(kept(desk.runtime.graph, "shop", "cart")) == 2)
        stop.set()
        thread.join(5)
        assert [each.data for each in kept(desk.runtime.graph, "shop", "cart")] == [{"TIMEOUT": "0"}, {"TIMEOUT": "5"}]
        assert kept(desk.runtime.graph, "other", "cart") == []
        assert {each.name for each in desk.runtime.graph.find(kind="ConfigVersion", namespace="shop")} == {"cart"}
