"""The incidents that were recorded on the real cluster are diagnosed as well as they were: a change of knowledge or of
the scorer that loses one is seen here."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.campaign.record import INTO, anywhere
from bench.campaign.replay import Told, diagnosed

INCIDENTS = sorted(folder.name for folder in INTO.iterdir())
NOT_YET: dict[str, str] = {}
"""What is named wrongly, and why."""


@pytest.mark.parametrize("name", INCIDENTS)
def test_the_cause_of_a_recorded_incident_is_named_first_with_its_fault(name: str) -> None:
    told = msgspec.json.decode((INTO / name / "truth.json").read_bytes(), type=Told)
    _, _, answer = diagnosed(INTO / name, told, metrics=True)
    first = answer.hypotheses[0]
    right = any(first.entity in truth.entities and first.fault in truth.modes for truth in told.truths)
    assert right is (name not in NOT_YET), f"{first.fault} of {first.entity}"


def test_fewer_replicas_right_before_are_to_blame_and_not_the_rollout_of_minutes_ago() -> None:
    name = "scaled-down-catalogue"
    told = msgspec.json.decode((INTO / name / "truth.json").read_bytes(), type=Told)
    _, _, answer = diagnosed(INTO / name, told, metrics=True, rolled_out=("Deployment/shop/catalogue", 2))
    assert answer.hypotheses[0].fault == "Workload.ScaledDown"


SAME = ("overload-130", "quota-full-cart", "config-wrong-store", "pod-stands-still-catalogue")


@pytest.mark.parametrize("name", SAME)
def test_a_rollout_of_the_same_workload_two_minutes_before_takes_the_blame_of_nothing(name: str) -> None:
    told = msgspec.json.decode((INTO / name / "truth.json").read_bytes(), type=Told)
    target = "catalogue" if name.startswith("overload") else name.rpartition("-")[2]
    _, _, answer = diagnosed(INTO / name, told, metrics=True, rolled_out=(f"Deployment/shop/{target}", 2))
    assert answer.hypotheses[0].fault in told.truths[0].modes


def test_a_recording_tells_nothing_of_the_machine_that_made_it() -> None:
    told = [
        '{"generatorURL": "http://host:1/graph?x"}',
        '{"externalURL": "http://host:2"}',
        '{"file": "/some/kt.yaml"}',
    ]
    assert [anywhere(each) for each in told] == [
        '{"generatorURL": "http://prometheus:9090/graph?x"}',
        '{"externalURL": "http://alertmanager:9093"}',
        '{"file": "kt.yaml"}',
    ]
    for file in INTO.glob("*/*.json"):
        assert anywhere(file.read_text()) == file.read_text()


def test_every_folder_is_whole() -> None:
    whole = {"alerts.json", "changes.json", "metrics.csv", "rules.json", "topology.json", "truth.json"}
    assert all({file.name for file in Path(INTO / name).iterdir()} == whole for name in INCIDENTS)
