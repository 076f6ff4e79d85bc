"""What Kubernetes hands out of what containers write: which runs, and lines with their times."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from sense.kubernetes.written import lines, runs
from sense.logs import Collecting, LogRules

BEGAN = "2026-03-01T12:00:00Z"


def pod(*containers: dict[str, Any], preparing: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    status = {"startTime": BEGAN, "containerStatuses": list(containers), "initContainerStatuses": list(preparing)}
    return {"metadata": {"name": "cart-1", "namespace": "shop"}, "status": status}


def asked(given: dict[str, Any]) -> list[tuple[str, bool]]:
    return [(each.container, each.previous) for each in runs(given)]


def test_a_container_that_never_ended_has_one_run() -> None:
    [run] = runs(pod({"name": "cart", "restartCount": 0, "state": {"running": {}}}))
    assert (run.pod, run.namespace, run.container, run.previous) == ("cart-1", "shop", "cart", False)
    assert run.since == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_of_one_that_waits_to_be_started_again_the_run_that_ended_is_read() -> None:
    crashing = {"name": "cart", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    assert asked(pod(crashing)) == [("cart", True)]
    assert asked(pod({**crashing, "state": {"running": {}}})) == [("cart", False), ("cart", True)]


def test_what_prepares_counts_only_where_it_failed() -> None:
    well = {"name": "fetch", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
    failed = {"name": "migrate", "restartCount": 0, "state": {"terminated": {"exitCode": 2}}}
    assert asked(pod(preparing=(well, failed))) == [("migrate", False)]


def test_a_pod_that_no_kubelet_has_seen_has_nothing_to_read() -> None:
    assert list(runs({"metadata": {"name": "new"}, "status": {"phase": "Pending"}})) == []


def test_a_line_comes_after_its_time_and_what_has_none_is_left_out() -> None:
    text = "2026-03-01T12:00:01.123456789Z ERROR boom\nunable to retrieve container logs\n2026-03-01T12:00:02Z ok\n"
    at = datetime(2026, 3, 1, 12, 0, 1, 123456, UTC).timestamp()
    assert list(lines(text)) == [(at, "ERROR boom"), (at + 1 - 0.123456, "ok")]


@pytest.mark.parametrize("text", [
    "ERROR login failed password=hunter2 for bob", "error Authorization: Bearer hunter2.x refused",
    '{"error": "denied", "api_key": "hunter2"}', "cannot connect to postgres://app:hunter2@db/x: refused",
    "error: token 'eyJhbGhunter2.eyJzdWhunter2.shunter2' denied", "failed GET /x?access_token=hunter2&y=1",
    "fatal: CLIENT_SECRET: 'hunter2 and more' is wrong", "ERROR db.password: hunter2",
])  # fmt: skip
def test_what_may_be_confidential_is_not_kept(text: str) -> None:
    found = Collecting(LogRules.load())
    found.line("cart", 1.0, text)
    [(_, kept)] = found.logs.troubles
    assert "hunter2" not in kept
    assert "<*>" in kept


@pytest.mark.parametrize("text", ["ERROR DB_PASSWORD is not set", "failed: secret shop/db not found"])
def test_what_is_lacking_is_kept_by_its_name(text: str) -> None:
    found = Collecting(LogRules.load())
    found.line("cart", 1.0, text)
    assert [kept for _, kept in found.logs.troubles] == [text]
