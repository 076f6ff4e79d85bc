"""Attacks made from templates, run by `kt chaos run` on the twin and the real shop, and killed in the middle: nothing
of them is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner

from kt.chaos import running
from kt.chaos.report import markdown, report_of
from kt.cli import cli
from kt.pipeline.journey import Held
from kt.runtime import Runtime
from kt.settings import load
from remediate.cluster import Object
from testbed import shop
from tests.contract.clusters import Api
from tests.e2e.installation import until
from tests.e2e.real import SERVERS
from tests.running import told_of
from twin.server import Twin

NOTE = "kt.io/chaos-undo"
ATTACKS = {
    "Workload.ScaledToZero": ["workload=cart", "pod_selector=app=cart"],
    "Workload.ImageMissing": ["workload=catalogue"],
    "Service.SelectorMismatch": ["service=store"],
    "NetworkPolicy.Blocks": ["workload=front", "pod_selector=app=front", "service=front"],
    "Node.Cordoned": ["node=kt-node-2"],
    "Pod.NoisyNeighbour": ["node=kt-node-1", "workload=front"],
    "Node.MemoryPressure": ["node=kt-node-1", "workload=front"],
    "Workload.CannotSchedule": ["workload=front"],
    "Service.WrongTargetPort": ["service=catalogue"],
}
"""Each on something of its own, so that they run at once. The steady states are not what is looked at here."""


class Place(NamedTuple):
    """A cluster with the shop, opted in to chaos, and its Prometheus."""

    kubeconfig: str
    prometheus_url: str
    switches: bool
    """Whether the shop's programs run, which have a fault switch."""


@contextmanager
def on_twin() -> Iterator[Place]:
    one = Twin(seed=3, speed=5.0).start()
    with one.cluster.lock:
        one.cluster.store.edit("Namespace", "shop", "", opted_in)
    yield Place(str(one.kubeconfig), one.prometheus_url, switches=False)
    one.stop()


def opted_in(draft: Object) -> None:
    draft["metadata"]["labels"]["kt.io/chaos"] = "enabled"


@contextmanager
def on_real_shop(variables: dict[str, str]) -> Iterator[Place]:
    shop.reset()
    yield Place(variables["KT_TEST_KUBECONFIG"], variables["KT_TEST_PROMETHEUS_URL"], switches=True)
    shop.reset()


@pytest.fixture(params=["twin", pytest.param("real", marks=pytest.mark.real(*SERVERS))])
def kt(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Installed]:
    real = request.param == "real"
    with on_real_shop(request.getfixturevalue("servers")(*SERVERS)) if real else on_twin() as place:
        one = Installed(tmp_path, place)
        yield one
        one.kill()
        one.runtime.close()


class Installed:
    """KT's commands beside a cluster, and the store that they share."""

    def __init__(self, folder: Path, place: Place) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith("KT_")}
        self.folder, self.place, self.api = folder, place, Api(place.kubeconfig)
        self.environment = clean | {
            "KT_DATA_DIR": str(folder / "data"), "KT_KUBERNETES__KUBECONFIG": place.kubeconfig,
            "KT_PROMETHEUS__URL": place.prometheus_url, "KT_CHAOS__ENABLED": "true", "KT_CHAOS__MAX_CONCURRENT": "10",
            "KT_CHAOS__CLUSTER_WIDE": "true",
        }  # fmt: skip
        self.runtime = Runtime(load(None, self.environment))
        self.runners: list[subprocess.Popen[str]] = []

    def begin(self, file: Path) -> None:
        """Run an experiment, in a process that nobody waits for."""
        nothing = subprocess.DEVNULL
        self.runners.append(
            subprocess.Popen(
                self.command("run", str(file)), env=self.environment, cwd=self.folder, stdout=nothing, stderr=nothing,
                text=True,
            )
        )  # fmt: skip

    def kill(self) -> None:
        for runner in self.runners:
            runner.kill()
            runner.wait()

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-c", "from kt.cli import main; main()", "chaos", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), env=self.environment, cwd=self.folder, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip

    def switching(self) -> Path:
        """An experiment that lets every program of the catalogue fail and be late."""

        def call(name: str, query: str) -> Object:
            given = {"namespace": "shop", "pod_selector": "app=catalogue", "path": f"/fault?{query}"}
            provider = {"type": "python", "module": "verify.actions", "func": "switch_fault", "arguments": given}
            return {"type": "action", "name": name, "provider": provider}

        content = {
            "title": "Errors and delays of the catalogue", "description": "By its own switch.",
            "method": [call("on", "errors=0.5&delay_ms=200&seconds=600"), {
                "type": "action", "name": "hold", "provider": {"type": "process", "path": "sleep", "arguments": "120"},
            }],
            "rollbacks": [call("off", "errors=0")],
        }  # fmt: skip
        file = self.folder / "switching.json"
        file.write_text(json.dumps(content))
        return file

    def switched(self, pod: str) -> bool:
        """Whether the fault switch of a pod's program is on; not where none answers."""
        answer = self.api.ask("GET", f"/api/v1/namespaces/shop/pods/{pod}:8080/proxy/fault")
        return answer.code == 200 and answer.body["errors"] > 0

    def template(self, fault: str, *values: str, steady: bool = True) -> Path:
        """The experiment of a fault mode, as a file."""
        given = [part for value in ("namespace=shop", *values) for part in ("--var", value)]
        asked = ["chaos", "templates", "show", fault, *given]
        # In this process: to start one takes a second of processor time, and there are ten.
        content = json.loads(CliRunner().invoke(cli, asked, env=self.environment, catch_exceptions=False).stdout)
        if not steady:
            del content["steady-state-hypothesis"]
        file = self.folder / f"{fault}.json"
        file.write_text(json.dumps(content))
        return file


