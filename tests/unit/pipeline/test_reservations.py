"""What a plan touches belongs to its incident as a whole: a drain and a remedy of a workload never meet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kt.incident.events import ActionStarted, Healed, PlanProposed, Postponed, RolledBack, UndoStarted
from kt.pipeline.targets import TARGET_TTL_S, in_the_way, reserve
from kt.runtime import wall_clock
from kt.stores.sqlite_leases import SqliteLeases
from remediate.actions.base import FENCING
from remediate.plan import Plan, Target
from tests.unit.pipeline.desk import CART, T0, Desk
from twin.server import Twin

CARTS = f"target/{CART}"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    twin = Twin(speed=40, nodes=3).start()
    desk = Desk(tmp_path, twin)
    desk.guard |= {"max_share_of_nodes": 0.9, "max_share_of_node_group": 0.9, "cooldown_s": 0.0}
    yield desk
    if desk._runtime is not None:
        desk._runtime.close()
    twin.stop()


def under_cart(desk: Desk) -> str:
    """A node on which a pod of the cart's runs."""
    pods = desk.runtime.cluster.list("Pod", "shop")
    return str(next(each["spec"]["nodeName"] for each in pods if each["metadata"]["name"].startswith("cart-")))


def sick_node(desk: Desk, incident: str = "i") -> str:
    node = under_cart(desk)
    desk.open(f"Node/{node}", "Node.MemoryPressure", incident)
    return node


def waits_for(desk: Desk, incident: str) -> str:
    return str(desk.events(Postponed, incident)[-1].why)


def closed(desk: Desk, node: str) -> bool:
    found = desk.runtime.cluster.get("Node", node)
    assert found is not None
    return bool(found["spec"].get("unschedulable"))


class TestDrain:
    def test_a_node_is_not_even_closed_while_another_incident_has_a_workload_on_it(self, desk: Desk) -> None:
        desk.open(incident="other")
        assert desk.visit("other").state.phase == "verifying"
        node = sick_node(desk)
        assert desk.visit().state.phase == "awaiting approval"
        assert waits_for(desk, "i") == "Another incident acts on Deployment shop/cart."
        assert not closed(desk, node)
        assert desk.runtime.leases.held_by(f"target/Node//{node}") is None, "what waits holds nothing"
        desk.say(Healed(at=T0, why="it held"), incident="other")
        desk.clock.forward(60)
        assert desk.visit().state.actions
        assert closed(desk, node)

    def test_a_workload_whose_pods_are_on_their_way_is_neither_scaled_nor_rolled_back(self, desk: Desk) -> None:
        sick_node(desk)
        assert desk.visit().state.actions
        for incident, fault in (("more", "Workload.Overload"), ("back", "Workload.Stuck")):
            desk.open(fault=fault, incident=incident)
            assert not desk.visit(incident).state.actions
            assert waits_for(desk, incident) == "Another incident acts on Deployment shop/cart."
        assert desk.replicas() == 2
        desk.say(Healed(at=T0, why="it held"))
        desk.clock.forward(60)
        assert desk.visit("more").state.actions

    def test_all_that_is_touched_is_in_the_log_with_its_rights_and_given_back_at_the_end(self, desk: Desk) -> None:
        node = sick_node(desk)
        plan = desk.visit().state.plan
        assert plan is not None
        first, *_ = desk.events(ActionStarted)
        assert set(first.rights) == set(plan.leases) >= {CARTS, f"target/Node//{node}"}
        assert first.fencing == first.rights[f"target/Node//{node}"]
        for name, token in first.rights.items():
            grant = desk.runtime.leases.held_by(name)
            assert grant is not None
            assert (grant.holder, grant.token) == ("i", token)
        desk.runtime.ended(desk.journey().state)
        assert not any(desk.runtime.leases.held_by(name) for name in plan.leases)

    def test_nothing_is_moved_where_somebody_with_a_later_right_has_acted_on_a_workload(self, desk: Desk) -> None:
        """This one's right lapsed without its knowing; the cluster tells."""
        desk.edit({"metadata": {"annotations": {FENCING: "99"}}})
        node = sick_node(desk)
        state = desk.visit().state
        assert [(each.step, each.finished is not None and each.finished.ok) for each in state.actions] == [
            (0, True), (1, False),
        ]  # fmt: skip
        assert "a later holder" in str(state.actions[1].finished)
        assert state.phase in ("escalated", "awaiting approval", "diagnosed"), "taken back"
        assert not closed(desk, node)

    def test_to_open_a_node_again_its_workloads_are_not_waited_for(self, desk: Desk) -> None:
        from kt.pipeline.stages.undo import _leases

        node = sick_node(desk)
        plan = desk.visit().state.plan
        assert plan is not None
        assert CARTS in plan.leases
        assert _leases(plan.steps) == {f"target/Node//{node}"}


