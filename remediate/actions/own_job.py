"""A person's own action: a Job from the template of a playbook, made once, waited for, and taken away by an undo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from remediate.actions.base import ACTION, CannotAct, Mark, Outcome, called, diff, fenced, fetch, marks_of, target_of
from remediate.actions.pods import must_be_allowed
from remediate.cluster import Cluster, ClusterError, Object
from remediate.plan import Step

FOR = "kt.io/for"
"""Label of a Job: the uid of what it is to help."""
LONGEST_S = 600
"""A Job is ended after so long unless its template says when."""
KEPT_S = 3600
"""So long it is kept for its logs when it has ended."""


class RunJob:
    name = "run-job"
    rules = (
        ("batch", "jobs", "get list create delete"),
        *(("apps", resource, "get") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("", "pods", "get"),
    )
    declared = False

    def prepare(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Step:
        """`job`: the spec of a Job. Its containers get TARGET_KIND, TARGET_NAME and TARGET_NAMESPACE beside their own
        environment. It runs in the target's namespace and once: a Job that fails is not tried again by itself."""
        at, spec = target_of(target), parameters.get("job")
        if not isinstance(spec, dict) or not isinstance(spec.get("template"), dict):
            raise CannotAct("the playbook gives no `job` with a `template`")
        if not at.namespace:
            raise CannotAct(f"a Job runs in a namespace; {called(at)} has none")
        must_be_allowed(cluster, ("batch", "jobs", "delete"), at.namespace)  # to take it back
        step = Step(action=self.name, target=at, parameters={"job": _complete(spec, target)})
        tried = cluster.create("Job", at.namespace, _job(step, Mark(action="dry", fencing=0, at="")), dry=True)
        images = ", ".join(each["image"] for each in tried["spec"]["template"]["spec"]["containers"])
        return Step(
            action=self.name,
            target=at,
            parameters=step.parameters,
            summary=f"run a Job for {called(at)} ({images})",
            diff=diff({"metadata": {}, "spec": {}}, {"metadata": {}, "spec": step.parameters["job"]}),
        )

    def apply(self, cluster: Cluster, step: Step, mark: Mark) -> Outcome:
        fenced(fetch(cluster, step), mark.fencing)
        made = _job(step, mark)
        try:
            cluster.create("Job", step.target.namespace, made)
        except ClusterError as error:
            if error.code != 409:
                raise
        name = made["metadata"]["name"]
        return Outcome(ok=True, detail=f"Job {name} begun", undo={"job": name})

    def observe(self, cluster: Cluster, step: Step, action_id: str) -> Outcome | None:
        """Its name is made of the action's id, so it is found by it."""
        name = _name(action_id)
        found = cluster.get("Job", name, step.target.namespace)
        if found is None or marks_of(found).get(ACTION) != action_id:
            return None
        if why := _failed(found):
            return Outcome(ok=False, detail=why, undo={"job": name})
        return Outcome(ok=True, detail="found done after an interruption", undo={"job": name})

    def settled(self, cluster: Cluster, step: Step) -> str:
        """A Job that failed never settles: the fix has not arrived, and is undone when the patience with it is over."""
        fetch(cluster, step)
        made = cluster.list("Job", step.target.namespace, labels=f"{FOR}={step.target.uid}")
        if not made:
            return ""
        last = max(made, key=lambda each: (each["metadata"]["creationTimestamp"], each["metadata"]["name"]))
        if why := _failed(last):
            return why
        return "" if _has(last, "Complete") else f"Job {last['metadata']['name']} still runs"

    def undo(self, cluster: Cluster, step: Step, action_id: str, undo: Mapping[str, object]) -> Outcome:
        name = _name(action_id)
        found = cluster.get("Job", name, step.target.namespace)
        if found is None:
            return Outcome(ok=True, detail="there is no Job of it")
        cluster.delete("Job", name, step.target.namespace, uid=found["metadata"]["uid"])
        return Outcome(ok=True, detail=f"Job {name} is taken away; what it did stays as it is")


def _complete(spec: Object, target: Object) -> Object:
    """The spec as it is sent: one try, an end, and the target in the environment."""
    meta, pod = target["metadata"], dict(spec["template"].get("spec") or {})
    about = {"TARGET_KIND": target["kind"], "TARGET_NAME": meta["name"], "TARGET_NAMESPACE": meta["namespace"]}
    known = [{"name": key, "value": value} for key, value in about.items()]
    pod["containers"] = [{**each, "env": [*(each.get("env") or []), *known]} for each in pod.get("containers") or []]
    template = {**spec["template"], "spec": {"restartPolicy": "Never", **pod}}
    usual = {"backoffLimit": 0, "activeDeadlineSeconds": LONGEST_S, "ttlSecondsAfterFinished": KEPT_S}
    return {**usual, **spec, "template": template}


def _name(action_id: str) -> str:
    return f"kt-{action_id}"[:52]


def _job(step: Step, mark: Mark) -> Object:
    meta = {"name": _name(mark.action), "annotations": mark.annotations, "labels": {FOR: step.target.uid}}
    return {"metadata": meta, "spec": step.parameters["job"]}


def _failed(job: Object) -> str:
    found = _has(job, "Failed")
    return f"Job {job['metadata']['name']} failed: {found.get('reason', 'no reason given')}" if found else ""


def _has(job: Object, condition: str) -> Object | None:
    """The condition, if it is true."""
    conditions = (job.get("status") or {}).get("conditions") or []
    return next((each for each in conditions if each["type"] == condition and each["status"] == "True"), None)
