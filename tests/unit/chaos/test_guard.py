"""What keeps a run from beginning, and how each refusal says what would have to change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from graph_schema.model import Signal
from kt.chaos import guard
from kt.chaos.model import Run, What
from kt.incident.events import AlertsReceived
from kt.incident.log import Append
from kt.policy import policy_of
from kt.runtime import Runtime
from kt.sections import Chaos, Kubernetes
from kt.settings import Settings
from remediate.limits import Window
from twin.server import Twin
from verify.plain import Plain

NOW = datetime(2026, 6, 12, 15, 0, tzinfo=UTC)
HARMLESS: dict[str, Any] = {"method": []}


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    one = Twin(seed=1, speed=1.0).start()
    yield one
    one.stop()


def runtime(folder: Path, kubeconfig: object = "", **chaos: Any) -> Runtime:
    where = Kubernetes(kubeconfig=str(kubeconfig or folder / "none"))
    options = Chaos(**{"enabled": True, **chaos})
    settings = Settings(data_dir=str(folder), broker_url="memory://", kubernetes=where, chaos=options)
    return Runtime(settings, clock=lambda: NOW)


def run(id_: str = "r", **more: Any) -> Run:
    what = What(name="x", plain=Plain(text="{}", format="json", source="x.json"))
    return msgspec.structs.replace(Run(id=id_, what=what, due_at=NOW, claimed_at=NOW), **more)


def acting(module: str, func: str = "f", **arguments: Any) -> dict[str, Any]:
    provider = {"type": "python", "module": module, "func": func, "arguments": arguments}
    return {"method": [{"type": "action", "name": "act", "provider": provider}]}


def test_nothing_runs_until_chaos_is_switched_on(tmp_path: Path) -> None:
    assert "chaos.enabled" in guard.objection(runtime(tmp_path, enabled=False), run(), HARMLESS)
    assert guard.objection(runtime(tmp_path), run(), HARMLESS) == ""


def test_nothing_runs_while_an_incident_is_open_unless_that_is_allowed(tmp_path: Path) -> None:
    one = runtime(tmp_path)
    signal = Signal(fingerprint="f", entity="Service/shop/cart", symptom="errors", name="Errors", starts_at=NOW)
    opened = AlertsReceived(at=NOW, signals=(signal,))
    one.log.commit([Append(incident="i", expected=0, events=(opened,))])
    assert "incident i (Errors on Service/shop/cart) is open" in guard.objection(one, run(), HARMLESS)
    assert guard.objection(runtime(tmp_path, with_open_incidents=True), run(), HARMLESS) == ""


def test_only_so_many_run_at_once(tmp_path: Path) -> None:
    one = runtime(tmp_path)
    one.chaos.commit(run("on", phase="running", started_at=NOW), run("waiting"))
    assert "on is on; at most 1 at once" in guard.objection(one, run(), HARMLESS)
    assert guard.objection(runtime(tmp_path, max_concurrent=2), run(), HARMLESS) == ""


@pytest.mark.parametrize(
    ("freeze", "minutes_before", "minutes_inside"),
    [
        (Window(start=NOW - timedelta(hours=1), end=NOW + timedelta(hours=1), why="sale"), -61, -60),
        (Window(cron="0 16 * * FRI", duration_s=64 * 3600, zone="Europe/Berlin", why="weekend"), -61, -60),
    ],
)
def test_nothing_runs_in_a_freeze(freeze: Window, minutes_before: int, minutes_inside: int) -> None:
    assert guard.freeze_at([freeze], NOW + timedelta(minutes=minutes_before)) == ""
    assert f"({freeze.why}) lasts until" in guard.freeze_at([freeze], NOW + timedelta(minutes=minutes_inside))
    assert guard.freeze_at([freeze], NOW)
    hours = freeze.duration_s / 3600 - 1 if freeze.cron else 1
    assert guard.freeze_at([freeze], NOW + timedelta(hours=hours, minutes=-1))
    assert guard.freeze_at([freeze], NOW + timedelta(hours=hours)) == ""


def test_namespaces_have_to_be_opted_in(tmp_path: Path, twin: Twin) -> None:
    one = runtime(tmp_path, twin.kubeconfig)
    why = guard.objection(one, run(), acting("chaosk8s.pod.actions", ns="shop"))
    assert why == "namespace shop is not opted in (label it kt.io/chaos=enabled to let chaos act there)"
    one.cluster.patch("Namespace", "shop", "", {"metadata": {"labels": {"kt.io/chaos": "enabled"}}})
    assert guard.objection(one, run(), acting("chaosk8s.pod.actions", ns="shop", label_selector="app=cart")) == ""
    assert "namespace default" in guard.objection(one, run(), acting("chaosk8s.pod.actions"))


def test_what_cannot_be_checked_is_refused(tmp_path: Path) -> None:
    assert "cannot be known" in guard.objection(runtime(tmp_path), run(), acting("own", namespace="shop"))
    later = acting("own", namespace="${later}")
    assert "only once it runs" in guard.objection(runtime(tmp_path), run(), later)


@pytest.mark.parametrize(
    "on_nodes",
    [
        acting("chaosk8s.node.actions"),
        acting("verify.actions", kind="Node", namespace="", name="kt-node-1"),
        acting("verify.actions", "freeze_process", name="kubelet", program="kubelet"),
    ],
    ids=["chaosk8s", "own", "this machine"],
)
def test_nodes_need_a_permission_of_their_own(tmp_path: Path, on_nodes: dict[str, Any]) -> None:
    assert "chaos.cluster_wide" in guard.objection(runtime(tmp_path), run(), on_nodes)
    assert guard.objection(runtime(tmp_path, cluster_wide=True), run(), on_nodes) == ""


@pytest.fixture
def shop(tmp_path: Path, twin: Twin) -> Callable[..., Runtime]:
    """KT beside the twin's shop, opted in."""

    def beside(**chaos: Any) -> Runtime:
        one = runtime(tmp_path, twin.kubeconfig, **chaos)
        one.cluster.patch("Namespace", "shop", "", {"metadata": {"labels": {"kt.io/chaos": "enabled"}}})
        return one

    return beside


