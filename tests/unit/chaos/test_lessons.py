"""What a run teaches: the disturbance of one thing raised which symptoms where. From the stores to a person's word."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from diagnose.learning import usable
from diagnose.propagation import Raised
from diagnose.untold import believed, believed_of, increments
from graph_schema.catalogue import load_catalogue
from graph_schema.model import Diagnosis, Entity, Relation, Signal, Subgraph
from graph_schema.ontology import load_ontology
from graph_schema.stores.sqlite import SqliteGraphStore
from kt.chaos.lessons import take_in_runs
from kt.chaos.model import Run, What
from kt.cli import cli
from kt.incident.basis import Basis, pack
from kt.incident.events import AlertsReceived, Diagnosed
from kt.incident.log import Append
from kt.pipeline.app import create_app
from kt.runtime import Runtime
from kt.sections import Kubernetes
from kt.settings import Settings
from kt.stores.sqlite_chaos import SqliteChaosStore
from kt.stores.sqlite_learned import SqliteLearned
from kt.stores.sqlite_log import SqliteIncidentLog
from verify.plain import Plain

ONTOLOGY = load_ontology()
CATALOGUE = load_catalogue(ontology=ONTOLOGY)
T0 = datetime(2026, 6, 12, 15, tzinfo=UTC)
FAULT, CART, FRONT = "Workload.ScaledToZero", "Service/shop/cart", "Service/shop/front"
AFTERMATH_S = 120.0
PIECE = Subgraph(
    {each: Entity(id=each, kind="Service", name=each.split("/")[2], namespace="shop") for each in (CART, FRONT)},
    (Relation(FRONT, CART, "CALLS"),),
)
ACTED = {"run": [{"activity": {"type": "action", "name": "scale"}, "status": "succeeded"}]}


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def alert(entity: str, symptom: str, after_s: float) -> Signal:
    return Signal(
        fingerprint=f"{symptom}@{entity}", entity=entity, symptom=symptom, name=symptom, starts_at=at(after_s)
    )


class Site:
    def __init__(self, folder: Path) -> None:
        file = folder / "kt.db"
        self.chaos, self.log, self.learned = SqliteChaosStore(file), SqliteIncidentLog(file), SqliteLearned(file)
        self.graph = SqliteGraphStore(folder / "graph.db", ONTOLOGY.fault_from)

    def ran(self, id_: str = "r", *, fault: str = FAULT, journal: dict[str, Any] | None = None, **more: Any) -> Run:
        extensions = [{"name": "kt", "fault": fault}] if fault else []
        text = json.dumps({"title": "t", "description": "d", "method": [], "extensions": extensions})
        what = What(name="t", plain=Plain(text=text, format="json", source="x.json"), dry=more.pop("dry", ""))
        run = Run(
            id=id_, what=what, due_at=T0, claimed_at=T0, started_at=T0, ended_at=at(60), phase="ended",
            outcome="held", targets=("shop/cart",),
        )  # fmt: skip
        run = msgspec.structs.replace(run, **more)
        self.chaos.commit(run)
        self.chaos.keep(id_, "run", ACTED if journal is None else journal)
        return run

    def raised(
        self, *signals: Signal, runs: tuple[str, ...] = ("r",), incident: str = "i", diagnosed: bool = True
    ) -> None:
        events: list[Any] = [AlertsReceived(at=at(30), signals=signals, group_key="g", chaos_runs=runs)]
        if diagnosed:
            basis = Basis(now=at(31), piece=PIECE, alerts=signals)
            events.append(Diagnosed(at=at(31), diagnosis=Diagnosis(hypotheses=()), basis=pack(basis)))
        self.log.commit([Append(incident=incident, expected=0, events=tuple(events))])

    def take_in(self, now: float = 60 + AFTERMATH_S) -> int:
        return take_in_runs(
            self.chaos.runs(), self.chaos, self.log, self.learned, CATALOGUE, ONTOLOGY, self.graph,
            now=at(now), aftermath_s=AFTERMATH_S,
        )  # fmt: skip

    @property
    def known(self) -> dict[str, int]:
        return usable(self.learned.counts(), "all")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    # The log tells when it was written: all of these runs lie before that.
    return Site(tmp_path)


def test_a_run_teaches_once_and_only_when_its_aftermath_is_over(site: Site) -> None:
    site.ran()
    site.raised(alert(FRONT, "errors", 20), alert(CART, "unavailable", 5), alert(CART, "latency", -5))
    assert site.take_in(now=60 + AFTERMATH_S - 1) == 0
    assert site.known == {}
    assert site.take_in() == 1
    assert site.known == {
        f"disturbed|{FAULT}|{CART}": 1,
        f"raised|{FAULT}|{CART}|{CART}|any": 1,
        f"raised|{FAULT}|{CART}|{CART}|unavailable": 1,
        f"raised|{FAULT}|{CART}|{FRONT}|any": 1,
        f"raised|{FAULT}|{CART}|{FRONT}|errors": 1,
        f"felt|{FAULT}|{CART}|any": 1,
        f"felt|{FAULT}|{CART}|{FRONT}": 1,
        f"delay|{FAULT}|{CART}|{CART}|unavailable": 5,
        f"delay|{FAULT}|{CART}|{FRONT}|errors": 20,
    }
    assert site.take_in() == 0
    assert site.known[f"disturbed|{FAULT}|{CART}"] == 1


def test_a_run_whose_incident_is_not_diagnosed_yet_is_waited_for(site: Site) -> None:
    site.ran()
    site.raised(alert(FRONT, "errors", 20), diagnosed=False)
    assert site.take_in() == 0
    basis = Basis(now=at(31), piece=PIECE, alerts=(alert(FRONT, "errors", 20),))
    told = Diagnosed(at=at(31), diagnosis=Diagnosis(hypotheses=()), basis=pack(basis))
    site.log.commit([Append(incident="i", expected=1, events=(told,))])
    # The thing that was disturbed stands in what the diagnosis looked at.
    assert site.take_in() == 1


@pytest.mark.parametrize(
    "how",
    [
        {"fault": ""},
        {"fault": "No.SuchFault"},
        {"targets": ("shop/cart", "shop/pay")},
        {"targets": ("shop/elsewhere",)},
        {"dry": "actions"},
        {"outcome": "refused"},
        {"journal": {"run": [{"activity": {"type": "action"}, "status": "failed"}]}},
        {"journal": {"run": [{"activity": {"type": "probe"}, "status": "succeeded"}]}},
    ],
)
def test_a_run_that_does_not_tell_one_cause_apart_teaches_nothing(site: Site, how: dict[str, Any]) -> None:
    site.ran(**how)
    site.raised(alert(FRONT, "errors", 20))
    assert site.take_in() == 0
    assert site.known == {}


def test_what_came_while_two_runs_were_on_teaches_nothing(site: Site) -> None:
    site.ran("r")
    site.ran("s", targets=("shop/front",))
    site.raised(alert(FRONT, "errors", 20), runs=("r", "s"))
    assert site.take_in() == 0
    assert site.known == {}


def test_a_person_sees_what_was_raised_where_accepts_it_and_does_not_hand_out_names(site: Site, tmp_path: Path) -> None:
    site.ran()
    site.raised(alert(FRONT, "errors", 20))
    environment = {"KT_DATA_DIR": str(tmp_path), "NO_COLOR": "1"}

    def kt(*words: str) -> str:
        answer = CliRunner().invoke(cli, ["knowledge", *words], env=environment, catch_exceptions=False)
        assert answer.exit_code == 0, answer.output
        return answer.output

    told = kt("diff")
    assert f"{FAULT} of {CART}  disturbed in 1 run, 0 of them in use" in told
    assert f"errors on {FRONT} in 1 of 1, after 20 s in the mean" in told
    kt("accept", FAULT)
    (path,) = json.loads(kt("diff", "--json"))["paths"]
    assert (path["disturbed"], path["shows_on"], path["raised"], path["runs_in_use"]) == (CART, FRONT, 1, 1)
    kt("export", str(tmp_path / "bare.json"))
    kt("export", "--paths", str(tmp_path / "whole.json"))
    bare, whole = (tmp_path / "bare.json").read_text(), (tmp_path / "whole.json").read_text()
    assert "shop" not in bare
    assert FRONT in whole
    kt("forget", FAULT)
    assert json.loads(kt("diff", "--json"))["paths"] == []


PAY, GATE = "Service/shop/pay", "Service/shop/gate"


def known_to_the_graph(site: Site) -> None:
    """Gate → front → cart; and pay, which nobody is known to call."""
    entities = [Entity(id=each, kind="Service", name=each.split("/")[2], namespace="shop") for each in
                (CART, FRONT, PAY, GATE)]  # fmt: skip
    site.graph.upsert(entities, [Relation(FRONT, CART, "CALLS"), Relation(GATE, FRONT, "CALLS")], at=T0)


def test_a_call_that_nobody_told_of_is_given_away_by_who_felt_it_first(site: Site, tmp_path: Path) -> None:
    known_to_the_graph(site)
    site.ran(targets=("shop/pay",))
    site.raised(alert(GATE, "errors", 22), alert(FRONT, "errors", 20), alert(CART, "errors", 18))
    site.take_in()
    calls = {key for key in site.known if key.startswith("call|")}
    assert calls == {f"call|{FAULT}|{PAY}|{CART}"}
    assert believed_of(site.learned.counts(), "accepted") == set()
    environment = {"KT_DATA_DIR": str(tmp_path), "NO_COLOR": "1"}
    told = CliRunner().invoke(cli, ["knowledge", "diff"], env=environment, catch_exceptions=False).output
    assert f"{CART} calls {PAY}" in told
    CliRunner().invoke(cli, ["knowledge", "accept", FAULT], env=environment, catch_exceptions=False)
    assert believed_of(site.learned.counts(), "accepted") == {Relation(CART, PAY, "CALLS")}
    # Without a person's word one run is not enough.
    assert believed_of(site.learned.counts(), "all") == set()


def test_a_call_that_is_known_is_not_given_away_again(site: Site) -> None:
    known_to_the_graph(site)
    site.graph.upsert([], [Relation(CART, PAY, "CALLS")], at=at(1))
    site.ran(targets=("shop/pay",))
    site.raised(alert(GATE, "errors", 22), alert(CART, "errors", 18))
    assert site.take_in() == 1
    assert not [key for key in site.known if key.startswith("call|")]


def test_a_stray_alert_beside_some_runs_is_no_call() -> None:
    seen = {f"call|{FAULT}|{PAY}|{CART}": 2, f"felt|{FAULT}|{PAY}|{CART}": 2, f"felt|{FAULT}|{PAY}|any": 5}
    assert believed(seen, least=1) == set()
    assert believed({**seen, f"felt|{FAULT}|{PAY}|any": 4}, least=1) == {Relation(CART, PAY, "CALLS")}


def test_what_is_felt_of_a_load_and_what_is_no_feeling_of_a_caller_give_no_call_away() -> None:
    piece = Subgraph({each: Entity(id=each, kind="Service", name=each, namespace="shop") for each in (CART, PAY)}, ())
    slow, less = (Raised(entity=CART, symptom=each, after_s=1.0) for each in ("latency", "traffic_drop"))
    assert increments(CATALOGUE.faults["Workload.Overload"], PAY, [slow], piece, ONTOLOGY) == {}
    assert increments(CATALOGUE.faults[FAULT], PAY, [less], piece, ONTOLOGY) == {}
    assert f"call|{FAULT}|{PAY}|{CART}" in increments(CATALOGUE.faults[FAULT], PAY, [slow], piece, ONTOLOGY)


def test_callers_in_a_circle_are_all_given_away() -> None:
    piece = Subgraph(
        {each: Entity(id=each, kind="Service", name=each, namespace="shop") for each in (CART, FRONT, PAY)},
        (Relation(FRONT, CART, "CALLS"), Relation(CART, FRONT, "CALLS")),
    )
    felt = [Raised(entity=each, symptom="errors", after_s=1.0) for each in (CART, FRONT)]
    found = increments(CATALOGUE.faults[FAULT], PAY, felt, piece, ONTOLOGY)
    assert {key for key in found if key.startswith("call|")} == {
        f"call|{FAULT}|{PAY}|{CART}", f"call|{FAULT}|{PAY}|{FRONT}",
    }  # fmt: skip


def test_the_sweep_of_a_worker_learns_from_runs_by_itself(site: Site, tmp_path: Path) -> None:
    site.ran()
    site.raised(alert(FRONT, "errors", 20))
    settings = Settings(
        data_dir=str(tmp_path), broker_url="memory://", kubernetes=Kubernetes(kubeconfig=str(tmp_path / "none"))
    )
    runtime = Runtime(settings, clock=lambda: at(60 + AFTERMATH_S + 1))
    assert settings.chaos.aftermath_s == AFTERMATH_S
    create_app(runtime).pipeline.sweep()
    assert site.known[f"raised|{FAULT}|{CART}|{FRONT}|errors"] == 1
    runtime.close()
