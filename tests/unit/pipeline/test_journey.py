"""The pen of a journey: decisions are bound to what was seen, effects that took place are written down all the same."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from graph_schema.model import Diagnosis, Signal
from kt.incident.events import AlertsReceived, Diagnosed, Escalated, Verified
from kt.incident.log import Append, IncidentLog, VersionConflict
from kt.pipeline.journey import Journey
from kt.stores.sqlite_log import SqliteIncidentLog
from verify.verdict import Verdict

T0 = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIGNAL = Signal(fingerprint="f", entity="Deployment/shop/cart", symptom="errors", name="Errors", starts_at=T0)
ALERTS = AlertsReceived(at=T0, signals=(SIGNAL,))
HELD = Verified(at=T0, verdict=Verdict(outcome="held", why="it stood"))


@pytest.fixture
def log(tmp_path: Path) -> IncidentLog:
    log = SqliteIncidentLog(tmp_path / "kt.db")
    log.commit([Append(incident="i", expected=0, events=(ALERTS,))])
    return log


def test_a_decision_is_not_written_when_alerts_came_in_meanwhile(log: IncidentLog) -> None:
    mine, theirs = Journey(log, "i"), Journey(log, "i")
    theirs.append(ALERTS)
    with pytest.raises(VersionConflict):
        mine.append(Diagnosed(at=T0, diagnosis=Diagnosis(hypotheses=(), causes=())))


def test_what_has_happened_is_written_though_alerts_came_in_meanwhile(log: IncidentLog) -> None:
    mine, theirs = Journey(log, "i"), Journey(log, "i")
    theirs.append(ALERTS)
    theirs.append(ALERTS)
    mine.record(HELD)
    assert [type(record.event) for record in Journey(log, "i").records] == [AlertsReceived] * 3 + [Verified]
    assert mine.state == Journey(log, "i").state


def test_what_has_happened_is_not_written_when_somebody_else_moved_the_incident(log: IncidentLog) -> None:
    mine, theirs = Journey(log, "i"), Journey(log, "i")
    theirs.append(ALERTS)
    theirs.append(Escalated(at=T0, why="a person looks"))
    with pytest.raises(VersionConflict):
        mine.record(HELD)
