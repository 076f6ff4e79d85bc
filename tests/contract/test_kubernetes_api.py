"""What KT takes for granted of the Kubernetes API: the twin and a real API server are held to the very same answers."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from sense.kubernetes.reflector import Reflector
from tests.contract.clusters import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Place, until

NOT_ALLOWED = "the server does not allow this method on the requested resource"
STALE = "the object has been modified; please apply your changes to the latest version and try again"


def config(name: str, labels: dict[str, str] | None = None, **data: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "labels": labels or {}}, "data": data}


def applied(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.fixture
def maps(place: Place) -> str:
    return f"{place.core}/configmaps"


def web(place: Place, replicas: int = 0) -> dict[str, Any]:
    """A Deployment whose image is in no hurry to be pulled."""
    container = {"name": "shop", "image": place.images.v1, "imagePullPolicy": place.images.pull}
    return {
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        },
    }


def refused(answer: Answer, code: int, reason: str, message: str = "", details: Any = None) -> None:
    """The answer is a Status that says so."""
    assert (answer.code, answer.body.get("reason")) == (code, reason), answer
    kept = {key: answer.body[key] for key in ("kind", "apiVersion", "metadata", "status", "code")}
    assert kept == {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code}
    if message:
        assert answer.body["message"] == message
    if details is not None:
        assert answer.body["details"] == details


class TestWriting:
    def test_what_is_created_is_stamped_by_the_server(self, place: Place, maps: str) -> None:
        made = place.api.ask("POST", maps, config("a", {"x": "1"}, k="v"))
        assert made.code == 201
        meta = made.body["metadata"]
        assert (made.body["kind"], made.body["apiVersion"], made.body["data"]) == ("ConfigMap", "v1", {"k": "v"})
        assert (meta["name"], meta["namespace"], meta["labels"]) == ("a", place.namespace, {"x": "1"})
        assert len(meta["uid"]) == 36
        assert int(meta["resourceVersion"]) > 0
        assert meta["creationTimestamp"].endswith("Z")
        assert place.api.must("GET", f"{maps}/a") == made.body

    def test_a_name_is_taken_once(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        answer = place.api.ask("POST", maps, config("a"))
        refused(answer, 409, "AlreadyExists", 'configmaps "a" already exists', {"name": "a", "kind": "configmaps"})

    def test_generated_names_end_in_five_characters(self, place: Place, maps: str) -> None:
        made = place.api.must("POST", maps, {"metadata": {"generateName": "a-"}})
        assert made["metadata"]["name"].startswith("a-")
        assert len(made["metadata"]["name"]) == 7

    def test_a_missing_and_a_wrong_name_are_told_with_their_field(self, place: Place, maps: str) -> None:
        missing = place.api.ask("POST", maps, {"metadata": {}})
        message = 'ConfigMap "" is invalid: metadata.name: Required value: name or generateName is required'
        refused(missing, 422, "Invalid", message)
        assert missing.body["details"]["causes"][0]["field"] == "metadata.name"
        wrong = place.api.ask("POST", maps, config("A_b"))
        refused(wrong, 422, "Invalid")
        assert wrong.body["details"]["causes"][0]["reason"] == "FieldValueInvalid"

    def test_a_namespace_must_be_there(self, place: Place) -> None:
        answer = place.api.ask("POST", "/api/v1/namespaces/nonesuch/configmaps", config("a"))
        details = {"name": "nonesuch", "kind": "namespaces"}
        refused(answer, 404, "NotFound", 'namespaces "nonesuch" not found', details)

    def test_another_kind_than_the_path_says_is_refused(self, place: Place, maps: str) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}}
        refused(place.api.ask("POST", maps, secret), 400, "BadRequest")

    def test_an_unchanged_object_is_not_written(self, place: Place, maps: str) -> None:
        made = place.api.must("POST", maps, config("a", k="v"))
        again = place.api.must("PATCH", f"{maps}/a", {"data": {"k": "v"}}, kind=MERGE)
        assert again["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]

    def test_the_generation_counts_changes_of_the_spec_alone(self, place: Place) -> None:
        path = f"{place.apps}/deployments"
        assert place.api.must("POST", path, web(place))["metadata"]["generation"] == 1
        labelled = place.api.must("PATCH", f"{path}/web", {"metadata": {"labels": {"x": "1"}}}, kind=MERGE)
        assert labelled["metadata"]["generation"] == 1
        scaled = place.api.must("PATCH", f"{path}/web", {"spec": {"minReadySeconds": 1}}, kind=MERGE)
        assert scaled["metadata"]["generation"] == 2

    @pytest.mark.parametrize("dry", [True, False])
    def test_a_dry_run_answers_as_the_write_would_and_keeps_nothing(self, place: Place, maps: str, dry: bool) -> None:
        query = {"dryRun": "All"} if dry else {}
        place.api.must("POST", maps, config("a", k="v"))
        answer = place.api.must("PATCH", f"{maps}/a", {"data": {"k": "w"}}, kind=MERGE, **query)
        assert answer["data"] == {"k": "w"}
        assert place.api.must("GET", f"{maps}/a")["data"] == {"k": "v" if dry else "w"}
        assert place.api.ask("POST", maps, config("b"), **query).code == 201
        assert place.api.ask("GET", f"{maps}/b").code == (404 if dry else 200)

    def test_a_dry_run_of_another_kind_is_refused(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        answer = place.api.ask("PATCH", f"{maps}/a", {"data": {"k": "w"}}, kind=MERGE, dryRun="Some")
        message = 'PatchOptions.meta.k8s.io "" is invalid: dryRun: Unsupported value: ["Some"]: supported values: "All"'
        refused(answer, 422, "Invalid", message)


class TestConflicts:
    @pytest.mark.parametrize("kind", [MERGE, JSON_PATCH, "PUT"])
    def test_a_stale_version_is_a_conflict(self, place: Place, maps: str, kind: str) -> None:
        place.api.must("POST", maps, config("a", k="v"))
        if kind == "PUT":
            stale = config("a", k="w")
            stale["metadata"]["resourceVersion"] = "1"
            answer = place.api.ask("PUT", f"{maps}/a", stale)
        elif kind == MERGE:
            change: Any = {"metadata": {"resourceVersion": "1"}, "data": {"k": "w"}}
            answer = place.api.ask("PATCH", f"{maps}/a", change, kind=kind)
        else:
            change = [{"op": "replace", "path": "/metadata/resourceVersion", "value": "1"},
                      {"op": "replace", "path": "/data/k", "value": "w"}]  # fmt: skip
            answer = place.api.ask("PATCH", f"{maps}/a", change, kind=kind)
        message = f'Operation cannot be fulfilled on configmaps "a": {STALE}'
        refused(answer, 409, "Conflict", message, {"name": "a", "kind": "configmaps"})

    def test_a_put_without_a_version_overwrites(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a", k="v", more="1"))
        assert place.api.must("PUT", f"{maps}/a", config("a", k="w"))["data"] == {"k": "w"}

    def test_a_put_of_what_is_not_there_is_not_found(self, place: Place, maps: str) -> None:
        refused(place.api.ask("PUT", f"{maps}/a", config("a")), 404, "NotFound", 'configmaps "a" not found')


class TestPatching:
    def test_a_merge_patch_takes_null_for_gone(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a", k="v", gone="1"))
        answer = place.api.must("PATCH", f"{maps}/a", {"data": {"gone": None, "new": "2"}}, kind=MERGE)
        assert answer["data"] == {"k": "v", "new": "2"}

    def test_a_json_patch_does_its_operations_in_order(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a", k="v", gone="1"))
        operations = [
            {"op": "test", "path": "/data/k", "value": "v"},
            {"op": "add", "path": "/data/new", "value": "2"},
            {"op": "copy", "from": "/data/new", "path": "/data/copied"},
            {"op": "move", "from": "/data/k", "path": "/data/moved"},
            {"op": "remove", "path": "/data/gone"},
            {"op": "add", "path": "/metadata/annotations", "value": {"kt.io/a": "b"}},
        ]
        answer = place.api.must("PATCH", f"{maps}/a", operations, kind=JSON_PATCH)
        assert answer["data"] == {"new": "2", "copied": "2", "moved": "v"}
        assert answer["metadata"]["annotations"] == {"kt.io/a": "b"}

    @pytest.mark.parametrize("operation", [
        {"op": "test", "path": "/data/k", "value": "other"},
        {"op": "remove", "path": "/data/none"},
        {"op": "replace", "path": "/none/k", "value": "x"},
    ])  # fmt: skip
    def test_a_json_patch_that_fails_changes_nothing(self, place: Place, maps: str, operation: Any) -> None:
        place.api.must("POST", maps, config("a", k="v"))
        first = {"op": "add", "path": "/data/new", "value": "2"}
        answer = place.api.ask("PATCH", f"{maps}/a", [first, operation], kind=JSON_PATCH)
        message = "the server rejected our request due to an error in our request"
        refused(answer, 422, "Invalid", message, {})
        assert place.api.must("GET", f"{maps}/a")["data"] == {"k": "v"}

    def test_a_json_patch_may_replace_what_is_not_there(self, place: Place, maps: str) -> None:
        """Against RFC 6902, yet so it is."""
        place.api.must("POST", maps, config("a", k="v"))
        operation = {"op": "replace", "path": "/data/none", "value": "x"}
        answer = place.api.must("PATCH", f"{maps}/a", [operation], kind=JSON_PATCH)
        assert answer["data"] == {"k": "v", "none": "x"}

    def test_a_strategic_patch_merges_named_things(self, place: Place) -> None:
        path = f"{place.apps}/deployments"
        place.api.must("POST", path, web(place))
        one = {"containers": [{"name": "shop", "env": [{"name": "A", "value": "1"}]}, {"name": "side", "image": "x"}]}
        place.api.must("PATCH", f"{path}/web", {"spec": {"template": {"spec": one}}}, kind=STRATEGIC)
        two = {"containers": [{"name": "shop", "env": [{"name": "B", "value": "2"}]},
                              {"name": "side", "$patch": "delete"}]}  # fmt: skip
        answer = place.api.must("PATCH", f"{path}/web", {"spec": {"template": {"spec": two}}}, kind=STRATEGIC)
        (container,) = answer["spec"]["template"]["spec"]["containers"]
        assert container["image"] == place.images.v1
        assert sorted(each["name"] for each in container["env"]) == ["A", "B"]

    def test_an_unknown_format_of_a_patch_is_refused(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        refused(place.api.ask("PATCH", f"{maps}/a", {}), 415, "UnsupportedMediaType", "415: Unsupported Media Type")

    def test_a_patch_cannot_rename(self, place: Place, maps: str) -> None:
        place.api.must("POST", maps, config("a"))
        answer = place.api.ask("PATCH", f"{maps}/a", {"metadata": {"name": "b"}}, kind=MERGE)
        refused(answer, 400, "BadRequest", "the name of the object (b) does not match the name on the URL (a)")

    def test_a_selector_cannot_be_changed(self, place: Place) -> None:
        path = f"{place.apps}/deployments"
        place.api.must("POST", path, web(place))
        answer = place.api.ask("PATCH", f"{path}/web", {"spec": {"selector": {"matchLabels": {"b": "c"}}}}, kind=MERGE)
        refused(answer, 422, "Invalid")
        fields = {each["field"] for each in answer.body["details"]["causes"]}
        assert fields == {"spec.selector", "spec.template.metadata.labels"}

    def test_negative_replicas_are_refused(self, place: Place) -> None:
        path = f"{place.apps}/deployments"
        place.api.must("POST", path, web(place))
        answer = place.api.ask("PATCH", f"{path}/web", {"spec": {"replicas": -1}}, kind=MERGE)
        why = "spec.replicas: Invalid value: -1: must be greater than or equal to 0"
        refused(answer, 422, "Invalid", f'Deployment.apps "web" is invalid: {why}')


class TestApplying:
    def apply(self, place: Place, maps: str, manager: str, body: Any, **query: str) -> Answer:
        query = {"fieldManager": manager, **query} if manager else query
        return place.api.ask("PATCH", f"{maps}/a", body, kind=APPLY, **query)

    def owned(self, place: Place, maps: str) -> dict[str, Any]:
        entries = place.api.must("GET", f"{maps}/a")["metadata"]["managedFields"]
        return {each["manager"]: each["fieldsV1"] for each in entries if each["operation"] == "Apply"}

    def test_what_is_not_there_is_made_and_its_fields_are_owned(self, place: Place, maps: str) -> None:
        made = self.apply(place, maps, "one", applied("a", p="1", q="1"))
        assert (made.code, made.body["data"]) == (201, {"p": "1", "q": "1"})
        assert self.owned(place, maps) == {"one": {"f:data": {"f:p": {}, "f:q": {}}}}
        assert self.apply(place, maps, "one", applied("a", p="1", q="1")).code == 200

    def test_another_value_for_what_somebody_else_declared_is_a_conflict(self, place: Place, maps: str) -> None:
        self.apply(place, maps, "one", applied("a", p="1", q="1"))
        answer = self.apply(place, maps, "two", applied("a", p="2"))
        refused(answer, 409, "Conflict", 'Apply failed with 1 conflict: conflict with "one": .data.p')
        cause = {"reason": "FieldManagerConflict", "message": 'conflict with "one"', "field": ".data.p"}
        assert answer.body["details"]["causes"] == [cause]

    def test_by_force_a_field_changes_hands(self, place: Place, maps: str) -> None:
        self.apply(place, maps, "one", applied("a", p="1", q="1"))
        answer = self.apply(place, maps, "two", applied("a", p="2"), force="true")
        assert (answer.code, answer.body["data"]) == (200, {"p": "2", "q": "1"})
        assert self.owned(place, maps) == {"one": {"f:data": {"f:q": {}}}, "two": {"f:data": {"f:p": {}}}}

    def test_the_same_value_is_shared(self, place: Place, maps: str) -> None:
        self.apply(place, maps, "one", applied("a", p="1"))
        assert self.apply(place, maps, "two", applied("a", p="1")).code == 200
        assert self.owned(place, maps) == {"one": {"f:data": {"f:p": {}}}, "two": {"f:data": {"f:p": {}}}}

    def test_what_its_last_owner_leaves_out_goes(self, place: Place, maps: str) -> None:
        self.apply(place, maps, "one", applied("a", p="1", q="1", r="1"))
        self.apply(place, maps, "two", applied("a", q="1"))
        assert self.apply(place, maps, "one", applied("a", r="1")).body["data"] == {"q": "1", "r": "1"}

    def test_another_writer_takes_a_field_from_its_applier(self, place: Place, maps: str) -> None:
        self.apply(place, maps, "one", applied("a", p="1", q="1"))
        place.api.must("PATCH", f"{maps}/a", {"data": {"p": "9"}}, kind=MERGE)
        assert self.owned(place, maps) == {"one": {"f:data": {"f:q": {}}}}

    def test_an_applier_says_who_it_is_and_what_it_applies(self, place: Place, maps: str) -> None:
        message = 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch'
        refused(self.apply(place, maps, "", applied("a")), 422, "Invalid", message)
        nameless = self.apply(place, maps, "one", {"metadata": {"name": "a"}})
        refused(nameless, 400, "BadRequest", "invalid object type: /, Kind=")

    def test_a_dry_run_makes_nothing(self, place: Place, maps: str) -> None:
        assert self.apply(place, maps, "one", applied("a", p="1"), dryRun="All").code == 201
        assert place.api.ask("GET", f"{maps}/a").code == 404

    def test_containers_are_owned_by_their_names(self, place: Place) -> None:
        path = f"{place.apps}/deployments/web"
        whole = {"apiVersion": "apps/v1", "kind": "Deployment", **web(place)}
        assert place.api.ask("PATCH", path, whole, kind=APPLY, fieldManager="one").code == 201
        side = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web"},
            "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "x"}]}}},
        }
        place.api.must("PATCH", path, side, kind=APPLY, fieldManager="two")
        found = place.api.must("GET", path)["spec"]["template"]["spec"]["containers"]
        assert [each["name"] for each in found] == ["shop", "side"]
        del side["spec"]
        place.api.must("PATCH", path, side, kind=APPLY, fieldManager="two")
        found = place.api.must("GET", path)["spec"]["template"]["spec"]["containers"]
        assert [each["name"] for each in found] == ["shop"]


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
