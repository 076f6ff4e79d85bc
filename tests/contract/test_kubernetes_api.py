"""What KT takes for granted of the Kubernetes API: the twin and a real API server are held to the very same answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.clusters import APPLY, JSON_PATCH, MERGE, STRATEGIC, Answer, Place
from tests.contract.kubernetes_things import STALE, applied, config, refused, web


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
