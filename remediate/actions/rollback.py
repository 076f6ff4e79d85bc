"""Roll back: a workload's pod template as it was in the last revision that is known to have been healthy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graph_schema.model import HistoryEntry
from remediate.actions.base import CannotAct
from remediate.actions.field import ROLLED, FieldChange, Values, Wish
from remediate.cluster import Cluster, Object
from remediate.plan import Step
from remediate.revisions import TEMPLATE, Revision, clean, known_healthy, program, revisions_of


class RollBack(FieldChange):
    name = "roll-back"
    rules = (
        *(("apps", resource, "get patch") for resource in ("deployments", "statefulsets", "daemonsets")),
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
        ("", "pods", "list"),
    )
    pointers = (TEMPLATE,)

    def wish(self, cluster: Cluster, target: Object, parameters: Mapping[str, Any]) -> Wish:
        """`history`: entity → its versions in the graph. Of the revisions before the present one that differ from it,
        the newest that is known to have been healthy; where none is, the newest. What an experiment rolled out
        does not count."""
        if target["spec"].get("paused"):
            raise CannotAct("its rollout is paused; resume it first")
        revisions = _revisions(cluster, target)
        if not revisions:
            raise CannotAct(f"no revision of {target['kind']} {target['metadata']['name']} is kept")
        current = max(revisions)
        now = program(revisions[current].template)
        earlier = {
            number: each
            for number, each in revisions.items()
            if number < current and program(each.template) != now and not each.broken_on_purpose
        }
        if not earlier:
            raise CannotAct(f"there is no revision before {current} to go back to")
        healthy = known_healthy(cluster, target, earlier, parameters.get("history", _nothing))
        to, meta = max(healthy or earlier), target["metadata"]
        known = healthy.get(to, "no revision is known to have been healthy; this is the newest that differs")
        images = ", ".join(container["image"] for container in earlier[to].template["spec"]["containers"])
        name = f"{target['kind']} {meta['namespace']}/{meta['name']}"
        return Wish(
            thing=target,
            values={TEMPLATE: earlier[to].template},
            summary=f"roll {name} back from revision {current} to {to} ({images}): {known}",
            parameters={"from": current, "to": to, "known": known},
        )

    def wanted(self, cluster: Cluster, step: Step, thing: Object) -> Values:
        found = _revisions(cluster, thing).get(int(step.parameters["to"]))
        if found is None:
            raise CannotAct(f"revision {step.parameters['to']} is not kept any more")
        return {TEMPLATE: found.template}

    def remember(self, step: Step, before: Values) -> object:
        return {"revision": step.parameters["from"]}

    def recall(self, cluster: Cluster, thing: Object, kept: Any) -> Values | None:
        found = _revisions(cluster, thing).get(int(kept["revision"])) if isinstance(kept, dict) else None
        return {TEMPLATE: found.template} if found else None

    def remember_was(self, thing: Object) -> Any:
        return ", ".join(container["image"] for container in thing["spec"]["template"]["spec"]["containers"])

    def plain(self, values: Values) -> Values:
        return {TEMPLATE: clean(values[TEMPLATE])}

    def said(self, values: Values) -> str:
        return ", ".join(container["image"] for container in values[TEMPLATE]["spec"]["containers"])


def _revisions(cluster: Cluster, target: Object) -> dict[int, Revision]:
    if target["kind"] not in ROLLED:
        raise CannotAct(f"a {target['kind']} has no revisions")
    return revisions_of(cluster, target)


def _nothing(_: str) -> Sequence[HistoryEntry]:
    return ()