def test_who_waits_for_something_else_gives_back_what_it_took_back(desk: Desk) -> None:
    """Each of two incidents has what the other one wants next: both come to have it."""
    plans: dict[str, Plan] = {}
    for incident, name in (("i", "cart"), ("other", "front")):
        desk.open(f"Deployment/shop/{name}", incident=incident)
        state = desk.visit(incident).state
        assert state.plan is not None, state.ended_why
        plans[incident] = state.plan
        action = desk.journey(incident).state.actions[0].id
        desk.say(
            UndoStarted(at=T0, action_id=action, why="it did not help"),
            RolledBack(at=T0, action_id=action, ok=True),
            incident=incident,
        )
    for incident, other in (("i", "other"), ("other", "i")):
        wanted = msgspec.structs.replace(plans[other], hypothesis=plans[incident].hypothesis)
        expires = desk.clock() + timedelta(hours=1)
        again = PlanProposed(at=desk.clock(), plan=wanted, approvals_needed=0, expires_at=expires)
        desk.say(again, incident=incident)
    _current_is_taken_for_granted(desk)
    assert len(desk.visit("i").state.actions) == 1, "the other one has it still"
    assert "Another incident acts on Deployment shop/front." in waits_for(desk, "i")
    assert desk.runtime.leases.held_by(CARTS) is None
    desk.visit("other")
    assert len(desk.journey("other").state.actions) == 2


def _current_is_taken_for_granted(desk: Desk) -> None:
    """The objects were touched since these plans were made, which is another matter."""
    desk.runtime.remediator.current = lambda plan: None  # type: ignore[method-assign]


def test_the_message_names_what_is_in_the_way_and_not_what_is_ones_own(desk: Desk) -> None:
    desk.open()
    desk.open(incident="other")
    mine, theirs = Target(kind="Node", name="n1"), Target(kind="StatefulSet", namespace="shop", name="db")
    assert reserve(desk.runtime, "i", [mine.lease]) is not None
    assert reserve(desk.runtime, "other", [theirs.lease]) is not None
    both = [mine.lease, theirs.lease]
    assert reserve(desk.runtime, "i", both) is None
    assert in_the_way(desk.runtime, "i", both) == "Another incident acts on StatefulSet shop/db."
    assert in_the_way(desk.runtime, "other", both) == "Another incident acts on Node n1."


@given(
    plans=st.lists(st.sets(st.sampled_from("vwxyz"), min_size=1), min_size=2, max_size=6),
    seed=st.integers(0, 2**32 - 1),
)
def test_whatever_plans_overlap_each_gets_its_turn_and_never_beside_another_of_the_same(
    tmp_path_factory: pytest.TempPathFactory, plans: list[set[str]], seed: int
) -> None:
    leases, rng = SqliteLeases(tmp_path_factory.mktemp("l") / "kt.db", wall_clock), random.Random(seed)
    left, busy = dict(enumerate(plans)), dict[int, dict[str, int]]()
    for _ in count():
        if not left:
            break
        number = rng.choice(sorted(left))
        if number in busy:
            leases.release_all(busy.pop(number), str(number))
            del left[number]
            continue
        tokens = leases.acquire_all(left[number], str(number), ttl_s=TARGET_TTL_S)
        meets = [other for other in busy if left[other] & left[number]]
        assert (tokens is None) == bool(meets)
        if tokens is not None:
            busy[number] = tokens
    leases.close()
