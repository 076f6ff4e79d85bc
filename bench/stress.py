"""Many incidents at once on a few targets, workers that are killed at random: is anything done twice, or too often?

    python -m bench.stress [--incidents 500] [--targets 50] [--workers 4] [--seed 1] [--real]

The twin's own write log is the witness, not KT's: on each target only one incident acts at a time, each action has one
effect and was announced before, no cap of the guard is exceeded, and every incident ends. The stages, stores, leases
and the Kubernetes client are the real ones; only the verdict on a fix is drawn by lot instead of from an experiment.
With `--real` the API server is a real one, its audit log the witness, and KT is there as it is installed
(bench/stress_real.py). The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bench.stress_judged import CAPS, Caps, Write, violations
from bench.stress_worker import REGRESSED_OF, lot
from graph_schema.model import Diagnosis, Hypothesis, Signal
from kt.incident.consent import Answer
from kt.incident.events import AlertsReceived, Diagnosed, UndoAsked
from kt.incident.log import Append, IncidentLog, VersionConflict
from kt.incident.undoing import ask
from kt.pipeline.journey import Journey
from kt.settings import Settings, load
from kt.stores.places import open_log
from remediate.actions.base import ACTION, FENCING, UNDONE, marks_of
from twin.objects import Object
from twin.server import Twin

SPACES = 5
FAULTS = ("Workload.Overload", "Workload.Stuck", "Workload.BadRevision")
UNDO_OF = 5
"""Every so many-th healed incident is taken back."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    incidents: int
    ended: int
    phases: dict[str, int]
    kills: int
    actions: int
    undone: int
    seconds: float
    violations: tuple[str, ...]


class Witness:
    """What the twin saw KT write, in order."""

    def __init__(self, twin: Twin) -> None:
        self.writes: list[Write] = []
        self._store = twin.cluster.store
        self._seen = self._store.version
        self._store.watchers.append(self._look)

    def _look(self) -> None:
        for change in self._store.since("Deployment", self._seen):
            self._seen = change.version
            before, after = marks_of(change.before or {"metadata": {}}), marks_of(change.object)
            meta = change.object["metadata"]
            target = f"Deployment/{meta['namespace']}/{meta['name']}"
            for mark, undone in ((ACTION, False), (UNDONE, True)):
                if after.get(mark) and after.get(mark) != before.get(mark):
                    fencing = int(after.get(FENCING, "0"))
                    now, action = datetime.now(UTC), after[mark]
                    self.writes.append(Write(at=now, target=target, action=action, fencing=fencing, undone=undone))


class Nursery:
    """A process that has loaded everything and forks workers: they are born and killed in milliseconds."""

    def __init__(self, environ: Mapping[str, str], output: Path, module: str = "bench.stress_worker") -> None:
        self._output = output.open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], env={**os.environ, **environ}, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=self._output, text=True,
        )  # fmt: skip
        self.workers: list[int] = []

    def bear(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("fork\n")
        self._process.stdin.flush()
        self.workers.append(int(self._process.stdout.readline()))

    def kill(self, rng: random.Random) -> None:
        os.kill(self.workers.pop(rng.randrange(len(self.workers))), signal.SIGKILL)

    def close(self) -> None:
        for pid in self.workers:
            os.kill(pid, signal.SIGKILL)
        self._process.terminate()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._output):
            if pipe is not None:
                pipe.close()


def run(
    folder: Path, *, incidents: int, targets: int, workers: int, seed: int, deadline_s: float, kill_every_s: float = 1.0
) -> Report:
    """The whole of it; raises `TimeoutError` when not all incidents end within the deadline."""
    rng, begun = random.Random(seed), time.monotonic()
    with _twin(seed, targets) as twin:
        witness = Witness(twin)
        environ = _environ(folder, twin)
        settings = load(None, environ)
        log = open_log(settings)
        names = _open(log, rng, incidents, targets)
        nursery, kills = Nursery(environ, folder / "workers.log"), 0
        try:
            for _ in range(workers):
                nursery.bear()
            next_kill = time.monotonic() + kill_every_s
            while not all_ended(log, names):
                if time.monotonic() - begun > deadline_s:
                    left = Counter(entry.phase for entry in log.entries(open_only=True, limit=incidents))
                    raise TimeoutError(f"after {deadline_s:.0f} s not all incidents have ended: {dict(left)}")
                time.sleep(0.1)
                ask_back(log, settings, names)
                if time.monotonic() >= next_kill:
                    nursery.kill(rng)
                    nursery.bear()
                    kills += 1
                    next_kill = time.monotonic() + kill_every_s * (0.5 + rng.random())
        finally:
            nursery.close()
        report = report_of(log, names, witness.writes, kills, time.monotonic() - begun)
        log.close()
    return report


@contextmanager
def _twin(seed: int, targets: int) -> Iterator[Twin]:
    twin = Twin(seed=seed, speed=1.0)
    from twin.api import defaults

    with twin.cluster.lock:
        store = twin.cluster.store
        for number in range(SPACES):
            space = {"metadata": {"name": f"s{number}", "labels": {"kt.io/remediate": "enabled"}}}
            store.create("Namespace", space)
        for number in range(targets):
            given = _deployment(number)
            defaults.fill(store, "Deployment", given)
            store.create("Deployment", given)
    twin.start()
    try:
        yield twin
    finally:
        twin.stop()


