"""Plain Chaos Toolkit experiments on schedule: worker, beat and Redis are real, the cluster is the twin."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
import redis
from kubernetes import client, config

from kt.chaos.model import Run
from kt.chaos.store import ChaosStore
from kt.settings import load
from kt.stores.places import open_chaos
from tests.e2e.installation import until
from tests.e2e.on_twin import OnTwin, stored
from tests.running import told_of
from twin.server import Twin
from verify import plain

EXPERIMENTS = Path(__file__).parent / "experiments"


class Chaos(OnTwin):
    """An installation with chaos switched on, and what it keeps of it."""

    store: ChaosStore

    def add(self, file: Path, *options: str) -> str:
        """Add a schedule as a person does; its id. It falls due at once instead of within a minute."""
        answer = self.run("chaos", "schedule", "add", str(file), "--cron", "0 3 1 1 *", "--json", *options)
        assert answer.returncode == 0, answer.stderr
        id_ = str(json.loads(answer.stdout)["id"])
        one = self.store.schedule(id_)
        assert one is not None
        assert one.what.plain.text == file.read_bytes().decode()
        self.store.commit(msgspec.structs.replace(one, version=one.version + 1, due_at=datetime.now(UTC)))
        return id_

    def runs(self, schedule: str) -> list[Run]:
        return self.store.runs(schedule=schedule)

    def run_of(self, schedule: str) -> Run:
        """The one run of a schedule, once it has ended."""
        until(lambda: any(not run.open for run in self.runs(schedule)), f"the run of {schedule} ends")
        (run,) = self.runs(schedule)
        return run


@pytest.fixture
def twin() -> Iterator[Twin]:
    one = Twin(seed=3, speed=5.0).start()
    yield one
    one.stop()


@pytest.fixture
def kt(request: pytest.FixtureRequest, tmp_path: Path, redis_url: str, twin: Twin) -> Iterator[Chaos]:
    redis.Redis.from_url(redis_url).flushall()
    one = Chaos(tmp_path, redis_url, twin, stored(request))
    one.environment |= {
        "KT_CHAOS__ENABLED": "true",
        "KT_CHAOS__MAX_CONCURRENT": "4",
        "KT_CHAOS__FOLDER": str(EXPERIMENTS),
        "PYTHONDONTWRITEBYTECODE": "1",
        "SHOP_PASSWORD": "open sesame",
        "TWIN_API": twin.api_url,
        "TWIN_TOKEN": twin.token,
        "WITNESS": str(tmp_path / "witness"),
    }
    one.store = open_chaos(load(None, one.environment))
    yield one
    print(one.output())
    one.end()
    one.store.close()


def opt_in(twin: Twin, namespace: str) -> None:
    api = config.new_client_from_config(str(twin.kubeconfig))  # type: ignore[no-untyped-call]  # the client has no types
    client.CoreV1Api(api).patch_namespace(namespace, {"metadata": {"labels": {"kt.io/chaos": "enabled"}}})


def lasting(folder: Path, kind: str, *, undo_s: float = 0.0) -> Path:
    """An experiment whose action disturbs (a file appears) and lasts a minute; the rollback takes the file away."""
    file = folder / "disturbed"
    actions = {
        "process": {"type": "process", "path": "sh", "arguments": ["-c", f"echo disturbed >> {file}; sleep 60"]},
        "python": {"type": "python", "module": "shopchaos", "func": "wait", "arguments": {"file": str(file)}},
    }
    actions["background"] = actions["process"]
    undo = f"sleep {undo_s}; rm {file}; echo undone >> {folder / 'undone'}"
    content = {
        "title": f"A minute of {kind}",
        "description": "It must not stay.",
        "method": [
            {"type": "action", "name": "disturb", "background": kind == "background", "provider": actions[kind]},
            {"type": "probe", "name": "look", "provider": {"type": "process", "path": "sleep", "arguments": "60"}},
        ],
        "rollbacks": [
            {"type": "action", "name": "undo",
             "provider": {"type": "process", "path": "sh", "arguments": ["-c", undo]}}
        ],
    }  # fmt: skip
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(content))
    return path


def left_of(mark: Path) -> list[int]:
    """The processes that still carry the mark of a run whose files are in this folder."""
    return list(told_of("environ", f"KT_RUN_MARK={mark}".encode()))


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
def test_experiments_of_all_kinds_run_on_schedule_unchanged(kt: Chaos, tmp_path: Path, twin: Twin) -> None:
    opt_in(twin, "shop")
    (tmp_path / "shelf").write_text("")
    (tmp_path / "other").write_text("")
    kt.start("beat")
    kt.start("worker")
    schedules = {
        "process": kt.add(EXPERIMENTS / "process.json", "--var", f"file={tmp_path / 'shelf'}"),
        "http": kt.add(EXPERIMENTS / "http.yaml"),
        "python": kt.add(EXPERIMENTS / "python.yaml"),
        "kubernetes": kt.add(EXPERIMENTS / "kubernetes.json"),
    }
    ended = {name: kt.run_of(id_) for name, id_ in schedules.items()}
    assert {name: (run.outcome, run.why) for name, run in ended.items() if run.outcome != "held"} == {}
    for name, run in ended.items():
        (file,) = EXPERIMENTS.glob(f"{name}.*")
        assert run.what.plain.digest == plain.read(file).digest
    assert (tmp_path / "shelf.over").exists()
    witness = (tmp_path / "witness").read_text()
    assert "begin A module of our own" in witness
    assert "count-slowly: succeeded" in witness
    assert "forget: succeeded" in witness
    ended_pods = [change for change in twin.cluster.store.since("Pod", 0) if change.before and change.type == "DELETED"]
    assert len(ended_pods) == 1
    dry = kt.add(EXPERIMENTS / "process.json", "--name", "dry", "--dry", "actions", "--var", f"file={tmp_path}/other")
    assert kt.run_of(dry).outcome == "inconclusive"
    assert "dry" in kt.run_of(dry).why
    assert not (tmp_path / "other.over").exists()


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
def test_what_the_guard_refuses_touches_nothing_and_is_told(kt: Chaos, twin: Twin) -> None:
    kt.start("beat")
    kt.start("worker")
    refused = kt.run_of(kt.add(EXPERIMENTS / "kubernetes.json"))
    assert (refused.outcome, refused.started_at) == ("refused", None)
    assert "namespace shop is not opted in" in refused.why
    assert not [change for change in twin.cluster.store.since("Pod", 0) if change.type == "DELETED"]


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
def test_two_beats_and_two_workers_run_a_due_run_once(kt: Chaos, tmp_path: Path) -> None:
    for command in ("beat", "beat", "worker", "worker"):
        kt.start(command)
    (tmp_path / "shelf").write_text("")
    run = kt.run_of(kt.add(EXPERIMENTS / "process.json", "--var", f"file={tmp_path / 'shelf'}"))
    assert (run.outcome, run.why) == ("held", run.why)
    assert len(kt.store.journals(run.id)) == 1


@pytest.mark.parametrize(
    ("kt", "kind"),
    [("sqlite", "process"), ("sqlite", "python"), ("sqlite", "background"), ("neo4j", "process")],
    indirect=["kt"],
)
def test_a_machine_lost_in_the_middle_of_an_action_is_undone_by_another_process(
    kt: Chaos, tmp_path: Path, kind: str
) -> None:
    kt.start("beat")
    worker = kt.start("worker")
    schedule = kt.add(lasting(tmp_path, kind))
    until((tmp_path / "disturbed").exists, "the action is on")
    (run,) = kt.runs(schedule)
    folder = tmp_path.resolve() / "chaos" / run.id
    # Worker and Chaos Toolkit at once, as when a container is killed; what its action started goes on.
    journal = f"--journal-path={folder / 'journal.json'}".encode()
    toolkit = list(told_of("cmdline", journal))
    worker.send_signal(signal.SIGSTOP)
    for pid in toolkit:
        os.kill(pid, signal.SIGKILL)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert (tmp_path / "disturbed").exists()
    kt.start("worker")
    ended = kt.run_of(schedule)
    assert ended.outcome == "aborted"
    assert "ran its 1 rollbacks" in ended.why
    assert not (tmp_path / "disturbed").exists()
    assert (tmp_path / "undone").read_text() == "undone\n"
    assert left_of(folder) == []
    shown = kt.run("chaos", "show", ended.id)
    assert "Rollbacks, by another process" in shown.stdout
    assert "disturb" in shown.stdout


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["process", "python"])
def test_a_worker_killed_in_the_middle_of_an_action_leaves_nothing(kt: Chaos, tmp_path: Path, kind: str) -> None:
    kt.start("beat")
    worker = kt.start("worker")
    schedule = kt.add(lasting(tmp_path, kind))
    until((tmp_path / "disturbed").exists, "the action is on")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    # Before any other worker is there: its own Chaos Toolkit turns to the rollbacks.
    until(lambda: not (tmp_path / "disturbed").exists(), "the disturbance is undone")
    kt.start("worker")
    ended = kt.run_of(schedule)
    assert (ended.outcome, (tmp_path / "undone").read_text()) == ("aborted", "undone\n")
    assert left_of(tmp_path.resolve() / "chaos" / ended.id) == []


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
@pytest.mark.parametrize("kind", ["process", "python", "background"])
def test_abort_ends_a_run_with_its_rollbacks(kt: Chaos, tmp_path: Path, kind: str) -> None:
    kt.start("beat")
    kt.start("worker")
    schedule = kt.add(lasting(tmp_path, kind))
    until((tmp_path / "disturbed").exists, "the action is on")
    (run,) = kt.runs(schedule)
    answer = kt.run("chaos", "abort", run.id, "--why", "enough", "--by", "ann", "--json")
    assert answer.returncode == 0, answer.stderr
    ended = json.loads(answer.stdout)
    assert (ended["outcome"], ended["phase"]) == ("aborted", "ended")
    assert "ended by ann: enough" in ended["why"]
    assert not (tmp_path / "disturbed").exists()
    assert (tmp_path / "undone").read_text() == "undone\n"
    assert left_of(tmp_path.resolve() / "chaos" / run.id) == []
    again = kt.run("chaos", "abort", run.id)
    assert (again.returncode, "has ended already" in again.stderr) == (2, True)


@pytest.mark.parametrize("kt", ["sqlite"], indirect=True)
def test_rollbacks_in_progress_are_not_cut_short_by_an_abort(kt: Chaos, tmp_path: Path) -> None:
    file = lasting(tmp_path, "process", undo_s=8.0)
    content = json.loads(file.read_text())
    content["method"] = [content["method"][0]]
    content["method"][0]["provider"]["arguments"][1] = f"echo disturbed >> {tmp_path / 'disturbed'}"
    file.write_text(json.dumps(content))
    kt.start("beat")
    kt.start("worker")
    schedule = kt.add(file)
    until(lambda: bool(kt.runs(schedule)), "the run is claimed")
    noted = tmp_path / "chaos" / kt.runs(schedule)[0].id / "progress.jsonl"
    until(lambda: noted.exists() and '"rollbacks"' in noted.read_text(), "the rollbacks are on")
    assert kt.run("chaos", "abort", kt.runs(schedule)[0].id).returncode == 0
    assert not (tmp_path / "disturbed").exists()
    assert (tmp_path / "undone").read_text() == "undone\n"