def spread(kt: Installed) -> dict[str, Any]:
    """All that an attack of these may change, but for what the cluster itself keeps track of."""
    found: dict[str, Any] = {"noted": [], "stress": []}
    for kind, namespace in (("Deployment", "shop"), ("Service", "shop"), ("NetworkPolicy", "shop"), ("Node", "")):
        for each in kt.runtime.cluster.list(kind, namespace):
            meta, spec = each["metadata"], each["spec"]
            found[f"{kind}/{meta['name']}"] = {**spec, "unschedulable": bool(spec.get("unschedulable"))}
            found["noted"] += [meta["name"]] if NOTE in (meta.get("annotations") or {}) else []
    pods = [pod["metadata"]["name"] for pod in kt.runtime.cluster.list("Pod", "shop")]
    if kt.place.switches:
        found["switched"] = [name for name in pods if name.startswith("catalogue-") and kt.switched(name)]
    found["stress"] = [name for name in pods if "kt-chaos" in name]
    return found


def disturbed(now: dict[str, Any], before: dict[str, Any]) -> set[str]:
    return {key for key in now.keys() | before.keys() if now.get(key) != before.get(key)}


def test_a_runner_killed_in_the_middle_of_any_attack_leaves_nothing(kt: Installed) -> None:
    before = spread(kt)
    files = [
        kt.template(fault, *values, "seconds=120", "recover_s=30", steady=False) for fault, values in ATTACKS.items()
    ]
    changed = {
        "Deployment/cart",
        "Deployment/catalogue",
        "Deployment/front",
        "Service/catalogue",
        "Service/store",
        "NetworkPolicy/kt-chaos-cut",
        "Node/kt-node-2",
    }
    if kt.place.switches:
        files.append(kt.switching())
        changed.add("switched")
    for file in files:
        kt.begin(file)

    def on() -> bool:
        now = spread(kt)
        return len(now["stress"]) == 2 and disturbed(now, before) >= changed | {"noted"}

    until(on, "all attacks are on")
    open_ = kt.runtime.chaos.open_runs()
    assert len(open_) == len(files)
    # As when a machine is lost: runner and Chaos Toolkit at once, so that nobody rolls back.
    for runner in kt.runners:
        runner.send_signal(signal.SIGSTOP)
    for run in open_:
        mark = f"--journal-path={running.workdir(kt.runtime, run.id) / 'journal.json'}".encode()
        for pid in told_of("cmdline", mark):
            os.kill(pid, signal.SIGKILL)
    kt.kill()
    assert disturbed(spread(kt), before) >= changed
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
    assert disturbed(spread(kt), before) == set()
    assert kt.runtime.log.entries() == [], "what was taken back is no finding"


@pytest.mark.parametrize("kt", ["twin"], indirect=True)
def test_an_attack_that_holds_is_told_in_a_report_with_charts_and_counts_for_the_score(kt: Installed) -> None:
    file = kt.template("Workload.BadRevision", "workload=cart", "pod_selector=app=cart", "service=cart")
    answer = kt.run("run", str(file), "--json")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    ran = json.loads(answer.stdout)
    assert (ran["outcome"], ran["targets"]) == ("held", ["shop/cart"])
    page = kt.run("report", ran["id"], "-o", "run.html")
    assert page.returncode == 0, page.stderr
    assert (kt.folder / "run.html").read_text().count("<polyline") == 3
    run = kt.runtime.chaos.run(ran["id"])
    assert run is not None
    assert "| method | action end one pod | succeeded |" in markdown(report_of(run, kt.runtime.chaos.journals(run.id)))
    whole = json.loads(kt.run("report", "--format", "json").stdout)
    assert [(each["service"], each["held"]) for each in whole["services"]] == [("shop/cart", 1)]
