"""`bench.stress` on a real API server, whose audit log is the witness: KT as it is installed, beside played kubelets.

The controllers and the scheduler are Kubernetes' own; nodes have no kubelets, so that of pods what those would write is
played: one revision in four of those that KT makes does not serve. Incidents come in by KT's web process, its beat
follows the cluster, Redis is a real one, the workers that are killed are Celery workers, and KT has the rights of `kt
rbac` and no others. Played is also what Prometheus tells: an alert fires until KT has acted for its incident, and for
one in eight on.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
from redis import Redis

from bench.stress import SPACES, Nursery, Report, all_ended, ask_back, report_of
from bench.stress_audit import Writes, at_once, rushed, writes_of
from bench.stress_judged import CAPS, Caps, Write
from bench.stress_worker import lot
from kt import rbac
from kt.incident.log import IncidentLog
from kt.pipeline.journey import Journey
from kt.settings import load
from kt.stores.places import open_log
from testbed import servers
from testbed.kubernetes import alone
from testbed.kubernetes.cluster import Api
from testbed.kubernetes.kubelets import Kubelets, Object

ALERTS = (
    ("KtLatencyHigh", "KtSaturationHigh"),
    ("KubeDeploymentRolloutStuck",),
    ("KubernetesContainerOomKiller",),
    ("KtLatencyHigh", "KubePodNotReady"),
)
"""What an incident is told by: an overload, a bad revision, a limit too low, something stuck."""
PER_MINUTE = 60
EVERY_S = 0.4
"""So often an incident comes in."""
KILL_EVERY_S, LEAST_DONE = 2.0, 3
"""So often a worker is killed, once so many events came in since: a starved machine takes longer to start one."""
RECOVERY_S = 10.0
ENDS_PODS = ("restart", "terminate-pod", "terminate-invalid", "move-busy", "evict-pods", "clean-up-pods")
SICK_OF, STAYS_OF = 4, 8
"""One of so many new revisions does not serve; one of so many alerts goes on although KT has acted."""
SETUP_S = 120.0


def run(
    folder: Path, *, incidents: int, targets: int, workers: int, seed: int, deadline_s: float, caps: Caps = CAPS
) -> Report:
    """The whole of it; raises `TimeoutError` when not all incidents end within the deadline."""
    rng, redis = random.Random(seed), servers.ensure(["redis"])["KT_TEST_REDIS_URL"]
    Redis.from_url(redis).flushall()
    sick = _Sick()
    with (
        alone.running(controllers=True) as plane,
        Api(plane.kubeconfig("admin")) as api,
        Kubelets(plane.kubeconfig("kubelets"), fails=sick),
        _prometheus() as metrics,
    ):
        _grant(api)
        _deploy(api, targets)
        sick.well(api)
        settings = _environ(folder, plane.kubeconfig("kt"), redis, metrics.url, caps)
        log = metrics.log = open_log(load(None, settings))
        with _process(folder, settings, "serve") as web, _process(folder, settings, "beat"):
            begun = time.monotonic()
            names, kills = _stormed(
                folder, log, settings, web, rng, incidents=incidents, targets=targets, workers=workers,
                deadline_s=deadline_s,
            )  # fmt: skip
            seconds = time.monotonic() - begun
        writes = writes_of(plane.audit, "kt")
        found = report_of(log, names, _all_writes(log, names, writes), kills, seconds, caps)
        log.close()
    more = (*at_once(writes, RECOVERY_S), *rushed(writes, PER_MINUTE))
    return Report(**{each: getattr(found, each) for each in Report.__struct_fields__ if each != "violations"},
                  violations=(*found.violations, *more))  # fmt: skip


def _all_writes(log: IncidentLog, names: Sequence[str], writes: Writes) -> list[Write]:
    """Those of the API server, the ends of pods under the action that KT says they were of."""
    meant: dict[str, str] = {}
    for name in names:
        for action in Journey(log, name).state.actions:
            step = action.plan.steps[action.step]
            pods = [*step.parameters.get("pods", ())] or [f"{step.target.namespace}/{step.target.name}"]
            if step.action in ENDS_PODS:
                meant |= dict.fromkeys(pods, action.id)
    found: dict[tuple[str, str], Write] = {}
    for each in writes.ended:
        of = meant.get(each.pod, f"end of {each.pod}")
        write = Write(at=each.at, target=each.target, action=of, fencing=0, undone=False)
        found.setdefault((each.target, of), write)  # one action may end several pods of a workload
    return sorted([*(each.write for each in writes.effects), *found.values()], key=lambda write: write.at)


def _stormed(
    folder: Path, log: IncidentLog, settings: Mapping[str, str], web: str, rng: random.Random, *, incidents: int,
    targets: int, workers: int, deadline_s: float,
) -> tuple[list[str], int]:  # fmt: skip
    """(incidents, how many workers were killed) once all of them have ended."""
    nursery, kills, begun = Nursery(settings, folder / "workers.log", "bench.stress_real_worker"), 0, time.monotonic()
    options, posted = load(None, settings), 0
    next_kill, done_before = begun + KILL_EVERY_S, 0
    try:
        for _ in range(workers):
            nursery.bear()
        with httpx.Client(timeout=30) as client:
            while True:
                now = time.monotonic()
                while posted < incidents and begun + posted * EVERY_S <= now:
                    client.post(web, json=_alerts(posted, rng.randrange(targets), rng)).raise_for_status()
                    posted += 1
                entries = log.entries(limit=2 * incidents)
                names, done = [entry.incident for entry in entries], sum(entry.version for entry in entries)
                ask_back(log, options, names)
                if posted == incidents and len(names) >= incidents and all_ended(log, names):
                    return names, kills
                if now - begun > deadline_s:
                    left = Counter(entry.phase for entry in log.entries(open_only=True, limit=incidents))
                    raise TimeoutError(f"after {deadline_s:.0f} s not all of {len(names)} have ended: {dict(left)}")
                if now >= next_kill and done >= done_before + LEAST_DONE:
                    done_before = done
                    nursery.kill(rng)
                    nursery.bear()
                    kills += 1
                    next_kill = now + KILL_EVERY_S * (0.5 + rng.random())
                time.sleep(0.2)
    finally:
        nursery.close()


class _Sick:
    """Which pods the kubelets let fail: by lot of their ReplicaSet, but for those that were there at the beginning."""

    def __init__(self) -> None:
        self._well: set[str] | None = None

    def well(self, api: Api) -> None:
        found = api.get("/apis/apps/v1/replicasets")["items"]
        self._well = {each["metadata"]["name"] for each in found}

    def __call__(self, pod: Object) -> str:
        owner = next((each["name"] for each in pod["metadata"].get("ownerReferences", ())), "")
        fails = self._well is not None and owner not in self._well and lot(owner, SICK_OF)
        return "CrashLoopBackOff" if fails else ""


def _grant(api: Api) -> None:
    """The namespaces, and in them for the user `kt` what `kt rbac` prints."""
    spaces = [f"s{number}" for number in range(SPACES)]
    for space in spaces:
        meta = {"name": space, "labels": {"kt.io/remediate": "enabled"}}
        api.apply(f"/api/v1/namespaces/{space}", {"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    user = [{"kind": "User", "name": "kt", "apiGroup": "rbac.authorization.k8s.io"}]
    granted = [each for space in spaces for each in rbac.granted(space)]
    for each in [*rbac.watching(), *rbac.acting(), *rbac.verifying(), *granted]:
        meta = each["metadata"]
        where = f"namespaces/{meta['namespace']}/" if "namespace" in meta else ""
        manifest = {**each, "subjects": user} if "subjects" in each else each
        path = f"/apis/rbac.authorization.k8s.io/v1/{where}{each['kind'].lower()}s/{meta['name']}"
        api.apply(path, manifest)


def _deploy(api: Api, targets: int) -> None:
    """The targets, every other one in its second revision, all of them serving."""
    for image, step in (("shop:v1", 1), ("shop:v2", 2)):
        for number in range(0, targets, step):
            api.apply(_path(number), _deployment(number, image))
        deadline = time.monotonic() + SETUP_S
        while not all(_serves(api.get(_path(number))) for number in range(targets)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"after {SETUP_S:.0f} s the Deployments do not serve {image}")
            time.sleep(0.5)


def _path(number: int) -> str:
    return f"/apis/apps/v1/namespaces/s{number % SPACES}/deployments/w{number}"


def _deployment(number: int, image: str) -> Object:
    labels = {"app": f"w{number}"}
    amounts = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": f"w{number}", "namespace": f"s{number % SPACES}", "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels},
                         "spec": {"containers": [{"name": "w", "image": image, "resources": amounts}]}},
        },
    }  # fmt: skip


def _serves(thing: Object) -> bool:
    status, wanted = thing.get("status", {}), thing["spec"]["replicas"]
    seen = status.get("observedGeneration") == thing["metadata"]["generation"]
    return seen and all(status.get(each) == wanted for each in ("replicas", "updatedReplicas", "readyReplicas"))


def _alerts(number: int, target: int, rng: random.Random) -> dict[str, Any]:
    """A notification of Alertmanager's: the alerts of one incident on a target."""
    at = datetime.now(UTC).isoformat()
    about = {"namespace": f"s{target % SPACES}", "deployment": f"w{target}", "instance": f"i{number:04d}"}
    names = rng.choice(ALERTS)
    alerts = [
        {"status": "firing", "labels": {"alertname": name, **about}, "annotations": {}, "startsAt": at,
         "endsAt": "0001-01-01T00:00:00Z", "fingerprint": f"{number:04d}-{place}"}
        for place, name in enumerate(names)
    ]  # fmt: skip
    return {"version": "4", "groupKey": f"i{number:04d}", "status": "firing", "receiver": "kt", "alerts": alerts}


