"""The mechanism of the campaign on large applications: what it does follows from queues, time-outs and probes."""

from __future__ import annotations

import random
from datetime import UTC, datetime

import numpy as np
import pytest

from bench.fleet.__main__ import figures
from bench.fleet.application import Application, Call, Node, Workload, build
from bench.fleet.disturbances import MAKERS
from bench.fleet.incident import application, calm, tell
from bench.fleet.judged import Row
from bench.fleet.mechanism import Mechanism
from bench.fleet.monitoring import RULES, Monitoring
from bench.fleet.noise import Noise, hear
from bench.fleet.packages import frame, services_of
from bench.fleet.pods import CRASHES, IMAGE, SAID_S, Rollout, Template
from graph_schema.catalogue import load_catalogue
from graph_schema.ontology import load_ontology
from twin import shop
from twin.cluster import Cluster

QUIET = Noise(0, 0, 0, 0, 0, 0, 0)
SERVICES = 50


def chain(*workloads: Workload, calls: list[Call] | None = None, nodes: int = 3) -> Application:
    """Workloads that call each other one after the other; each pod on the next node. DNS is the last one, apart."""
    dns = Workload("coredns", "kube-system", "dns", replicas=1, work_s=0.0005, slots=100, cores=10)
    wired = calls if calls is not None else [Call(number, number + 1, 1.0, 2.0) for number in range(len(workloads) - 1)]
    made = Application(len(workloads), 0, [*workloads, dns], wired, [], [], {}, {}, {}, [], len(workloads))
    made.nodes = [Node(f"node-{number}", "zone-a", 100.0, 1e5, f"10.0.0.{number}") for number in range(nodes)]
    places = [number for number, each in enumerate(made.workloads) for _ in range(each.replicas)]
    made.pods = [(number, place % nodes) for place, number in enumerate(places)]
    rate = made.workloads[0].entry_per_s
    for each in made.workloads:
        each.usual_per_s = rate
    return made


def web(name: str, **knobs: float) -> Workload:
    given = {"replicas": 2, "slots": 64.0, "work_s": 0.01, "cores": 10.0, "start_s": 2.0, **knobs}
    one = Workload(name, "shop", "web")
    for key, value in given.items():
        setattr(one, key, int(value) if key == "replicas" else value)
    return one


def after(world: Mechanism, seconds: int) -> Mechanism:
    for _ in range(seconds):
        world.step()
    return world


def shop_here(rate: float) -> Application:
    """The twin's shop, where callers wait as long as it takes."""
    found = []
    for name, replicas, _, knobs in shop.SERVICES:
        slots, work = float(knobs["CAPACITY"]), float(knobs["WORK_MS"]) / 1000
        found.append(web(name, replicas=replicas, slots=slots, work_s=work, cpu_s=0.0))
    found[0].entry_per_s = rate
    return chain(*found, calls=[Call(number, number + 1, 1.0, 100.0) for number in range(len(found) - 1)])


