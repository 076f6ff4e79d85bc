"""The same for lists, watches, deletions, pods and the way to an API: twin and real API server answer alike."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sense.kubernetes.reflector import Reflector
from tests.contract.clusters import MERGE, Answer, Place, until
from tests.contract.kubernetes_things import NOT_ALLOWED, config, refused, web


class TestListing:
    @pytest.fixture
    def three(self, place: Place, maps: str) -> str:
        for name, size in (("a", "small"), ("b", "small"), ("c", "large")):
            place.api.must("POST", maps, config(name, {"kt-test": "yes", "size": size}))
        return maps

    def names(self, answer: Any) -> list[str]:
        return [each["metadata"]["name"] for each in answer["items"]]

    def test_a_list_says_its_kind_and_version_and_leaves_those_of_its_items_out(self, place: Place, three: str) -> None:
        answer = place.api.must("GET", three, labelSelector="kt-test=yes")
        assert (answer["kind"], answer["apiVersion"]) == ("ConfigMapList", "v1")
        assert int(answer["metadata"]["resourceVersion"]) > 0
        assert self.names(answer) == ["a", "b", "c"]
        assert all("kind" not in each and "apiVersion" not in each for each in answer["items"])

    @pytest.mark.parametrize(("selector", "names"), [
        ("size=small", ["a", "b"]), ("size==large", ["c"]), ("kt-test=yes,size!=small", ["c"]),
        ("size in (small, large)", ["a", "b", "c"]), ("kt-test,size notin (small)", ["c"]), ("kt-test,!size", []),
    ])  # fmt: skip
    def test_labels_select(self, place: Place, three: str, selector: str, names: list[str]) -> None:
        assert self.names(place.api.must("GET", three, labelSelector=selector)) == names

    def test_fields_select(self, place: Place, three: str) -> None:
        assert self.names(place.api.must("GET", three, fieldSelector="metadata.name=b")) == ["b"]
        query = {"fieldSelector": "metadata.name!=b", "labelSelector": "kt-test"}
        assert self.names(place.api.must("GET", three, **query)) == ["a", "c"]

    def test_a_selector_that_cannot_be_read_is_refused(self, place: Place, maps: str) -> None:
        refused(place.api.ask("GET", maps, labelSelector="a in b"), 400, "BadRequest")
        known = '"metadata.name", "metadata.namespace"'
        message = f'"data.k" is not a known field selector: only {known}'
        refused(place.api.ask("GET", maps, fieldSelector="data.k=v"), 400, "BadRequest", message)

    def test_a_long_list_comes_in_pages(self, place: Place, three: str) -> None:
        query = {"labelSelector": "kt-test", "limit": 2}
        first = place.api.must("GET", three, **query)
        assert self.names(first) == ["a", "b"]
        place.api.must("POST", three, config("d", {"kt-test": "yes"}))
        second = place.api.must("GET", three, **query, **{"continue": first["metadata"]["continue"]})
        assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert self.names(second) == ["c"]
        assert not second["metadata"].get("continue")

    def test_how_many_are_left_is_told_where_nothing_is_selected(self, place: Place, three: str) -> None:
        whole = place.api.must("GET", three)
        first = place.api.must("GET", three, limit=1)
        assert first["metadata"]["remainingItemCount"] == len(whole["items"]) - 1
        assert "remainingItemCount" not in place.api.must("GET", three, limit=1, labelSelector="kt-test")["metadata"]

    @pytest.mark.parametrize("query", [{"limit": "x"}, {"continue": "xx"}])
    def test_a_page_that_cannot_be_is_refused(self, place: Place, maps: str, query: dict[str, str]) -> None:
        refused(place.api.ask("GET", maps, **query), 400, "BadRequest")


class TestWatching:
    def test_changes_after_a_version_are_told_in_order(self, place: Place, maps: str) -> None:
        version = place.api.must("GET", maps)["metadata"]["resourceVersion"]
        place.api.must("POST", maps, config("a", k="v"))
        place.api.must("PATCH", f"{maps}/a", {"data": {"k": "w"}}, kind=MERGE)
        place.api.must("DELETE", f"{maps}/a")
        mine = "metadata.name=a"
        events = place.api.watch(maps, 1, resourceVersion=version, fieldSelector=mine)
        assert [each["type"] for each in events] == ["ADDED", "MODIFIED", "DELETED"]
        assert [each["object"]["data"]["k"] for each in events] == ["v", "w", "w"]
        assert all(each["object"]["kind"] == "ConfigMap" for each in events)
        versions = [int(each["object"]["metadata"]["resourceVersion"]) for each in events]
        assert versions == sorted(set(versions))

    def test_what_begins_and_ceases_to_match_is_added_and_deleted(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a", {"x": "1"}))
        version = place.api.must("GET", maps)["metadata"]["resourceVersion"]
        place.api.must("PATCH", f"{maps}/a", {"metadata": {"labels": {"x": "2"}}}, kind=MERGE)
        place.api.must("PATCH", f"{maps}/a", {"metadata": {"labels": {"x": "1"}}}, kind=MERGE)
        events = place.api.watch(maps, 1, resourceVersion=version, labelSelector="x=1")
        assert [each["type"] for each in events] == ["DELETED", "ADDED"]

    def test_without_a_version_it_begins_with_what_is_there(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        events = place.api.watch(maps, 1, fieldSelector="metadata.name=a")
        assert [(each["type"], each["object"]["metadata"]["name"]) for each in events] == [("ADDED", "a")]

    def test_a_bookmark_carries_a_version_and_nothing_else(self, place: Place, maps: str) -> None:
        version = place.api.must("GET", maps)["metadata"]["resourceVersion"]
        place.api.must("POST", maps, config("a"))
        events = place.api.watch(maps, 3, resourceVersion=version, allowWatchBookmarks="true")
        bookmarks = [each["object"] for each in events if each["type"] == "BOOKMARK"]
        for each in bookmarks:
            assert (each["kind"], each["apiVersion"]) == ("ConfigMap", "v1")
            assert int(each["metadata"]["resourceVersion"]) > int(version)
            assert not each["metadata"].get("name")

    def test_a_version_that_is_no_number_is_refused(self, place: Place, maps: str) -> None:
        answer = place.api.ask("GET", maps, watch="true", resourceVersion="x", timeoutSeconds=1)
        message = 'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'
        assert (answer.code, answer.body["message"]) == (500, message)


class TestDeleting:
    def test_most_kinds_answer_with_a_status(self, place: Place, maps: str) -> None:
        made = place.api.must("POST", maps, config("a"))
        answer = place.api.must("DELETE", f"{maps}/a")
        assert answer == {
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success",
            "details": {"name": "a", "kind": "configmaps", "uid": made["metadata"]["uid"]},
        }  # fmt: skip
        refused(place.api.ask("DELETE", f"{maps}/a"), 404, "NotFound", 'configmaps "a" not found')

    @pytest.mark.parametrize(("field", "word"), [("uid", "UID"), ("resourceVersion", "ResourceVersion")])
    def test_a_precondition_guards_against_another_object(self, place: Place, maps: str, field: str, word: str) -> None:
        place.api.must("POST", maps, config("a"))
        answer = place.api.ask("DELETE", f"{maps}/a", {"preconditions": {field: "1"}})
        refused(answer, 409, "Conflict", details={"name": "a", "kind": "ConfigMap"})
        assert f"the {word} in the precondition (1) does not match" in answer.body["message"]
        assert place.api.ask("GET", f"{maps}/a").code == 200

    def test_a_dry_run_deletes_nothing(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        assert place.api.ask("DELETE", f"{maps}/a", dryRun="All").code == 200
        assert place.api.ask("GET", f"{maps}/a").code == 200

    def test_what_it_owned_goes_too(self, place: Place, maps: str) -> None:
        owner = place.api.must("POST", maps, config("owner"))
        child = config("child")
        child["metadata"]["ownerReferences"] = [
            {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
        ]
        place.api.must("POST", maps, child)
        place.api.must("DELETE", f"{maps}/owner")
        until(lambda: place.api.ask("GET", f"{maps}/child").code == 404, "the child is collected")


class TestPodsAndScale:
    def test_scale_reads_and_sets_replicas(self, place: Place) -> None:
        path = f"{place.apps}/deployments"
        place.api.must("POST", path, web(place))
        found = place.api.must("GET", f"{path}/web/scale")
        assert (found["kind"], found["apiVersion"], found["spec"]) == ("Scale", "autoscaling/v1", {})
        assert found["status"]["selector"] == "app=web"
        scaled = place.api.must("PATCH", f"{path}/web/scale", {"spec": {"replicas": 1}}, kind=MERGE)
        assert scaled["spec"] == {"replicas": 1}
        assert place.api.must("GET", f"{path}/web")["spec"]["replicas"] == 1
        refused(place.api.ask("POST", f"{path}/web/scale", {}), 405, "MethodNotAllowed", NOT_ALLOWED, {})
        wrong = place.api.ask("PATCH", f"{path}/web/scale", {"spec": {"replicas": -2}}, kind=MERGE)
        why = "spec.replicas: Invalid value: -2: must be greater than or equal to 0"
        refused(wrong, 422, "Invalid", f'Scale.autoscaling "web" is invalid: {why}')

    def evict(self, place: Place, name: str, **options: Any) -> Answer:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}, "deleteOptions": options}
        return place.api.ask("POST", f"{place.core}/pods/{name}/eviction", body)

    def test_an_eviction_ends_exactly_that_pod(self, place: Place) -> None:
        place.deployment(replicas=1)
        (pod,) = place.pods()
        name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
        assert self.evict(place, name, preconditions={"uid": "another"}).code == 409
        assert self.evict(place, name, dryRun=["All"]).code == 201
        assert "deletionTimestamp" not in place.api.must("GET", f"{place.core}/pods/{name}")["metadata"]
        done = self.evict(place, name, preconditions={"uid": uid})
        assert (done.code, done.body["status"]) == (201, "Success")
        until(lambda: place.api.ask("GET", f"{place.core}/pods/{name}").code == 404, "the pod is gone")
        refused(self.evict(place, name), 404, "NotFound", f'pods "{name}" not found')

    def test_a_disruption_budget_refuses_an_eviction(self, place: Place) -> None:
        place.deployment(replicas=1)
        budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
        path = f"/apis/policy/v1/namespaces/{place.namespace}/poddisruptionbudgets"
        place.api.must("POST", path, budget)
        (pod,) = place.pods()

        def told() -> Answer | None:
            answer = self.evict(place, pod["metadata"]["name"], dryRun=["All"])
            # Until its controller has seen the budget, the API server answers the same code with another cause.
            return answer if answer.code == 429 and "needs 1 healthy" in str(answer.body) else None

        answer = until(told, "the budget holds it back")
        refused(answer, 429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.")
        why = "The disruption budget web needs 1 healthy pods and has 1 currently"
        assert answer.body["details"]["causes"] == [{"reason": "DisruptionBudget", "message": why}]

    def test_defaults_are_filled_in(self, place: Place) -> None:
        made = place.api.must("POST", f"{place.apps}/deployments", web(place))
        spec, pod = made["spec"], made["spec"]["template"]["spec"]
        assert (spec["revisionHistoryLimit"], spec["progressDeadlineSeconds"]) == (10, 600)
        rolling = {"maxUnavailable": "25%", "maxSurge": "25%"}
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": rolling}
        assert made["spec"]["template"]["metadata"] == {"labels": {"app": "web"}}
        assert (pod["restartPolicy"], pod["terminationGracePeriodSeconds"], pod["dnsPolicy"]) == (
            "Always", 30, "ClusterFirst",
        )  # fmt: skip
        assert pod["containers"] == [
            {"name": "shop", "image": place.images.v1, "imagePullPolicy": place.images.pull, "resources": {},
             "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File"}
        ]  # fmt: skip


class TestFindingOnesWay:
    def test_methods_that_are_not_there_are_told(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        for answer in (place.api.ask("PUT", maps, config("a")), place.api.ask("POST", f"{maps}/a", config("a"))):
            refused(answer, 405, "MethodNotAllowed", NOT_ALLOWED, {})

    def test_resources_that_are_not_there_are_told(self, place: Place) -> None:
        message = "the server could not find the requested resource"
        refused(place.api.ask("GET", "/api/v1/things"), 404, "NotFound", message, {})
        assert place.api.ask("GET", "/apis/none.example/v1/things").code == 404

    def test_no_token_is_nobody_of_note(self, place: Place, maps: str) -> None:
        from urllib.request import Request  # only to show that no credentials are taken from anywhere

        assert Request(place.api.host + maps).headers == {}
        response = place.api.client.rest_client.pool_manager.request("GET", place.api.host + maps, retries=False)
        assert response.status in (401, 403)

    def test_discovery_names_groups_and_resources(self, place: Place) -> None:
        assert place.api.must("GET", "/api")["versions"] == ["v1"]
        groups = {each["name"]: each for each in place.api.must("GET", "/apis")["groups"]}
        assert {"apps", "batch", "autoscaling", "policy", "networking.k8s.io"} <= set(groups)
        apps = place.api.must("GET", "/apis/apps")
        assert apps["preferredVersion"] == {"groupVersion": "apps/v1", "version": "v1"}
        found = {each["name"]: each for each in place.api.must("GET", "/api/v1")["resources"]}
        kept = {key: found["configmaps"][key] for key in ("singularName", "namespaced", "kind", "verbs", "shortNames")}
        verbs = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
        assert kept == {
            "singularName": "configmap", "namespaced": True, "kind": "ConfigMap", "verbs": verbs, "shortNames": ["cm"],
        }  # fmt: skip
        eviction = {key: found["pods/eviction"][key] for key in ("group", "version", "kind", "verbs")}
        assert eviction == {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]}

    def test_the_version_of_the_api_is_the_same(self, place: Place) -> None:
        found = place.api.must("GET", "/version")
        assert (found["major"], found["minor"]) == ("1", "34")


def test_a_follower_of_metadata_is_never_sent_what_a_secret_holds(place: Place) -> None:
    """Lists and watches by the follower's own client, with the header that asks for metadata alone."""
    got: list[dict[str, Any]] = []
    listed = threading.Event()

    class Receiver:
        def replace(self, kind: str, objects: list[dict[str, Any]]) -> None:
            got.extend(objects)

        def changed(self, kind: str, thing: dict[str, Any]) -> None:
            got.append(thing)

        def deleted(self, kind: str, thing: dict[str, Any]) -> None:
            got.append(thing)

    class Unkept(Reflector):
        """What the server sent, before anything is taken out of it here."""

        def _kept(self, thing: dict[str, Any]) -> dict[str, Any]:
            return thing

    path, stop = f"{place.core}/secrets", threading.Event()
    place.api.must("POST", path, {"metadata": {"name": "first"}, "data": {"password": "aHVzaA=="}})
    reflector = Unkept(place.api.client, "Secret", path, Receiver(), listed.set, beside=True, metadata_only=True)
    thread = threading.Thread(target=reflector.run, args=(stop,), daemon=True)
    thread.start()
    try:
        assert listed.wait(30)
        place.api.must("POST", path, {"metadata": {"name": "second"}, "data": {"password": "aHVzaA=="}})
        until(lambda: any(each["metadata"]["name"] == "second" for each in got), "the second secret is seen")
    finally:
        stop.set()
    assert {each["metadata"]["name"] for each in got} >= {"first", "second"}
    assert {each["kind"] for each in got} == {"PartialObjectMetadata"}
    assert "aHVzaA" not in str(got)
