"""Records incidents of the real cluster as files, each in a folder of its own that `kt diagnose` takes:

    topology.json  changes.json  alerts.json  metrics.csv  rules.json  truth.json

The topology and the changes are those that KT's own follower (`kt beat`) had in its graph; the alerts are the bodies
that Alertmanager posted; metrics and rules are Prometheus' own. An incident is looked at some seconds after its first
alert. In half of the incidents something innocent was rolled out shortly before.

    python -m bench.campaign.record [--only KIND-TARGET,…] [--into bench/data/campaign]
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import msgspec
import redis

import testbed.servers
from bench.campaign.faults import INCIDENTS, Injection, Truth, take_back
from graph_schema.model import Subgraph
from graph_schema.ontology import load_ontology
from kt.stores.places import open_graph
from sense import prometheus as ranges
from testbed import prometheus, shop
from testbed.errors import TestbedError
from testbed.kubernetes import cluster
from testbed.kubernetes.cluster import Api
from tests.e2e.installation import Installation, until
from tests.e2e.real import SERVERS, grant

INTO = Path(__file__).parents[1] / "data" / "campaign"
CALM_S = 25.0
"""Quiet time before an injection, of which the metrics are recorded."""
LOOK_S = 10.0
"""How long after the first alert the incident is looked at."""
PATIENCE_S = 90.0
"""An injection that raises no alert in this time is none."""
STEP_S = 2.0


class Mailbox:
    """Takes in what Alertmanager posts."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        box = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                box.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """The bodies are what counts."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def firing(self) -> bool:
        return any(alert["status"] == "firing" for body in self.bodies for alert in body["alerts"])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of incidents, comma-separated")
    parser.add_argument("--into", type=Path, default=INTO)
    parser.add_argument("--missing", action="store_true", help="only those that are not recorded yet")
    given = parser.parse_args()
    wanted = set(filter(None, given.only.split(",")))
    variables = testbed.servers.ensure(SERVERS)
    grant()
    missing = []
    for name, injections in _one_of_each_kind_first():
        folder = given.into / name
        if (wanted and name not in wanted) or (given.missing and folder.exists()):
            continue
        try:
            seen = _record(folder, injections, variables, random.Random(name))
            said = "recorded" if seen else "raised no alert, not kept"
        except (TestbedError, AssertionError) as error:
            seen, said = False, f"not recorded: {str(error).splitlines()[0]}"
        missing += [] if seen else [name]
        print(f"{name}: {said}", file=sys.stderr, flush=True)
    _mended()
    print(json.dumps({"not_recorded": missing}))
    return 0


def _one_of_each_kind_first() -> list[tuple[str, tuple[Injection, ...]]]:
    """(name, injections), so that a recording that is cut short has all kinds."""
    seen: Counter[str] = Counter()
    found = []
    for injections in INCIDENTS:
        kind = "+".join(each.kind for each in injections)
        seen[kind] += 1
        found.append((seen[kind], "+".join(each.name for each in injections), injections))
    return [(name, injections) for _, name, injections in sorted(found, key=lambda each: each[0])]


def _mended() -> None:
    prometheus.send_to("")
    with cluster.Api(cluster.kubeconfig("admin")) as api:
        take_back(api)
    shop.reset()


@contextmanager
def _following(variables: dict[str, str]) -> Iterator[Installation]:
    """KT's follower alone: it watches the cluster and does nothing else."""
    redis.Redis.from_url(variables["KT_TEST_REDIS_URL"]).flushall()
    settings = {
        "KT_BROKER_URL": variables["KT_TEST_REDIS_URL"],
        "KT_KUBERNETES__KUBECONFIG": variables["KT_TEST_KUBECONFIG_OF_KT"],
        "KT_PROMETHEUS__URL": variables["KT_TEST_PROMETHEUS_URL"],
        "KT_PROMETHEUS__CALLS_EVERY_S": "2",
    }
    with tempfile.TemporaryDirectory(prefix="kt-campaign-") as folder:
        one = Installation(Path(folder), settings)
        try:
            one.start("beat")
            yield one
        finally:
            one.end()


