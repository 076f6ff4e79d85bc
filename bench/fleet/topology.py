"""What KT's follower would have in its graph of an application: entities with states, relations, those that ended."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from bench.fleet.application import build
from bench.fleet.disturbance import pod_name
from bench.fleet.monitoring import Monitoring
from bench.fleet.pods import TERMINATED, WAITING
from graph_schema.model import Entity, Relation


@functools.cache
def _standing(services: int, number: int) -> tuple[dict[str, Entity], list[Relation]]:
    """The part of a topology that no disturbance changes."""
    made = build(services, number)
    entities: dict[str, Entity] = {}
    relations: list[Relation] = []
    for node in made.nodes:
        _add(entities, "Zone", node.zone)
        relations.append(Relation(f"Node/{node.name}", f"Zone/{node.zone}", "IN"))
    for space in made.namespaces():
        _add(entities, "Namespace", space)
    for space, thing in made.quotas.items():
        _add(entities, "ResourceQuota", "quota", space)
        relations.append(Relation(thing, f"Namespace/{space}", "APPLIES_TO"))
    for each in made.workloads:
        for thing in (*each.config, *each.secrets, *([each.claim] if each.claim else [])):
            kind, space, name = thing.split("/")
            _add(entities, kind, name, space)
    relations += [
        Relation(made.workloads[call.caller].service, made.workloads[call.callee].service, "CALLS")
        for call in made.calls
    ]
    for thing, number_ in made.certificates.items():
        each = made.workloads[number_]
        _add(entities, "Ingress", each.name, each.namespace)
        relations += [
            Relation(f"Ingress/{each.namespace}/{each.name}", each.service, "ROUTES_TO"),
            Relation(thing, f"Ingress/{each.namespace}/{each.name}", "SECURES"),
        ]
        _add(entities, "Certificate", f"{each.name}-tls", each.namespace, ready=True)
    for thing, place in made.jobs:
        _, space, name = thing.split("/")
        _add(entities, "Job", name, space)
        _add(entities, "Pod", f"{name}-x", space, ready=True, phase="Running")
        pod = f"Pod/{space}/{name}-x"
        relations += [Relation(thing, pod, "OWNS"), Relation(pod, f"Node/{made.nodes[place].name}", "RUNS_ON")]
    for thing in made.policies:
        _, space, name = thing.split("/")
        _add(entities, "NetworkPolicy", name, space)
    return entities, sorted(set(relations), key=lambda one: (one.source, one.kind, one.target))


def _add(entities: dict[str, Entity], kind: str, name: str, namespace: str = "", **states: Any) -> None:
    key = f"{kind}/{namespace}/{name}" if namespace else f"{kind}/{name}"
    entities[key] = Entity(id=key, kind=kind, name=name, namespace=namespace, properties=states)


def topology(site: Monitoring, gone: set[str]) -> tuple[dict[str, Entity], list[Relation], list[Relation]]:
    """Entities and relations as KT's follower has them, and the relations that ended with what was deleted."""
    world = site.seen.world
    made, pods = world.made, world.pods
    standing, known = _standing(made.services, made.seed)
    entities, relations = dict(standing), list(known)
    down, pressed = world.said_down(), world.pressed
    for number, node in enumerate(made.nodes):
        pressure = ["MemoryPressure"] if pressed[number] else []
        _add(entities, "Node", node.name, ready=not down[number], pressure=pressure, address=node.address)
    for thing in made.quotas.values():
        _, space, name = thing.split("/")
        _add(entities, "ResourceQuota", name, space, full=thing in site.seen.exhausted)
    waiting = pods.waiting(world.now)
    by_workload: dict[int, list[int]] = {}
    for here in np.flatnonzero(pods.there).tolist():
        by_workload.setdefault(int(pods.of[here]), []).append(here)
    policies: dict[int, list[str]] = {}
    for thing, number in made.policies.items():
        policies.setdefault(number, []).append(thing)
    for number, each in enumerate(made.workloads):
        if each.role == "external":
            _add(entities, "ExternalDependency", each.name)
            continue
        places = by_workload.get(number, [])
        ready = int(pods.ready[places].sum()) if places else 0
        _add(entities, each.kind, each.name, each.namespace, replicas=int(site.seen.wanted[number]), ready=ready)
        _, space, name = each.service.split("/")
        behind = {"selected_pods": len(places)} if places or each.id in gone else {}
        _add(entities, "Service", name, space, **behind, ready_endpoints=ready,
             not_ready_endpoints=len(places) - ready, port_declared=True)  # fmt: skip
        for place in places:
            me = pod_name(site, place)
            pod = f"Pod/{each.namespace}/{me}"
            host = made.nodes[int(pods.node[place])].name
            told = {
                "waiting": WAITING[int(waiting[place])] or None,
                "terminated": TERMINATED[int(pods.ended[place])] or None,
            }
            _add(entities, "Pod", me, each.namespace, ready=bool(pods.ready[place]), phase="Running", node=host,
                 **{key: value for key, value in told.items() if value})  # fmt: skip
            owner = each.id
            if each.kind == "Deployment":
                revision = f"{each.name}-r{int(pods.revision[place])}"
                owner = f"ReplicaSet/{each.namespace}/{revision}"
                _add(entities, "ReplicaSet", revision, each.namespace)
                relations.append(Relation(each.id, owner, "OWNS"))
            relations += [Relation(owner, pod, "OWNS"), Relation(pod, f"Node/{host}", "RUNS_ON")]
            if world.selects[number]:
                relations.append(Relation(each.service, pod, "SELECTS"))
            relations += [
                Relation(pod, thing, "MOUNTS")
                for thing in (*each.config, *each.secrets, *([each.claim] if each.claim else []))
            ]
            relations += [Relation(thing, pod, "APPLIES_TO") for thing in policies.get(number, ())]
        if not places:
            relations.append(Relation(each.service, each.id, "SELECTS"))
        relations += [Relation(f"Namespace/{each.namespace}", thing, "CONTAINS") for thing in (each.id, each.service)]
    for thing in gone:
        entities.pop(thing, None)
    both = [each for each in dict.fromkeys(relations) if each.source in entities and each.target in entities]
    ended = [each for each in dict.fromkeys(relations) if (each.source in gone) != (each.target in gone)]
    return entities, both, ended