def _environ(folder: Path, kubeconfig: Path, redis: str, prometheus: str, caps: Caps) -> dict[str, str]:
    settings = {
        "DATA_DIR": str(folder), "BROKER_URL": redis, "KUBERNETES__KUBECONFIG": str(kubeconfig),
        "PROMETHEUS__URL": prometheus, "PROMETHEUS__CALLS_EVERY_S": "0", "WEB__PORT": "0",
        "GUARD__ENABLED": "true", "APPROVAL__MEDIUM": "0", "GUARD__COOLDOWN_S": "0.2", "GUARD__MAX_INEFFECTIVE": "2",
        "GUARD__MAX_ACTIONS_PER_MINUTE": str(PER_MINUTE),
        "GUARD__MAX_ACTIONS_PER_HOUR_PER_TARGET": str(caps.per_target),
        "GUARD__MAX_ACTIONS_PER_HOUR_PER_NAMESPACE": str(caps.per_namespace),
        "GUARD__MAX_ACTIONS_PER_HOUR": str(caps.in_all),
        # Draws decide what holds: a run of bad luck says nothing about KT.
        "GUARD__BREAKER_FAILURES": "100000", "GUARD__BREAKER_SHARE": "0", "GUARD__MAX_API_LATENCY_S": "1000",
        # Each notification an incident of its own, also beside another one on the same target.
        "PIPELINE__GROUP_WINDOW_S": "0", "PIPELINE__REOPEN_S": "0",
        # There is nothing behind what is played that could be measured.
        "DIAGNOSE__METRICS": "false", "DIAGNOSE__RULES": "false", "DIAGNOSE__EVENTS": "false", "DIAGNOSE__PROBES": "0",
        "PIPELINE__LEASE_TTL_S": "3", "PIPELINE__RETRY_S": "1", "PIPELINE__GUARD_PATIENCE_S": "20",
        "PIPELINE__EVIDENCE_S": "5", "PIPELINE__VERIFY_QUIET_S": "0.3", "PIPELINE__RECOVERY_S": str(RECOVERY_S),
        "PIPELINE__WATCH_LONGEST_S": "2", "PIPELINE__AFTERMATH_S": "0",
    }  # fmt: skip
    return {f"KT_{key}": value for key, value in settings.items()}


