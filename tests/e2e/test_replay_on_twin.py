"""An incident of the twin as files: exported, diagnosed again, replayed by other knowledge, confirmed, learned from."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from graph_schema.model import Signal
from kt.cli import cli
from kt.incident.events import AlertsReceived
from kt.incident.log import Append
from kt.pipeline.gathering import Ahead
from kt.pipeline.journey import Journey
from kt.pipeline.stages import diagnose as diagnose_stage
from kt.processes import follower
from kt.runtime import Runtime
from kt.sections import Kubernetes, Prometheus
from kt.settings import Settings
from tests.e2e.installation import until
from twin.server import Twin

KNOWLEDGE = Path(__file__).parents[2] / "graph_schema" / "knowledge"
CAUSE, FAULT = "Deployment/shop/cart", "Workload.BadRevision"
DEADLINE_S = 60.0


@pytest.fixture(scope="module")
def diagnosed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Twin]]:
    """The data folder of a KT that diagnosed a bad rollout, and the twin, running."""
    twin, stop, folder = Twin(seed=3, speed=20.0).start(), threading.Event(), tmp_path_factory.mktemp("kt")
    settings = Settings(
        data_dir=str(folder), broker_url="memory://", prometheus=Prometheus(url=twin.prometheus_url),
        kubernetes=Kubernetes(kubeconfig=str(twin.kubeconfig), cluster="twin"),
    )  # fmt: skip
    runtime = Runtime(settings, clock=twin.now)
    watching = follower(runtime)
    thread = threading.Thread(target=watching.run, args=(stop,), daemon=True)
    thread.start()
    assert watching.synced.wait(DEADLINE_S)
    twin.inject("bad-rollout")
    begun = twin.now()

    def seen() -> bool:
        return any(each.kind == "rollout" for each in runtime.graph.changes_since(begun))

    until(seen, "the rollout is seen", seconds=DEADLINE_S)
    until(lambda: (twin.now() - begun).total_seconds() >= 15, "the twin's time passes", seconds=DEADLINE_S)
    labels = {"alertname": "KtErrorRatioHigh", "namespace": "shop", "symptom": "errors", "severity": "critical"}
    alerts = tuple(
        Signal(
            fingerprint=name, entity=f"Service/shop/{name}", symptom="errors", name="KtErrorRatioHigh",
            starts_at=begun, labels=labels | {"service": name}, severity="critical",
        )
        for name in ("front", "cart")
    )  # fmt: skip
    runtime.log.commit([Append(incident="abc", expected=0, events=(AlertsReceived(at=begun, signals=alerts),))])
    diagnose_stage.run(runtime, Journey(runtime.log, "abc"), Ahead())
    yield folder, twin
    stop.set()
    runtime.close()
    twin.stop()


@pytest.fixture
def kt(diagnosed: tuple[Path, Twin], monkeypatch: pytest.MonkeyPatch) -> Kt:
    folder, twin = diagnosed
    monkeypatch.setenv("KT_DATA_DIR", str(folder))
    monkeypatch.setenv("KT_PROMETHEUS__URL", twin.prometheus_url)
    return Kt()


class Kt:
    def __call__(self, *words: object, code: int = 0) -> Result:
        answer = CliRunner().invoke(cli, [str(word) for word in words], catch_exceptions=False)
        assert answer.exit_code == code, answer.output
        return answer


def test_what_was_exported_leads_kt_diagnose_to_the_same_cause(kt: Kt, tmp_path: Path) -> None:
    assert "kt replay" in kt("incidents", "export", "abc", tmp_path / "case").stdout
    files = {path.stem: path for path in (tmp_path / "case").iterdir()}
    assert set(files) == {"replay", "topology", "changes", "alerts", "rules", "metrics"}
    options = [word for name in sorted(files.keys() - {"replay"}) for word in (f"--{name}", files[name])]
    found = json.loads(kt("diagnose", *options, "--json").stdout)
    best = found["hypotheses"][0]
    assert (best["entity"], best["fault"]) == (CAUSE, FAULT)


def test_a_replay_changes_nothing_with_the_same_knowledge_and_tells_what_other_knowledge_changes(
    kt: Kt, tmp_path: Path
) -> None:
    kt("incidents", "export", "abc", tmp_path / "case", "--no-metrics")
    for what in ("abc", tmp_path / "case"):
        answer = kt("replay", what, "--knowledge", KNOWLEDGE, "--json")
        assert json.loads(answer.stdout)["verdicts"] == {"same": 1}
    # Knowledge by which a bad revision is as good as impossible.
    other = shutil.copytree(KNOWLEDGE, tmp_path / "other")
    file = other / "faults" / "workload.yaml"
    first, marker, rest = file.read_text().partition("  Workload.BadRevision:\n")
    assert marker
    file.write_text(first + marker + rest.replace("prior: ", "prior: 0.00000001 # ", 1))
    answer = kt("replay", "--all", "--knowledge", other, code=1)
    assert answer.stdout.startswith("changed")
    assert f"{FAULT} of {CAUSE}" in answer.stdout
    kt("replay", "--all", "--knowledge", other, "--fail-on", "never")
    file.write_text(file.read_text().replace("symptoms:", "symptomms:", 1))
    with pytest.raises(Exception, match=r"workload\.yaml:\d+"):
        kt("replay", "--all", "--knowledge", other)


def test_what_a_person_confirms_is_learned_accepted_forgotten_and_taken_elsewhere(
    kt: Kt, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = ("incidents", "confirm", "abc", "--by", "ada", "--cause")
    assert "no fault mode; did you mean Workload.BadRevision" in kt(
        *said, CAUSE, "--fault", "Workload.BadRevisoin", code=2
    ).stderr.replace("\n", " ")
    kt(*said, "Node/kt-node-1", "--fault", "Node.NotReady")
    kt(*said, CAUSE, "--fault", FAULT)
    assert "already" in kt(*said, CAUSE, "--fault", FAULT).stdout

    def learned() -> dict[str, int]:
        told = json.loads(kt("knowledge", "diff", "--json").stdout)
        return {each["fault"]: each["confirmed"] for each in told["faults"]}

    # The last word counts: what was said first is taken back.
    assert learned() == {FAULT: 1}
    kt("knowledge", "accept", FAULT)
    assert json.loads(kt("knowledge", "diff", "--json").stdout)["used"] == 1
    kt("knowledge", "export", tmp_path / "counts.json")
    monkeypatch.setenv("KT_DATA_DIR", str(tmp_path / "elsewhere"))
    kt("knowledge", "merge", tmp_path / "counts.json", tmp_path / "counts.json")
    assert learned() == {FAULT: 1}
    kt("knowledge", "forget", "--all")
    assert learned() == {}
    (tmp_path / "counts.json").write_text('{"seen": {"cause": {"a": -1}}}')
    assert "is no count" in kt("knowledge", "merge", tmp_path / "counts.json", code=2).stderr
    assert "nothing was learned of Node.None" in kt("knowledge", "accept", "Node.None", code=2).stderr
