"""Reads the journal of an experiment and says what was shown. The last step of verification.

Chaos Toolkit's own `status` and `deviated` are not enough: an experiment whose steady state was not met before the
method ends as `completed` without having disturbed anything, and so does one whose action raised an error. So this
reads the steady states themselves and the status of every activity. What was not measured is never counted as held.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from verify.verdict import Verdict

ENDED_EARLY = ("interrupted", "aborted")
_LONGEST_WHY = 600


def judge(journal: Mapping[str, Any]) -> Verdict:
    """The verdict of one run. Never raises: a journal that cannot be read is inconclusive."""
    why_not = _nothing_was_shown(journal)
    if why_not is not None:
        return why_not
    states = journal["steady_states"]
    lost, unmeasured = _look_at([*_during(states), states.get("after")])
    lost = "; ".join(text for text in (_not_met(journal["run"]), lost) if text)
    left_behind = _left_behind(journal)
    if lost:
        return _verdict("regressed", f"The steady state was lost: {lost}{left_behind and f'; and {left_behind}'}")
    failed = _failed(journal["run"])
    doubts = [
        failed and f"not everything that was to be done was done: {failed}",
        unmeasured and f"the steady state could not be measured afterwards: {unmeasured}",
        left_behind,
    ]
    doubt = "; ".join(text for text in doubts if text)
    if doubt:
        return _verdict("inconclusive", doubt)
    if journal.get("deviated") or journal.get("status") != "completed":
        return _verdict(
            "inconclusive", f"the journal says {journal.get('status')}, deviated: {journal.get('deviated')}"
        )
    done = ", ".join(_name(run) for run in journal["run"])
    return _verdict("held", f"The steady state was met before and after: {done}")


def _nothing_was_shown(journal: Mapping[str, Any]) -> Verdict | None:
    """Why this run cannot be judged by its steady states, if it cannot."""
    status, failure = journal.get("status"), journal.get("failure")
    if status in ENDED_EARLY or failure:
        left_behind = _left_behind(journal)
        why = str(failure or f"The experiment was {status}")
        return _verdict("aborted", f"{why}{left_behind and f'; and {left_behind}'}")
    states, runs, experiment = journal.get("steady_states"), journal.get("run"), journal.get("experiment")
    if not isinstance(states, dict) or not isinstance(runs, list) or not isinstance(experiment, dict):
        return _verdict("inconclusive", "the journal has no steady states, no run or no experiment in it")
    if experiment.get("dry"):
        return _verdict("inconclusive", "a dry run disturbs nothing")
    before = states.get("before")
    if before is None:
        return _verdict("inconclusive", "the steady state was not looked at before the disturbance")
    if not _met(before):
        lost, unmeasured = _look_at([before])
        return _verdict("inconclusive", f"not steady before anything was disturbed: {lost or unmeasured}")
    if not runs:
        return _verdict("inconclusive", "nothing was disturbed: no activity of the method ran")
    return None


def _look_at(states: Iterable[Any]) -> tuple[str, str]:
    """(what was measured and found outside its tolerance, what could not be measured), in words, empty if none."""
    lost: list[str] = []
    unmeasured: list[str] = []
    for state in states:
        if _met(state):
            continue
        if not isinstance(state, dict):
            unmeasured.append("it was not looked at")
            continue
        probes = [probe for probe in state.get("probes") or [] if isinstance(probe, dict)]
        failed = _failed(probes)
        outside = [probe for probe in probes if probe.get("status") == "succeeded" and not probe.get("tolerance_met")]
        lost += [f"{_name(probe)} ({_short(probe.get('output'))})" for probe in outside]
        if failed or not outside:
            unmeasured.append(failed or "the journal does not say which probe")
    return "; ".join(dict.fromkeys(lost)), "; ".join(dict.fromkeys(unmeasured))


def _not_met(runs: Iterable[Any]) -> str:
    """What probes of the method saw that must not be: those of KT that watch give `{"met": false, "why": …}`."""
    outputs = [(run, run.get("output")) for run in runs if isinstance(run, dict) and run.get("status") == "succeeded"]
    seen = [(run, output) for run, output in outputs if isinstance(output, dict) and output.get("met") is False]
    return "; ".join(f"{_name(run)} ({_short(output)})" for run, output in seen)


def _left_behind(journal: Mapping[str, Any]) -> str:
    """What of the rollbacks did not happen. Something may then be left of the disturbance."""
    experiment = journal.get("experiment")
    declared = experiment.get("rollbacks") if isinstance(experiment, dict) else None
    done = journal.get("rollbacks")
    done = done if isinstance(done, list) else []
    if isinstance(declared, list) and len(done) < len(declared) and journal.get("run"):
        return f"only {len(done)} of {len(declared)} rollbacks ran, something may be left of the disturbance"
    failed = _failed(done)
    return f"a rollback failed, something may be left of the disturbance: {failed}" if failed else ""


def _during(states: Mapping[str, Any]) -> list[Any]:
    during = states.get("during")
    return during if isinstance(during, list) else []


def _met(state: Any) -> bool:
    return isinstance(state, dict) and state.get("steady_state_met") is True


def _failed(runs: Iterable[Any]) -> str:
    failed = [run for run in runs if not isinstance(run, dict) or run.get("status") != "succeeded"]
    return "; ".join(f"{_name(run)}: {_reason(run)}" for run in failed)


def _reason(run: Any) -> str:
    """The last line of the activity's traceback without the exception's class, or its status."""
    lines = run.get("exception") if isinstance(run, dict) else None
    if isinstance(lines, list) and lines:
        return _short(str(lines[-1]).strip().removeprefix("chaoslib.exceptions.ActivityFailed: "))
    return str(run.get("status")) if isinstance(run, dict) else "unreadable"


def _name(run: Any) -> str:
    activity = run.get("activity") if isinstance(run, dict) else None
    return str(activity.get("name", "unnamed")) if isinstance(activity, dict) else "unnamed"


def _short(value: Any) -> str:
    """What a probe gave, for a person: its own words where it has them (`why`)."""
    if isinstance(value, dict) and "why" in value:
        value = value["why"]
    text = str(value)
    return text if len(text) <= _LONGEST_WHY else text[: _LONGEST_WHY - 1] + "…"


def _verdict(outcome: Literal["held", "regressed", "inconclusive", "aborted"], why: str) -> Verdict:
    return Verdict(outcome=outcome, why=why)