@pytest.mark.parametrize("rate", [shop.RATE, shop.OVERLOAD])
def test_it_fares_as_the_twin_does(rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.fleet.pods.LATE_S", 100.0)  # the twin's probes do not wait in the queue
    twin = Cluster(seed=1, start=datetime(2026, 3, 2, tzinfo=UTC), token="t", speed=1.0)
    twin.settle(30)
    twin.traffic.per_second = rate
    twin.settle(60)
    here = after(Mechanism(shop_here(rate), 1), 60)
    for number, (name, *_) in enumerate(shop.SERVICES):
        there = twin.traffic.flows[shop.NAMESPACE, name]
        assert here.fails[number] == pytest.approx(there.error_ratio, abs=0.08), name
        assert here.late[number] == pytest.approx(there.latency_s, rel=0.25, abs=0.01), name


def test_what_is_asked_of_a_callee_is_what_its_callers_do() -> None:
    one, two = web("front", entry_per_s=40.0), web("back")
    world = after(Mechanism(chain(one, two, calls=[Call(0, 1, 0.5)]), 1), 60)
    assert world.asked[1] == pytest.approx(20.0, rel=0.15)


def test_errors_travel_to_callers_and_not_to_callees() -> None:
    world = after(Mechanism(chain(web("a", entry_per_s=20.0), web("b"), web("c")), 1), 30)
    world.pods.fails[world.pods.of == 1] = 0.5
    after(world, 20)
    assert world.fails[:3] == pytest.approx([0.5, 0.5, 0.0], abs=0.01)


def test_retries_hide_failures_and_cost_requests() -> None:
    plain = [Call(0, 1, 1.0, 2.0, retries) for retries in (0, 2)]
    worlds = [Mechanism(chain(web("a", entry_per_s=20.0), web("b"), calls=[call]), 1) for call in plain]
    for world in worlds:
        world.pods.fails[world.pods.of == 1] = 0.5
        after(world, 40)
    once, thrice = worlds
    assert thrice.fails[0] == pytest.approx(0.125, abs=0.01)
    assert once.fails[0] == pytest.approx(0.5, abs=0.01)
    assert thrice.asked[1] == pytest.approx(once.asked[1] * 1.75, rel=0.1)


def test_a_cache_that_is_away_sends_everybody_to_the_database() -> None:
    calls = [Call(0, 1, 0.1), Call(0, 2, 1.0, instead=0)]
    world = after(Mechanism(chain(web("a", entry_per_s=30.0), web("database"), web("cache"), calls=calls), 1), 40)
    before = float(world.asked[1])
    world.pods.drop(np.flatnonzero(world.pods.of == 2))
    after(world, 20)
    assert world.asked[1] == pytest.approx(before * 11, rel=0.15)
    assert world.fails[0] == pytest.approx(0.0, abs=0.01)


def test_a_dead_node_fails_its_share_until_it_is_known_and_not_after() -> None:
    world = after(Mechanism(chain(web("a", entry_per_s=20.0), nodes=2), 1), 30)
    world.up[0], world.down_since[0] = False, world.now
    after(world, int(SAID_S) - 2)
    assert world.fails[0] == pytest.approx(0.5, abs=0.01)
    after(world, 10)
    assert world.fails[0] == pytest.approx(0.0, abs=0.01)


def test_what_leaks_is_ended_for_want_of_memory_and_started_again() -> None:
    world = after(Mechanism(chain(web("a", entry_per_s=20.0, replicas=1)), 1), 10)
    world.pods.dress(np.flatnonzero(world.pods.of == 0), Template(leak_mb_s=20.0), world.now)
    after(world, 30)
    assert world.pods.restarts[0] >= 1
    assert world.pods.waiting(world.now)[0] in (0, CRASHES)


@pytest.mark.parametrize(("recreate", "left"), [(False, 2), (True, 0)])
def test_a_revision_that_cannot_start_leaves_the_old_pods_unless_they_go_first(recreate: bool, left: int) -> None:
    made = chain(web("a", entry_per_s=20.0))
    made.workloads[0].recreate = recreate
    world = after(Mechanism(made, 1), 10)
    world.rollouts.append(Rollout(world.pods, 0, made.workloads[0], Template(waits=IMAGE), 3))
    after(world, 60)
    assert int(world.pods.ready[world.pods.of == 0].sum()) == left


def test_a_good_revision_replaces_all_pods_without_an_error() -> None:
    made = chain(web("a", entry_per_s=20.0, replicas=4))
    world = after(Mechanism(made, 1), 10)
    world.rollouts.append(Rollout(world.pods, 0, made.workloads[0], Template(), 3))
    worst = max(float(after(world, 1).fails[0]) for _ in range(60))
    here = world.pods.there & (world.pods.of == 0)
    assert worst == pytest.approx(0.0, abs=1e-6)
    assert set(world.pods.revision[here]) == {1}
    assert here.sum() == 4


def test_an_application_that_is_well_raises_no_alert() -> None:
    site = calm(SERVICES, 1).fork(7, random.Random(7))
    site.rules = list(RULES)
    for _ in range(120):
        site.seen.world.step()
        site.step()
    assert site.firing() == []


def test_a_fork_leaves_the_present_as_it_is() -> None:
    base = calm(SERVICES, 1)
    before = base.seen.world.pods.ready.sum()
    other = base.fork(1, random.Random(1))
    other.seen.world.pods.drop(slice(None))
    other.seen.world.step()
    assert base.seen.world.pods.ready.sum() == before


def test_calls_go_round_in_no_circle() -> None:
    made = build(200, 3)
    assert all(each.usual_per_s > 0 or each.role == "external" for each in made.workloads if each.role == "web")
    assert len({(call.caller, call.callee) for call in made.calls}) == len(made.calls)


def test_the_same_seed_tells_the_same() -> None:
    one, other = tell(SERVICES, 5), tell(SERVICES, 5)
    assert (one.alerts, one.changes, one.entities, one.relations) == (
        other.alerts,
        other.changes,
        other.entities,
        other.relations,
    )


def test_without_noise_everything_is_heard_as_it_was() -> None:
    told = tell(SERVICES, 6)
    heard = hear(told, QUIET)
    assert [each["labels"] for each in heard.alerts] == [each["labels"] for each in told.alerts]
    assert heard.relations == told.relations


def test_more_noise_loses_more_of_the_same_alerts() -> None:
    told = tell(SERVICES, 8)
    some, fewer = (hear(told, Noise(lost, 0, 0, 0, 0, 0, 0)).alerts for lost in (0.2, 0.6))
    assert [each for each in fewer if each not in some] == []


@pytest.mark.parametrize("maker", [each for each, _ in MAKERS], ids=lambda each: each.__name__)
def test_each_disturbance_has_a_right_answer_that_can_be_named(maker: object) -> None:
    ontology = load_ontology()
    faults = load_catalogue(ontology=ontology).faults
    chance = random.Random(3)
    for number in range(6):
        site: Monitoring = calm(SERVICES, 1).fork(number, chance)
        done = maker(site, chance)  # type: ignore[operator]
        if done is None:
            continue
        assert done.entities
        assert [each for each in done.modes if each not in faults] == []
        assert [each for each, *_ in done.changes if each.count("/") not in (1, 2)] == []


def test_what_only_one_workload_reads_stands_for_its_service_and_what_all_read_for_none() -> None:
    told = tell(SERVICES, 5)
    made = build(SERVICES, application(SERVICES, 5))
    each = next(one for one in made.workloads if one.role == "store")
    assert services_of(told, each.claim) == [each.service]
    assert services_of(told, each.id) == [each.service]
    assert services_of(told, f"Pod/{each.namespace}/{each.name}-0") == [each.service]
    assert services_of(told, f"Node/{made.nodes[0].name}") == []
    assert services_of(told, f"ConfigMap/{each.namespace}/common") == []


def test_a_frame_has_a_value_of_each_series_at_each_moment() -> None:
    told = tell(SERVICES, 5)
    made = frame(told)
    columns: dict[str, list[float]] = made["columns"]  # type: ignore[assignment]
    assert len({len(values) for values in columns.values()}) == 1
    assert 0 < made["normal"] < len(next(iter(columns.values())))  # type: ignore[operator]


def test_figures_count_places_from_one_and_the_label_prior_by_kinds() -> None:
    def row(seed: int, rank: int, near: list[tuple[str, bool]]) -> Row:
        return Row(
            SERVICES,
            seed,
            "usual",
            ["node-down"],
            {"kt": rank},
            rank == 1,
            0.9,
            None,
            near,
            ["Node"],
            3,
            0,
            ("", ""),
            1.0,
        )

    rows = [row(1, 1, [("Pod", False), ("Node", True)]), row(2, 3, [("Node", False)]), row(3, 0, [])]
    found = figures(rows)
    assert (found["top1"], found["top3"]) == (pytest.approx(1 / 3, abs=1e-4), pytest.approx(2 / 3, abs=1e-4))
    assert found["baselines"] == {
        "label_prior": {"top1": pytest.approx(1 / 3, abs=1e-4), "top3": pytest.approx(1 / 3, abs=1e-4), "n": 3}
    }
    assert found["ece"] == pytest.approx(0.9 - 1 / 3, abs=1e-3)