def _deployment(number: int) -> Object:
    labels = {"app": f"w{number}"}
    container = {"name": "w", "image": "shop:v1"}
    return {
        "metadata": {"name": f"w{number}", "namespace": f"s{number % SPACES}", "labels": labels},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }  # fmt: skip


def _environ(folder: Path, twin: Twin) -> dict[str, str]:
    settings = {
        "DATA_DIR": str(folder), "BROKER_URL": "memory://", "KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
        "PROMETHEUS__URL": twin.prometheus_url, "GUARD__ENABLED": "true", "APPROVAL__MEDIUM": "0",
        "GUARD__COOLDOWN_S": "0.2", "GUARD__MAX_INEFFECTIVE": "2", "GUARD__MAX_ACTIONS_PER_MINUTE": "100000",
        "GUARD__MAX_ACTIONS_PER_HOUR_PER_TARGET": str(CAPS.per_target),
        "GUARD__MAX_ACTIONS_PER_HOUR_PER_NAMESPACE": str(CAPS.per_namespace),
        "GUARD__MAX_ACTIONS_PER_HOUR": str(CAPS.in_all),
        # Draws decide what holds: a run of bad luck says nothing about KT.
        "GUARD__BREAKER_FAILURES": "100000", "GUARD__BREAKER_SHARE": "0", "GUARD__MAX_API_LATENCY_S": "1000",
        "PIPELINE__LEASE_TTL_S": "1", "PIPELINE__RETRY_S": "0.3", "PIPELINE__GUARD_PATIENCE_S": "5",
    }  # fmt: skip
    return {f"KT_{key}": value for key, value in settings.items()}


def _open(log: IncidentLog, rng: random.Random, incidents: int, targets: int) -> list[str]:
    """That many diagnosed incidents, each on a target drawn at random."""
    names = [f"i{number:04d}" for number in range(incidents)]
    now = datetime.now(UTC)
    for name in names:
        number = rng.randrange(targets)
        entity = f"Deployment/s{number % SPACES}/w{number}"
        signal_ = Signal(fingerprint=name, entity=entity, symptom="latency", name="Slow", starts_at=now)
        causes = [Hypothesis(entity=entity, fault=fault, probability=0.9) for fault in rng.sample(FAULTS, 2)]
        diagnosis = Diagnosis(hypotheses=tuple(causes), causes=(0, 1))
        events = (AlertsReceived(at=now, signals=(signal_,)), Diagnosed(at=now, diagnosis=diagnosis))
        log.commit([Append(incident=name, expected=0, events=events)])
    return names


def ask_back(log: IncidentLog, settings: Settings, names: Sequence[str]) -> None:
    """Somebody wants back what was done for some of those that were healed, once for each."""
    healed = [entry.incident for entry in log.entries(limit=len(names)) if entry.phase == "healed"]
    for name in (name for name in healed if lot(name, UNDO_OF)):
        journey, now = Journey(log, name), datetime.now(UTC)
        if any(isinstance(record.event, UndoAsked) for record in journey.records):
            continue
        expires = now + timedelta(seconds=30)
        reply = ask(journey.state, Answer(by="ada", at=now), needed=0, others_only=False, expires_at=expires)
        if reply.event is not None:
            try:
                journey.append(reply.event)
            except VersionConflict:
                continue


def all_ended(log: IncidentLog, names: Sequence[str]) -> bool:
    if log.entries(open_only=True, limit=1):
        return False
    healed = [entry.incident for entry in log.entries(limit=len(names)) if entry.phase == "healed"]
    asked = [name for name in healed if lot(name, UNDO_OF)]
    return all(any(isinstance(each.event, UndoAsked) for each in log.load(name)) for name in asked)


def report_of(
    log: IncidentLog, names: Sequence[str], writes: Sequence[Write], kills: int, seconds: float, caps: Caps = CAPS
) -> Report:
    journeys = [Journey(log, name) for name in names]
    phases = Counter(journey.state.phase for journey in journeys)
    return Report(
        incidents=len(names),
        ended=sum(journey.state.ended for journey in journeys),
        phases={str(phase): count for phase, count in phases.items()},
        kills=kills,
        actions=sum(not each.undone for each in writes),
        undone=sum(each.undone for each in writes),
        seconds=round(seconds, 1),
        violations=tuple(violations(journeys, writes, caps)),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("incidents", 500), ("targets", 50), ("workers", 4), ("seed", 1), ("deadline", 1500)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--real", action="store_true")
    given = parser.parse_args()
    carried_out: Callable[..., Report] = run
    if given.real:
        from bench import stress_real

        carried_out = stress_real.run
    with tempfile.TemporaryDirectory(prefix="kt-stress-") as folder:
        report = carried_out(
            Path(folder), incidents=given.incidents, targets=given.targets, workers=given.workers, seed=given.seed,
            deadline_s=given.deadline,
        )  # fmt: skip
    told: dict[str, Any] = msgspec.to_builtins(report)
    print(f"1 of {REGRESSED_OF} fixes does not hold, 1 of {UNDO_OF} healed incidents is taken back; caps: {CAPS}")
    for each in report.violations:
        print(f"VIOLATION: {each}")
    print(json.dumps({**told, "violations": len(report.violations)}))
    return 1 if report.violations or report.ended < report.incidents else 0


if __name__ == "__main__":
    sys.exit(main())
