"""The scheduler and the kubelets: pods are placed, started, made ready, and ended."""

from __future__ import annotations

import functools
from datetime import UTC, datetime, timedelta

from twin.api import budgets
from twin.objects import Object, Store, stamp
from twin.simulation import containers, placing
from twin.simulation.controllers import set_ready

STARTUP = timedelta(seconds=2)
"""From being placed to being ready, for an image that is there."""
MISSING = ":missing"
"""Images with this in their name cannot be pulled."""
ENDED = ("Succeeded", "Failed")
RUNS_S = 2.0
"""How long a container runs that is there to end, unless its RUN_S says otherwise; EXIT_CODE says how it ends."""


def schedule(store: Store, now: datetime) -> None:
    """Place pending pods on the node that fits and has the fewest pods of their owner, then the fewest at all."""
    pending = [pod for pod in store.all("Pod") if not pod["spec"].get("nodeName")]
    for pod in pending:
        if pod.get("status", {}).get("phase") in ENDED or "deletionTimestamp" in pod["metadata"]:
            continue
        nodes = placing.fitting(store, pod)
        if not nodes:
            continue
        chosen = min(nodes, key=lambda node: _crowd(store, node["metadata"]["name"], pod))
        meta = pod["metadata"]
        name = chosen["metadata"]["name"]
        store.edit("Pod", meta["name"], meta["namespace"], functools.partial(_bind, node=name, now=now))


def _crowd(store: Store, node: str, pod: Object) -> tuple[int, int, str]:
    owner = next((each["uid"] for each in pod["metadata"].get("ownerReferences") or []), "")
    here = [each for each in store.all("Pod") if each["spec"].get("nodeName") == node]
    siblings = [each for each in here if any(o["uid"] == owner for o in each["metadata"].get("ownerReferences") or [])]
    return len(siblings), len(here), node


def _bind(draft: Object, node: str, now: datetime) -> None:
    draft["spec"]["nodeName"] = node
    draft["metadata"].setdefault("annotations", {})["twin/bound-at"] = now.isoformat()


def run(store: Store, heartbeats: dict[str, datetime], stopped: set[str], now: datetime) -> None:
    """One visit of every kubelet that runs."""
    for node in store.all("Node"):
        if node["metadata"]["name"] not in stopped:
            heartbeats[node["metadata"]["name"]] = now
    for pod in list(store.all("Pod")):
        node = pod["spec"].get("nodeName")
        if node and node not in stopped:
            _sync(store, pod, now)


def _sync(store: Store, pod: Object, now: datetime) -> None:
    meta = pod["metadata"]
    if "deletionTimestamp" in meta:
        store.remove("Pod", pod)
        return
    if pod["status"].get("phase") in ENDED:
        return
    # One that was made for its node, as those of a DaemonSet are, was never bound by the scheduler.
    at = (meta.get("annotations") or {}).get("twin/bound-at") or meta["creationTimestamp"]
    bound = datetime.fromisoformat(at).astimezone(UTC)
    container = pod["spec"]["containers"][0]
    image = container["image"]
    if pod["spec"].get("restartPolicy", "Always") != "Always" and MISSING not in image:
        knobs = {each["name"]: each.get("value", "") for each in container.get("env") or []}
        if now - bound >= STARTUP + timedelta(seconds=float(knobs.get("RUN_S", RUNS_S))):
            code = int(knobs.get("EXIT_CODE", "0"))
            store.edit("Pod", meta["name"], meta["namespace"], lambda draft: _ended(draft, code, now))
            return
    if (behaves := containers.knobs_of(container)) and MISSING not in image:
        fares = containers.life(behaves, (now - bound).total_seconds())
        store.edit("Pod", meta["name"], meta["namespace"], lambda draft: _lives(draft, fares, now))
        return
    started = now - bound >= STARTUP and MISSING not in image
    store.edit("Pod", meta["name"], meta["namespace"], lambda draft: _status(draft, started, now))


def _lives(draft: Object, fares: containers.Life, now: datetime) -> None:
    container = draft["spec"]["containers"][0]
    draft["status"].setdefault("startTime", stamp(now))
    draft["status"]["phase"] = "Running"
    draft["status"]["containerStatuses"] = [
        containers.status(container, fares, lambda ago_s: stamp(now - timedelta(seconds=ago_s)))
    ]
    if budgets.ready(draft) != fares.ready or not draft["status"].get("conditions"):
        set_ready(draft, fares.ready, now)


def _ended(draft: Object, code: int, now: datetime) -> None:
    draft["status"]["phase"] = "Failed" if code else "Succeeded"
    for each in draft["status"].get("containerStatuses") or []:
        each |= {"ready": False, "state": {"terminated": {"exitCode": code, "finishedAt": stamp(now)}}}
    set_ready(draft, False, now)


def _status(draft: Object, started: bool, now: datetime) -> None:
    container = draft["spec"]["containers"][0]
    waiting = "ErrImagePull" if MISSING in container["image"] else "ContainerCreating"
    began = draft["status"].setdefault("startTime", stamp(now))
    state = {"running": {"startedAt": began}} if started else {"waiting": {"reason": waiting}}
    draft["status"]["phase"] = "Running" if started else "Pending"
    draft["status"]["containerStatuses"] = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": container["image"],
            "ready": started,
            "restartCount": 0,
            "state": state,
        }
    ]
    known = {each["type"]: each["status"] for each in draft["status"].get("conditions", [])}
    if known.get("Ready") != ("True" if started else "False"):
        set_ready(draft, started, now)
