"""What ends a run before its time: a limit that is passed, a monitoring that went blind, somebody who stops KT."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from kt.chaos import running
from kt.chaos.model import Run, What
from kt.pipeline.journey import Held
from kt.runtime import Runtime
from kt.sections import Chaos, Kubernetes, Prometheus
from kt.settings import Settings
from remediate.brakes import Stop
from twin.server import Twin
from verify import plain
from verify.stop_when import StopWhen, extension
from verify.stopper import BLIND_S, Stopper

T0 = datetime(2026, 6, 12, 15, 0, tzinfo=UTC)
CART = 'kt:error_ratio{service="cart"}'


@pytest.fixture(scope="module")
def twin() -> Iterator[Twin]:
    one = Twin(seed=1, speed=10.0).start()
    yield one
    one.stop()


def runtime(folder: Path, prometheus: str, *limits: StopWhen) -> Runtime:
    return Runtime(
        Settings(
            data_dir=str(folder / "data"),
            broker_url="memory://",
            kubernetes=Kubernetes(kubeconfig=str(folder / "none")),
            prometheus=Prometheus(url=prometheus),
            chaos=Chaos(enabled=True, stop_when=limits),
        ),
        clock=lambda: T0,
    )


def claimed(one: Runtime, folder: Path, *own: dict[str, Any]) -> None:
    """A run whose action lasts until it is ended."""

    def shell(name: str, line: str) -> dict[str, Any]:
        return {
            "type": "action",
            "name": name,
            "provider": {"type": "process", "path": "sh", "arguments": ["-c", line]},
        }

    content = {
        "title": "t",
        "description": "d",
        "method": [shell("disturb", f"touch {folder / 'disturbed'}; sleep 60")],
        "rollbacks": [shell("undo", f"rm {folder / 'disturbed'}; touch {folder / 'undone'}")],
        "extensions": [{"name": "kt", "stop_when": list(own)}],
    }
    what = What(name="t", plain=plain.Plain(text=json.dumps(content), format="json", source="x.json"))
    one.chaos.commit(Run(id="r", what=what, due_at=T0, claimed_at=T0))


def carried_out(one: Runtime, folder: Path, then: Callable[[], object]) -> Run:
    """Let it run; do something once its action is on."""
    thread = threading.Thread(target=running.carry_on, args=(one, "r", Held(1)))
    thread.start()
    while thread.is_alive() and not (folder / "disturbed").exists():
        thread.join(0.05)
    then()
    thread.join()
    found = one.chaos.run("r")
    assert found is not None
    return found


def test_a_run_ends_with_its_rollbacks_when_its_limit_is_passed(twin: Twin, tmp_path: Path) -> None:
    one = runtime(tmp_path, twin.prometheus_url)
    claimed(one, tmp_path, {"query": CART, "above": 0.2, "why": "the cart fails"})
    run = carried_out(one, tmp_path, lambda: twin.inject("bad-rollout"))
    assert run.outcome == "aborted"
    assert run.breach.startswith("a stop condition is met: the cart fails: 0.")
    assert "its rollbacks ran" in run.why
    assert (tmp_path / "undone").exists()
    again = runtime(tmp_path / "again", twin.prometheus_url, StopWhen(query=CART, above=0.2))
    claimed(again, tmp_path)
    refused = carried_out(again, tmp_path, lambda: None)
    assert (refused.outcome, "met before it begins" in refused.why) == ("refused", True)


def test_whoever_stops_kt_ends_what_is_running_and_lets_nothing_begin(twin: Twin, tmp_path: Path) -> None:
    one = runtime(tmp_path, twin.prometheus_url)
    claimed(one, tmp_path)
    run = carried_out(one, tmp_path, lambda: one.brakes.stop(Stop(at=T0, by="ann", why="pager")))
    assert (run.outcome, run.why) == ("aborted", "ann has stopped KT: pager; its rollbacks ran")
    assert (tmp_path / "undone").exists()
    another = runtime(tmp_path / "another", twin.prometheus_url)
    another.brakes.stop(Stop(at=T0, by="ann"))
    claimed(another, tmp_path)
    assert "nothing is disturbed until `kt resume`" in carried_out(another, tmp_path, lambda: None).why


def test_a_limit_has_to_be_passed_for_as_long_as_it_says(twin: Twin) -> None:
    flow = Stopper(twin.prometheus_url, [StopWhen(query='kt:requests_per_second{service="front"}', above=1, for_s=3)])
    assert flow.look(100.0) == ""
    assert flow.look(102.9) == ""
    assert "is above 1" in flow.look(103.0)


def test_what_cannot_be_watched_neither_begins_nor_goes_on(twin: Twin) -> None:
    away = Stopper("http://127.0.0.1:9", [StopWhen(query=CART, above=1)])
    assert "cannot be watched" in away.objection()
    now = time.monotonic()
    assert away.look(now) == ""
    assert "cannot be watched" in away.look(now + BLIND_S)
    assert "watches nothing" in Stopper(twin.prometheus_url, [StopWhen(query="kt:nothing", above=1)]).objection()


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"query": "x"}, "either `above` or `below`"),
        ({"query": "x", "above": "much"}, "Expected `float"),
        ({"query": "x", "over": 1}, "unknown field `over`"),
    ],
)
def test_a_stop_condition_that_cannot_be_understood_is_refused(bad: dict[str, Any], says: str) -> None:
    with pytest.raises(plain.BadExperiment, match=says):
        extension({"extensions": [{"name": "kt", "stop_when": [bad]}]}, "x.json")


def test_extensions_of_others_are_nobody_elses_business() -> None:
    assert extension({"extensions": [{"name": "other", "stop_when": 1}]}, "x").stop_when == ()
    assert extension({"extensions": [{"name": "kt", "note": 1}]}, "x").stop_when == ()