def _record(folder: Path, injections: Sequence[Injection], variables: dict[str, str], chance: random.Random) -> bool:
    _mended()
    box = Mailbox()
    with cluster.Api(cluster.kubeconfig("admin")) as api, _following(variables) as kt:
        try:
            for each in injections:
                if each.prepare:
                    each.prepare(api)
            until(lambda: shop.ready(api), "the shop is ready")
            prometheus.wait_until_quiet(120)
            until(lambda: kt.knows("Deployment/shop/cart"), "the beat follows the cluster")
            prometheus.send_to(box.url)
            calm_from = time.time()
            innocent = _innocent(api, injections, chance)
            time.sleep(CALM_S)
            begun = time.time()
            truths = [_truth(each, each.do(api)) for each in injections]
            if not _alerted(box):
                return False
            time.sleep(LOOK_S)
            times = calm_from, begun, time.time()
            _write(folder, [each.kind for each in injections], truths, box, kt, variables, times, innocent)
            return True
        finally:
            prometheus.send_to("")
            box.close()


def _truth(injected: Injection, hit: str | None) -> Truth:
    """With what was hit, where that is known only after it."""
    return msgspec.structs.replace(injected.truth, entities=(*([hit] if hit else []), *injected.truth.entities))


def _innocent(api: Api, injections: Sequence[Injection], chance: random.Random) -> str:
    """In every second incident, a rollout that changes nothing for anybody; which one."""
    free = [name for name, *_ in shop.SERVICES if name not in {each.target for each in injections}]
    name = chance.choice(free)
    if chance.random() < 0.5:
        return ""
    mark = {"metadata": {"annotations": {"example.com/build": str(chance.randint(1, 10_000))}}}
    api.patch(f"{shop.DEPLOYMENTS}/{name}", {"spec": {"template": mark}})
    until(lambda: shop.ready(api), "the innocent rollout is done")
    return f"Deployment/{shop.NAMESPACE}/{name}"


def _alerted(box: Mailbox) -> bool:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if box.firing():
            return True
        time.sleep(0.2)
    return False


def _write(
    folder: Path, kinds: list[str], truths: list[Truth], box: Mailbox, kt: Installation, variables: dict[str, str],
    times: tuple[float, float, float], innocent: str,
) -> None:  # fmt: skip
    calm_from, begun, seen = times
    folder.mkdir(parents=True, exist_ok=True)
    piece = _known(kt)
    url = variables["KT_TEST_PROMETHEUS_URL"]
    table = ranges.read(url, ranges.load(), list(piece.entities.values()), calm_from, seen)
    rows = ["timestamp,entity,metric,value"]
    for entity, metrics in sorted(table.items()):
        for metric, series in sorted(metrics.items()):
            last = 0.0
            for at, value in zip(series.times, series.values, strict=True):
                if at - last >= STEP_S:
                    rows.append(f"{at:.0f},{entity},{metric},{value:.4g}")
                    last = float(at)
    (folder / "metrics.csv").write_text("\n".join(rows) + "\n")
    topology = {
        "entities": sorted(piece.entities.values(), key=lambda each: each.id),
        "relations": sorted(piece.relations, key=str),
    }
    changes = [each for each in piece.changes if each.at.timestamp() >= calm_from]
    truth = {
        "incident": folder.name,
        "kinds": kinds,
        "truths": truths,
        "began_at": datetime.fromtimestamp(begun, UTC),
        "seen_at": datetime.fromtimestamp(seen, UTC),
        "innocent": innocent,
    }
    rules = httpx.get(f"{url}/api/v1/rules", timeout=10).json()
    for name, content in (
        ("topology", topology),
        ("changes", changes),
        ("truth", truth),
        ("rules", rules),
        ("alerts", box.bodies),
    ):
        text = msgspec.json.format(msgspec.json.encode(content), indent=1).decode()
        (folder / f"{name}.json").write_text(anywhere(text) + "\n")


def anywhere(text: str) -> str:
    """Without the addresses and folders of the machine on which it was recorded."""
    text = re.sub(r'"(generatorURL)": "http://[^/"]*/', r'"\1": "http://prometheus:9090/', text)
    text = re.sub(r'"(externalURL)": "http://[^/"]*', r'"\1": "http://alertmanager:9093', text)
    return re.sub(r'"file": "[^"]*/([^/"]*)"', r'"file": "\1"', text)


def _known(kt: Installation) -> Subgraph:
    """Everything in the graph, and the changes of all time."""
    graph = open_graph(kt.settings, load_ontology())
    try:
        entities = {each.id: each for each in graph.find()}
        near = graph.neighbourhood(entities, hops=1)
        return Subgraph(near.entities, near.relations, tuple(graph.changes_since(datetime.fromtimestamp(0, UTC))))
    finally:
        graph.close()


if __name__ == "__main__":
    sys.exit(main())