CART = acting("chaosk8s.pod.actions", ns="shop", label_selector="app=cart")


@pytest.mark.parametrize(
    ("given", "most", "reached"),
    [
        (acting("chaosk8s.pod.actions", ns="shop"), 3, 4),  # whatever is there
        (acting("chaosk8s.pod.actions", ns="shop"), 4, 0),
        (CART, 1, 0),
        ({"method": [*CART["method"], *acting("own", ns="shop", service="front")["method"]]}, 1, 2),
        (acting("verify.actions", "burn_cpu", namespace="shop", name="kt-chaos-burn"), 1, 0),
    ],
    ids=["a namespace", "as many as there are", "one", "two", "its own pod"],
)
def test_a_run_acts_on_few_workloads(
    shop: Callable[..., Runtime], given: dict[str, Any], most: int, reached: int
) -> None:
    why = guard.objection(shop(max_workloads=most), run(), given)
    assert why.partition(",")[0] == (f"it acts on {reached} workloads" if reached else "")


def test_what_is_not_well_is_not_disturbed(shop: Callable[..., Runtime], twin: Twin) -> None:
    one = shop()
    before = one.cluster.get("Deployment", "cart", "shop")
    assert before is not None
    assert before["status"]["readyReplicas"] == 2
    try:
        one.cluster.patch("Deployment", "cart", "shop", {"spec": {"replicas": 500}})
        why = guard.objection(one, run(), CART)
        assert "of 500 pods ready; 100% have to be (chaos.min_ready_share)" in why
        assert guard.objection(shop(min_ready_share=0.0), run(), CART) == ""
        assert "have to be (chaos.min_ready)" in guard.objection(shop(min_ready=1000), run(), CART)
    finally:
        one.cluster.patch("Deployment", "cart", "shop", {"spec": {"replicas": 2}})


def test_runs_begin_in_their_windows_only(tmp_path: Path) -> None:
    office = Window(cron="0 9 * * MON-FRI", duration_s=8 * 3600, zone="Europe/Berlin")
    night = Window(cron="0 22 * * *", duration_s=6 * 3600)
    assert guard.objection(runtime(tmp_path, windows=(night,)), run(), HARMLESS) == (
        "2026-06-12 15:00 UTC is in none of the windows in which chaos may begin (chaos.windows)"
    )
    # Half past four in the afternoon of Berlin's summer would do; it is five.
    assert "chaos.windows" in guard.objection(runtime(tmp_path, windows=(office,)), run(), HARMLESS)
    now = Window(cron="0 15 * * *", duration_s=60)
    assert guard.objection(runtime(tmp_path, windows=(night, now)), run(), HARMLESS) == ""


def test_nothing_runs_during_an_event_of_a_calendar(tmp_path: Path) -> None:
    file = tmp_path / "sales.ics"
    about = "UID:1\r\nDTSTAMP:20260101T000000Z\r\nSUMMARY:Sale\r\nDTSTART;VALUE=DATE:20260612"
    file.write_text(f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nBEGIN:VEVENT\r\n{about}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
    during = guard.objection(runtime(tmp_path, calendars=(str(file),)), run(), HARMLESS)
    assert during == "“Sale” of the calendar sales.ics lasts until 2026-06-13 00:00 UTC"
    file.unlink()
    lost = guard.objection(runtime(tmp_path, calendars=(str(file),)), run(), HARMLESS)
    assert "sales.ics cannot be read" in lost
    assert "cannot be known (chaos.calendars)" in lost
    with pytest.raises(ValueError, match="no time zone"):
        Chaos(calendar_zone="Mars/Olympus")


def test_a_freeze_of_the_guard_holds_chaos_too(tmp_path: Path) -> None:
    one = runtime(tmp_path)
    frozen = Window(start=NOW - timedelta(hours=1), end=NOW + timedelta(hours=1), why="sale")
    held = msgspec.structs.replace(one.settings, guard=msgspec.structs.replace(one.settings.guard, freezes=(frozen,)))
    one.policy = lambda: policy_of(held)
    assert "a freeze (sale) lasts until" in guard.objection(one, run(), HARMLESS)
