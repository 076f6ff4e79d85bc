"""What a journal shows, and what it does not."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from verify.judge import judge


def activity(name: str = "kill a pod", status: str = "succeeded", **more: Any) -> dict[str, Any]:
    return {"activity": {"name": name, "type": "action"}, "status": status, "output": None, **more}


def steady(met: bool = True, *probes: dict[str, Any]) -> dict[str, Any]:
    given = probes or (activity("errors low", tolerance_met=met),)
    return {"steady_state_met": met, "probes": list(given)}


def journal(**changed: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "status": "completed",
        "deviated": False,
        "experiment": {"title": "t", "rollbacks": []},
        "steady_states": {"before": steady(), "after": steady(), "during": []},
        "run": [activity()],
        "rollbacks": [],
    }
    return {**whole, **changed}


def states(before: Any = None, after: Any = None, during: Any = ()) -> dict[str, Any]:
    return {"before": before, "after": after, "during": list(during)}


def test_a_disturbance_with_a_steady_state_before_and_after_held() -> None:
    verdict = judge(journal())
    assert verdict.outcome == "held"
    assert "kill a pod" in verdict.why


def test_not_steady_before_is_inconclusive_though_the_journal_says_completed() -> None:
    verdict = judge(journal(steady_states=states(steady(False)), run=[]))
    assert verdict.outcome == "inconclusive"
    assert "errors low" in verdict.why


def test_a_failed_action_is_inconclusive_though_the_steady_state_was_met() -> None:
    broken = activity(status="failed", exception=["chaoslib.exceptions.ActivityFailed: no such pod\n"])
    verdict = judge(journal(run=[broken]))
    assert verdict.outcome == "inconclusive"
    assert "no such pod" in verdict.why


def test_a_steady_state_that_was_lost_afterwards_is_a_regression_and_says_what_was_measured() -> None:
    after = steady(False, activity("errors low", tolerance_met=False, output={"why": "0.4 is not < 0.05"}))
    verdict = judge(journal(deviated=True, steady_states=states(steady(), after)))
    assert verdict.outcome == "regressed"
    assert "0.4 is not < 0.05" in verdict.why


def test_a_steady_state_that_was_lost_during_the_method_is_a_regression_though_it_came_back() -> None:
    assert judge(journal(steady_states=states(steady(), steady(), [steady(), steady(False)]))).outcome == "regressed"


def test_a_probe_that_could_not_measure_afterwards_is_inconclusive_and_no_regression() -> None:
    after = steady(False, activity("errors low", "failed", tolerance_met=False, exception=["connection refused"]))
    verdict = judge(journal(deviated=True, status="failed", steady_states=states(steady(), after)))
    assert verdict.outcome == "inconclusive"
    assert "connection refused" in verdict.why


@pytest.mark.parametrize("status", ["interrupted", "aborted"])
def test_what_was_cut_short_is_aborted(status: str) -> None:
    assert judge(journal(status=status)).outcome == "aborted"


def test_a_rollback_that_failed_takes_the_word_held_away() -> None:
    verdict = judge(
        journal(experiment={"rollbacks": [{"name": "undo"}]}, rollbacks=[activity("undo", "failed")]),
    )
    assert verdict.outcome == "inconclusive"
    assert "left of the disturbance" in verdict.why


def test_a_rollback_that_never_ran_takes_the_word_held_away() -> None:
    assert judge(journal(experiment={"rollbacks": [{"name": "undo"}]}, rollbacks=[])).outcome == "inconclusive"


def test_a_dry_run_shows_nothing() -> None:
    assert judge(journal(experiment={"dry": "actions"})).outcome == "inconclusive"


def test_no_steady_state_at_all_is_inconclusive() -> None:
    assert judge(journal(steady_states=states())).outcome == "inconclusive"


def test_a_run_that_left_no_journal_is_aborted_with_its_reason() -> None:
    verdict = judge({"status": "aborted", "failure": "chaos ended with 1: no such file"})
    assert verdict.outcome == "aborted"
    assert "no such file" in verdict.why


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
parts = st.sampled_from(["status", "deviated", "experiment", "steady_states", "run", "rollbacks"])


@given(st.dictionaries(parts, json_values))
def test_a_journal_that_is_damaged_anywhere_never_raises(damage: dict[str, Any]) -> None:
    judge(journal(**damage))


maybe_state = st.sampled_from([None, True, False])
statuses = st.sampled_from(["succeeded", "failed", "aborted"])


@given(
    before=maybe_state,
    after=maybe_state,
    runs=st.lists(statuses, max_size=3),
    rollbacks=st.lists(statuses, max_size=2),
    status=st.sampled_from(["completed", "failed", "interrupted", "aborted"]),
)
def test_held_means_seen_before_done_whole_seen_after_and_cleaned_up(
    before: bool | None, after: bool | None, runs: list[str], rollbacks: list[str], status: str
) -> None:
    seen = states(*(None if met is None else steady(met) for met in (before, after)))
    verdict = judge(
        journal(
            status=status,
            steady_states=seen,
            run=[activity(status=run) for run in runs],
            rollbacks=[activity(status=run) for run in rollbacks],
        )
    )
    whole = bool(before and after and runs and status == "completed") and set(runs + rollbacks) == {"succeeded"}
    assert (verdict.outcome == "held") == whole
