"""Attacks made from templates, run on the twin by `kt chaos run` and killed in the middle: nothing of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kt.chaos import running
from kt.chaos.report import markdown, report_of
from kt.pipeline.journey import Held
from kt.runtime import Runtime
from kt.settings import load
from remediate.cluster import Object
from tests.e2e.installation import until
from twin.server import Twin

NOTE = "kt.io/chaos-undo"
ATTACKS = {
    "Workload.ScaledToZero": ["workload=cart", "pod_selector=app=cart"],
    "Workload.ImageMissing": ["workload=catalogue"],
    "Service.SelectorMismatch": ["service=store"],
    "NetworkPolicy.Blocks": ["workload=front", "pod_selector=app=front", "service=front"],
    "Node.Cordoned": ["node=kt-node-2"],
    "Pod.NoisyNeighbour": ["node=kt-node-1", "workload=front"],
}
"""Each on something of its own, so that they run at once. The steady states are not what is looked at here."""


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin(seed=3, speed=5.0).start()
    with one.cluster.lock:
        one.cluster.store.edit("Namespace", "shop", "", opted_in)
    yield one
    one.stop()


def opted_in(draft: Object) -> None:
    draft["metadata"]["labels"]["kt.io/chaos"] = "enabled"


class Installed:
    """KT's commands beside a twin, and the store that they share."""

    def __init__(self, folder: Path, twin: Twin) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("KT_")}
        self.folder = folder
        self.environment = clean | {
            "KT_DATA_DIR": str(folder / "data"), "KT_KUBERNETES__KUBECONFIG": str(twin.kubeconfig),
            "KT_PROMETHEUS__URL": twin.prometheus_url, "KT_CHAOS__ENABLED": "true", "KT_CHAOS__MAX_CONCURRENT": "9",
            "KT_CHAOS__CLUSTER_WIDE": "true",
        }  # fmt: skip
        self.runtime = Runtime(load(None, self.environment))

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from kt.cli import main; main()", "chaos", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def template(self, fault: str, *values: str, steady: bool = True) -> Path:
        """The experiment of a fault mode, as a file."""
        given = [part for value in ("namespace=shop", *values) for part in ("--var", value)]
        answer = self.run("templates", "show", fault, *given)
        assert answer.returncode == 0, answer.stderr
        content = json.loads(answer.stdout)
        if not steady:
            del content["steady-state-hypothesis"]
        file = self.folder / f"{fault}.json"
        file.write_text(json.dumps(content))
        return file


def spread(twin: Twin) -> dict[str, Any]:
    """All that an attack of these may change, but for what the cluster itself keeps track of."""
    store = twin.cluster.store
    with twin.cluster.lock:
        found = {
            f"{kind}/{each['metadata']['name']}": each["spec"]
            for kind in ("Deployment", "Service", "NetworkPolicy", "Node")
            for each in store.all(kind)
        }
        notes = [each for kind in ("Deployment", "Service", "Node") for each in store.all(kind)]
        noted = [each["metadata"]["name"] for each in notes if NOTE in (each["metadata"].get("annotations") or {})]
        stress = [pod["metadata"]["name"] for pod in store.all("Pod") if "kt-chaos" in pod["metadata"]["name"]]
    return {**{key: {**spec, "unschedulable": bool(spec.get("unschedulable"))} for key, spec in found.items()},
            "noted": noted, "stress": stress}  # fmt: skip


def disturbed(now: dict[str, Any], before: dict[str, Any]) -> set[str]:
    return {key for key in now.keys() | before.keys() if now.get(key) != before.get(key)}


def test_a_runner_killed_in_the_middle_of_any_attack_leaves_nothing(twin: Twin, tmp_path: Path) -> None:
    kt, before = Installed(tmp_path, twin), spread(twin)
    files = [
        kt.template(fault, *values, "seconds=120", "recover_s=30", steady=False) for fault, values in ATTACKS.items()
    ]
    runners = [
        subprocess.Popen(
            kt.command("run", str(file)), env=kt.environment, cwd=tmp_path, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for file in files
    ]  # fmt: skip
    changed = {
        "Deployment/cart",
        "Deployment/catalogue",
        "Service/store",
        "NetworkPolicy/kt-chaos-cut",
        "Node/kt-node-2",
    }
    until(lambda: disturbed(spread(twin), before) >= changed | {"stress", "noted"}, "all six attacks are on")
    open_ = kt.runtime.chaos.open_runs()
    assert len(open_) == len(ATTACKS)
    # As when a machine is lost: runner and Chaos Toolkit at once, so that nobody rolls back.
    for runner in runners:
        runner.send_signal(signal.SIGSTOP)
    for run in open_:
        mark = f"--journal-path={running.workdir(kt.runtime, run.id) / 'journal.json'}".encode()
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            if mark in entry.read_bytes():
                os.kill(int(entry.parent.name), signal.SIGKILL)
    for runner in runners:
        runner.kill()
        runner.wait()
    assert disturbed(spread(twin), before) >= changed
    others = [
        threading.Thread(target=running.carry_on, args=(kt.runtime, run.id, Held(run.fencing + 1))) for run in open_
    ]
    for other in others:
        other.start()
    for other in others:
        other.join()
    ended = [kt.runtime.chaos.run(run.id) for run in open_]
    assert {run.outcome for run in ended if run} == {"aborted"}
    assert all("rollbacks" in run.why and "a person has to look" not in run.why for run in ended if run)
    assert disturbed(spread(twin), before) == set()
    assert kt.runtime.log.entries() == [], "what was taken back is no finding"
    kt.runtime.close()


def test_an_attack_that_holds_is_told_in_a_report_with_charts_and_counts_for_the_score(
    twin: Twin, tmp_path: Path
) -> None:
    kt = Installed(tmp_path, twin)
    file = kt.template("Workload.BadRevision", "workload=cart", "pod_selector=app=cart", "service=cart")
    answer = kt.run("run", str(file), "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    ran = json.loads(answer.stdout)
    assert (ran["outcome"], ran["targets"]) == ("held", ["shop/cart"])
    page = kt.run("report", ran["id"], "-o", "run.html")
    assert page.returncode == 0, page.stderr
    assert (tmp_path / "run.html").read_text().count("<polyline") == 3
    run = kt.runtime.chaos.run(ran["id"])
    assert run is not None
    assert "| method | action end one pod | succeeded |" in markdown(report_of(run, kt.runtime.chaos.journals(run.id)))
    whole = json.loads(kt.run("report", "--format", "json").stdout)
    assert [(each["service"], each["held"]) for each in whole["services"]] == [("shop/cart", 1)]
    kt.runtime.close()