@contextmanager
def _process(folder: Path, settings: Mapping[str, str], command: str) -> Iterator[str]:
    """`kt serve` or `kt beat`, as long as the block runs; the first address that it tells."""
    words, output = [sys.executable, "-c", "from kt.cli import main; main()", command], folder / f"{command}.log"
    with output.open("wb") as file:
        process = subprocess.Popen(words, env={**os.environ, **settings}, stdout=file, stderr=file)
        try:
            told: list[str] = []
            while command == "serve" and not told:
                if process.poll() is not None:
                    raise RuntimeError(f"kt {command} ended:\n{output.read_text()[-2000:]}")
                time.sleep(0.1)
                told = re.findall(r"http\S+", output.read_text())
            yield told[0] if told else ""
        finally:
            process.kill()
            process.wait()


class _Prometheus(ThreadingHTTPServer):
    """Answers whether an alert fires: by what KT has done for its incident, and by lot."""

    daemon_threads = True
    log: IncidentLog

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._incidents: dict[str, str] = {}
        self._lock = threading.Lock()

    def fires(self, fingerprint: str) -> bool:
        incident = self._incident(fingerprint)
        if not incident:
            return True
        done = [each for each in Journey(self.log, incident).state.actions if each.finished and each.finished.ok]
        kept = [each for each in done if not each.undone]
        return not kept or lot(f"{fingerprint}{len(done)}", STAYS_OF)

    def _incident(self, fingerprint: str) -> str:
        with self._lock:
            if fingerprint not in self._incidents:
                for entry in self.log.entries(limit=10_000):
                    if entry.incident not in self._incidents.values():
                        for each in Journey(self.log, entry.incident).signals:
                            self._incidents[each.labels["instance"]] = entry.incident
            return self._incidents.get(fingerprint, "")


class _Answers(BaseHTTPRequestHandler):
    server: _Prometheus

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
        about = re.search(r'instance="(\w+)"', query)
        series = [{"metric": {}, "value": [time.time(), "1"]}] if about and self.server.fires(about[1]) else []
        body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": series}}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: each look of each worker would be a line."""


@contextmanager
def _prometheus() -> Iterator[_Prometheus]:
    with _Prometheus() as server:
        thread = threading.Thread(target=server.serve_forever, name="prometheus", daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
